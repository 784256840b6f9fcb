"""Charts of characters: one line over time, for a terminal and for a page of text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def area(
    values: Sequence[float], *, low: float, high: float, rows: int = 8, write: Callable[[float], str] = "{:.0f}".format
) -> list[str]:
    """Draw values as filled columns between ``low`` and ``high``; a column without a value stays empty.

    ``write`` writes the figures at the left edge.
    """
    figures = [write(high - (high - low) * row / rows) for row in range(rows)] + [write(low)]
    width = max(map(len, figures))
    out = []
    for row in range(rows):
        base = rows - 1 - row
        cells = "".join(_cell(value, low, high, rows, base) for value in values)
        out.append(f"{figures[row]:>{width}} ┤{cells}".rstrip())
    return [*out, f"{figures[-1]:>{width}} ┼{'─' * len(values)}"]


def _cell(value: float, low: float, high: float, rows: int, base: int) -> str:
    if math.isnan(value):
        return " "
    filled = (min(max(value, low), high) - low) / (high - low) * rows - base
    return _EIGHTHS[min(8, max(0, round(filled * 8)))]


def squeeze(values: Sequence[float], width: int, pick: Callable[[Sequence[float]], float] = min) -> list[float]:
    """Bring values to at most ``width`` columns, each the pick (the smallest, if not told) of those it stands for."""
    if len(values) <= width:
        return list(values)
    out = []
    for column in range(width):
        part = values[column * len(values) // width : (column + 1) * len(values) // width]
        known = [value for value in part if not math.isnan(value)]
        out.append(pick(known) if known else math.nan)
    return out


def margin(lines: Sequence[str]) -> int:
    """How many characters stand left of the drawing in a chart of ``area``."""
    return lines[-1].index("┼") + 1
