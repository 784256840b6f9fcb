"""The renderer writes the very bytes that prometheus_client would."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporters.model import Family, Histogram
from exporters.runtime.render import FamilyCollector, Renderer, TargetFamilies, go_float
from tocsin.signals import Signal

_NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_NUMBERS = st.one_of(st.integers(-(10**20), 10**20), st.floats(), st.integers(0, 2_000_000))
_BUCKETS = (0.005, 0.5, 1.0, 2.5, 1e6, 1e15)


@st.composite
def _families(draw: st.DrawFn) -> list[Family]:
    out = []
    for name in draw(st.lists(_NAMES, min_size=1, max_size=4, unique=True)):
        kind = draw(st.sampled_from(["gauge", "counter", "histogram"]))
        labels = tuple(draw(st.lists(_NAMES.filter(lambda n: n not in {"le", "target"}), max_size=3, unique=True)))
        buckets = _BUCKETS if kind == "histogram" else ()
        full = f"m_{name}_total" if kind == "counter" else f"m_{name}_x"
        signal = Signal(full, kind, "", labels, draw(_TEXT), buckets)
        values = st.builds(
            Histogram,
            st.tuples(*[st.integers(0, 10**7)] * (len(_BUCKETS) + 1)),
            st.floats(0, 1e12),
        )
        row = st.tuples(st.tuples(*[_TEXT] * len(labels)), values if kind == "histogram" else _NUMBERS)
        rows = draw(st.lists(row, max_size=4, unique_by=lambda each: each[0]))
        out.append(Family(signal, rows))
    return out


def _reference(parts: Sequence[TargetFamilies]) -> tuple[bytes, bytes]:
    registry = CollectorRegistry()
    registry.register(FamilyCollector(parts))
    return generate_latest(registry), generate_openmetrics(registry)


@settings(max_examples=80, deadline=None)
@given(_families(), st.sampled_from(["orders", "a-b_c"]))
def test_bytes_equal_generate_latest(families: list[Family], target: str) -> None:
    """Text and OpenMetrics of any families equal prometheus_client's, on the first page and on the next."""
    parts = [TargetFamilies(target, families)]
    text, openmetrics = _reference(parts)
    renderer = Renderer()
    for _ in range(2):
        assert renderer.render(parts) == text
        assert renderer.render(parts, openmetrics=True) == openmetrics


@given(_NUMBERS)
def test_numbers_are_written_as_prometheus_client_writes_them(number: float) -> None:
    """Every number has Go's spelling."""
    from prometheus_client.utils import floatToGoString  # noqa: PLC0415  # only this test compares with it

    assert go_float(number) == floatToGoString(number)


def test_targets_share_one_head_per_family() -> None:
    """A page of several targets names each family once, with the samples of all targets under it."""
    signal = Signal("x_items", "gauge", "items", ("queue",), "Items.")
    parts = [
        TargetFamilies("a", [Family(signal, [(("q",), 1)])]),
        TargetFamilies("b", [Family(signal, [(("q",), 2.5)])]),
    ]
    assert Renderer().render(parts).decode().splitlines() == [
        "# HELP x_items Items.",
        "# TYPE x_items gauge",
        'x_items{queue="q",target="a"} 1.0',
        'x_items{queue="q",target="b"} 2.5',
    ]


def test_a_family_without_samples_is_left_out() -> None:
    """What is not known leaves no trace, not even a head."""
    signal = Signal("x_items", "gauge", "items", (), "Items.")
    assert Renderer().render([TargetFamilies("a", [Family(signal, [])])]) == b""


def test_a_histogram_that_moves_is_written_anew() -> None:
    """The kept text of a histogram goes as soon as another one takes its place."""
    signal = Signal("x_seconds", "histogram", "seconds", (), "Time.", (1.0,))
    renderer = Renderer()
    before, after = Histogram((1, 0), 0.5), Histogram((1, 1), 3.5)
    first = renderer.render([TargetFamilies("a", [Family(signal, [((), before)])])])
    second = renderer.render([TargetFamilies("a", [Family(signal, [((), after)])])])
    assert b'x_seconds_count{target="a"} 1.0' in first
    assert b'x_seconds_count{target="a"} 2.0' in second


def test_memory_of_series_that_are_gone_is_given_back() -> None:
    """Series that come and go do not pile up in the renderer."""
    signal = Signal("x_items", "gauge", "items", ("queue",), "Items.")
    renderer = Renderer()
    for i in range(50):
        rows = [((f"queue-{i}-{j}",), j) for j in range(100)]
        renderer.render([TargetFamilies("a", [Family(signal, rows)])])
    assert len(renderer._scalars) < 1500


@pytest.mark.parametrize("value", ["back\\slash", 'quo"te', "new\nline", "ünï"])
def test_label_values_are_escaped(value: str) -> None:
    """Whatever a queue is called, the page stays one sample per line."""
    signal = Signal("x_items", "gauge", "items", ("queue",), "Items.")
    parts = [TargetFamilies("a", [Family(signal, [((value,), 1)])])]
    assert Renderer().render(parts) == _reference(parts)[0]
    assert Renderer().render(parts).count(b"\n") == 3
