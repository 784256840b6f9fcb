"""A graph drawn on the server: the series behind an alert, its threshold, when it fired. Pure: data in, SVG out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 14, 30
MOST_SERIES = 8
_TICK_SECONDS = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800)


@dataclass(frozen=True)
class Series:
    """One line: its labels, and (unix seconds, value) in order of time."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Picture:
    """What is drawn. Times are unix seconds; ``fired`` and ``ended`` shade the time of the alert."""

    series: tuple[Series, ...]
    start: float
    end: float
    threshold: float | None = None
    fired: float | None = None
    ended: float | None = None


@dataclass(frozen=True)
class _Scale:
    start: float
    end: float
    low: float
    high: float

    def x(self, at: float) -> float:
        share = (at - self.start) / max(1e-9, self.end - self.start)
        return round(LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - min(1.0, max(0.0, share)) * (HEIGHT - TOP - BOTTOM), 1)


def draw(picture: Picture) -> str:
    """Return the SVG; its colours come from the page's style sheet by class names."""
    scale = _scale(picture)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="graph" role="img" aria-label="{escape(_spoken(picture))}">',
        *_band(picture, scale),
        *_grid(scale),
        *(_line(series, scale, index) for index, series in enumerate(picture.series[:MOST_SERIES])),
        *_threshold(picture, scale),
        "</svg>",
    ]
    return "\n".join(parts)


def _scale(picture: Picture) -> _Scale:
    # Zero is always in the picture: a line that fills its frame looks dramatic whatever it means.
    values = [0.0, *(value for series in picture.series for _, value in series.points if math.isfinite(value))]
    if picture.threshold is not None:
        values.append(picture.threshold)
    low, high = min(values), max(values)
    if high <= low:
        high = low + 1.0
    step = nice_step((high - low) / 4)
    room = (high - low) * 0.04
    return _Scale(picture.start, picture.end, math.floor(low / step) * step, math.ceil((high + room) / step) * step)


def nice_step(rough: float) -> float:
    """Round a distance up to 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)


def _band(picture: Picture, scale: _Scale) -> list[str]:
    if picture.fired is None:
        return []
    left, right = scale.x(picture.fired), scale.x(picture.ended or picture.end)
    width = max(1.5, round(right - left, 1))
    return [f'<rect class="band" x="{left}" y="{TOP}" width="{width}" height="{HEIGHT - TOP - BOTTOM}"/>']


def _grid(scale: _Scale) -> list[str]:
    out = []
    step = nice_step((scale.high - scale.low) / 5)
    value = scale.low
    while value <= scale.high + step / 1000:
        y = scale.y(value)
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        out.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{number(value)}</text>')
        value += step
    span = scale.end - scale.start
    gap = next((seconds for seconds in _TICK_SECONDS if span / seconds <= 7), _TICK_SECONDS[-1])
    form = "%H:%M:%S" if gap < 60 else "%H:%M" if span <= 86_400 * 1.5 else "%d %b"
    at = math.ceil(scale.start / gap) * gap
    while at <= scale.end:
        text = datetime.fromtimestamp(at, UTC).strftime(form)
        out.append(f'<text class="tick" x="{scale.x(at)}" y="{HEIGHT - 10}" text-anchor="middle">{text}</text>')
        at += gap
    return out


def _line(series: Series, scale: _Scale, index: int) -> str:
    """One path; it is interrupted where samples are missing, because a gap is a fact too."""
    pieces, pen = [], "M"
    gap = 3 * _usual_gap(series.points)
    before = -math.inf
    for at, value in series.points:
        if not math.isfinite(value):
            pen = "M"
            continue
        pen = "M" if at - before > gap else pen
        pieces.append(f"{pen}{scale.x(at)} {scale.y(value)}")
        pen, before = "L", at
    return f'<path class="series s{index}" d="{"".join(pieces)}"/>'


def _usual_gap(points: Sequence[tuple[float, float]]) -> float:
    gaps = sorted(later[0] - earlier[0] for earlier, later in pairwise(points))
    return gaps[len(gaps) // 2] if gaps else math.inf


def _threshold(picture: Picture, scale: _Scale) -> list[str]:
    if picture.threshold is None:
        return []
    y = scale.y(picture.threshold)
    line = f'<line class="threshold" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
    place = f'x="{LEFT + 6}" y="{y - 6}"'
    return [line, f'<text class="threshold-text" {place}>threshold {number(picture.threshold)}</text>']


def number(value: float) -> str:
    """Write a value shortly: ``0.85``, ``930``, ``1.2k``, ``3.5M``, ``12G``."""
    size = abs(value)
    for bound, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= bound:
            return f"{value / bound:.3g}{unit}"
    if 0 < size < 0.001:
        return f"{value:.1e}"
    return f"{round(value, 4):g}"


def _spoken(picture: Picture) -> str:
    last = [series.points[-1][1] for series in picture.series if series.points]
    said = f"graph of {len(picture.series)} series"
    if last:
        said += f", now between {number(min(last))} and {number(max(last))}"
    return said if picture.threshold is None else f"{said}, threshold {number(picture.threshold)}"
