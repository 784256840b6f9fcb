"""From objectives to rule groups: one group per pace, rules in the order in which they read each other."""

from __future__ import annotations

from datetime import timedelta

from alert_rules.model import Alert, Group
from alert_rules.slo import recording
from alert_rules.slo.burn import absent_alert, burn_alerts, exhausted_alert
from alert_rules.slo.load import Pace, load_settings
from alert_rules.slo.names import Names
from alert_rules.slo.objective import Naming, Objective
from tocsin.settings import Settings


def objectives(settings: Settings) -> tuple[Objective, ...]:
    """Return every SLO of the configuration. Raises ConfigError with the problems of all SLO files."""
    return load_settings(settings).objectives


def alerts_of(objective: Objective, scrape: timedelta, naming: Naming = "tocsin") -> tuple[Alert, ...]:
    """Return every alert of one SLO: its pairs, its silence, its spent budget."""
    names = Names(objective, naming)
    silence = () if objective.absent.disable else (absent_alert(objective, scrape, names),)
    return (*burn_alerts(objective, names), *silence, exhausted_alert(objective, names))


def rule_groups(objective: Objective, pace: Pace, naming: Naming = "tocsin") -> tuple[Group, ...]:
    """Return the rule groups of one SLO.

    The first goes at the evaluation interval and holds what pages; the two others add up long windows once a minute
    and the period every two, because nothing that takes days changes faster.
    """
    names, alerts = Names(objective, naming), alerts_of(objective, pace.scrape, naming)
    name = f"slo/{objective.service}/{objective.name}"
    slow = [max(each, pace.evaluate) for each in (recording.LONG_INTERVAL, recording.PERIOD_INTERVAL)]
    return (
        Group(name, recording.raw(objective, names), alerts[:-1]),
        Group(f"{name}/long", recording.long(objective, names, every=slow[0]), (), slow[0]),
        Group(f"{name}/period", recording.period(objective, names, every=slow[0]), alerts[-1:], slow[1]),
    )


def groups_of(objective: Objective, settings: Settings) -> tuple[Group, ...]:
    """Return the rule groups of one SLO of the configuration."""
    return rule_groups(objective, Pace(settings.intervals.scrape, settings.intervals.evaluate))
