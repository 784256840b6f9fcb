"""The table of docs/slo-comparison.md, measured: budgets of three methods on one past of a real Prometheus."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alert_rules.slo import load
from alert_rules.slo_tools.prometheus import Prometheus, connect
from alert_rules.slo_tools.replay import Replay, Span, replay
from tests.backfill import Past, backfilled, nothing
from tests.conftest import Keep
from tests.servers import Generation
from tocsin.paths import HOUSE

HOUR, DAY = 60, 1440
STEPS = 2 * DAY
Counts = Callable[[int], float]
CASES: dict[str, tuple[Counts, Counts | None]] = {
    # case: (all events of a minute, bad ones among them or None for a series that is never born)
    "steady": (lambda _: 2000, lambda step: 1 if step else 0),
    "uneven": (lambda step: 2 if quiet(step) else 10_000, lambda step: 1 if quiet(step) else 0),
    "idle": (lambda step: 0 if DAY <= step < DAY + 6 * HOUR else 600, nothing),
    "unborn": (lambda _: 600, None),
    "late": (lambda _: 6000, lambda step: 6 if step >= DAY else 0),
    "lonely": (lambda _: 1, lambda step: 1 if step in (5, DAY) else 0),
}
"""A failure that has no series yet begins with its first event; ``nothing`` is a series that stays at 0."""


def quiet(step: int) -> bool:
    """One hour of two days."""
    return DAY <= step < DAY + HOUR


def past() -> Past:
    start = int(time.time()) // 60 * 60 - STEPS * 60
    series: dict[str, Counts] = {}
    for case, (total, bad) in CASES.items():
        series[f'case="{case}",code="200"'] = lambda step, total=total, bad=bad: total(step) - (bad(step) if bad else 0)  # type: ignore[misc]
        if bad is not None:
            series[f'case="{case}",code="500"'] = bad
    return Past(start, STEPS, {"hits": series})


@pytest.fixture(scope="module")
def measured(
    generation: Generation, keep_module: Keep, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Prometheus, dict[str, Replay], Past]:
    folder, history = tmp_path_factory.mktemp("cases"), past()
    prometheus = connect(keep_module(backfilled(generation, folder, history)).url)
    return prometheus, {case: _ours(prometheus, case, folder, history) for case in CASES}, history


def _ours(prometheus: Prometheus, case: str, folder: Path, history: Past) -> Replay:
    spec = folder / f"{case}.yaml"
    spec.write_text(
        f"version: prometheus/v1\nservice: cases\nslos:\n  - name: {case}\n    objective: 99.9\n"
        "    sli:\n      events:\n"
        f"        error_query: sum(rate({_bad(case)}[{{{{.window}}}}]))\n"
        f"        total_query: sum(rate({_all(case)}[{{{{.window}}}}]))\n"
    )
    (objective,) = load([spec]).objectives
    (only,) = replay(prometheus, objective, Span(history.start, history.end, 60))
    return only


def _bad(case: str) -> str:
    return f'hits_total{{case="{case}",code="500"}}'


def _all(case: str) -> str:
    return f'hits_total{{case="{case}"}}'


def _truth(case: str) -> float:
    total, bad = CASES[case]
    failed = sum(map(bad, range(STEPS))) if bad else 0.0
    return 1 - failed / sum(map(total, range(STEPS))) / 0.001


def _mean_of_ratios(prometheus: Prometheus, case: str, history: Past) -> float | None:
    """As sloth does: the mean of the 5m error ratios of the period."""
    ratio = f"sum(rate({_bad(case)}[5m])) / sum(rate({_all(case)}[5m]))"
    return _one(prometheus, f"1 - avg_over_time(({ratio})[2d:1m]) / 0.001", history)


def _whole_increase(prometheus: Prometheus, case: str, history: Past) -> float | None:
    """As pyrra does: the increase of both counters over the whole period."""
    bad, total = f"sum(increase({_bad(case)}[2d]))", f"sum(increase({_all(case)}[2d]))"
    return _one(prometheus, f"1 - (({bad} or vector(0)) / {total}) / 0.001", history)


def _one(prometheus: Prometheus, query: str, history: Past) -> float | None:
    found = prometheus.instant(query, history.end)
    return next(iter(found.values()), None)


def _shown(value: float | None) -> str:
    if value is None:
        return "no sample"
    if math.isnan(value):
        return "NaN"
    # Far below zero the edges of ranges decide, which differ between generations.
    return f"{value:.1%}" if value > -10 else f"below {int(value / 10) * 1000}%"


def test_our_budget_is_within_one_percent_of_the_truth(
    measured: tuple[Prometheus, dict[str, Replay], Past],
) -> None:
    """Steady, uneven, idle, unborn and late: never NaN, and never off by more than a point."""
    _, ours, _ = measured
    for case in ("steady", "uneven", "idle", "unborn", "late"):
        assert ours[case].remaining[-1] == pytest.approx(_truth(case), abs=0.01), case


def test_one_failure_at_one_request_a_minute_wakes_nobody(
    measured: tuple[Prometheus, dict[str, Replay], Past],
) -> None:
    """Without the guard the same windows would page."""
    prometheus, ours, history = measured
    assert not ours["lonely"].firings
    above = [
        f"sum(rate({_bad('lonely')}[{window}])) / sum(rate({_all('lonely')}[{window}])) > 0.0144"
        for window in ("1h", "5m")
    ]
    both = f"({above[0]}) and ({above[1]})"
    found = prometheus.over(both, start=history.start, end=history.end, step=60)
    assert sum(not math.isnan(value) for values in found.values() for value in values) > 0


def test_the_page_of_the_docs_has_these_figures(measured: tuple[Prometheus, dict[str, Replay], Past]) -> None:
    """Every row of the table is what was just measured, to the tenth of a percent."""
    prometheus, ours, history = measured
    text = (HOUSE / "docs" / "slo-comparison.md").read_text()
    for case in ("steady", "uneven", "idle", "unborn", "late"):
        figures = (
            _shown(_truth(case)),
            _shown(ours[case].remaining[-1]),
            _shown(_mean_of_ratios(prometheus, case, history)),
            _shown(_whole_increase(prometheus, case, history)),
        )
        row = next(line for line in text.splitlines() if line.startswith(f"| {case} "))
        assert [cell.strip() for cell in row.split("|")[3:7]] == list(figures), case
