"""History replayed: what the rules of one SLO would have seen and done, minute by minute, from the source series.

Short windows are asked from Prometheus with the very expressions that the rules record; long windows add up the 5m
counts as the rules do. So a new SLO is judged on months in which its rules did not exist yet.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import timedelta

from alert_rules.slo.objective import Objective
from alert_rules.slo.recording import BAD, BASE, DAY, MAINTENANCE, TOTAL, raw
from alert_rules.slo.windows import MARGIN, Pair, window_name
from alert_rules.slo_tools.prometheus import Labels, Prometheus
from tocsin.settings import parse_duration

Line = Sequence[float]
"""One value per step; NaN where there is none."""

_EXACT = 1_000_000
"""Counts are added up as whole millionths of an event: differences of long sums stay exact."""


@dataclass(frozen=True)
class Span:
    """The replayed time: unix seconds from ``start`` to ``end``, one evaluation every ``step`` seconds."""

    start: float
    end: float
    step: float

    @property
    def points(self) -> int:
        """How many evaluations."""
        return int((self.end - self.start) / self.step + 1e-9) + 1

    def at(self, index: int) -> float:
        """The moment of an evaluation."""
        return self.start + index * self.step


@dataclass(frozen=True)
class Firing:
    """One time during which a pair would have fired. ``end`` is None when it still does at the end of the span."""

    pair: Pair
    start: float
    end: float | None
    burn: float
    """The highest burn rate of the long window meanwhile."""
    bad: float
    """The most bad events in the long window meanwhile."""
    budget_before: float
    budget_after: float
    joins: Pair | None = None
    """The faster pair that fired already when this one began: grouping and inhibition make them one message."""


def pair_name(pair: Pair) -> str:
    """Write a pair by its windows: ``1h/5m``."""
    return f"{window_name(pair.long)}/{window_name(pair.short)}"


@dataclass(frozen=True)
class Replay:
    """What one SLO, or one group of it, would have done. ``labels`` tell groups apart."""

    objective: Objective
    labels: Labels
    span: Span
    remaining: Line
    """Budget left at each evaluation, 1 is all of it."""
    firings: tuple[Firing, ...]
    known_from: float | None
    """The first moment with any event series; None when there is none at all."""
    total: float
    """Events within the span."""
    bad: float


class _Sums:
    """Sums of one line over any window that ends at a step."""

    def __init__(self, line: Line, step: float) -> None:
        self._step = step
        known = [0 if math.isnan(value) else round(value * _EXACT) for value in line]
        self._sums = list(itertools.accumulate(known, initial=0))
        self._counts = list(itertools.accumulate((not math.isnan(value) for value in line), initial=0))

    def over(self, index: int, window: timedelta) -> float:
        """Events within the window up to a step: overlapping 5m counts, weighted to count once. NaN without any."""
        first = max(0, index + 1 - round(window.total_seconds() / self._step))
        if self._counts[index + 1] == self._counts[first]:
            return math.nan
        return (self._sums[index + 1] - self._sums[first]) / _EXACT * self._step / BASE.total_seconds()


@dataclass(frozen=True)
class _Seen:
    """The counts of one group: short windows as read within the span, 5m counts with their lead before it."""

    short: Mapping[tuple[str, timedelta], Line]
    bad: _Sums
    total: _Sums
    lead: int

    def count(self, name: str, window: timedelta, index: int) -> float:
        line = self.short.get((name, window))
        if line is not None:
            return line[index]
        return (self.bad if name == BAD else self.total).over(index + self.lead, window)

    def ratio(self, window: timedelta, index: int) -> float:
        total = self.count(TOTAL, window, index)
        return self.count(BAD, window, index) / total if total > 0 else math.nan


def replay(prometheus: Prometheus, objective: Objective, span: Span) -> tuple[Replay, ...]:
    """Replay one SLO; one result per group. Raises StackError when Prometheus does not answer."""
    return tuple(_judge(objective, labels, span, seen) for labels, seen in _read(prometheus, objective, span))


def _read(prometheus: Prometheus, objective: Objective, span: Span) -> Iterator[tuple[Labels, _Seen]]:
    lead = round(max(objective.period, *(pair.long for pair in objective.pairs), DAY).total_seconds() / span.step)
    early = span.start - lead * span.step
    lines: dict[tuple[str, timedelta], dict[Labels, list[float]]] = {}
    for name, window, expr in _sources(objective):
        start = early if window == BASE else span.start
        lines[name, window] = prometheus.over(expr, start=start, end=span.end, step=span.step)
    # Without any event there is still one answer: that nothing is known.
    for labels in sorted(lines[TOTAL, BASE]) or [()]:
        nothing = [math.nan] * (lead + span.points)
        mine = {key: found.get(labels, nothing) for key, found in lines.items()}
        sums = {name: _Sums(mine[name, BASE], span.step) for name in (BAD, TOTAL)}
        short = {key: line[lead:] if key[1] == BASE else line for key, line in mine.items()}
        yield labels, _Seen(short, sums[BAD], sums[TOTAL], lead)


def _sources(objective: Objective) -> Iterator[tuple[str, timedelta, str]]:
    """Return what the rules read from the source: which count, over which window, by which query."""
    for rule in raw(objective):
        if rule.record in (BAD, TOTAL):
            yield rule.record, parse_duration(rule.labels["window"]), _without_recorded(objective, rule.expr)


def _without_recorded(objective: Objective, expr: str) -> str:
    """Ask for planned work itself: its recorded series has no history before the rules were loaded."""
    if not objective.maintenance:
        return expr
    base = window_name(BASE)
    recorded = f"max_over_time({objective.series(MAINTENANCE)}[{base}])"
    return expr.replace(recorded, f"max_over_time((max(({objective.maintenance}) > bool 0))[{base}:1m])")


def _judge(objective: Objective, labels: Labels, span: Span, seen: _Seen) -> Replay:
    budget = float(objective.budget)
    remaining = [_remaining(seen, objective.period, budget, index) for index in range(span.points)]
    firings = [firing for pair in objective.pairs for firing in _firings(objective, pair, span, seen, remaining)]
    known = next((i for i, value in enumerate(seen.short[TOTAL, BASE]) if not math.isnan(value)), None)
    whole = timedelta(seconds=span.points * span.step)
    last = span.points - 1 + seen.lead
    return Replay(
        objective,
        labels,
        span,
        remaining,
        tuple(_joined(sorted(firings, key=lambda each: (each.start, each.pair.long)))),
        None if known is None else span.at(known),
        seen.total.over(last, whole),
        seen.bad.over(last, whole),
    )


def _remaining(seen: _Seen, period: timedelta, budget: float, index: int) -> float:
    total = seen.total.over(index + seen.lead, period)
    if math.isnan(total):
        return math.nan
    return 1 - seen.bad.over(index + seen.lead, period) / total / budget if total > 0 else 1.0


def _firings(objective: Objective, pair: Pair, span: Span, seen: _Seen, remaining: Line) -> Iterator[Firing]:
    budget = float(objective.budget)
    holds = _condition(objective, pair, seen)
    for firing, indices in itertools.groupby(range(span.points), holds):
        if not firing:
            continue
        run = list(indices)
        first, last = run[0], run[-1]
        yield Firing(
            pair,
            span.at(first),
            None if last == span.points - 1 else span.at(last + 1),
            max(seen.ratio(pair.long, index) for index in run) / budget,
            max(seen.count(BAD, pair.long, index) for index in run),
            remaining[max(0, first - 1)],
            remaining[last],
        )


def _condition(objective: Objective, pair: Pair, seen: _Seen) -> Callable[[int], bool]:
    """Return whether the pair fires at a step, as its alert's expression says."""
    limit = float(pair.threshold(objective.period, objective.budget) * MARGIN)
    least = objective.least(pair)

    def guarded(index: int) -> bool:
        if not least or seen.count(BAD, pair.long, index) >= least - 0.5:
            return True
        return seen.ratio(DAY, index) > 0.999999 and seen.count(TOTAL, DAY, index) > 1.5

    def holds(index: int) -> bool:
        return seen.ratio(pair.short, index) > limit and seen.ratio(pair.long, index) > limit and guarded(index)

    return holds


def _joined(firings: Sequence[Firing]) -> Iterator[Firing]:
    """Say of each alert whose message it joins: a page quiets tickets, and a faster pair the slower of its tier."""
    for firing in firings:
        already = next((other.pair for other in firings if _tells_of(other, firing)), None)
        yield changed(firing, joins=already)


def _tells_of(other: Firing, firing: Firing) -> bool:
    faster = other.pair.long < firing.pair.long
    return faster and other.start <= firing.start <= (math.inf if other.end is None else other.end)
