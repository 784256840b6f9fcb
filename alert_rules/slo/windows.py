"""Burn-rate windows as data: which part of the budget, spent in which time, is worth a page or a ticket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from tocsin.settings import format_duration

Tier = Literal["page", "ticket"]

MARGIN = Decimal("1.000000001")
"""On the written threshold: the quotient of two rates may round one step up, and a burn exactly on it is no alert."""

BUILT_IN_PERIODS = tuple(timedelta(days=days) for days in (7, 28, 30, 90))
"""Periods whose windows are known without a windows file."""


@dataclass(frozen=True)
class Pair:
    """Two windows and the share of the period's budget that, spent within the long one, is worth an alert.

    The long window proves that it matters, the short one that it still goes on.
    """

    tier: Tier
    long: timedelta
    short: timedelta
    share: Decimal

    def factor(self, period: timedelta) -> Decimal:
        """How many times faster than allowed the budget burns at this share: share × period / long window."""
        return (self.share * _seconds(period) / _seconds(self.long)).normalize()

    def threshold(self, period: timedelta, budget: Decimal) -> Decimal:
        """The exact error ratio above which the pair fires, without the margin."""
        # One division, at the end: 14/15 times a budget has no finite decimal, and each further step would round.
        return (self.share * _seconds(period) * budget / _seconds(self.long)).normalize()


@dataclass(frozen=True)
class WindowSet:
    """The four pairs of one period, the faster of each tier first; ``builtin`` when they are Tocsin's own."""

    period: timedelta
    pairs: tuple[Pair, ...]
    builtin: bool = True

    def with_shares(self, shares: Sequence[Decimal]) -> WindowSet:
        """Return the same windows with other shares of the budget (0 to 1), one for each pair."""
        chosen = zip(self.pairs, shares, strict=True)
        return WindowSet(self.period, tuple(Pair(p.tier, p.long, p.short, share) for p, share in chosen), builtin=False)


def window_set(period: timedelta) -> WindowSet:
    """Return the built-in pairs for a period.

    Windows stay in real time whatever the period: a short period takes other shares, because a window scaled down
    to a minute holds no samples.
    """
    shares = _WEEK if period == timedelta(days=7) else _MONTH
    return WindowSet(
        period,
        tuple(
            Pair(tier, timedelta(minutes=long), timedelta(minutes=short), Decimal(share) / 100)
            for (tier, long, short), share in zip(_WINDOWS, shares, strict=True)
        ),
    )


_WINDOWS: tuple[tuple[Tier, int, int], ...] = (
    ("page", 60, 5),
    ("page", 360, 30),
    ("ticket", 1440, 120),
    ("ticket", 4320, 360),
)
_MONTH = ("2", "5", "10", "10")
_WEEK = ("8", "12.5", "20", "42")


def plain(value: Decimal) -> str:
    """Write a Decimal without an exponent and without trailing zeros."""
    return format(value.normalize(), "f")


def shown(value: Decimal) -> str:
    """Write a Decimal for people: six digits at most, because 14/15 has no end."""
    return plain(Decimal(f"{value:.6g}"))


def window_name(window: timedelta) -> str:
    """Write a window as its label value and range: ``5m``, ``1h``, ``30d``."""
    return format_duration(window)


def _seconds(span: timedelta) -> Decimal:
    return Decimal(round(span.total_seconds()))
