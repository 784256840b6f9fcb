"""What must be true of a promise under known traffic, in exact fractions: the judge of the generated rules.

Nothing here is shared with the generator. Windows are integrals of piecewise-constant traffic. Where a real Prometheus
may see a window a little early or late (samples, evaluations, sums of 5m counts) every such reading is tried, and a
verdict is given only when all of them agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

Verdict = bool | None
"""True: must fire; False: must be quiet; None: depends on the moment of the evaluation."""

_BASE = 5
_HAIR = Fraction(1, 10**6)
_EXTRAPOLATED = (Fraction(3, 4), Fraction(1), Fraction(4, 3))


@dataclass(frozen=True)
class Segment:
    """So many minutes of so many events a minute, of which so many are bad."""

    minutes: int
    total: Fraction
    bad: Fraction


@dataclass(frozen=True)
class Window:
    """One pair as promised; lengths in minutes, share of the budget, fewest bad events (0: any)."""

    tier: str
    long: int
    short: int
    share: Fraction
    least: int


@dataclass(frozen=True)
class Promise:
    """What an SLO promises; lengths in minutes. Windows longer than ``raw`` are sums of 5m counts."""

    budget: Fraction
    period: int
    windows: tuple[Window, ...]
    raw: int

    def threshold(self, window: Window) -> Fraction:
        """The ratio above which a pair must fire."""
        return self.budget * window.share * self.period / window.long


def counted(traffic: Sequence[Segment], until: Fraction | int) -> tuple[Fraction, Fraction]:
    """Return bad and all events from the beginning until a minute."""
    bad = total = Fraction(0)
    left: Fraction | int = until
    for segment in traffic:
        if left <= 0:
            break
        span = min(segment.minutes, left)
        if segment.total:
            bad, total = bad + span * segment.bad, total + span * segment.total
        left -= segment.minutes
    return bad, total


def within(traffic: Sequence[Segment], at: int, length: int) -> tuple[Fraction, Fraction]:
    """Return bad and all events of the window that ends at a minute."""
    now, then = counted(traffic, max(at, 0)), counted(traffic, max(at - length, 0))
    return now[0] - then[0], now[1] - then[1]


def _readings(
    traffic: Sequence[Segment], at: int, length: int, promise: Promise, step: int
) -> set[tuple[Fraction, Fraction]]:
    if length <= promise.raw:
        spans = {(at, length), (at, max(length - step, 1))}
    else:
        late = _BASE + step
        spans = {(at, length), (at - late, length), (at, length + late), (at - late, max(length - late, 1))}
    return {within(traffic, end, span) for end, span in spans}


def _agree(values: Iterable[Verdict]) -> Verdict:
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _both(*values: Verdict) -> Verdict:
    return False if False in values else None if None in values else True


def _either(*values: Verdict) -> Verdict:
    return True if True in values else None if None in values else False


def _above(reading: tuple[Fraction, Fraction], limit: Fraction) -> Verdict:
    bad, total = reading
    if total == 0 or bad / total <= limit:
        return False
    return True if bad / total > limit * (1 + _HAIR) else None


def verdict(traffic: Sequence[Segment], promise: Promise, window: Window, at: int, step: int) -> Verdict:
    """Say whether a pair must fire at a minute, when rules are evaluated every ``step`` minutes."""
    limit = promise.threshold(window)
    long, short = (_readings(traffic, at, length, promise, step) for length in (window.long, window.short))
    burning = _both(_agree(_above(each, limit) for each in long), _agree(_above(each, limit) for each in short))
    if not window.least:
        return burning
    enough = _agree(bad * factor >= window.least - Fraction(1, 2) for (bad, _), factor in product(long, _EXTRAPOLATED))
    day = _readings(traffic, at, 1440, promise, step)
    all_bad = _both(
        _agree(total > 0 and bad == total for bad, total in day),
        _agree(total * factor > Fraction(3, 2) for (_, total), factor in product(day, _EXTRAPOLATED)),
    )
    return _both(burning, _either(enough, all_bad))


def remaining(traffic: Sequence[Segment], promise: Promise, at: int) -> Fraction | None:
    """Return the share of the budget that is left, weighted by traffic; None before anything is known."""
    bad, total = within(traffic, at, promise.period)
    return 1 - bad / total / promise.budget if total else Fraction(1)
