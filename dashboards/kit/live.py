"""Boards against a live Prometheus (rung L4): which queries find nothing, and which tiles are red.

Each vector selector is asked alone: `or vector(0)` would make any broken query look alive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dashboards.kit.check import Finding, Json, expressions, filled, panels


@dataclass(frozen=True)
class Tile:
    """One tile as it looks now: its value (None: no data) and the colour that Grafana would give it."""

    board: str
    title: str
    value: float | None
    color: str | None


def silent_selectors(
    boards: Mapping[str, str],
    selectors: Callable[[str], Sequence[str]],
    has_data: Callable[[str], bool],
    *,
    expected: Mapping[str, str],
) -> list[Finding]:
    """Return every selector on a board that finds nothing; ``expected`` are series that may be absent, with reasons."""
    return [
        Finding(name, "live", f"{where}: {selector} finds nothing")
        for name, text in boards.items()
        for where, expr in expressions(json.loads(text))
        for selector in selectors(filled(expr))
        if selector.partition("{")[0] not in expected and not has_data(selector)
    ]


def tiles(boards: Mapping[str, str], value_of: Callable[[str], float | None]) -> list[Tile]:
    """Return every tile with its value and colour. ``value_of`` asks Prometheus for one number, None for no data."""
    return [_tile(name, panel, value_of) for name, text in boards.items() for panel in _stats(json.loads(text))]


def _stats(board: Json) -> list[Json]:
    return [panel for panel in panels(board) if panel["type"] == "stat"]


def _tile(board: str, panel: Json, value_of: Callable[[str], float | None]) -> Tile:
    value = value_of(filled(panel["targets"][0]["expr"]))
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return Tile(board, panel["title"], value, None if value is None else _color(steps, value))


def _color(steps: Sequence[Json], value: float) -> str:
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return str(reached[-1])
