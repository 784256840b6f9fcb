"""From a board as people write it (rows of panels with widths) to Grafana's JSON; nobody writes coordinates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import attr
from grafanalib._gen import DashboardEncoder
from grafanalib.core import Dashboard, GridPos, RowPanel, Time

from dashboards.kit.links import between_boards
from dashboards.kit.normalise import normalise
from dashboards.kit.panels import ModernPanel
from dashboards.kit.variables import alert_marks, variables
from tocsin.links import BOARDS, panel_id

WIDTH = 24
SHARED_CROSSHAIR = 1


@dataclass(frozen=True)
class Row:
    """Panels side by side: ``(panel, width)``, widths of each line summing to 24. ``title`` None: no heading."""

    height: int
    panels: Sequence[tuple[ModernPanel, int]]
    title: str | None = None
    collapsed: bool = False


@dataclass(frozen=True)
class Board:
    """One dashboard: ``name`` is its key in ``tocsin.links.BOARDS``, ``question`` what it answers."""

    name: str
    title: str
    question: str
    rows: Sequence[Row]


def board_json(board: Board) -> str:
    """Return the dashboard as Grafana provisions it: byte-stable JSON. Raises ValueError for widths that do not fit."""
    dashboard = Dashboard(
        title=board.title,
        uid=BOARDS[board.name],
        description=board.question,
        tags=["tocsin"],
        panels=_placed(board),
        templating=variables(),
        annotations=alert_marks(),
        links=[between_boards()],
        time=Time("now-6h", "now"),
        graphTooltip=SHARED_CROSSHAIR,
    )
    raw = json.loads(json.dumps(dashboard.to_json_data(), cls=DashboardEncoder))
    return json.dumps(normalise(raw), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _placed(board: Board) -> list[object]:
    out: list[object] = []
    y = 0
    for row in board.rows:
        lines = _lines(row)
        if row.title is not None:
            heading = RowPanel(
                title=row.title,
                id=panel_id(board.name, f"row/{row.title}"),
                collapsed=row.collapsed,
                gridPos=GridPos(h=1, w=WIDTH, x=0, y=y),
            )
            y += 1
            out.append(heading)
        inside: list[object] = []
        for line in lines:
            inside += _line(board.name, line, row.height, y)
            y += row.height
        if row.title is not None and row.collapsed:
            out[-1] = attr.evolve(heading, panels=inside)
        else:
            out += inside
    return out


def _lines(row: Row) -> list[list[tuple[ModernPanel, int]]]:
    """Break a row's panels into lines of exactly 24."""
    lines: list[list[tuple[ModernPanel, int]]] = [[]]
    used = 0
    for panel, width in row.panels:
        if used == WIDTH:
            lines.append([])
            used = 0
        lines[-1].append((panel, width))
        used += width
        if used > WIDTH:
            break
    if used != WIDTH:
        msg = f"row {row.title!r}: widths must fill lines of {WIDTH}, {panel.title!r} ends at {used}"
        raise ValueError(msg)
    return lines


def _line(board: str, line: Sequence[tuple[ModernPanel, int]], height: int, y: int) -> list[object]:
    placed: list[object] = []
    x = 0
    for panel, width in line:
        where = GridPos(h=height, w=width, x=x, y=y)
        placed.append(attr.evolve(panel, id=panel_id(board, panel.key), gridPos=where))
        x += width
    return placed
