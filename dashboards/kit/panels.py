"""Factories: what a board may draw. Each panel asks one question and says where to go when the answer is bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import attr
from attr.validators import instance_of
from grafanalib.core import Panel

from dashboards.kit.links import Links
from dashboards.kit.targets import PROMETHEUS, Query, targets
from tocsin.links import BOARDS

Unit = Literal["percentunit", "s", "short", "bytes", "cps", "bool_yes_no", "none", "dtdurations"]
Color = Literal["green", "yellow", "orange", "red", "blue", "text"]

NO_DATA = "no data"
UP_OR_DOWN: dict[str, tuple[str, Color]] = {"0": ("down", "red"), "1": ("up", "green")}


@attr.s
class ModernPanel(Panel):
    """A panel of any type, written the way Grafana writes it today; ``key`` names it for good."""

    key: str = attr.ib(default="", validator=instance_of(str))
    kind: str = attr.ib(default="timeseries", validator=instance_of(str))
    options: dict[str, Any] = attr.ib(factory=dict)
    config: dict[str, Any] = attr.ib(factory=dict)

    def to_json_data(self) -> dict[str, Any]:
        """Return the panel; a fresh dict each time, because grafanalib changes what it is given."""
        return dict(
            self.panel_json({"type": self.kind, "options": dict(self.options), "fieldConfig": dict(self.config)})
        )


@dataclass(frozen=True)
class Drawing:
    """What every panel must say: a key that never changes, a title, the question it answers, and where red leads.

    ``runbook`` is the alert whose page helps; ``opens`` is the board with the detail.
    """

    key: str
    title: str
    question: str
    links: Links
    runbook: str | None = None
    opens: str | None = None

    def urls(self) -> list[dict[str, object]]:
        """The panel's links; the inbox when nothing nearer fits."""
        found = [self.links.runbook(self.runbook)] if self.runbook else []
        if self.opens:
            found.append(self.links.board(self.opens))
        return found or [self.links.inbox()]

    def description(self) -> str:
        """The question, and what to do when the answer is bad."""
        return f"{self.question} If red: read the runbook {self.runbook}." if self.runbook else self.question


@dataclass(frozen=True)
class Scale:
    """Unit and colours: ``steps`` are (from, colour), the first from minus infinity."""

    unit: Unit
    steps: Sequence[tuple[float | None, Color]] = ((None, "text"),)
    low: float | None = None
    high: float | None = None
    texts: Mapping[str, tuple[str, Color]] = field(default_factory=dict)

    def defaults(self, custom: Mapping[str, object]) -> dict[str, Any]:
        """The field defaults of a panel."""
        mappings = [
            {"type": "value", "options": {value: {"text": text, "color": color, "index": i}}}
            for i, (value, (text, color)) in enumerate(self.texts.items())
        ]
        return {
            "unit": self.unit,
            "noValue": NO_DATA,
            "min": self.low,
            "max": self.high,
            "mappings": mappings,
            "color": {"mode": "thresholds"},
            "thresholds": {"mode": "absolute", "steps": [{"value": at, "color": color} for at, color in self.steps]},
            "custom": dict(custom),
        }


def limited(unit: Unit, limit: float, *, low: float | None = 0) -> Scale:
    """Green below an alert's threshold, red from it on: green means that the alert cannot fire."""
    return Scale(unit, ((None, "green"), (limit, "red")), low=low)


def counted(color: Color = "red") -> Scale:
    """A number of things in trouble: green at none."""
    return Scale("short", ((None, "green"), (1, color)), low=0)


def stat(what: Drawing, query: Query, scale: Scale) -> ModernPanel:
    """A tile: one number, coloured by the alert's own threshold."""
    options = {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    # Instant: the last known number must not stay green after its source has gone.
    now = Query(query.expr, query.legend, instant=True)
    return _panel(what, "stat", (now,), options, {"defaults": scale.defaults({}), "overrides": []})


def series(what: Drawing, queries: Sequence[Query], scale: Scale, *, stacked: bool = False) -> ModernPanel:
    """Curves over time; a query whose legend starts with ``limit`` is drawn as a dashed red line."""
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 20 if stacked else 0,
        "gradientMode": "none",
        "showPoints": "auto",
        "pointSize": 5,
        "spanNulls": False,
        "insertNulls": False,
        "axisPlacement": "auto",
        "axisLabel": "",
        "axisColorMode": "text",
        "axisBorderShow": False,
        "axisCenteredZero": False,
        "barAlignment": 0,
        "barWidthFactor": 0.6,
        "scaleDistribution": {"type": "linear"},
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "hideFrom": {"legend": False, "tooltip": False, "viz": False},
        "thresholdsStyle": {"mode": "off"},
    }
    options = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc", "hideZeros": False},
    }
    defaults = {**scale.defaults(custom), "color": {"mode": "palette-classic"}}
    return _panel(what, "timeseries", tuple(queries), options, {"defaults": defaults, "overrides": [_limit_line()]})


def history(what: Drawing, query: Query, scale: Scale) -> ModernPanel:
    """One bar per thing over time, coloured by its state."""
    custom = {"fillOpacity": 70, "lineWidth": 0, "spanNulls": False, "insertNulls": False}
    options = {
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.9,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none", "hideZeros": False},
    }
    return _panel(what, "state-timeline", (query,), options, {"defaults": scale.defaults(custom), "overrides": []})


@dataclass(frozen=True)
class Column:
    """One column of a table: its query, title and scale; ``gauge`` draws a bar."""

    expr: str
    title: str
    scale: Scale
    gauge: bool = False


def table(
    what: Drawing, keys: Mapping[str, str], columns: Sequence[Column], *, opens: dict[str, object]
) -> ModernPanel:
    """A table of things: ``keys`` are label → title, joined over all columns; the first column leads on."""
    queries = tuple(Query(column.expr, column.title) for column in columns)
    letters = [f"Value #{chr(ord('A') + i)}" for i in range(len(columns))]
    overrides = [_column(letter, column) for letter, column in zip(letters, columns, strict=True)]
    first = next(iter(keys.values()))
    overrides.append({"matcher": _by_name(first), "properties": [{"id": "links", "value": [opens]}]})
    rename = {**keys, **{letter: column.title for letter, column in zip(letters, columns, strict=True)}}
    organise = {
        "excludeByName": {"Time": True},
        "indexByName": {name: i for i, name in enumerate(rename)},
        "renameByName": dict(rename),
    }
    transformations = [{"id": "merge", "options": {}}, {"id": "organize", "options": organise}]
    sort = [{"displayName": columns[0].title, "desc": True}]
    defaults = Scale("none").defaults({"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False})
    config = {"defaults": defaults, "overrides": overrides}
    return _panel(what, "table", queries, _table_options(sort), config, transformations=transformations)


def alerts_table(what: Drawing, query: Query) -> ModernPanel:
    """What fires now, worst first, each row with the way to its runbook."""
    show = {"severity": "Severity", "alertname": "Alert", "target": "Target", "service": "Service"}
    show |= {"messaging_destination_name": "Queue", "breaker": "Breaker", "slo": "SLO", "job": "Part"}
    colors: dict[str, tuple[str, Color]] = {
        "critical": ("critical", "red"),
        "warning": ("warning", "orange"),
        "info": ("info", "blue"),
    }
    severity = {
        "matcher": _by_name("Severity"),
        "properties": [
            {"id": "mappings", "value": Scale("none", texts=colors).defaults({})["mappings"]},
            {"id": "custom.cellOptions", "value": {"type": "color-background", "mode": "basic"}},
        ],
    }
    runbook = {"matcher": _by_name("Alert"), "properties": [{"id": "links", "value": [what.links.runbook_of_row()]}]}
    organise = {
        "excludeByName": {"Time": True, "Value": True},
        "indexByName": {name: i for i, name in enumerate(show)},
        "renameByName": show,
    }
    defaults = Scale("none").defaults({"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False})
    config = {"defaults": defaults, "overrides": [severity, runbook]}
    transformations = [{"id": "organize", "options": organise}]
    options = _table_options([{"displayName": "Severity", "desc": False}])
    return _panel(what, "table", (query,), options, config, transformations=transformations)


def _panel(
    what: Drawing,
    kind: str,
    queries: tuple[Query, ...],
    options: dict[str, Any],
    config: dict[str, Any],
    *,
    transformations: Sequence[dict[str, Any]] = (),
) -> ModernPanel:
    assert what.opens is None or what.opens in BOARDS, what.opens
    return ModernPanel(
        key=what.key,
        kind=kind,
        title=what.title,
        description=what.description(),
        dataSource=dict(PROMETHEUS),
        targets=targets(queries, as_table=kind == "table"),
        links=what.urls(),
        options=options,
        config=config,
        transformations=list(transformations),
    )


def _table_options(sort: list[dict[str, object]]) -> dict[str, Any]:
    return {"showHeader": True, "cellHeight": "sm", "sortBy": sort, "footer": {"show": False, "reducer": ["sum"]}}


def _column(letter: str, column: Column) -> dict[str, Any]:
    defaults = column.scale.defaults({})
    cell = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"} if column.gauge else {"type": "color-text"}
    properties = [
        {"id": "unit", "value": defaults["unit"]},
        {"id": "thresholds", "value": defaults["thresholds"]},
        {"id": "custom.cellOptions", "value": cell},
    ]
    properties += [{"id": name, "value": defaults[name]} for name in ("min", "max") if defaults[name] is not None]
    if defaults["mappings"]:
        properties.append({"id": "mappings", "value": defaults["mappings"]})
    return {"matcher": _by_name(letter), "properties": properties}


def _by_name(name: str) -> dict[str, str]:
    return {"id": "byName", "options": name}


def _limit_line() -> dict[str, Any]:
    return {
        "matcher": {"id": "byRegexp", "options": "/^limit/"},
        "properties": [
            {"id": "color", "value": {"mode": "fixed", "fixedColor": "red"}},
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}},
            {"id": "custom.fillOpacity", "value": 0},
            {"id": "custom.stacking", "value": {"group": "limit", "mode": "none"}},
        ],
    }
