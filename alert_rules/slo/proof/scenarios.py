"""Stories that every promise is put through, as traffic and the minutes at which to look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm

from alert_rules.slo.proof.exact import Promise, Segment, Window

HOUR, DAY = 60, 1440


@dataclass(frozen=True)
class Look:
    """A minute at which every pair is judged, and with ``budget`` what is left, to that relative precision."""

    at: int
    budget: Fraction | None = None


@dataclass(frozen=True)
class Scenario:
    """One story. ``step`` is the evaluation interval in minutes; ``unborn``: no bad series before the first bad event.

    ``resets``: minutes at which counters start again from 0. ``gone``: the minute at which all series end.
    """

    name: str
    traffic: tuple[Segment, ...]
    looks: tuple[Look, ...]
    step: int = 1
    unborn: bool = False
    resets: tuple[int, ...] = ()
    gone: int | None = None
    silence: tuple[tuple[int, bool], ...] = ()
    exhausted: tuple[tuple[int, bool], ...] = ()
    series: dict[str, int] = field(default_factory=dict)
    planned: tuple[int, int] | None = None

    @property
    def minutes(self) -> int:
        """How long the story is."""
        return sum(segment.minutes for segment in self.traffic)


_EXACTLY = Fraction(1, 10**6)
_WELL = Fraction(1, 100)


def busy(promise: Promise, ratios: Sequence[Fraction]) -> Fraction:
    """Return a traffic per minute at which every ratio is a whole number of events, and the guard is far away."""
    whole = lcm(*(ratio.denominator for ratio in ratios))
    least = max((window.least for window in promise.windows), default=0)
    smallest = min((ratio for ratio in ratios if ratio), default=Fraction(1))
    wanted = max(1000, int(100 * (least + 1) / smallest / 10) + 1)
    return Fraction(whole * -(-wanted // whole))


def _at(traffic: Fraction, minutes: int, ratio: Fraction | int) -> Segment:
    return Segment(minutes, traffic, traffic * ratio)


def scenarios(promise: Promise, hold: int) -> Iterator[Scenario]:
    """Return every story for one promise. ``hold`` is how many minutes silence waits before it is told."""
    yield from _steady(promise)
    for window in promise.windows:
        yield _outage(promise, window)
    if promise.windows:
        yield _total_outage(promise)
        yield from _low_traffic(promise)
    yield from _budgets(promise)
    yield _silence(promise, hold)
    yield _month(promise)


def _steady(promise: Promise) -> Iterator[Scenario]:
    """At a threshold nothing fires, a hair above it fires: without any transition, so each limit is met exactly."""
    for window in promise.windows:
        limit = promise.threshold(window)
        above = min(limit * Fraction(102, 100), (1 + limit) / 2)
        traffic = busy(promise, (limit, above))
        name = f"{window.tier} {window.long}m"
        looks = (Look(20, _EXACTLY), Look(30, _EXACTLY))
        yield Scenario(f"burning exactly at the limit of the {name} pair", (_at(traffic, 31, limit),), looks)
        yield Scenario(f"burning just above the limit of the {name} pair", (_at(traffic, 31, above),), looks)


def _outage(promise: Promise, window: Window) -> Scenario:
    """Trip the long window to the percent, hold the short one exactly at its limit, exceed it, recover."""
    limit, long, short = promise.threshold(window), window.long, window.short
    step = 1 if long <= 8 * HOUR else 4
    first, slight = (
        min(Fraction(1), (2 if long <= DAY else 8) * limit),
        min(limit * Fraction(102, 100), (1 + limit) / 2),
    )
    hard = min(Fraction(1), 4 * limit)
    traffic = busy(promise, (first, limit, slight, hard))
    trip = int(long * limit / first)
    linger = _up(short + 10 + 3 * step, step)
    edge = max(_up(trip // 25, step), 2 * step + 6)
    burst = _up(trip + 2 * edge, step)
    healthy = _up(long + 10, step)
    a = healthy + burst
    b, c = a + linger, a + 2 * linger
    d = c + linger
    clear = _up(short + 6 + 3 * step, step)
    segments = (
        _at(traffic, healthy, 0),
        _at(traffic, burst, first),
        _at(traffic, linger, limit),
        _at(traffic, linger, slight),
        _at(traffic, linger, hard),
        _at(traffic, clear + 2 * step, 0),
    )
    looks = [healthy, _down(healthy + trip - edge, step), _up(healthy + trip + edge, step), a, b, c, d]
    looks += [_down(d + short // 3, step), _down(d + short // 2, step), _up(d + clear, step)]
    name = f"an outage through the {window.tier} pair of {long}m and {short}m"
    return Scenario(name, segments, tuple(Look(at) for at in sorted(set(looks))), step)


def _total_outage(promise: Promise) -> Scenario:
    """Everything fails after a good while: the fastest pair fires as soon as its share is spent, and ends in time."""
    fast = promise.windows[0]
    traffic, limit = busy(promise, (Fraction(1), promise.threshold(fast))), promise.threshold(fast)
    healthy, trip = fast.long + 10, int(fast.long * limit) + 1
    lasting = trip + fast.short + 5
    end = healthy + lasting
    looks = (healthy, healthy + trip + 1, healthy + trip + 2, end, end + fast.short + 1, end + fast.short + 7)
    segments = (_at(traffic, healthy, 0), _at(traffic, lasting, 1), _at(traffic, fast.short + 10, 0))
    return Scenario("a total outage and its end", segments, tuple(Look(at) for at in looks))


def _low_traffic(promise: Promise) -> Iterator[Scenario]:
    one = Fraction(1)
    least = [window.least for window in promise.windows if window.least]
    yield Scenario(
        "one failure at one request a minute",
        (_at(one, 90, 0), _at(one, 1, 1), _at(one, 40, 0)),
        tuple(Look(at) for at in (91, 92, 94, 97, 105, 120)),
    )
    if not least:
        return
    few, many = min(least), max(least)
    seen = {15 + at for at in (few // 2, int(few * 0.7), int(few * 1.5) + 1, int(many * 1.5) + 8, many * 2 + 12)}
    yield Scenario(
        "a total outage at one request a minute is late by the guard, not hidden",
        (_at(one, 15, 0), _at(one, many * 2 + 15, 1)),
        tuple(Look(at) for at in sorted(seen)),
    )
    sparse = _every(20, 11, bad=True)
    yield Scenario(
        "nothing but failures, too few for the guard",
        sparse,
        tuple(Look(at) for at in (8, 16, 18, 196, 205, 213)),
    )
    yield Scenario(
        "as few failures beside one success",
        (*_every(20, 1, bad=False), *_every(20, 8, bad=True)),
        tuple(Look(at) for at in (100, 136, 157)),
    )


def _every(gap: int, times: int, *, bad: bool) -> tuple[Segment, ...]:
    """Return single events, one in each ``gap`` minutes."""
    quiet, event = Segment(gap // 2 - 1, Fraction(0), Fraction(0)), Segment(1, Fraction(1), Fraction(int(bad)))
    return (quiet, event, Segment(gap - gap // 2, Fraction(0), Fraction(0))) * times


def _budgets(promise: Promise) -> Iterator[Scenario]:
    half = promise.budget / 2
    traffic = busy(promise, (half, promise.budget, promise.budget * 2 / (1 + promise.budget * 2)))
    yield Scenario("no errors at all", (_at(traffic, 40, 0),), (Look(10, _EXACTLY), Look(40, _EXACTLY)))
    yield Scenario(
        "no error series yet, then half of what is allowed",
        (_at(traffic, 60, 0), _at(traffic, 120, half)),
        (Look(50, _EXACTLY), Look(180, _WELL)),
        unborn=True,
    )
    yield Scenario("no traffic", (Segment(60, Fraction(0), Fraction(0)),), (Look(20, _EXACTLY), Look(60, _EXACTLY)))
    yield Scenario(
        "traffic stops and returns",
        (_at(traffic, 60, half), Segment(60, Fraction(0), Fraction(0)), _at(traffic, 60, 0)),
        (Look(58, _EXACTLY), Look(100, _WELL), Look(115, _WELL), Look(180, _WELL)),
    )
    yield Scenario(
        "counters start again from zero",
        (_at(traffic, 120, half),),
        (Look(60, _EXACTLY), Look(120, _WELL)),
        resets=(61, 90),
    )
    spent = min(promise.budget * 2, (1 + promise.budget) / 2)
    rich = busy(promise, (promise.budget, spent, half))
    yield Scenario(
        "a budget that is spent",
        (_at(rich, 30, half), _at(rich, 120, spent)),
        (Look(30), Look(150, _WELL)),
        exhausted=((30, False), (150, spent > promise.budget)),
    )


def _silence(promise: Promise, hold: int) -> Scenario:
    traffic = busy(promise, (promise.budget,))
    gone = 30
    looks = [(gone - 2, False), (gone + hold + 8, True), *([(gone + hold - 1, False)] if hold > 1 else [])]
    return Scenario(
        "every series ends",
        (_at(traffic, gone + hold + 12, 0),),
        (Look(gone - 2, _EXACTLY),),
        gone=gone,
        silence=tuple(sorted(looks)),
    )


def _month(promise: Promise) -> Scenario:
    """A whole period and more, thousands to one: busy days weigh by their events, and old ones are forgotten."""
    days = promise.period // DAY
    half = promise.budget / 2
    bad = min(Fraction(1), promise.budget * 40)
    unit = busy(promise, (half, bad))
    low, high = unit, unit * 3000
    segments = (
        Segment(2 * DAY, high, high * half),
        Segment(DAY, low, low * bad),
        Segment((days - 3) * DAY, low, Fraction(0)),
        Segment(4 * DAY, low, low * half),
    )
    looks = tuple(Look(at * DAY, _WELL) for at in (2, 3, days - 1, days + 1, days + 4))
    return Scenario("a whole period of uneven traffic", segments, looks, step=HOUR)


def _up(minutes: int, step: int) -> int:
    return -(-minutes // step) * step


def _down(minutes: int, step: int) -> int:
    return minutes // step * step
