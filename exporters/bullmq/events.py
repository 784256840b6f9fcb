"""What BullMQ's ``events`` stream tells: exact counters and histograms, whatever ``removeOnComplete`` throws away.

The stream is trimmed near 10,000 entries, so a reader that is away too long has a gap. Redis 7 counts every entry
ever added, which makes the gap exact; older servers only show that the oldest entry left is newer than our last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from exporters.model import Counts, Histogram
from tocsin.signals import PROCESS_DURATION, QUEUE_WAIT

Entry = Sequence[Any]
"""One stream entry as hiredis gives it: [id, [field, value, …]]."""

StreamId = tuple[int, int]

_JOBS_TRACKED: Final = 10_000
"""Jobs whose start is awaited, per queue. Later ones are left out of the histograms (never out of the counters)."""


@dataclass(frozen=True)
class Stream:
    """Where a stream stands: its last id, the entries ever added (None before Redis 7), and its oldest entry."""

    last: StreamId
    added: int | None
    first: StreamId | None


@dataclass(frozen=True)
class Finished:
    """What the events have told since the exporter first saw the queue."""

    enqueued: int
    success: int
    failure: int
    wait: Histogram
    process: Histogram
    missed: int
    last_finished: float | None
    """Unix seconds; None when nothing is known to have finished."""


@dataclass
class EventLog:
    """One queue's events: how far they were read and what they added up to."""

    cursor: StreamId | None = None
    """Last id read; None before the first look."""
    position: int | None = None
    """How many entries had been added up to the cursor; None when the server does not say."""
    last_finished: float | None = None
    _enqueued: int = 0
    _success: int = 0
    _failure: int = 0
    _missed: int = 0
    _wait: Counts = field(default_factory=lambda: Counts(QUEUE_WAIT.buckets))
    _process: Counts = field(default_factory=lambda: Counts(PROCESS_DURATION.buckets))
    _waiting: dict[bytes, int] = field(default_factory=dict)
    _active: dict[bytes, int] = field(default_factory=dict)

    def begin(self, stream: Stream | None, newest_first: Sequence[Entry] = ()) -> None:
        """Start counting here. Earlier entries only tell who waits, who works and when something last finished."""
        if stream is None:
            self.cursor, self.position = (0, 0), 0
            return
        for entry in reversed(newest_first):
            if parse_id(entry[0]) <= stream.last:
                self._take(entry)
        self._enqueued = self._success = self._failure = 0
        self._wait, self._process = Counts(QUEUE_WAIT.buckets), Counts(PROCESS_DURATION.buckets)
        self.cursor, self.position = stream.last, stream.added

    def behind(self, stream: Stream) -> bool:
        """Say whether the stream has something new."""
        return self.cursor != stream.last

    def restart_if_new(self, stream: Stream) -> None:
        """Notice a stream that was deleted and begun anew: what the old one still held is missed."""
        assert self.cursor is not None
        rewound = stream.added is not None and self.position is not None and stream.added < self.position
        if stream.last < self.cursor or rewound:
            self.cursor, self.position = (0, 0), 0 if stream.added is not None else None
            self._missed += 1
            self._waiting.clear()
            self._active.clear()

    def take(self, entries: Sequence[Entry], stream: Stream) -> bool:
        """Count a page of entries after the cursor; return whether the stream's end has been reached."""
        assert self.cursor is not None
        for entry in entries:
            self._take(entry)
        ids = [parse_id(entry[0]) for entry in entries]
        older = sum(1 for id_ in ids if id_ <= stream.last)
        if stream.added is None and stream.first is not None and (0, 0) != self.cursor < stream.first:
            self._missed += 1
        if ids:
            self.cursor = ids[-1]
        if self.position is not None:
            self.position += older
        if ids and self.cursor < stream.last:
            return False
        self._arrive(stream, beyond=len(entries) - older)
        return True

    def settle(self, *, ready: int, active: int) -> None:
        """Forget jobs that left without an event; call it only when the stream has nothing new."""
        if not ready:
            self._waiting.clear()
        if not active:
            self._active.clear()

    def told(self) -> Finished:
        """Return what has been counted."""
        return Finished(
            self._enqueued,
            self._success,
            self._failure,
            self._wait.frozen(),
            self._process.frozen(),
            self._missed,
            self.last_finished,
        )

    def _arrive(self, stream: Stream, *, beyond: int) -> None:
        """The stream's end is reached: whatever was added up to it and did not come is missed."""
        assert self.cursor is not None
        if self.position is not None and stream.added is not None:
            self._missed += max(stream.added - self.position, 0)
            self.position = stream.added + beyond
        self.cursor = max(self.cursor, stream.last)

    def _take(self, entry: Entry) -> None:
        raw_id, fields = entry[0], entry[1]
        # BullMQ writes event and jobId first; an entry of another shape (a user's own event) is not about a job.
        if len(fields) < 4 or fields[0] != b"event" or fields[2] != b"jobId":
            return
        event, job, now = fields[1], fields[3], int(raw_id.partition(b"-")[0])
        if event == b"added":
            self._enqueued += 1
        elif event == b"waiting":
            self._active.pop(job, None)  # a retry: this attempt is not the finish
            if len(self._waiting) < _JOBS_TRACKED:
                self._waiting[job] = now
        elif event == b"active":
            since = self._waiting.pop(job, None)
            if since is not None:
                self._wait.add((now - since) / 1000)
            if len(self._active) < _JOBS_TRACKED:
                self._active[job] = now
        elif event in {b"completed", b"failed"}:
            self._finish(event, job, now)
        elif event in {b"delayed", b"removed", b"waiting-children"}:
            self._waiting.pop(job, None)
            self._active.pop(job, None)

    def _finish(self, event: bytes, job: bytes, now: int) -> None:
        if event == b"completed":
            self._success += 1
        else:
            self._failure += 1
        started = self._active.pop(job, None)
        if started is not None:
            self._process.add((now - started) / 1000)
        self._waiting.pop(job, None)
        self.last_finished = now / 1000


def parse_id(raw: bytes) -> StreamId:
    """Read ``ms-n``."""
    ms, _, n = raw.partition(b"-")
    return int(ms), int(n or 0)


def parse_stream(reply: Sequence[Any]) -> Stream:
    """Read the answer to XINFO STREAM. Raises KeyError or ValueError when it is something else."""
    fields = dict(zip(reply[::2], reply[1::2], strict=True))
    first = fields.get(b"first-entry")
    return Stream(
        last=parse_id(fields[b"last-generated-id"]),
        added=fields.get(b"entries-added"),
        first=parse_id(first[0]) if first else None,
    )
