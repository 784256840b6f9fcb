"""SLOs: from spec files to recording rules, burn-rate alerts, inhibition, and the tests that prove them.

``load`` reads files, ``generate`` writes them; both are pure but for reading the specs.
"""

from alert_rules.slo.document import SpecUnreadable
from alert_rules.slo.generate import groups_of, objectives, rule_groups
from alert_rules.slo.load import Loaded, Pace, load, load_settings
from alert_rules.slo.native import Defaults
from alert_rules.slo.objective import Indicator, Naming, Objective

__all__ = [
    "Defaults",
    "Indicator",
    "Loaded",
    "Naming",
    "Objective",
    "Pace",
    "SpecUnreadable",
    "groups_of",
    "load",
    "load_settings",
    "objectives",
    "rule_groups",
]
