"""What every alert carries beside its labels: text, value, and links that work at 3 a.m."""

from __future__ import annotations

from urllib.parse import quote_plus

from alert_rules.model import Alert
from tocsin.links import panel_ref, panel_url, runbook_url


def annotate(alert: Alert, external_url: str) -> dict[str, str]:
    """Return the annotations of a rule, as Prometheus templates; the same keys on every alert."""
    board, key = alert.panel
    # A rule's templates see the labels of its series only, not those that the rule adds.
    known = {label: quote_plus(alert.extra[label]) for label in alert.labels if label in alert.extra}
    query = "&".join(f"{label}={known.get(label, f'{{{{ $labels.{label} | urlquery }}}}')}" for label in alert.labels)
    return {
        "summary": alert.summary,
        "description": alert.description,
        "value": alert.value,
        "threshold": alert.bound,
        "runbook_url": runbook_url(external_url, alert.runbook),
        "panel": panel_ref(board, key),
        "panel_url": panel_url(external_url, alert.name, query).rstrip("?"),
        "query": alert.query,
        **alert.notes,
    }
