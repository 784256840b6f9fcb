"""The checker catches what Grafana would swallow: each seeded mistake is found by the rule that is there for it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

import dashboards
from dashboards.kit.check import Judge, panels
from tests.house import house_settings
from tests.promql import parse_error
from tocsin.paths import HOUSE

Json = dict[str, Any]
JUDGE = Judge(frozenset(path.stem for path in (HOUSE / "docs" / "runbooks").glob("*.md")), parse_error)
BOARD: Json = json.loads(dashboards.render(house_settings())["home.json"])


def first(board: Json, kind: str) -> Json:
    found: Json = next(panel for panel in panels(board) if panel["type"] == kind)
    return found


def set_in(panel: Json, *path: str, value: object) -> None:
    for key in path[:-1]:
        panel = panel[key]
    panel[path[-1]] = value


def overlap(board: Json) -> None:
    one, two = panels(board)[:2]
    two["gridPos"] = dict(one["gridPos"])


def leave_grid(board: Json) -> None:
    first(board, "stat")["gridPos"]["x"] = 23


def same_id(board: Json) -> None:
    one, two = panels(board)[:2]
    two["id"] = one["id"]


def steps(board: Json, value: object) -> None:
    set_in(first(board, "stat"), "fieldConfig", "defaults", "thresholds", "steps", value=value)


def query(board: Json, expr: str) -> None:
    first(board, "timeseries")["targets"][0]["expr"] = expr


def link(board: Json, url: str) -> None:
    first(board, "stat")["links"] = [{"title": "x", "url": url}]


MISTAKES: dict[str, tuple[str, Callable[[Json], object]]] = {
    "two panels with one id": ("ids", same_id),
    "two panels with one title": ("ids", lambda b: set_in(panels(b)[0], "title", value=panels(b)[1]["title"])),
    "an id out of range": ("ids", lambda b: set_in(panels(b)[0], "id", value=2**31)),
    "panels over each other": ("grid", overlap),
    "a panel out of the grid": ("grid", leave_grid),
    "another schema": ("shape", lambda b: set_in(b, "schemaVersion", value=39)),
    "an editable board": ("shape", lambda b: set_in(b, "editable", value=True)),
    "an old root key": ("shape", lambda b: set_in(b, "rows", value=[])),
    "no tag": ("shape", lambda b: set_in(b, "tags", value=[])),
    "another uid": ("uid", lambda b: set_in(b, "uid", value="renamed")),
    "a dead panel type": ("kinds", lambda b: set_in(panels(b)[0], "type", value="singlestat")),
    "no question": ("texts", lambda b: set_in(panels(b)[0], "description", value="Things.")),
    "no way on": ("texts", lambda b: panels(b)[0].pop("links")),
    "an unknown unit": ("units", lambda b: set_in(panels(b)[0], "fieldConfig", "defaults", "unit", value="percnt")),
    "no word for no data": ("units", lambda b: set_in(panels(b)[0], "fieldConfig", "defaults", "noValue", value="0")),
    "no first step": ("thresholds", lambda b: steps(b, [{"color": "red", "value": 1}])),
    "a text as threshold": (
        "thresholds",
        lambda b: steps(b, [{"color": "green", "value": None}, {"color": "red", "value": "80"}]),
    ),
    "thresholds out of order": (
        "thresholds",
        lambda b: steps(b, [{"color": "g", "value": None}, {"color": "r", "value": 2}, {"color": "y", "value": 1}]),
    ),
    "a tile without a threshold": ("thresholds", lambda b: steps(b, [{"color": "green", "value": None}])),
    "two queries with one letter": (
        "targets",
        lambda b: first(b, "timeseries")["targets"].append(dict(first(b, "timeseries")["targets"][0])),
    ),
    "a datasource by name": ("targets", lambda b: set_in(panels(b)[0], "datasource", value="Prometheus")),
    "a tile of the past": ("targets", lambda b: set_in(first(b, "stat")["targets"][0], "instant", value=False)),
    "an undefined variable": ("variables", lambda b: query(b, 'up{job="$jobs"}')),
    "an unused variable": (
        "variables",
        lambda b: b["templating"]["list"].append({"name": "spare", "type": "custom", "query": "a"}),
    ),
    "All that matches nothing": (
        "variables",
        lambda b: set_in(b["templating"]["list"][1], "allValue", value=".*"),
    ),
    "a link to no board": ("links", lambda b: link(b, "/d/tocsin-nowhere?${__url_time_range}")),
    "a link that forgets the time": ("links", lambda b: link(b, "/d/tocsin-queues?x=1")),
    "a link that sets no variable of ours": (
        "links",
        lambda b: link(b, "/d/tocsin-queues?${__url_time_range}&var-queue=1"),
    ),
    "a runbook that is not there": ("runbook", lambda b: link(b, "http://x/runbooks/NoSuchAlert")),
    "a query that does not parse": ("expression", lambda b: query(b, "sum(rate(up[5m])")),
    "no marks for alerts": ("marks", lambda b: b["annotations"]["list"].clear()),
    "a null that Grafana keeps": ("nulls", lambda b: set_in(panels(b)[0], "interval", value=None)),
    "too many panels": ("size", lambda b: b["panels"].extend(copy.deepcopy(panels(b)))),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_seeded_mistake_is_found(mistake: str) -> None:
    """Each mistake that Grafana takes without a word is named by its own rule."""
    rule, make = MISTAKES[mistake]
    board = copy.deepcopy(BOARD)
    make(board)
    findings = dashboards.check({"home.json": json.dumps(board)}, JUDGE)
    assert rule in {finding.rule for finding in findings}


def test_two_boards_with_one_uid_are_found() -> None:
    """The second would silently replace the first."""
    text = json.dumps(BOARD)
    assert any(finding.rule == "uid" for finding in dashboards.check({"a.json": text, "b.json": text}, JUDGE))
