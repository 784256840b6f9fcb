"""Counters and histograms out of BullMQ's event stream, gaps included."""

from __future__ import annotations

import pytest

from exporters.bullmq.events import Entry, EventLog, Stream, parse_id, parse_stream


class _Queue:
    """A stream as Redis keeps it, with a clock that the test moves."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.added = 0
        self.now = 1000

    def event(self, name: str, job: str, *, after: int = 0) -> None:
        self.now += after
        self.added += 1
        stamp = b"%d-%d" % (self.now, self.added)
        self.entries.append([stamp, [b"event", name.encode(), b"jobId", job.encode(), b"prev", b"x"]])

    def trim(self, keep: int) -> None:
        self.entries = self.entries[len(self.entries) - keep :]

    def stream(self, *, redis7: bool = True) -> Stream:
        first = parse_id(self.entries[0][0]) if self.entries else None
        return Stream((self.now, self.added), self.added if redis7 else None, first)

    def read(self, log: EventLog, *, redis7: bool = True, count: int = 1000) -> bool:
        assert log.cursor is not None
        cursor = log.cursor
        page = [entry for entry in self.entries if parse_id(entry[0]) > cursor][:count]
        return log.take(page, self.stream(redis7=redis7))


def _log(queue: _Queue, *, redis7: bool = True) -> EventLog:
    log = EventLog()
    log.begin(queue.stream(redis7=redis7) if queue.added else None, queue.entries[::-1])
    return log


def test_counts_start_at_the_first_look() -> None:
    """What finished before the exporter came is not counted, but tells when something last finished."""
    queue = _Queue()
    queue.event("added", "1")
    queue.event("completed", "1", after=500)
    told = _log(queue).told()
    assert (told.enqueued, told.success, told.failure) == (0, 0, 0)
    assert told.last_finished == 1.5


def test_a_job_is_followed_from_waiting_to_its_end() -> None:
    """Wait runs from waiting to active, processing from active to the end; both outcomes are counted."""
    queue, job = _Queue(), "7"
    log = _log(queue)
    queue.event("added", job)
    queue.event("waiting", job)
    queue.event("active", job, after=2000)
    queue.event("failed", job, after=400)
    assert queue.read(log)
    told = log.told()
    assert (told.enqueued, told.success, told.failure, told.missed) == (1, 0, 1, 0)
    assert told.wait.sum == 2.0
    assert told.process.sum == pytest.approx(0.4)
    assert told.last_finished == 3.4


def test_a_start_seen_before_the_first_look_still_counts() -> None:
    """A job that was waiting when the exporter came is in the histogram when it starts."""
    queue = _Queue()
    queue.event("waiting", "1")
    log = _log(queue)
    queue.event("active", "1", after=3000)
    queue.read(log)
    assert log.told().wait.sum == 3.0


def test_a_retry_is_not_a_finish() -> None:
    """An attempt that goes back to waiting is neither success nor failure; the next wait starts anew."""
    queue = _Queue()
    log = _log(queue)
    for name, after in (("waiting", 0), ("active", 100), ("waiting", 100), ("active", 1000), ("completed", 50)):
        queue.event(name, "1", after=after)
    queue.read(log)
    told = log.told()
    assert (told.success, told.failure) == (1, 0)
    assert told.wait.sum == pytest.approx(1.1)
    assert told.process.sum == pytest.approx(0.05)


def test_a_job_moved_away_is_forgotten() -> None:
    """Delayed and removed jobs leave no wait behind."""
    queue = _Queue()
    log = _log(queue)
    queue.event("waiting", "1")
    queue.event("delayed", "1")
    queue.event("waiting", "2")
    queue.event("removed", "2")
    queue.event("active", "1", after=5000)
    queue.event("active", "2")
    queue.read(log)
    assert sum(log.told().wait.counts) == 0


@pytest.mark.parametrize("kept", [0, 3])
def test_redis_7_tells_how_many_events_were_missed(kept: int) -> None:
    """Trimmed entries are counted exactly, also when nothing is left of the stream."""
    queue = _Queue()
    queue.event("added", "0")
    log = _log(queue)
    for i in range(20):
        queue.event("completed", str(i))
    queue.trim(kept)
    queue.read(log)
    told = log.told()
    assert told.success == kept
    assert told.missed == 20 - kept


def test_a_gap_is_seen_without_entry_counts() -> None:
    """Before Redis 7 a first entry newer than our last is one gap."""
    queue = _Queue()
    queue.event("added", "0")
    log = _log(queue, redis7=False)
    queue.event("completed", "1")
    queue.read(log, redis7=False)
    assert log.told().missed == 0
    for i in range(20):
        queue.event("completed", str(i), after=1)
    queue.trim(5)
    queue.read(log, redis7=False)
    assert log.told().missed == 1


def test_pages_miss_nothing() -> None:
    """A stream that takes several pages is counted whole, without a gap."""
    queue = _Queue()
    log = _log(queue)
    for i in range(25):
        queue.event("completed", str(i))
    assert [queue.read(log, count=10) for _ in range(3)] == [False, False, True]
    told = log.told()
    assert (told.success, told.missed) == (25, 0)


def test_entries_written_between_question_and_answer_are_counted_once() -> None:
    """Entries newer than the stream's last known id count now, and are no gap at the next read."""
    queue = _Queue()
    log = _log(queue)
    queue.event("completed", "1")
    asked = queue.stream()
    queue.event("completed", "2")
    assert log.take(queue.entries, asked)
    queue.event("completed", "3")
    queue.read(log)
    told = log.told()
    assert (told.success, told.missed) == (3, 0)


def test_a_stream_begun_anew_is_a_gap_and_counting_goes_on() -> None:
    """A deleted queue that comes back keeps the counters, and says that something may be missing."""
    queue = _Queue()
    log = _log(queue)
    for i in range(5):
        queue.event("completed", str(i))
    queue.read(log)
    again = _Queue()
    again.event("completed", "9", after=10_000)
    log.restart_if_new(again.stream())
    assert again.read(log)
    told = log.told()
    assert (told.success, told.missed) == (6, 1)


def test_strange_entries_are_left_alone() -> None:
    """A user's own events in the stream break nothing."""
    log = EventLog()
    log.begin(None)
    entries: list[Entry] = [[b"5-1", [b"event", b"drained"]], [b"5-2", [b"my", b"field", b"x", b"y"]], [b"5-3", []]]
    assert log.take(entries, Stream((5, 3), 3, (5, 1)))
    assert log.told().missed == 0


def test_followed_jobs_are_bounded() -> None:
    """A backlog of any size takes bounded memory; counters stay exact."""
    queue = _Queue()
    log = _log(queue)
    for i in range(12_000):
        queue.event("added", str(i))
        queue.event("waiting", str(i))
    queue.read(log, count=30_000)
    assert log.told().enqueued == 12_000
    assert len(log._waiting) == 10_000
    log.settle(ready=0, active=0)
    assert not log._waiting


def test_stream_facts_are_read_by_name() -> None:
    """XINFO's answer is taken apart by field name; before Redis 7 the count of entries is missing."""
    entry = [b"1-1", [b"event", b"added"]]
    new = parse_stream([b"length", 2, b"last-generated-id", b"9-1", b"entries-added", 7, b"first-entry", entry])
    old = parse_stream([b"last-generated-id", b"9-1", b"first-entry", None])
    assert new == Stream((9, 1), 7, (1, 1))
    assert old == Stream((9, 1), None, None)
