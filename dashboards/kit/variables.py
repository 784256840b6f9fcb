"""Variables: the same names on every board, and datasources only through them."""

from __future__ import annotations

from grafanalib.core import Annotations, Template, Templating

from dashboards.kit.targets import PROMETHEUS
from tocsin import facts
from tocsin import signals as s

ALL = {"selected": True, "text": "All", "value": "$__all"}


def variables() -> Templating:
    """Datasource, target, service: every board has them, links hand them on."""
    return Templating(
        [
            Template(name="prometheus_datasource", label="Prometheus", type="datasource", query="prometheus"),
            _labels("target", f"label_values({facts.TARGET_READABLE}, target)"),
            _labels("service", f'label_values({s.UP}{{job="apps"}}, service)'),
        ]
    )


def _labels(name: str, query: str) -> Template:
    return Template(
        name=name,
        label=name.capitalize(),
        query=query,
        dataSource=dict(PROMETHEUS),
        includeAll=True,
        multi=True,
        # Labels that a series may lack: `.+` keeps those without it out, `.*` would mix them in.
        allValue=".+",
        refresh=2,
    )


def alert_marks() -> Annotations:
    """Firing alerts as marks on every graph: a curve is read against the page it caused."""
    firing = f'{s.ALERTS}{{alertstate="firing",severity=~"critical|warning"}}'
    return Annotations(
        [
            {
                "name": "Firing alerts",
                "datasource": dict(PROMETHEUS),
                "enable": True,
                "hide": False,
                "iconColor": "red",
                "expr": firing,
                "step": "60s",
                "titleFormat": "{{alertname}}",
                "textFormat": "{{target}} {{messaging_destination_name}} {{service}}",
                "tagKeys": "severity",
            }
        ]
    )
