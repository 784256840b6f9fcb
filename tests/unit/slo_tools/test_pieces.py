"""The small pieces of the SLO tools: spelling, selectors, charts, and how Prometheus is asked."""

from __future__ import annotations

import itertools
import math

import pytest

from alert_rules.slo_tools import chart
from alert_rules.slo_tools.names import distance, only_digits_differ, slip_of
from alert_rules.slo_tools.prometheus import MOST_POINTS, connect
from alert_rules.slo_tools.queries import parse_error, selectors
from tests.unit.slo_tools.prometheus import FakePrometheus
from tocsin.errors import StackError


@pytest.mark.parametrize(
    ("a", "b", "letters"),
    [("code", "code", 0), ("cod", "code", 1), ("ocde", "code", 1), ("mode", "code", 1), ("", "le", 2)],
)
def test_distance_counts_letters(a: str, b: str, letters: int) -> None:
    """A letter added, dropped, changed or swapped with its neighbour is one slip."""
    assert distance(a, b) == distance(b, a) == letters


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("http_request_total", "http_requests_total"),
        ("httpRequestsTotal", "http_requests_total"),
        ("cod", "code"),
        ("something_else", None),
    ],
)
def test_a_slip_is_told_from_another_name(word: str, meant: str | None) -> None:
    """One or two letters, or another case, are a slip; another word is not."""
    assert slip_of(word, ["http_requests_total", "code", "method"]) == meant


def test_two_numbers_are_two_facts() -> None:
    """500 and 501 differ by one letter and are no slip of each other; a letter among digits is one."""
    assert only_digits_differ("500", "501")
    assert not only_digits_differ("50O", "500")


def test_selectors_are_read_from_both_sides() -> None:
    """Every selector of a query is found once, with its matchers and its range."""
    found = selectors('sum(rate(a{x="1",y=~"p|q"}[{{.window}}])) - sum(rate(b{z!=""}[{{ .window }}])) + max(c)')
    assert [str(each) for each in found] == ['a{x="1",y=~"p|q"}', 'b{z!=""}', "c"]
    assert [each.seconds for each in found] == [300, 300, 0]


def test_a_selector_by_name_label_has_its_metric() -> None:
    """`{__name__="a"}` is the metric a; a pattern of names is no metric."""
    assert [each.metric for each in selectors('count({__name__="a",b="c"}) + count({__name__=~"a.*"})')] == ["a", ""]


def test_what_does_not_parse_says_why_and_reads_nothing() -> None:
    """A broken query has a reason and no selectors."""
    assert parse_error("sum(rate(a[{{.window}}])")
    assert parse_error("sum(rate(a[{{.window}}]))") is None
    assert selectors("sum(rate(a[{{.window}}])") == []


def test_a_chart_has_a_scale_and_leaves_gaps() -> None:
    """Full is a full column, nothing is an empty one, and an unknown value is drawn as neither."""
    drawn = chart.area([1.0, 0.5, math.nan, 0.0], low=0, high=1, rows=2, write="{:.1f}".format)
    assert drawn == ["1.0 ┤█", "0.5 ┤██", "0.0 ┼────"]


def test_squeezing_keeps_the_worst() -> None:
    """Many values become few columns, each the smallest of its part; gaps stay gaps."""
    assert chart.squeeze([3, 1, 2, 5], 2) == [1, 2]
    assert all(math.isnan(value) for value in chart.squeeze([math.nan] * 4, 2))


def test_a_password_is_sent_and_never_shown() -> None:
    """Credentials of the address travel as a header; neither the base nor an error has them."""

    def refuse(url: str, form: bytes | None, headers: object) -> bytes:
        raise OSError(61, "Connection refused")

    prometheus = connect("http://reader:hunter2@prometheus.example:9090/prom/", refuse)
    assert prometheus.headers == {"Authorization": "Basic cmVhZGVyOmh1bnRlcjI="}
    assert prometheus.base == "http://prometheus.example:9090/prom"
    with pytest.raises(StackError) as caught:
        prometheus.instant("up")
    assert "hunter2" not in str(caught.value)
    assert "Connection refused" in str(caught.value)


def test_no_address_is_refused_before_anything_is_sent() -> None:
    """A word without a scheme is no address."""
    with pytest.raises(ValueError, match="http or https"):
        connect("prometheus:9090")


def test_long_ranges_are_asked_in_pieces() -> None:
    """Prometheus gives 11,000 points at most, so a month by the minute takes several questions."""
    fake = FakePrometheus()
    fake.connected().over("up", start=0, end=43_199 * 60, step=60)
    spans = [(float(fields["start"][0]), float(fields["end"][0])) for _, fields, _ in fake.asked]
    assert spans[0] == (0, (MOST_POINTS - 1) * 60)
    assert spans[-1][1] == 43_199 * 60
    assert all(later[0] - earlier[1] == 60 for earlier, later in itertools.pairwise(spans))


def test_a_piece_that_loads_too_much_is_halved() -> None:
    """Where Prometheus refuses for its sample limit, smaller pieces are asked."""
    fake = FakePrometheus()

    def limited(url: str, form: bytes | None, headers: dict[str, str]) -> bytes:
        answer = fake.fetch(url, form, headers)
        fields = fake.asked[-1][1]
        if float(fields["end"][0]) - float(fields["start"][0]) > 3000:
            raise OSError(422, "query processing would load too many samples into memory")
        return answer

    assert connect("http://prometheus.example", limited).over("up", start=0, end=5999, step=1) == {}  # type: ignore[arg-type]
    assert len(fake.asked) == 3
