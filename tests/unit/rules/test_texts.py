"""Texts of alerts: numbers as people read them, templates that fill in as Prometheus does."""

from __future__ import annotations

import pytest

from alert_rules import human
from alert_rules.model import Expected, selector, text_by_target
from alert_rules.prove import expand
from tocsin import facts
from tocsin.thresholds import THRESHOLDS, Resolved


@pytest.mark.parametrize(
    ("seconds", "text"), [(301, "5m 1s"), (59.5, "59.5s"), (3600, "1h 0m 0s"), (345_600, "4d 0h 0m 0s"), (60, "1m 0s")]
)
def test_durations_read_like_prometheus_writes_them(seconds: float, text: str) -> None:
    """The helper of the cases writes what humanizeDuration writes."""
    assert human.duration(seconds) == text


def test_percentages_have_four_digits() -> None:
    """The helper of the cases writes what humanizePercentage writes."""
    assert [human.percent(x) for x in (0.8, 0.80001, 1, 0.0144, 1 / 3)] == ["80%", "80%", "100%", "1.44%", "33.33%"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.8, "0.8"), (300.0, "300"), (1e-7, "0.0000001"), (1e9, "1000000000"), (0.93333, "0.93333")]
)
def test_numbers_in_rules_have_no_exponent(value: float, text: str) -> None:
    """An expression shows the number as the settings have it."""
    assert facts.number(value) == text


def test_targets_with_the_same_limit_share_a_clause() -> None:
    """One comparison for the default and one for each other number, never one per target."""
    limit = Resolved(THRESHOLDS["queue_fill_ratio"], 0.8, {"a": 0.9, "b": 0.5, "c": 0.9})
    assert facts.against("f%s", ">", limit) == (
        'f{target!~"a|b|c"} > 0.8\nor f{target=~"b"} > 0.5\nor f{target=~"a|c"} > 0.9'
    )
    assert facts.against("f%s", "/", limit, where='x="y"').splitlines()[1] == 'or f{x="y",target=~"b"} / 0.5'


def test_a_label_with_quotes_survives_every_template() -> None:
    """A queue may be called anything: the query escapes it, the link encodes it, and a choice finds its target."""
    labels = {"target": "a", "queue": 'x "y"\\&z'}
    query = selector("f", ("target", "queue"))
    assert expand(query, "never", Expected(labels, "")) == 'f{target="a",queue="x \\"y\\"\\\\&z"}'
    assert expand("q={{ $labels.queue | urlquery }}", "never", Expected(labels, "")) == "q=x+%22y%22%5C%26z"


def test_the_line_on_the_graph_follows_the_target() -> None:
    """Nested choices resolve to the target's own number, and to the default for all others."""
    limit = Resolved(THRESHOLDS["queue_fill_ratio"], 0.8, {"a": 0.9, "b": 0.5})
    text = text_by_target(limit, {0.8: "0.8", 0.9: "0.9", 0.5: "0.5"})
    found = [expand(text, "never", Expected({"target": target}, "")) for target in ("a", "b", "c")]
    assert found == ["0.9", "0.5", "0.8"]
