"""promtool cases of one SLO, from an outage model of its own: what the windows must have seen by then."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from alert_rules import human
from alert_rules.model import Alert, Case, Expected
from alert_rules.slo.recording import Objective
from tocsin import facts

_MINUTE = timedelta(minutes=1)
_STEP = 15
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:\\.|[^"\\])*)"')
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}\s*\[")


def proven(objective: Objective, alerts: tuple[Alert, ...], absent: Alert) -> tuple[Alert, ...]:
    """Return the alerts with cases on the first burn alert and on the absence alert; none where no series is known.

    A query is fed only when it reads one counter whose bad events differ by their labels: others are proven by hand.
    """
    feed = _feed(objective)
    if feed is None or not alerts:
        return (*alerts, absent)
    good, bad = feed
    first = replace(alerts[0], cases=tuple(_burn_cases(objective, alerts, good, bad)))
    silent = Case(
        "fires when the series are gone",
        {good: "0+15x8 stale"},
        absent.hold + 5 * _MINUTE,
        (Expected({}, "no series"),),
    )
    quiet = Case("quiet without traffic while the series exist", {good: "100x9999"}, 10 * _MINUTE)
    return (first, *alerts[1:], replace(absent, cases=(silent, quiet)))


def _burn_cases(objective: Objective, alerts: tuple[Alert, ...], good: str, bad: str) -> list[Case]:
    budget = float(objective.slo.budget)
    remaining = objective.series(facts.SLO_REMAINING)
    # A million events a step: a ratio beside a threshold is hit to the event.
    limits = [(alert, float(alert.extra["burn_rate"]) * budget) for alert in alerts]
    cases = [Case("quiet and full without errors", {good: "0+1000x9999"}, 10 * _MINUTE, samples={remaining: 1.0})]
    cases.append(
        Case(
            "quiet and full without traffic",
            {good: "100x9999", bad: "0x9999"},
            10 * _MINUTE,
            samples={remaining: 1.0, objective.series(facts.SLO_BURN): 0.0},
        )
    )
    for alert, ratio in limits:
        above, at = round(ratio * 1_000_000) + 10, round(ratio * 1_000_000)
        cases += [
            Case(
                f"fires steadily above {alert.bound}",
                _steady(good, bad, above),
                10 * _MINUTE,
                _firing(objective, limits, above / 1_000_000),
            ),
            Case(
                f"quiet steadily at {alert.bound}",
                _steady(good, bad, at),
                10 * _MINUTE,
                _firing(objective, limits, at / 1_000_000),
                samples={remaining: 1 - at / 1_000_000 / budget},
            ),
        ]
    cases += _outage_cases(objective.labels, alerts, good, bad)
    guard = objective.slo.tocsin.guard
    return [*cases, _low_traffic(good, bad)] if min(guard.page, guard.ticket) > 1 else cases


def _steady(good: str, bad: str, per_million: int) -> Mapping[str, str]:
    return {good: f"0+{1_000_000 - per_million}x9999", bad: f"0+{per_million}x9999"}


def _firing(objective: Objective, limits: Sequence[tuple[Alert, float]], ratio: float) -> tuple[Expected, ...]:
    return tuple(
        Expected(objective.labels, human.percent(ratio), alert) for alert, limit in limits if ratio > limit * (1 + 1e-7)
    )


def _outage_cases(labels: Mapping[str, str], alerts: tuple[Alert, ...], good: str, bad: str) -> list[Case]:
    """A total outage after a good hour: the fastest pair needs its share of one, and forgets within minutes."""
    fast, healthy = alerts[0], 260
    if fast.extra["window_long"] != "1h" or not 0.01 < float(fast.bound) < 0.2:
        return []
    trip = int(float(fast.bound) * 3600 / _STEP)
    after, ended = trip + 2, trip + 6

    def at(steps: int) -> timedelta:
        return timedelta(seconds=_STEP * (healthy + steps))

    outage = {good: f"0+1000x{healthy} {healthy * 1000}x9999", bad: f"0x{healthy} 1000+1000x9999"}
    resumed = {
        good: f"0+1000x{healthy} {healthy * 1000}x{ended} {(healthy + 1) * 1000}+1000x9999",
        bad: f"0x{healthy} 1000+1000x{ended} {(ended + 1) * 1000}x9999",
    }
    # By the alert's own series: what rates extrapolate at an edge differs between generations of Prometheus.
    firing = f'ALERTS{{alertname="{fast.name}",alertstate="firing",window_long="1h",slo="{labels["slo"]}"}}'
    return [
        Case("quiet before an outage has spent its share", outage, at(trip - 1)),
        Case("fires as soon as it has", outage, at(after), None, {firing: 1}),
        Case("fires on", outage, at(after + 20), None, {firing: 1}),
        Case("ends within six minutes of the outage", resumed, at(ended) + 6 * _MINUTE, None, {f"absent({firing})": 1}),
    ]


def _low_traffic(good: str, bad: str) -> Case:
    series = {good: "0+1x9999", bad: "0x80 1x9999"}
    return Case("quiet for one failure at one request a minute", series, 84 * _MINUTE, step=_MINUTE)


def _feed(objective: Objective) -> tuple[str, str] | None:
    """Write one good and one bad series that the queries count: labels from the matchers, one bad value by guess."""
    error, total = objective.slo.queries
    bad, every = _SELECTOR.findall(error), _SELECTOR.findall(total)
    if len(bad) != 1 or len(every) != 1 or bad[0][0] != every[0][0]:
        return None
    common = dict(_equal(every[0][1]))
    special = [(name, op, value) for name, op, value in _MATCHER.findall(bad[0][1]) if name not in common]
    if len(special) != 1:
        return None
    name, op, pattern = special[0]
    sample = pattern.replace("..", "00").replace(".", "0") if op in ("=", "=~") else None
    if sample is None or not re.fullmatch(pattern, sample):
        return None
    return _series(every[0][0], {**common, name: "none-of-them"}), _series(every[0][0], {**common, name: sample})


def _equal(matchers: str) -> list[tuple[str, str]]:
    return [(name, value) for name, op, value in _MATCHER.findall(matchers) if op == "="]


def _series(metric: str, labels: Mapping[str, str]) -> str:
    matchers = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric}{{{matchers}}}"
