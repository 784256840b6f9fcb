"""The two round trips of a read: what the first one answered, and what the second one asks because of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from exporters.bullmq.events import Stream, parse_stream
from exporters.clients.resp import Reply, ReplyError, failed, reason_of
from exporters.model import Part


@dataclass(frozen=True)
class QueueReplies:
    """The replies of the first round trip for one queue."""

    ready: int
    active: int
    delayed: int
    blocked: int
    completed: int
    failed: int
    paused: bool
    concurrency: int | None
    oldest_ids: tuple[bytes, ...]
    stream: Stream | ReplyError | None

    @property
    def jobs(self) -> int:
        """Jobs of any state: a queue that has some must have told of them in its stream."""
        return self.ready + self.active + self.delayed + self.blocked + self.completed + self.failed


def shape_replies(replies: Sequence[Reply]) -> QueueReplies:
    """Give the replies of one queue their names."""
    wait, active, paused, delayed, prioritized, completed, failed_, blocked, meta, *rest = replies
    # Early versions keep a marker "0:…" at the end of the waiting list: no job.
    markers = sum(1 for job in rest[:2] if job is not None and job.startswith(b"0:"))
    return QueueReplies(
        ready=wait + paused + prioritized - markers,
        active=active,
        delayed=delayed,
        blocked=blocked,
        completed=completed,
        failed=failed_,
        # Version 5 renames the list `wait` to `paused`, version 6 leaves it: the truth is in `meta` in both.
        paused=meta[0] is not None,
        concurrency=int(meta[1]) if meta[1] is not None and meta[1].isdigit() else None,
        oldest_ids=tuple(job for job in rest[:2] if job is not None and not job.startswith(b"0:")),
        stream=_stream(rest[2]) if len(rest) > 2 else None,
    )


def _stream(reply: Reply) -> Stream | ReplyError | None:
    if isinstance(reply, ReplyError):
        return None if str(reply).startswith("ERR no such key") else reply
    return parse_stream(reply)


class SecondTrip:
    """Questions that follow from the counts, and their answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, Callable[[Reply], None]]] = []
        self.oldest_ready: dict[str, float] = {}
        self.last_finished: dict[str, float] = {}
        self.behind: dict[str, Stream] = {}
        self.events = 0
        self._problems: dict[str, ReplyError] = {}

    def ask(self, collector: str, request: bytes, take: Callable[[Reply], None]) -> None:
        """Add one question; ``take`` gets its answer unless that is an error."""
        self.asked.append((collector, request, take))

    def problem(self, collector: str, error: ReplyError) -> None:
        """Remember a collector's first error."""
        self._problems.setdefault(collector, error)

    def part(self, collector: str, duration: float) -> Part:
        """Say how a collector went; ``duration`` in seconds."""
        error = self._problems.get(collector)
        if error is None:
            return Part(collector, ok=True, duration=duration)
        return Part(collector, ok=False, duration=duration, reason=reason_of(error), detail=str(failed(error)))

    def oldest(self, name: str, reply: bytes | None) -> None:
        """Keep the earlier of the two lists' oldest jobs; a job that left meanwhile has no timestamp."""
        if reply is not None and reply.isdigit():
            when = int(reply) / 1000
            self.oldest_ready[name] = min(when, self.oldest_ready.get(name, when))

    def finish(self, name: str, reply: Sequence[bytes]) -> None:
        """Keep the later of the last completed and the last failed job: the score is the time in milliseconds."""
        if reply:
            self.last_finished[name] = max(float(reply[1]) / 1000, self.last_finished.get(name, 0.0))
