"""Recorded series of one SLO: bad and total events apart, divided last, so that the budget is true.

Windows up to an hour are read from the source. Longer ones add up the recorded 5m counts, taken once a minute: a 3-day
range over every source series would cost fifty times as much. Constants are one series per SLO.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from alert_rules.model import Recording
from alert_rules.slo import promql
from alert_rules.slo.latency import both_bounds
from alert_rules.slo.names import Names
from alert_rules.slo.objective import Objective
from alert_rules.slo.windows import Pair, plain, window_name
from tocsin import facts

__all__ = ["BAD", "MAINTENANCE", "TOTAL", "Objective", "long", "period", "raw", "windows_of"]

BAD = "slo:bad_events:increase"
TOTAL = "slo:total_events:increase"
MAINTENANCE = "slo:maintenance:active"
_BAD_SAMPLE = "slo:bad_events:sample5m"
_TOTAL_SAMPLE = "slo:total_events:sample5m"
GROUP_REMAINING = "slo:group_error_budget_remaining:ratio"
GROUP_BURN = "slo:group_burn_rate:ratio"

_MINUTE = timedelta(minutes=1)
BASE = timedelta(minutes=5)
_LONGEST_RAW = timedelta(hours=1)
DAY = timedelta(days=1)
LONG_INTERVAL = _MINUTE
PERIOD_INTERVAL = 2 * _MINUTE


def windows_of(objective: Objective) -> tuple[timedelta, ...]:
    """Return every window that is recorded apart from the period, the shortest first."""
    pairs = objective.pairs
    # A day is what the low-traffic guard looks at when every event fails.
    wanted = {BASE, _LONGEST_RAW, DAY, *(pair.long for pair in pairs), *(pair.short for pair in pairs)}
    return tuple(sorted(wanted - {objective.period}))


def from_source(objective: Objective, window: timedelta) -> bool:
    """Say whether a window is read from the source; with maintenance only the base is, since it can be gated."""
    return window <= (BASE if objective.maintenance else _LONGEST_RAW)


def raw(objective: Objective, names: Names | None = None) -> tuple[Recording, ...]:
    """Short windows from the source, their ratios, the constants and the burn rate of now."""
    names = names or Names(objective)
    windows = [window for window in windows_of(objective) if from_source(objective, window)]
    rules = [rule for window in windows for rule in _from_source(objective, window, names)]
    return (*_maintenance(objective), *rules, *_constants(objective, names), *_burn_now(objective, names))


def long(
    objective: Objective, names: Names | None = None, *, every: timedelta = LONG_INTERVAL
) -> tuple[Recording, ...]:
    """Windows of hours and days from a copy of the 5m counts, taken at the pace of this group: ``every``."""
    names = names or Names(objective)
    labels = names.labels
    copies = tuple(
        Recording(sample, f"{_sum(objective)} ({objective.series(name, BASE)})", labels)
        for sample, name in ((_BAD_SAMPLE, BAD), (_TOTAL_SAMPLE, TOTAL))
    )
    summed = [window for window in windows_of(objective) if not from_source(objective, window)]
    return (*copies, *(rule for window in summed for rule in _summed(objective, window, names, every)))


def period(
    objective: Objective, names: Names | None = None, *, every: timedelta = LONG_INTERVAL
) -> tuple[Recording, ...]:
    """The whole period, and what is left of its budget: weighted by traffic, never NaN."""
    names = names or Names(objective)
    budget, whole = plain(objective.budget), objective.period
    return (
        *_summed(objective, whole, names, every),
        Recording(facts.SLO_REMAINING, _remaining(objective, budget, "slo, service"), names.labels),
        Recording(facts.SLO_PERIOD_BURN, f"{_quotient(objective, whole)} / {budget}", names.labels),
        *(
            [Recording(GROUP_REMAINING, _remaining(objective, budget, _identity(objective)), names.labels)]
            if objective.indicator.group_by
            else []
        ),
    )


def _identity(objective: Objective) -> str:
    return ", ".join(dict.fromkeys(("slo", "service", *objective.indicator.group_by)))


def _sum(objective: Objective) -> str:
    # By identity only: an owner's label that was renamed last week must not split the period in two.
    return f"sum by ({_identity(objective)})"


def _quotient(objective: Objective, window: timedelta, by: str = "slo, service") -> str:
    bad, total = objective.series(BAD, window), objective.series(TOTAL, window)
    return f"sum by ({by}) ({bad}) / (sum by ({by}) ({total}) > 0)"


def _remaining(objective: Objective, budget: str, by: str) -> str:
    total = f"sum by ({by}) ({objective.series(TOTAL, objective.period)})"
    # Nothing happened, but the series exists: nothing was spent.
    return f"1 - {_quotient(objective, objective.period, by)} / {budget}\nor ({total} == 0) + 1"


def _aggregated(objective: Objective, query: str, window: timedelta, operation: str = "sum") -> str:
    """Fill the window in, and reduce to one series per group unless the query does so itself."""
    expr = both_bounds(promql.fill(query, window_name(window)))
    groups = objective.indicator.group_by
    if promql.read(query).by == groups:
        return expr
    by = f" by ({', '.join(groups)})" if groups else ""
    return f"{operation}{by} (\n{indent(expr)}\n)"


def _counts(objective: Objective, window: timedelta) -> tuple[str, str]:
    """Return the expressions of bad and of all events in a window; `>= 0` drops what is not a number."""
    indicator = objective.indicator
    scale = f" * {round(window.total_seconds())}" if indicator.unit == "rate" else ""
    if indicator.mode == "raw":
        ratio = f"(\n{indent(_aggregated(objective, indicator.error, window, 'max'))}\n) >= 0"
        return ratio, f"0 * (\n{indent(ratio)}\n) + 1"
    assert indicator.total is not None
    total = f"(\n{indent(_aggregated(objective, indicator.total, window))}\n){scale} >= 0"
    if indicator.mode == "weighted":
        ratio = _aggregated(objective, indicator.error, window, "max")
        bad = f"((\n{indent(ratio)}\n) >= 0)\n* ignoring () (\n{indent(total)}\n)\nor (\n{indent(total)}\n) == 0"
        return bad.replace("* ignoring () ", "* "), total
    bad = f"(\n{indent(_aggregated(objective, indicator.error, window))}\n){scale} >= 0"
    if indicator.unborn_is_zero:
        # No error has happened yet, so its series was never born; the budget is full all the same.
        bad += f"\nor 0 * (\n{indent(_aggregated(objective, indicator.total, window))}\n)"
    return bad, total


def _from_source(objective: Objective, window: timedelta, names: Names) -> tuple[Recording, ...]:
    bad, total = (_gated(objective, expr) for expr in _counts(objective, window))
    return (
        Recording(BAD, bad, names.windowed(window)),
        Recording(TOTAL, total, names.windowed(window)),
        _ratio(objective, window, names),
    )


def _gated(objective: Objective, expr: str) -> str:
    if not objective.maintenance:
        return expr
    # The whole base window: events of the planned work stay in it for five minutes after its end.
    active = f"max_over_time({objective.series(MAINTENANCE)}[{window_name(BASE)}])"
    return f"(\n{indent(expr)}\n)\nunless on () ({active} > 0)"


def _maintenance(objective: Objective) -> tuple[Recording, ...]:
    if not objective.maintenance:
        return ()
    expr = f"max((\n{indent(objective.maintenance)}\n) > bool 0)\nor vector(0)"
    return (Recording(MAINTENANCE, expr, objective.labels),)


def _summed(objective: Objective, window: timedelta, names: Names, every: timedelta) -> tuple[Recording, ...]:
    # Each event is in several of the overlapping counts: weigh them so that counts stay counts.
    weight = plain(Decimal(every.total_seconds()) / Decimal(BASE.total_seconds()))
    rules = [
        Recording(
            name,
            f"{_sum(objective)} (sum_over_time({objective.series(sample)}[{window_name(window)}])) * {weight}",
            names.windowed(window),
        )
        for name, sample in ((BAD, _BAD_SAMPLE), (TOTAL, _TOTAL_SAMPLE))
    ]
    return (*rules, _ratio(objective, window, names))


def _ratio(objective: Objective, window: timedelta, names: Names) -> Recording:
    # No traffic, no ratio: neither NaN nor an alert.
    expr = f"{objective.series(BAD, window)}\n/ ({objective.series(TOTAL, window)} > 0)"
    return Recording(names.ratio(window), expr, names.windowed(window))


def _constants(objective: Objective, names: Names) -> tuple[Recording, ...]:
    budget, labels = objective.budget, names.labels
    values: tuple[tuple[str, Decimal, Mapping[str, str]], ...] = (
        (facts.SLO_OBJECTIVE, 1 - budget, labels),
        (facts.SLO_BUDGET, budget, labels),
        (facts.SLO_PERIOD, Decimal(objective.period.total_seconds()) / 86400, labels),
        *(
            (facts.SLO_BURN_FACTOR, pair.factor(objective.period), {**labels, **pair_labels(pair)})
            for pair in objective.pairs
        ),
        (names.info, Decimal(1), names.info_labels),
    )
    return tuple(Recording(name, f"vector({plain(value)})", each) for name, value, each in values)


def pair_labels(pair: Pair) -> dict[str, str]:
    """Say which pair: its tier and its two windows."""
    return {"tier": pair.tier, "window_long": window_name(pair.long), "window_short": window_name(pair.short)}


def _burn_now(objective: Objective, names: Names) -> tuple[Recording, ...]:
    budget = plain(objective.budget)

    def burn(by: str) -> str:
        # Without traffic nothing burns: 0, and absent only when the series themselves are.
        idle = f"0 * sum by ({by}) ({objective.series(TOTAL, BASE)})"
        return f"{_quotient(objective, BASE, by)} / {budget}\nor {idle}"

    whole = burn("slo, service")
    if objective.maintenance:
        whole += f"\nor 0 * max by (slo, service) ({objective.series(MAINTENANCE)} > 0)"
    rules = [Recording(facts.SLO_BURN, whole, names.labels)]
    if objective.indicator.group_by:
        rules.append(Recording(GROUP_BURN, burn(_identity(objective)), names.labels))
    return tuple(rules)


def indent(text: str) -> str:
    """Indent every line of an expression by one step."""
    return "\n".join(f"  {line}" for line in text.splitlines())
