"""From SLO specs to rule groups: one group per pace, rules in the order in which they read each other."""

from __future__ import annotations

from alert_rules.model import Group
from alert_rules.slo import recording
from alert_rules.slo.burn import absent_alert, burn_alerts
from alert_rules.slo.cases import proven
from alert_rules.slo.recording import Objective
from alert_rules.slo.spec import load_specs
from tocsin.settings import Settings


def objectives(settings: Settings) -> tuple[Objective, ...]:
    """Return every SLO of the configuration. Raises ConfigError with the problems of all SLO files."""
    return tuple(
        Objective(spec, slo, recording.spec_name(path, settings.home))
        for path, spec in load_specs(settings).specs
        for slo in spec.slos
    )


def groups_of(objective: Objective, settings: Settings) -> tuple[Group, ...]:
    """Return the rule groups of one SLO.

    The first goes at the evaluation interval and holds what pages; the two others add up long windows once a minute
    and the period every two, because nothing that takes days changes faster.
    """
    evaluate = settings.intervals.evaluate
    alerts = proven(objective, burn_alerts(objective), absent_alert(objective, settings.intervals.scrape))
    name = f"slo/{objective.spec.service}/{objective.slo.name}"
    return (
        Group(name, recording.raw(objective), alerts),
        Group(f"{name}/long", recording.long(objective), (), max(recording.LONG_INTERVAL, evaluate)),
        Group(f"{name}/period", recording.period(objective), (), max(recording.PERIOD_INTERVAL, evaluate)),
    )
