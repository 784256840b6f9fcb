"""The dispatcher: one lane per destination that sends what the ledger says is due, woken by each commit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

from alert_router.deliver import Surroundings, attempt
from alert_router.ledger import Finished, Job, Ledger, LedgerError, Outcome, finish, lease, next_due, recover, requeue
from alert_router.metrics import Meters
from alert_router.notifiers.base import Notifier, NotifierKind, Tools
from alert_router.page import Site
from alert_router.routing import Book
from tocsin.settings import DestinationSettings
from tocsin.telemetry import span

_log = logging.getLogger(__name__)

IDLE_SECONDS = 15.0
"""Longest sleep of a lane: a wall clock that jumps delays nothing by more."""
STOP_SECONDS = 5.0
"""How long a stop waits for messages that are under way; later they count as uncertain and go again."""
LEDGER_RETRY_SECONDS = 0.5
BUG_RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class Seams:
    """Time and chance, handed in so that tests own them."""

    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Random = field(default_factory=Random)


@dataclass
class Shared:
    """What all lanes share; ``site`` and ``book`` are replaced by a reload."""

    ledger: Ledger
    meters: Meters
    seams: Seams
    site: Site
    book: Book
    wake: Callable[[Iterable[str]], None]


class Lane:
    """Sends to one destination, several groups at once, one message per group and recipient at a time."""

    def __init__(self, name: str, notifier: Notifier, in_flight: int, shared: Shared) -> None:
        self.name = name
        self._notifier = notifier
        self._in_flight = in_flight
        self._shared = shared
        self._news = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._run(), name=f"lane-{name}")

    def wake(self) -> None:
        """Look at the ledger now."""
        self._news.set()

    async def stop(self) -> None:
        """Take nothing new, wait a little for what is under way, then let go."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._sending:
            _, late = await asyncio.wait(self._sending, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            now = self._shared.seams.clock()
            with contextlib.suppress(LedgerError):  # then the next start finds them
                await self._shared.ledger.run(lambda connection: recover(connection, now, self.name))
        await self._notifier.aclose()

    async def _run(self) -> None:
        while True:
            self._news.clear()
            try:
                wait = await self._round()
            except LedgerError:
                wait = LEDGER_RETRY_SECONDS  # logged by the writer; accepted pages are still on disk
            except Exception:  # noqa: BLE001  # a lane that ends would be a destination that is quietly never told
                _log.exception("router.lane.bug", extra={"destination": self.name})
                wait = LEDGER_RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def _round(self) -> float:
        """Start what is due; return how long to sleep if nothing happens (seconds)."""
        shared = self._shared
        free = self._in_flight - len(self._sending)
        if free > 0:
            now = shared.seams.clock()
            for job in await shared.ledger.run(lambda connection: lease(connection, self.name, free, now)):
                task = asyncio.create_task(self._deliver(job))
                self._sending.add(task)
                task.add_done_callback(self._sent)
        if len(self._sending) >= self._in_flight:
            return IDLE_SECONDS
        due = next_due(shared.ledger.reader, self.name)
        return IDLE_SECONDS if due is None else min(IDLE_SECONDS, max(0.005, due - shared.seams.clock()))

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._news.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("router.delivery.bug", exc_info=error, extra={"destination": self.name})

    async def _deliver(self, job: Job) -> None:
        shared = self._shared
        about = {"destination": self.name, "group": job.snapshot.group_id, "generation": str(job.generation)}
        parent = {"traceparent": job.trace} if job.trace else None
        with span("router.deliver", {f"tocsin.{key}": value for key, value in about.items()}, parent=parent):
            around = Surroundings(shared.site, shared.seams.clock, shared.seams.random)
            outcome = await attempt(job, self._notifier, around)
            finished = await self._write_down(job, outcome)
            self._count(job, outcome, finished.state)
            about |= {"result": outcome.result, "detail": outcome.detail, "state": finished.state}
            if outcome.result == "delivered":
                _log.info("router.delivered", extra=about)
            else:
                _log.warning("router.delivery.failed", extra=about)
        shared.wake(finished.wake)

    async def _write_down(self, job: Job, outcome: Outcome) -> Finished:
        """What was sent must be written down, however long the disk needs: else it would be sent twice."""
        ledger = self._shared.ledger
        while True:
            try:
                return await ledger.run(lambda connection: finish(connection, job, outcome, self._shared.book))
            except LedgerError:
                await self._shared.seams.sleep(LEDGER_RETRY_SECONDS)
            except Exception:  # noqa: BLE001  # a row that stays "sending" would block its group for ever
                _log.exception("router.delivery.bug", extra={"destination": self.name, "delivery": job.delivery})
                await ledger.run(lambda connection: requeue(connection, job.delivery, outcome.at + BUG_RETRY_SECONDS))
                return Finished("pending")

    def _count(self, job: Job, outcome: Outcome, state: str) -> None:
        self._shared.meters.delivery(self.name, "superseded" if state == "superseded" else outcome.result)
        if outcome.result == "delivered" and job.kind == "fired":
            self._shared.meters.took(self.name, outcome.at - job.snapshot.since)


class Dispatcher:
    """All lanes of one configuration."""

    def __init__(self, ledger: Ledger, meters: Meters, kinds: Mapping[str, NotifierKind], seams: Seams) -> None:
        self._kinds = kinds
        self._lanes: dict[str, Lane] = {}
        self._settings: dict[str, DestinationSettings] = {}
        self._ledger, self._meters, self._seams = ledger, meters, seams
        self._shared: Shared | None = None

    async def configure(self, destinations: Mapping[str, DestinationSettings], place: Site, tools: Tools) -> Book:
        """Start, stop and replace lanes so that they are those of the settings; unchanged ones go on undisturbed."""
        book = make_book(destinations, self._kinds)
        if self._shared is None:
            self._shared = Shared(self._ledger, self._meters, self._seams, place, book, self.wake)
        self._shared.site, self._shared.book = place, book
        remote = {name: destinations[name] for name in book.remote}
        gone = [name for name in self._lanes if remote.get(name) != self._settings.get(name)]
        await asyncio.gather(*(self._lanes.pop(name).stop() for name in gone))
        for name, settings in remote.items():
            if name not in self._lanes:
                kind = self._kinds[settings.kind]
                self._lanes[name] = Lane(name, kind.factory(name, settings, tools), kind.in_flight, self._shared)
        self._settings = dict(remote)
        return book

    def wake(self, names: Iterable[str]) -> None:
        """Let these destinations look at the ledger now."""
        for name in names:
            if lane := self._lanes.get(name):
                lane.wake()

    async def stop(self) -> None:
        """Stop all lanes."""
        await asyncio.gather(*(lane.stop() for lane in self._lanes.values()))
        self._lanes.clear()


def make_book(destinations: Mapping[str, DestinationSettings], kinds: Mapping[str, NotifierKind]) -> Book:
    """Return the destinations of a configuration with their recipients; the inbox is always among them."""
    recipients = {name: kinds[settings.kind].recipients(settings) for name, settings in destinations.items()}
    local = {name for name, settings in destinations.items() if kinds[settings.kind].local}
    return Book({"inbox": ("",), **recipients}, frozenset({"inbox", *local}))
