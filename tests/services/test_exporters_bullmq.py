"""BullMQ on a real Redis, filled by the real library: what the exporter says is what is there."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bullmq import Queue, Worker

from exporters.clients.resp import Connection, RedisTarget, pack
from exporters.model import Histogram, Value
from exporters.runtime.target import Scrape, Target
from exporters.table import SOURCES
from tests.servers import Server, need, start_redis
from tocsin import signals
from tocsin.signals import Signal

_PASSWORD = "hunter2-real"
Start = Callable[..., Server]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    server = start_redis(need("redis-server"), tmp_path)
    yield server
    os.kill(server.process.pid, signal.SIGCONT)
    server.stop()


def _target(redis: Server, **more: Any) -> Target:
    plain = {"name": "jobs", "kind": "bullmq", "url": f"redis://127.0.0.1:{redis.port}/0", "discovery": "1ms"}
    return Target(SOURCES["bullmq"].settings.model_validate(plain | more), SOURCES["bullmq"])


async def _read(target: Target) -> Scrape:
    """Scrape until the list of queues, which is looked up in the background, is fresh."""
    for _ in range(3):
        await target.scrape(5.0)
        await asyncio.sleep(0.05)
    return await target.scrape(5.0)


def _rows(scrape: Scrape, wanted: Signal) -> dict[tuple[str, ...], Value]:
    rows = [row for family in scrape.families if family.signal is wanted for row in family.rows]
    return {labels[1:] if labels[:1] == ("bullmq",) else labels: value for labels, value in rows}


@asynccontextmanager
async def _queue(redis: Server, name: str) -> AsyncIterator[Queue]:
    queue = Queue(name, {"connection": f"redis://127.0.0.1:{redis.port}/0"})
    try:
        yield queue
    finally:
        await queue.close()


@asynccontextmanager
async def _working(redis: Server, name: str, *, concurrency: int = 4) -> AsyncIterator[Worker]:
    async def work(job: Any, _token: str) -> int:
        await asyncio.sleep(job.data.get("seconds", 0.0))
        if job.data.get("fail"):
            raise ValueError("no")
        return 1

    options = {"connection": f"redis://127.0.0.1:{redis.port}/0", "concurrency": concurrency, "autorun": False}
    worker = Worker(name, work, options)
    worker.on("error", lambda *_: None)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.close()
        await asyncio.gather(running, return_exceptions=True)


async def _raw(redis: Server, *words: str | int) -> Any:
    connection = Connection(RedisTarget(name="raw", kind="raw", url=f"redis://127.0.0.1:{redis.port}/0"))
    try:
        return (await connection.request(pack(*words), 1))[0]
    finally:
        connection.close()


async def _until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(15):
        while not await check():  # noqa: ASYNC110  # the event is in a real server
            await asyncio.sleep(0.02)


async def test_states_of_a_queue_are_counted(redis: Server) -> None:
    """Waiting, prioritised and delayed jobs are where BullMQ says; the oldest one's time is its own timestamp."""
    async with _queue(redis, "orders") as queue:
        await queue.add("a", {}, {"timestamp": 1_700_000_000_000})
        await queue.add("a", {})
        await queue.add("a", {}, {"priority": 3})
        await queue.add("a", {}, {"delay": 60_000})
        target = _target(redis, capacity={"default": 10})
        scrape = await _read(target)
        target.close()
    assert {state: value for (_, state), value in _rows(scrape, signals.QUEUE_MESSAGES).items()} == {
        "ready": 3,
        "in_flight": 0,
        "scheduled": 1,
        "blocked": 0,
        "retained_completed": 0,
        "retained_failed": 0,
    }
    assert _rows(scrape, signals.QUEUE_OLDEST_READY) == {("orders",): 1_700_000_000.0}
    assert _rows(scrape, signals.QUEUE_CAPACITY) == {("orders",): 10}
    assert _rows(scrape, signals.QUEUE_PAUSED) == {("orders",): 0}
    assert _rows(scrape, signals.TARGET_INFO)


async def test_a_paused_queue_keeps_its_count_and_says_so(redis: Server) -> None:
    """Jobs of a paused queue are still ready, wherever this version of BullMQ keeps them."""
    async with _queue(redis, "orders") as queue:
        await queue.add("a", {})
        await queue.pause()
        await queue.add("a", {})
        target = _target(redis)
        scrape = await _read(target)
        target.close()
    assert _rows(scrape, signals.QUEUE_PAUSED) == {("orders",): 1}
    assert _rows(scrape, signals.QUEUE_MESSAGES)["orders", "ready"] == 2


async def test_finished_jobs_are_counted_exactly_though_nothing_is_kept(redis: Server) -> None:
    """With removeOnComplete the sets stay empty; the counters and histograms still hold every job."""
    options = {"removeOnComplete": True, "removeOnFail": True}
    async with _queue(redis, "orders") as queue:
        target = _target(redis)
        await queue.add("first", {}, options)
        await _read(target)
        await queue.addBulk([{"name": "a", "data": {"fail": i % 10 == 0}, "opts": options} for i in range(100)])
        async with _working(redis, "orders"):
            await _until(lambda: _finished(target, 101))
            workers = _rows(await target.scrape(5.0), signals.QUEUE_CONSUMERS)
        scrape = await target.scrape(5.0)
        target.close()
    assert _rows(scrape, signals.QUEUE_FINISHED) == {("orders", "success"): 91, ("orders", "failure"): 10}
    assert _rows(scrape, signals.QUEUE_ENQUEUED) == {("orders",): 100}
    waits, runs = _rows(scrape, signals.QUEUE_WAIT)["orders",], _rows(scrape, signals.PROCESS_DURATION)["orders",]
    assert isinstance(waits, Histogram)
    assert isinstance(runs, Histogram)
    assert (sum(waits.counts), sum(runs.counts)) == (101, 101)
    assert _rows(scrape, signals.EVENTS_MISSED) == {("orders",): 0}
    assert _rows(scrape, signals.QUEUE_LAST_FINISHED)
    assert set(workers) == {("orders",)}


async def _finished(target: Target, count: int) -> bool:
    rows = _rows(await target.scrape(5.0), signals.QUEUE_FINISHED)
    return sum(value for value in rows.values() if not isinstance(value, Histogram)) == count


async def test_a_worker_is_seen_while_it_is_connected(redis: Server) -> None:
    """One worker of the Python library is one consumer, although it names two connections."""
    async with _queue(redis, "orders") as queue, _working(redis, "orders"):
        await queue.add("a", {})
        await asyncio.sleep(0.3)
        target = _target(redis)
        scrape = await _read(target)
        target.close()
    assert _rows(scrape, signals.QUEUE_CONSUMERS) == {("orders",): 1}


async def test_a_trimmed_stream_is_told_as_missed(redis: Server) -> None:
    """What was trimmed between two scrapes is not silently lost: Redis tells how much it was."""
    async with _queue(redis, "orders") as queue:
        await queue.add("a", {})
        target = _target(redis)
        await _read(target)
        await queue.addBulk([{"name": "a", "data": {}, "opts": {}} for _ in range(50)])
        await _raw(redis, "XTRIM", "bull:orders:events", "MAXLEN", 10)
        scrape = await target.scrape(5.0)
        target.close()
    assert _rows(scrape, signals.EVENTS_MISSED) == {("orders",): 90}
    assert _rows(scrape, signals.QUEUE_ENQUEUED) == {("orders",): 5}


async def test_a_stream_that_was_deleted_gives_no_counters(redis: Server) -> None:
    """Jobs without a stream: the finished counters cannot be known, so they are absent."""
    async with _queue(redis, "orders") as queue:
        await queue.add("a", {})
        await _raw(redis, "DEL", "bull:orders:events")
        target = _target(redis)
        scrape = await _read(target)
        target.close()
    assert not _rows(scrape, signals.QUEUE_FINISHED)
    assert _rows(scrape, signals.QUEUE_MESSAGES)["orders", "ready"] == 1


async def test_filters_and_new_queues(redis: Server) -> None:
    """Only wanted queues are read; a queue born later appears after the next look."""
    target = _target(redis, queues={"include": ["orders.*"], "exclude": ["orders-test"]})
    async with _queue(redis, "orders") as one, _queue(redis, "orders-test") as two, _queue(redis, "mail") as three:
        for queue in (one, two, three):
            await queue.add("a", {})
        assert {name for name, _ in _rows(await _read(target), signals.QUEUE_MESSAGES)} == {"orders"}
        async with _queue(redis, "orders-late") as late:
            await late.add("a", {})

            async def both() -> bool:
                rows = _rows(await target.scrape(5.0), signals.QUEUE_MESSAGES)
                return {name for name, _ in rows} == {"orders", "orders-late"}

            await _until(both)
    target.close()


async def test_more_queues_than_the_cap_fold(redis: Server) -> None:
    """Beyond the cap the rest is one series that adds up, with the number of folded queues beside it."""
    for i in range(12):
        await _raw(redis, "HSET", f"bull:q{i:02}:meta", "opts.maxLenEvents", 10)
        await _raw(redis, "LPUSH", f"bull:q{i:02}:wait", *range(i + 1))
    target = _target(redis, queues={"cap": 5}, capacity={"q00": 7})
    scrape = await _read(target)
    target.close()
    ready = {name: value for (name, state), value in _rows(scrape, signals.QUEUE_MESSAGES).items() if state == "ready"}
    assert ready == {"q00": 1, "q11": 12, "q10": 11, "q09": 10, "q08": 9, "_other": 2 + 3 + 4 + 5 + 6 + 7 + 8}
    assert _rows(scrape, signals.SERIES_FOLDED)[signals.QUEUE_MESSAGES.name,] == 7


async def test_a_frozen_redis_is_down_in_time_and_comes_back(redis: Server) -> None:
    """SIGSTOP leaves the port open: the read hits the deadline; after SIGCONT the next scrape is complete."""
    async with _queue(redis, "orders") as queue:
        await queue.add("a", {})
        target = _target(redis)
        assert (await _read(target)).up
        os.kill(redis.process.pid, signal.SIGSTOP)
        frozen = await target.scrape(0.3)
        os.kill(redis.process.pid, signal.SIGCONT)
        back = await target.scrape(5.0)
        target.close()
    assert frozen.error is not None
    assert frozen.error.reason == "timeout"
    assert back.up
    assert _rows(back, signals.QUEUE_MESSAGES)["orders", "ready"] == 1


async def test_passwords_and_access_lists(redis: Server) -> None:
    """A wrong password is `auth`; a user without CLIENT LIST costs the workers and nothing else."""
    async with _queue(redis, "orders") as queue:
        await queue.add("a", {})
        await _raw(redis, "ACL", "SETUSER", "watcher", "on", f">{_PASSWORD}", "~*", "+@read", "+ping", "+xinfo")
        wrong = _target(redis, user="watcher", password="hunter2-wrong")
        right = _target(redis, user="watcher", password=_PASSWORD)
        refused, limited = await wrong.scrape(5.0), await _read(right)
        wrong.close()
        right.close()
    assert refused.error is not None
    assert refused.error.reason == "auth"
    assert "hunter2" not in str(refused.error)
    assert limited.up
    assert _rows(limited, signals.COLLECTOR_SUCCESS)["workers",] == 0
    assert not _rows(limited, signals.QUEUE_CONSUMERS)
    assert _rows(limited, signals.QUEUE_FINISHED)


async def test_a_read_changes_nothing(redis: Server) -> None:
    """A monitor uses plain reads only: the keys are the same before and after."""
    async with _queue(redis, "orders") as queue:
        await queue.add("a", {})
        before = [await _raw(redis, "DUMP", key) for key in sorted(await _raw(redis, "KEYS", "*"))]
        target = _target(redis)
        await _read(target)
        target.close()
        after = [await _raw(redis, "DUMP", key) for key in sorted(await _raw(redis, "KEYS", "*"))]
    assert before == after


async def test_a_wrong_type_costs_one_queue_only(redis: Server) -> None:
    """A key of another type under BullMQ's prefix is a failed part; the other queues are served."""
    async with _queue(redis, "orders") as queue:
        await queue.add("a", {})
        await _raw(redis, "HSET", "bull:odd:meta", "x", 1)
        await _raw(redis, "SET", "bull:odd:wait", "text")
        target = _target(redis)
        scrape = await _read(target)
        target.close()
    assert scrape.up
    assert {name for name, _ in _rows(scrape, signals.QUEUE_MESSAGES)} == {"orders"}
    assert _rows(scrape, signals.COLLECTOR_SUCCESS)["queues",] == 0
