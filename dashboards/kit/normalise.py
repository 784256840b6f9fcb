"""The only place that knows Grafana's format: classic JSON of schema 42, whatever grafanalib wrote.

Announcing 42 switches Grafana's migrations off, so everything must already have its shape of 42; what has not is lost
without a message. Hence: known keys only, no nulls but the first threshold's, and a fixed order.
"""

from __future__ import annotations

from typing import Any

SCHEMA = 42

_DASHBOARD = {
    "annotations", "description", "editable", "graphTooltip", "links", "panels", "refresh", "schemaVersion", "tags",
    "templating", "time", "timepicker", "timezone", "title", "uid", "version",
}  # fmt: skip
_PANEL = {
    "datasource", "description", "fieldConfig", "gridPos", "id", "interval", "links", "maxDataPoints", "options",
    "repeat", "repeatDirection", "maxPerRow", "targets", "timeFrom", "timeShift", "title", "transformations",
    "transparent", "type",
}  # fmt: skip
_ROW = {"type", "title", "gridPos", "id", "collapsed", "panels"}
_TARGET = {
    "datasource", "editorMode", "exemplar", "expr", "format", "hide", "instant", "interval", "legendFormat", "range",
    "refId",
}  # fmt: skip
_VARIABLE = {
    "allValue", "current", "datasource", "definition", "hide", "includeAll", "label", "multi", "name", "options",
    "query", "refresh", "regex", "sort", "type",
}  # fmt: skip


def normalise(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a dashboard in today's shape. The input is left alone."""
    board = {key: value for key, value in raw.items() if key in _DASHBOARD}
    board |= {
        "schemaVersion": SCHEMA,
        "editable": False,
        "refresh": "30s",
        "timezone": "browser",
        "version": 1,
        "timepicker": {},
        "panels": [_panel(panel) for panel in raw["panels"]],
        "templating": {"list": [_variable(each) for each in raw["templating"]["list"]]},
    }
    cleaned = _without_nulls(board)
    assert isinstance(cleaned, dict)
    return cleaned


def _panel(raw: dict[str, Any]) -> dict[str, Any]:
    if raw["type"] == "row":
        row = {key: value for key, value in raw.items() if key in _ROW}
        # An open row's panels stand beside it, a collapsed row contains them.
        return {**row, "panels": [_panel(panel) for panel in raw["panels"]] if raw["collapsed"] else []}
    panel = {key: value for key, value in raw.items() if key in _PANEL}
    panel["targets"] = [_target(target) for target in raw["targets"]]
    for empty in ("transformations", "links"):
        if not panel.get(empty):
            panel.pop(empty, None)
    # grafanalib's 100 points are coarser than a wide graph; Grafana knows the width.
    panel.pop("maxDataPoints", None)
    if not panel.get("repeat"):
        for key in ("repeat", "repeatDirection", "maxPerRow"):
            panel.pop(key, None)
    if not panel.get("transparent"):
        panel.pop("transparent", None)
    return panel


def _target(raw: dict[str, Any]) -> dict[str, Any]:
    target = {key: value for key, value in raw.items() if key in _TARGET}
    if not target.get("interval"):
        target.pop("interval", None)
    return target


def _variable(raw: dict[str, Any]) -> dict[str, Any]:
    variable = {key: value for key, value in raw.items() if key in _VARIABLE}
    if variable["type"] == "query":
        query = variable["query"]
        variable["definition"] = query
        variable["query"] = {"query": query, "refId": f"variable-{variable['name']}"}
        variable["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    else:
        # Grafana picks the first datasource of the type; ours is provisioned as the default.
        variable["current"] = {}
        for key in ("sort", "allValue", "refresh"):
            variable.pop(key, None)
        variable["refresh"] = 1
    variable["options"] = []
    variable["regex"] = variable.get("regex") or ""
    return variable


def _without_nulls(value: Any, *, keep: bool = False) -> Any:  # noqa: ANN401  # JSON of any depth
    """Drop nulls everywhere but in the threshold steps, whose first ``value: null`` means minus infinity."""
    if isinstance(value, dict):
        return {
            key: _without_nulls(each, keep=key == "steps")
            for key, each in value.items()
            if each is not None or (keep and key == "value")
        }
    if isinstance(value, list):
        return [_without_nulls(each, keep=keep) for each in value]
    return value
