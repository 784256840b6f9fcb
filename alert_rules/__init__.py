"""Threshold rules and SLO rules from one catalogue: ``render`` makes what Prometheus loads and promtool proves."""

from alert_rules.files import catalogue, render
from alert_rules.model import Alert, Case, Expected
from alert_rules.table import SUBJECTS

__all__ = ["SUBJECTS", "Alert", "Case", "Expected", "catalogue", "render"]
