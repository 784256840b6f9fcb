"""Recorded series of one SLO: bad and total events apart, divided last, so that the budget is true.

Short windows (5m, 30m, 1h) are read from the source. Longer ones add up the recorded 5m counts, once a minute: a 3-day
range over every source series would cost fifty times as much. Constants are one series per SLO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import PurePath

from alert_rules.model import Recording
from alert_rules.slo.spec import WINDOW, Slo, Spec
from alert_rules.slo.windows import Pair, pairs, plain, window_name
from tocsin import facts

BAD = "slo:bad_events:increase"
TOTAL = "slo:total_events:increase"
RATIO = "slo:sli_error:ratio"
_BAD_SAMPLE = "slo:bad_events:sample5m"
_TOTAL_SAMPLE = "slo:total_events:sample5m"
INFO = "slo_info"

_RAW = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=1))
_SUMMED = (timedelta(hours=2), timedelta(hours=6), timedelta(days=1), timedelta(days=3))
_BASE = _RAW[0]
LONG_INTERVAL = timedelta(minutes=1)
PERIOD_INTERVAL = timedelta(minutes=2)


@dataclass(frozen=True)
class Objective:
    """One SLO with all that its rules need; ``file`` is where it was written."""

    spec: Spec
    slo: Slo
    file: str

    @property
    def labels(self) -> dict[str, str]:
        """Identity first and fixed; the owner's labels beside it never replace it."""
        return {**self.spec.labels, **self.slo.labels, "slo": self.slo.name, "service": self.spec.service}

    @property
    def period(self) -> timedelta:
        """The time the budget is for."""
        return self.slo.tocsin.period

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs that can fire: a threshold of 1 or more is never exceeded."""
        return tuple(pair for pair in pairs(self.period) if pair.threshold(self.period, self.slo.budget) < 1)

    def series(self, name: str, window: timedelta | None = None) -> str:
        """Select one recorded series of this SLO."""
        chosen = f',window="{window_name(window)}"' if window else ""
        return f'{name}{{slo="{self.slo.name}",service="{self.spec.service}"{chosen}}}'


def raw(objective: Objective) -> tuple[Recording, ...]:
    """Short windows from the source, their ratios, the constants and the burn rate of now."""
    rules = [rule for window in _RAW for rule in _from_source(objective, window)]
    return (*rules, *_constants(objective), _burn_now(objective))


def long(objective: Objective) -> tuple[Recording, ...]:
    """Windows of hours and days from a copy of the 5m counts, taken once a minute whatever the evaluation interval."""
    copies = (
        Recording(_BAD_SAMPLE, objective.series(BAD, _BASE), objective.labels),
        Recording(_TOTAL_SAMPLE, objective.series(TOTAL, _BASE), objective.labels),
    )
    return (*_without_window(copies), *(rule for window in _SUMMED for rule in _summed(objective, window)))


def period(objective: Objective) -> tuple[Recording, ...]:
    """The whole period, and what is left of its budget: weighted by traffic, never NaN."""
    budget, whole = plain(objective.slo.budget), objective.period
    ratio = objective.series(RATIO, whole)
    remaining = (
        "max without (window) (\n"
        f"  1 - {ratio} / {budget}\n"
        # Nothing happened, but the series exists: nothing was spent.
        f"  or ({objective.series(TOTAL, whole)} == 0) + 1\n"
        ")"
    )
    return (
        *_summed(objective, whole),
        Recording(facts.SLO_REMAINING, remaining, objective.labels),
        Recording(facts.SLO_PERIOD_BURN, f"max without (window) ({ratio}) / {budget}", objective.labels),
    )


def _from_source(objective: Objective, window: timedelta) -> tuple[Recording, ...]:
    seconds = f" * {round(window.total_seconds())}" if objective.slo.unit == "rate" else ""
    error, total = (WINDOW.sub(window_name(window), query) for query in objective.slo.queries)
    # `or 0 *`: no error has happened yet, so its series was never born; the budget is full all the same.
    bad = f"(\n{_indent(error)}\n)\nor 0 * (\n{_indent(total)}\n)"
    return (
        Recording(BAD, f"(\n{_indent(bad)}\n){seconds}" if seconds else bad, _windowed(objective, window)),
        Recording(TOTAL, f"(\n{_indent(total)}\n){seconds}", _windowed(objective, window)),
        _ratio(objective, window),
    )


def _summed(objective: Objective, window: timedelta) -> tuple[Recording, ...]:
    # Each event is in five of the copies that are taken once a minute: weigh them so that counts stay counts.
    weight = plain(Decimal(LONG_INTERVAL.total_seconds()) / Decimal(_BASE.total_seconds()))
    name = window_name(window)
    return (
        Recording(
            BAD,
            f"sum_over_time({objective.series(_BAD_SAMPLE)}[{name}]) * {weight}",
            _windowed(objective, window),
        ),
        Recording(
            TOTAL,
            f"sum_over_time({objective.series(_TOTAL_SAMPLE)}[{name}]) * {weight}",
            _windowed(objective, window),
        ),
        _ratio(objective, window),
    )


def _ratio(objective: Objective, window: timedelta) -> Recording:
    # No traffic, no ratio: neither NaN nor an alert.
    expr = f"{objective.series(BAD, window)}\n/ ({objective.series(TOTAL, window)} > 0)"
    return Recording(RATIO, expr, _windowed(objective, window))


def _constants(objective: Objective) -> tuple[Recording, ...]:
    slo, labels = objective.slo, objective.labels
    budget = slo.budget
    values: tuple[tuple[str, Decimal, Mapping[str, str]], ...] = (
        (facts.SLO_OBJECTIVE, 1 - budget, labels),
        (facts.SLO_BUDGET, budget, labels),
        (facts.SLO_PERIOD, Decimal(objective.period.days), labels),
        *(
            (facts.SLO_BURN_FACTOR, pair.factor(objective.period), {**labels, **pair_labels(pair)})
            for pair in objective.pairs
        ),
        (
            INFO,
            Decimal(1),
            {**labels, "objective": plain(Decimal(repr(slo.objective))), "mode": "events", "spec": objective.file},
        ),
    )
    return tuple(Recording(name, f"vector({plain(value)})", each) for name, value, each in values)


def pair_labels(pair: Pair) -> dict[str, str]:
    """Say which pair: its tier and its two windows."""
    return {"tier": pair.tier, "window_long": window_name(pair.long), "window_short": window_name(pair.short)}


def _burn_now(objective: Objective) -> Recording:
    budget = plain(objective.slo.budget)
    # Without traffic nothing burns: 0, and absent only when the series themselves are.
    now = f"{objective.series(RATIO, _BASE)} / {budget}\nor 0 * {objective.series(TOTAL, _BASE)}"
    return Recording(facts.SLO_BURN, f"max without (window) (\n{_indent(now)}\n)", objective.labels)


def _without_window(rules: tuple[Recording, ...]) -> tuple[Recording, ...]:
    return tuple(Recording(rule.record, f"max without (window) ({rule.expr})", rule.labels) for rule in rules)


def _windowed(objective: Objective, window: timedelta) -> dict[str, str]:
    return {**objective.labels, "window": window_name(window)}


def spec_name(path: PurePath, home: PurePath) -> str:
    """The spec's path as people wrote it: relative to the settings file where it lies below it."""
    return str(path.relative_to(home)) if path.is_relative_to(home) else path.name


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
