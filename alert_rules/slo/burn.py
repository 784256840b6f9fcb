"""Alerts of one SLO: one per window pair, so that the page says which one fired, and one for a silent indicator."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

from alert_rules.model import Alert
from alert_rules.slo.recording import BAD, RATIO, TOTAL, Objective, pair_labels
from alert_rules.slo.spec import TierAlert
from alert_rules.slo.windows import MARGIN, Pair, plain, window_name

_DAY = timedelta(days=1)
_LABELS = ("slo", "service")


def burn_alerts(objective: Objective) -> tuple[Alert, ...]:
    """Return one alert for each pair that can fire and is not switched off."""
    return tuple(
        _burn(objective, pair, tier) for pair in objective.pairs if not (tier := _tier(objective, pair)).disable
    )


def threshold(objective: Objective, pair: Pair) -> Decimal:
    """The exact error ratio of a pair, as shown to people."""
    return pair.threshold(objective.period, objective.slo.budget)


def _tier(objective: Objective, pair: Pair) -> TierAlert:
    alerting = objective.slo.alerting
    return alerting.page_alert if pair.tier == "page" else alerting.ticket_alert


def _burn(objective: Objective, pair: Pair, tier: TierAlert) -> Alert:
    alerting, exact = objective.slo.alerting, threshold(objective, pair)
    factor = pair.factor(objective.period)
    return Alert(
        name=alerting.name,
        severity="critical" if pair.tier == "page" else "warning",
        signals=(),
        labels=_LABELS,
        expr=_condition(objective, pair, plain(exact * MARGIN)),
        query=objective.series(RATIO, pair.short),
        panel=("home", "slo-burn"),
        summary=f"{objective.spec.service}: {{{{ $value | humanizePercentage }}}} of events bad over "
        f"{window_name(pair.long)}, more than {plain(factor)} times what {objective.slo.name} allows",
        description=(objective.slo.description + " " if objective.slo.description else "")
        + f"The objective is {plain(Decimal(repr(objective.slo.objective)))}% over {window_name(objective.period)}. "
        f"At this rate the whole budget is gone in {_gone(objective, factor)} or sooner.",
        value="{{ $value | humanizePercentage }}",
        bound=plain(exact),
        extra={**alerting.labels, **tier.labels, **pair_labels(pair), "burn_rate": plain(factor)},
        notes={**alerting.annotations, **tier.annotations},
        explained_by="ErrorBudgetBurn",
    )


def _condition(objective: Objective, pair: Pair, limit: str) -> str:
    ratios = (
        f"{objective.series(RATIO, pair.long)} > {limit}\n"
        f"and ignoring (window) {objective.series(RATIO, pair.short)} > {limit}"
    )
    least = getattr(objective.slo.tocsin.guard, pair.tier)
    if least:
        # Half an event less because increase() extrapolates. A service with hardly any traffic never gets there:
        # when every single event of a day was bad, the guard steps aside.
        ratios += (
            "\nand ignoring (window) (\n"
            f"  {objective.series(BAD, pair.long)} >= {least - 0.5}\n"
            "  or ignoring (window) (\n"
            f"    {objective.series(RATIO, _DAY)} > 0.999999\n"
            f"    and {objective.series(TOTAL, _DAY)} > 1.5\n"
            "  )\n"
            ")"
        )
    return "max without (window) (\n" + "\n".join(f"  {line}" for line in ratios.splitlines()) + "\n)"


def _gone(objective: Objective, factor: Decimal) -> str:
    hours = Decimal(objective.period.total_seconds()) / 3600 / factor
    return f"{hours / 24:.3g} days" if hours >= 48 else f"{hours:.3g} hours"


def absent_alert(objective: Objective, scrape: timedelta) -> Alert:
    """Return the alert for an indicator without any sample: then nothing is known, and nothing can burn."""
    watched = objective.slo.watched or objective.series(TOTAL, timedelta(minutes=5))
    return Alert(
        name="SLIAbsent",
        severity="critical",
        signals=(),
        labels=_LABELS,
        expr=f"max(absent({watched}))",
        query=f"count({watched})",
        panel=("home", "slo-burn"),
        summary=f"{objective.spec.service}: nothing is known about {objective.slo.name}",
        description="The series that all events are counted from does not exist: the service is down, not scraped, "
        "or its metric was renamed. No burn alert of this objective can fire.",
        value="no series",
        bound="1",
        hold=_outage_time(objective, scrape),
        extra=objective.labels,
    )


def _outage_time(objective: Objective, scrape: timedelta) -> timedelta:
    """The time a total outage needs to trip the fastest pair: silence is not judged later than failure."""
    if not objective.pairs:
        return timedelta(minutes=10)
    fastest = objective.pairs[0]
    seconds = math.ceil(threshold(objective, fastest) * Decimal(fastest.long.total_seconds()))
    return min(max(timedelta(seconds=seconds), 2 * scrape), timedelta(minutes=10))
