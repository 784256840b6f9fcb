"""BullMQ's keys → one snapshot, in two round trips of plain reads, whatever the number of queues.

Plain reads only: BullMQ's own count script can remove a marker from the waiting list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from exporters.bullmq.discover import Discovery
from exporters.bullmq.events import Entry, EventLog, Finished, Stream
from exporters.bullmq.settings import BullmqSettings
from exporters.bullmq.trips import QueueReplies, SecondTrip, shape_replies
from exporters.bullmq.workers import CLIENT_LIST, WorkerCount
from exporters.clients.resp import Connection, ReplyError, failed, pack, pack_all, reason_of
from exporters.model import Part

PING: Final = pack("PING")
_COMMANDS: Final = 11
"""Commands of the first round trip per queue, without the stream."""
_EVENTS_PER_READ: Final = 20_000
_PRIMING: Final = 1000


__all__ = ["BullmqReader", "BullmqSettings", "BullmqSnapshot", "Queue"]


@dataclass(frozen=True)
class Queue:
    """One queue at one moment. None means unknown."""

    name: str
    ready: int
    in_flight: int
    scheduled: int
    blocked: int
    retained_completed: int
    retained_failed: int
    paused: bool
    oldest_ready: float | None = None
    """Unix seconds."""
    capacity: int | None = None
    slots: int | None = None
    workers: int | None = None
    finished: Finished | None = None
    last_finished: float | None = None
    """Unix seconds."""


@dataclass(frozen=True)
class BullmqSnapshot:
    """All watched queues, and when the slow facts were read (unix seconds by collector)."""

    queues: tuple[Queue, ...]
    slow: Mapping[str, float]
    parts: tuple[Part, ...] = ()
    version: str = ""
    """Version of the Redis server."""


def _timed(part: Part, duration: float) -> Part:
    return replace(part, duration=duration)


class BullmqReader:
    """Reads all queues of one Redis."""

    def __init__(self, settings: BullmqSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._connection = Connection(settings)
        self._discovery = Discovery(
            settings,
            prefix=settings.prefix,
            wanted=settings.queues.wants,
            interval=settings.discovery.total_seconds(),
            clock=clock,
        )
        self._workers = WorkerCount(settings.prefix)
        self._names: tuple[str, ...] = ()
        self._bases: dict[str, bytes] = {}
        self._request = b""
        self._logs: dict[str, EventLog] = {}

    async def read(self) -> BullmqSnapshot:
        """Read all queues. Raises TargetError or OSError when the server cannot be read at all."""
        found = await self._discovery.current()
        if found.names != self._names:
            self._watch(found.names)
        started = time.perf_counter()
        counted, queues_part = await self._count()
        counted_at = time.perf_counter()
        second = SecondTrip()
        for name, counts in counted.items():
            self._ask_more(second, name, counts)
        behind = await self._exchange(second)
        await self._catch_up(behind, second)
        queues = tuple(self._queue(name, counts, second) for name, counts in counted.items())
        parts = [_timed(queues_part, counted_at - started), found.part]
        slow = {"discovery": found.at}
        if self._settings.events:
            parts.append(second.part("events", time.perf_counter() - counted_at))
        if self._settings.workers:
            parts.append(self._workers.part)
            slow["workers"] = self._workers.at
        return BullmqSnapshot(queues, slow, tuple(parts), self._connection.version)

    def close(self) -> None:
        """Drop the connection. What was counted stays: the next read goes on where this one ended."""
        self._connection.close()

    def _watch(self, names: tuple[str, ...]) -> None:
        """Encode the first round trip once for this set of queues."""
        self._names = names
        self._bases = {n: f"{self._settings.prefix}:{n}:".encode("utf-8", "surrogateescape") for n in names}
        self._request = b"".join(self._first_trip(base) for base in self._bases.values())
        self._logs = {name: self._logs.get(name) or EventLog() for name in names}

    def _first_trip(self, base: bytes) -> bytes:
        lists = [("LLEN", base + key) for key in (b"wait", b"active", b"paused")]
        sets = (b"delayed", b"prioritized", b"completed", b"failed", b"waiting-children")
        commands: list[Sequence[str | bytes | int]] = [*lists, *(("ZCARD", base + key) for key in sets)]
        commands.append(("HMGET", base + b"meta", "paused", "concurrency"))
        commands += [("LINDEX", base + key, -1) for key in (b"wait", b"paused")]
        if self._settings.events:
            commands.append(("XINFO", "STREAM", base + b"events"))
        return pack_all(commands)

    async def _count(self) -> tuple[dict[str, QueueReplies], Part]:
        ask_workers = self._settings.workers and self._workers.due(self._clock())
        per_queue = _COMMANDS + self._settings.events
        total = per_queue * len(self._names)
        request = self._request + (CLIENT_LIST if ask_workers else b"")
        # An empty request is still a question: a server that is away must not look fine for want of queues.
        replies = await self._connection.request(request or PING, (total + ask_workers) or 1)
        if ask_workers:
            self._workers.take(replies[-1], self._clock(), self._names)
        counted: dict[str, QueueReplies] = {}
        error: ReplyError | None = None
        for i, name in enumerate(self._names):
            mine = replies[i * per_queue : (i + 1) * per_queue]
            bad = next((reply for reply in mine[:_COMMANDS] if isinstance(reply, ReplyError)), None)
            if bad is None:
                counted[name] = shape_replies(mine)
            error = error or bad
        if error is not None and not counted:
            raise failed(error)
        if error is None:
            return counted, Part("queues", ok=True, duration=0.0)
        detail = f"{len(self._names) - len(counted)} queues cannot be read: {failed(error)}"
        return counted, Part("queues", ok=False, duration=0.0, reason=reason_of(error), detail=detail)

    def _ask_more(self, trip: SecondTrip, name: str, counts: QueueReplies) -> None:
        """Ask for what the counts lead to: the oldest job's age, new events, the last finish."""
        base = self._bases[name]
        for job in counts.oldest_ids:
            trip.ask("queues", pack("HGET", base + job, "timestamp"), lambda reply: trip.oldest(name, reply))
        if self._settings.events:
            self._ask_events(trip, name, counts)
        if self._logs[name].last_finished is None:
            for key, count in ((b"completed", counts.completed), (b"failed", counts.failed)):
                if count:
                    command = pack("ZREVRANGE", base + key, 0, 0, "WITHSCORES")
                    trip.ask("queues", command, lambda reply: trip.finish(name, reply))

    def _ask_events(self, trip: SecondTrip, name: str, counts: QueueReplies) -> None:
        log, stream = self._logs[name], counts.stream
        if isinstance(stream, ReplyError):
            trip.problem("events", stream)
        elif stream is None:
            if log.cursor is None and not counts.jobs:
                log.begin(None)
        elif log.cursor is None:
            command = pack("XREVRANGE", self._bases[name] + b"events", "+", "-", "COUNT", _PRIMING)
            trip.ask("events", command, lambda reply: log.begin(stream, reply))
        else:
            log.restart_if_new(stream)
            if log.behind(stream):
                self._ask_page(trip, name, stream)
            else:
                log.settle(ready=counts.ready, active=counts.active)

    def _ask_page(self, trip: SecondTrip, name: str, stream: Stream) -> None:
        log = self._logs[name]
        assert log.cursor is not None
        page = max(_EVENTS_PER_READ // len(self._names), 100)
        after = b"(%d-%d" % log.cursor
        command = pack("XRANGE", self._bases[name] + b"events", after, "+", "COUNT", page)

        def take(reply: Sequence[Entry]) -> None:
            trip.events += len(reply)
            if not log.take(reply, stream):
                trip.behind[name] = stream

        trip.ask("events", command, take)

    async def _exchange(self, trip: SecondTrip) -> dict[str, Stream]:
        """Send what was asked, hand out the replies, and return the streams that have more to read."""
        asked, trip.asked = trip.asked, []
        trip.behind = {}
        if asked:
            replies = await self._connection.request(b"".join(ask[1] for ask in asked), len(asked))
            for (collector, _, take), reply in zip(asked, replies, strict=True):
                if isinstance(reply, ReplyError):
                    trip.problem(collector, reply)
                else:
                    take(reply)
        return trip.behind

    async def _catch_up(self, behind: dict[str, Stream], trip: SecondTrip) -> None:
        """Read further pages of busy streams, up to a bound per scrape; the rest comes with the next one."""
        while behind and trip.events < _EVENTS_PER_READ:
            for name, stream in behind.items():
                self._ask_page(trip, name, stream)
            behind = await self._exchange(trip)

    def _queue(self, name: str, counts: QueueReplies, trip: SecondTrip) -> Queue:
        log = self._logs[name]
        last = trip.last_finished.get(name)
        if last is not None:
            log.last_finished = max(log.last_finished or 0.0, last)
        known = log.cursor is not None and (isinstance(counts.stream, Stream) or not counts.jobs)
        return Queue(
            name,
            ready=counts.ready,
            in_flight=counts.active,
            scheduled=counts.delayed,
            blocked=counts.blocked,
            retained_completed=counts.completed,
            retained_failed=counts.failed,
            paused=counts.paused,
            oldest_ready=trip.oldest_ready.get(name),
            capacity=self._settings.capacity_of(name),
            slots=counts.concurrency or self._settings.slots_of(name),
            workers=self._workers.of(name) if self._settings.workers else None,
            finished=log.told() if self._settings.events and known else None,
            last_finished=log.last_finished,
        )
