"""One target at run time: guard, deadline, single flight, and what it is known to have done so far."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import get_args

from exporters.guard import translate
from exporters.model import Family, Part, Reader, Snapshot, Source, label_text
from exporters.runtime.fold import Folder
from tocsin import signals
from tocsin.errors import TargetError, TargetReason
from tocsin.settings import TargetSettings

_log = logging.getLogger("exporters.target")

WHOLE = "read"
"""Collector name of the read as a whole."""


@dataclass(frozen=True)
class Scrape:
    """One answer about one target: its families, its own ``tocsin_*`` ones included, and how the read went."""

    target: str
    families: Sequence[Family]
    error: TargetError | None
    duration: float
    parts: Sequence[Part] = ()
    folded: int = 0
    """Members beyond the cap that went into ``_other``."""

    @property
    def up(self) -> bool:
        """Whether the target answered in time."""
        return self.error is None

    @property
    def samples(self) -> int:
        """Samples, not counting a histogram's buckets."""
        return sum(len(family.rows) for family in self.families)


@dataclass(frozen=True)
class LastError:
    """The last thing that went wrong with a target, whole or in part; it stays when all is well again."""

    reason: TargetReason
    text: str
    at: float
    """Unix seconds."""


@dataclass
class Target:
    """Reads one configured target: never twice at a time, never past a deadline, never raising."""

    settings: TargetSettings
    source: Source
    clock: Callable[[], float] = time.perf_counter
    wall: Callable[[], float] = time.time
    last: Scrape | None = None
    last_error: LastError | None = None
    read_at: float | None = None
    """Unix seconds of the last answer, good or bad."""
    missed_deadline: bool = False
    _reader: Reader | None = None
    _closed: bool = False
    _flight: asyncio.Task[Scrape] | None = None
    _folder: Folder | None = None
    _errors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(get_args(TargetReason), 0))

    def __post_init__(self) -> None:
        folding = self.source.folding
        if folding is not None:
            self._folder = Folder(folding, folding.cap(self.settings), folding.pinned(self.settings))

    @property
    def name(self) -> str:
        """The configured name."""
        return self.settings.name

    async def scrape(self, budget: float) -> Scrape:
        """Return a fresh answer within ``budget`` seconds, sharing a read that is in flight already."""
        started = self.clock()
        if self._flight is None:
            self._flight = asyncio.create_task(self._read(budget), name=f"read {self.name}")
            self._flight.add_done_callback(self._landed)
        try:
            # A scraper that hangs up or has less time must not end the read that others wait for.
            return await asyncio.wait_for(asyncio.shield(self._flight), budget + 0.05)
        except TimeoutError as error:
            return self._down(translate(error), self.clock() - started)

    def close(self) -> None:
        """Drop the connection; a read in flight ends early, and whoever waits for it gets an answer."""
        self._closed = True
        if self._reader is not None:
            self._reader.close()

    def _landed(self, flight: asyncio.Task[Scrape]) -> None:
        if self._flight is flight:
            self._flight = None
        if self._closed and self._reader is not None:
            self._reader.close()  # it may have connected after it was closed

    async def _read(self, budget: float) -> Scrape:
        started = self.clock()
        try:
            if self._reader is None:
                self._reader = self.source.open(self.settings)
            snapshot = await asyncio.wait_for(self._reader.read(), budget)
            families = list(self.source.families(snapshot))
        except Exception as error:  # noqa: BLE001  # the guard: whatever a read raises becomes a bounded reason
            scrape = self._failed(translate(error), error, self.clock() - started)
        else:
            scrape = self._answered(snapshot, families, self.clock() - started)
        self._tell_changes(scrape)
        self._remember(scrape)
        return scrape

    def _answered(self, snapshot: Snapshot, families: list[Family], duration: float) -> Scrape:
        self.missed_deadline = False
        for part in snapshot.parts:
            if part.reason is not None:
                self._errors[part.reason] += 1
        folded: Sequence[Family] = ()
        members = 0
        if self._folder is not None:
            shaped = self._folder.fold(families)
            families, members = list(shaped.families), shaped.members
            if shaped.members:
                folded = [Family(signals.SERIES_FOLDED, [((name,), shaped.members) for name in shaped.names])]
        own = self._own(1, snapshot.parts, duration)
        if snapshot.version:
            row = ((self.source.kind, label_text(snapshot.version)), 1)
            own.append(Family(signals.TARGET_INFO, [row]))
        return Scrape(self.name, [*families, *own, *folded], None, duration, snapshot.parts, members)

    def _failed(self, error: TargetError, cause: Exception, duration: float) -> Scrape:
        self.missed_deadline = error.reason == "timeout"
        self._errors[error.reason] += 1
        if self._reader is not None:
            self._reader.close()
        if not isinstance(cause, TargetError | OSError | TimeoutError):
            # A surprise of ours rather than of the target: where it happened helps, its text may quote an answer.
            _log.error("exporter.read.unexpected", extra={"target": self.name, "where": _where(cause)})
        return self._down(error, duration)

    def _down(self, error: TargetError, duration: float) -> Scrape:
        return Scrape(self.name, self._own(0, (), duration), error, duration)

    def _own(self, up: int, parts: Sequence[Part], duration: float) -> list[Family]:
        whole = Part(WHOLE, ok=bool(up), duration=duration)
        return [
            Family(signals.TARGET_UP, [((), up)]),
            Family(signals.COLLECTOR_SUCCESS, [((p.collector,), int(p.ok)) for p in (whole, *parts)]),
            Family(signals.COLLECTOR_DURATION, [((p.collector,), p.duration) for p in (whole, *parts)]),
            Family(signals.SCRAPE_ERRORS, [((reason,), count) for reason, count in self._errors.items()]),
        ]

    def _remember(self, scrape: Scrape) -> None:
        self.last, self.read_at = scrape, self.wall()
        complaint = _complaint(scrape)
        if complaint is not None:
            self.last_error = LastError(*complaint, self.read_at)

    def _tell_changes(self, scrape: Scrape) -> None:
        """Log when a target goes, comes back or changes its complaint: not at every scrape of a long outage."""
        before, now = _complaint(self.last) if self.last is not None else None, _complaint(scrape)
        if now == before and self.last is not None:
            return
        if now is not None:
            event = "exporter.target.partial" if scrape.up else "exporter.target.down"
            _log.warning(event, extra={"target": self.name, "reason": now[0], "detail": now[1]})
        elif before is not None:
            _log.info("exporter.target.recovered", extra={"target": self.name})


def _complaint(scrape: Scrape) -> tuple[TargetReason, str] | None:
    if scrape.error is not None:
        return scrape.error.reason, str(scrape.error)
    bad = next((part for part in scrape.parts if not part.ok), None)
    return (bad.reason or "parse", f"{bad.collector}: {bad.detail}") if bad else None


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else "?"
    return f"{type(error).__name__} in {place}"
