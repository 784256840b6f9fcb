"""Alerts of one SLO: one per window pair, so that the page says which one fired; a silent indicator; a spent budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from alert_rules.model import Alert
from alert_rules.slo.names import Names
from alert_rules.slo.native import OURS
from alert_rules.slo.objective import Objective
from alert_rules.slo.recording import BAD, BASE, DAY, MAINTENANCE, TOTAL, indent, pair_labels
from alert_rules.slo.spec import TierAlert
from alert_rules.slo.windows import MARGIN, Pair, plain, shown, window_name
from tocsin import facts

_LABELS = ("slo", "service")
_LONGEST_HOLD = timedelta(minutes=10)
BURN_RUNBOOK = "ErrorBudgetBurn"


def burn_alerts(objective: Objective, names: Names | None = None) -> tuple[Alert, ...]:
    """Return one alert for each pair that can fire and is not switched off."""
    return tuple(_burn(objective, pair, names or Names(objective)) for pair in objective.pairs)


def threshold(objective: Objective, pair: Pair) -> Decimal:
    """The exact error ratio of a pair, as shown to people."""
    return pair.threshold(objective.period, objective.budget)


def _tier(objective: Objective, pair: Pair) -> TierAlert:
    return objective.alerting.page_alert if pair.tier == "page" else objective.alerting.ticket_alert


def _burn(objective: Objective, pair: Pair, names: Names) -> Alert:
    alerting, tier, exact = objective.alerting, _tier(objective, pair), threshold(objective, pair)
    factor, groups = pair.factor(objective.period), objective.indicator.group_by
    theirs = {"sloth_severity": pair.tier} if names.naming == "sloth" else {}
    return Alert(
        name=alerting.name,
        severity=_severity(objective, pair),  # type: ignore[arg-type]  # a literal, through a mapping of literals
        signals=(),
        labels=(*_LABELS, *groups),
        expr=_condition(objective, pair, names, plain(round_up(exact * MARGIN))),
        query=names.ratio_of(pair.short),
        panel=("home", "slo-burn"),
        summary=f"{objective.service}{_groups(groups)}: {{{{ $value | humanizePercentage }}}} of events bad "
        f"over {window_name(pair.long)}, more than {shown(factor)} times what {objective.name} allows",
        description=_description(objective, factor),
        value="{{ $value | humanizePercentage }}",
        bound=shown(exact),
        extra={
            # Said by the rule as well: two SLOs of one file would look like one rule written twice.
            "slo": objective.name,
            "service": objective.service,
            **_own(alerting.labels),
            **_own(tier.labels),
            **theirs,
            **pair_labels(pair),
            "burn_rate": shown(factor),
        },
        notes={**_live(objective, pair, names), **alerting.annotations, **tier.annotations},
        explained_by=BURN_RUNBOOK,
    )


def round_up(value: Decimal) -> Decimal:
    """Keep fifteen digits: more than a float holds would only look exact."""
    return Decimal(f"{value:.15g}")


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name not in OURS}


def _severity(objective: Objective, pair: Pair) -> str:
    tuning = objective.tiers.get(pair.tier)
    return (tuning.severity if tuning else None) or ("critical" if pair.tier == "page" else "warning")


def _groups(groups: tuple[str, ...]) -> str:
    return f" ({', '.join(f'{{{{ $labels.{name} }}}}' for name in groups)})" if groups else ""


def _description(objective: Objective, factor: Decimal) -> str:
    told = objective.description.replace("{{", "{ {") + " " if objective.description else ""
    return (
        f"{told}The objective is {plain(objective.objective)}% over {window_name(objective.period)}. "
        f"At this rate the whole budget is gone in {_gone(objective, factor)} or sooner."
    )


def _live(objective: Objective, pair: Pair, names: Names) -> dict[str, str]:
    """What the page says of the moment it fires: budget left, and when it is gone at the rate of the long window."""
    left = objective.series(facts.SLO_REMAINING)
    seconds = plain(Decimal(objective.period.total_seconds()) * objective.budget)
    until = f"max(({left} > 0) * on (slo, service) group_right () ({seconds} / ({names.ratio_of(pair.long)} > 0)))"
    return {
        "budget_left": _asked(f"max({left})", "humanizePercentage", "unknown"),
        "budget_gone_in": _asked(until, "humanizeDuration", "already gone, or not known yet"),
        "windows": f"{window_name(pair.long)} and {window_name(pair.short)}",
    }


def _asked(expr: str, formatter: str, otherwise: str) -> str:
    return (
        f"{{{{ with query `{expr}` }}}}{{{{ . | first | value | {formatter} }}}}{{{{ else }}}}{otherwise}{{{{ end }}}}"
    )


def _condition(objective: Objective, pair: Pair, names: Names, limit: str) -> str:
    apart = "ignoring (window, sloth_window)" if names.naming == "sloth" else "ignoring (window)"
    ratios = f"{names.ratio_of(pair.long)} > {limit}\nand {apart} {names.ratio_of(pair.short)} > {limit}"
    least = objective.least(pair)
    if least:
        # Half an event less because increase() extrapolates. A service with hardly any traffic never gets there:
        # when every single event of a day was bad, the guard steps aside.
        ratios += (
            f"\nand {apart} (\n"
            f"  {objective.series(BAD, pair.long)} >= {least - 0.5}\n"
            f"  or {apart} (\n"
            f"    {names.ratio_of(DAY)} > 0.999999\n"
            f"    and {objective.series(TOTAL, DAY)} > 1.5\n"
            "  )\n"
            ")"
        )
    return f"max without ({'window, sloth_window' if names.naming == 'sloth' else 'window'}) (\n{indent(ratios)}\n)"


def _gone(objective: Objective, factor: Decimal) -> str:
    hours = Decimal(objective.period.total_seconds()) / 3600 / factor
    return f"{hours / 24:.3g} days" if hours >= 48 else f"{hours:.3g} hours"


def absent_alert(objective: Objective, scrape: timedelta, names: Names | None = None) -> Alert:
    """Return the alert for an indicator without any sample: then nothing is known, and nothing can burn."""
    indicator, total = objective.indicator, objective.series(TOTAL, BASE)
    watched = indicator.watched or total
    silent = f"absent({watched})"
    if not indicator.unborn_is_zero:
        # Half of the indicator is missing, such as the bucket: then no bad event is ever seen.
        silent += f" or absent({objective.series(BAD, BASE)})"
    expr = f"max({silent})"
    if objective.maintenance:
        expr += f"\nunless on () (max_over_time({objective.series(MAINTENANCE)}[{window_name(BASE)}]) > 0)"
    return Alert(
        name="SLIAbsent",
        severity=objective.absent.severity,
        signals=(),
        labels=_LABELS,
        expr=expr,
        query=f"count({watched})",
        panel=("home", "slo-burn"),
        summary=f"{objective.service}: nothing is known about {objective.name}",
        description="The series that all events are counted from does not exist: the service is down, not scraped, "
        "or its metric was renamed. No burn alert of this objective can fire.",
        value="no series",
        bound="1",
        hold=_outage_time(objective, scrape),
        extra=(names or Names(objective)).labels,
    )


def _outage_time(objective: Objective, scrape: timedelta) -> timedelta:
    """The time a total outage needs to trip the fastest pair: silence is not judged later than failure."""
    # A recorded count lingers for about five minutes before it is missed; the ten minutes are for both.
    simple = objective.indicator.watched is not None and objective.indicator.unborn_is_zero
    longest = _LONGEST_HOLD - timedelta(minutes=1) if simple else _LONGEST_HOLD / 2
    if not objective.pairs:
        return longest
    fastest = objective.pairs[0]
    seconds = math.ceil(threshold(objective, fastest) * Decimal(fastest.long.total_seconds()))
    return min(max(timedelta(seconds=seconds), 2 * scrape), longest)


def exhausted_alert(objective: Objective, names: Names | None = None) -> Alert:
    """Return the alert for a budget that is spent: nothing may go wrong until old failures leave the period."""
    left, least = objective.series(facts.SLO_REMAINING), objective.guard.ticket
    # Quotients round: a budget that is spent to the event may read a hair above 0.
    expr = f"{left} < 0.000000001"
    if least and objective.indicator.mode != "raw":
        bad = objective.series(BAD, objective.period)
        expr += f"\nand on (slo, service) sum by (slo, service) ({bad}) >= {least - 0.5}"
    return Alert(
        name="ErrorBudgetExhausted",
        severity="warning",
        signals=(),
        labels=_LABELS,
        expr=expr,
        query=left,
        panel=("home", "slo-budget"),
        summary=f"{objective.service}: the error budget of {objective.name} is spent",
        description=f"Over {window_name(objective.period)} more events were bad than {plain(objective.objective)}% "
        "allows. Hold back risky changes until the budget has recovered.",
        value="{{ $value | humanizePercentage }}",
        bound="0",
        extra=(names or Names(objective)).labels,
        explained_by=BURN_RUNBOOK,
    )
