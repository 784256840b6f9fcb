"""SLOs: from a spec file to recording rules, burn-rate alerts and the cases that prove them."""

from alert_rules.slo.generate import groups_of, objectives
from alert_rules.slo.spec import Loaded, Spec, load_specs

__all__ = ["Loaded", "Spec", "groups_of", "load_specs", "objectives"]
