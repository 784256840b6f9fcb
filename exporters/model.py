"""What a source is made of: it opens a reader, the reader takes snapshots, pure functions shape them into families.

Everything between a source and the runtime is plain frozen data of this module.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tocsin.errors import TargetReason
from tocsin.settings import TargetSettings
from tocsin.signals import Signal

OTHER = "_other"
"""Label value of the one series that members beyond the cap fold into."""

_LABEL_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations as they are rendered: one count per bucket of the signal (not cumulative) plus one beyond."""

    counts: tuple[int, ...]
    sum: float


Value = float | int | Histogram
Row = tuple[tuple[str, ...], Value]
"""Label values in the order of ``Signal.labels``, and the value."""

Fold = Literal["sum", "min", "max", "sum_if_all", "leave_out"]
"""How the members beyond the cap become one series; counters and histograms always add up their increases."""


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one signal for one target. ``rows`` carry no ``target`` label: the runtime adds it."""

    signal: Signal
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Part:
    """How one part of a read went (a *collector*): its name, whether it succeeded, and what it cost in seconds."""

    collector: str
    ok: bool
    duration: float
    reason: TargetReason | None = None
    detail: str = ""


class Snapshot(Protocol):
    """What one read brings home. Sources add their own fields; these two the runtime reads itself."""

    @property
    def parts(self) -> Sequence[Part]:
        """How each part of the read went."""

    @property
    def version(self) -> str:
        """Version of the watched system; empty when unknown."""


class Reader(Protocol):
    """One target's connection. Reads never overlap; a read that is late is cancelled and ``close`` follows."""

    async def read(self) -> Snapshot:
        """Take a snapshot. Raises TargetError, OSError or anything: the runtime guards it."""

    def close(self) -> None:
        """Drop the connection at once, without waiting; the next read connects again."""


@dataclass(frozen=True)
class Folding:
    """Which label names the members of a source (queues, breakers …), how many are kept, and how the rest folds.

    ``rules`` are needed for gauges only; a gauge that is not named sums.
    """

    label: str
    cap: Callable[[Any], int]
    pinned: Callable[[Any], Collection[str]]
    rules: Mapping[str, Fold] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """One line of the source table.

    ``signals`` are all that it can produce; ``open`` makes a reader without any I/O; ``families`` is pure.
    """

    kind: str
    settings: type[TargetSettings]
    signals: tuple[Signal, ...]
    open: Callable[[Any], Reader]
    families: Callable[[Any], Sequence[Family]]
    folding: Folding | None = None


def label_text(raw: str | bytes) -> str:
    """Make a label value of what a watched system calls something: valid UTF-8 and at most 200 characters.

    A longer name keeps its start and gets a digest, so that two long names never become one series.
    """
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw.encode("utf-8", "replace").decode()
    if len(text) <= _LABEL_LIMIT:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return f"{text[: _LABEL_LIMIT - 11]}~{digest}"


class Counts:
    """A histogram that grows: the mutable twin of ``Histogram``."""

    __slots__ = ("_bounds", "_counts", "_frozen", "_sum")

    def __init__(self, buckets: Sequence[float]) -> None:
        self._bounds = tuple(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        self._frozen: Histogram | None = None

    def add(self, value: float) -> None:
        """Count one value; a negative one (clocks that disagree) counts as 0."""
        value = max(value, 0.0)
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value
        self._frozen = None

    def frozen(self) -> Histogram:
        """Return what has been counted so far; the same object while nothing is added."""
        if self._frozen is None:
            self._frozen = Histogram(tuple(self._counts), self._sum)
        return self._frozen
