"""Snapshots become families: what is known is said, what is not known is absent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from exporters.breaker_json.families import families as breaker_families
from exporters.breaker_json.read import Breaker, BreakerSnapshot
from exporters.bullmq.events import EventLog
from exporters.bullmq.families import families as bullmq_families
from exporters.bullmq.read import BullmqSnapshot, Queue
from exporters.bullmq.workers import count_workers
from exporters.model import Family, Value, label_text
from exporters.redis.families import families as redis_families
from exporters.redis.read import RedisSnapshot
from tocsin import signals
from tocsin.signals import Signal

_QUEUE = Queue(
    "orders",
    ready=3,
    in_flight=2,
    scheduled=1,
    blocked=0,
    retained_completed=10,
    retained_failed=4,
    paused=False,
)


def _rows(families: Sequence[Family], signal: Signal) -> dict[tuple[str, ...], Value]:
    return {labels: value for family in families if family.signal is signal for labels, value in family.rows}


def _bullmq(queue: Queue) -> Sequence[Family]:
    return bullmq_families(BullmqSnapshot((queue,), {}))


def test_every_state_of_a_queue_is_said() -> None:
    """An empty state is a true 0."""
    rows = _rows(_bullmq(_QUEUE), signals.QUEUE_MESSAGES)
    assert {labels[2]: value for labels, value in rows.items()} == {
        "ready": 3,
        "in_flight": 2,
        "scheduled": 1,
        "blocked": 0,
        "retained_completed": 10,
        "retained_failed": 4,
    }


@pytest.mark.parametrize(
    "signal",
    [
        signals.QUEUE_CAPACITY,
        signals.QUEUE_OLDEST_READY,
        signals.QUEUE_LAST_FINISHED,
        signals.QUEUE_FINISHED,
        signals.QUEUE_WAIT,
        signals.QUEUE_CONSUMERS,
        signals.QUEUE_WORKER_SLOTS,
        signals.QUEUE_WORKER_SLOTS_BUSY,
        signals.EVENTS_MISSED,
    ],
)
def test_what_a_queue_does_not_tell_is_absent(signal: Signal) -> None:
    """No limit, no oldest job, no events: no sample, never 0."""
    assert not _rows(_bullmq(_QUEUE), signal)


def test_what_a_queue_tells_is_there() -> None:
    """Capacity, age, slots, workers and counters appear once they are known."""
    log = EventLog()
    log.begin(None)
    full = replace(_QUEUE, capacity=1000, oldest_ready=5.5, slots=8, workers=0, finished=log.told(), last_finished=6.0)
    families = _bullmq(full)
    key = ("bullmq", "orders")
    assert _rows(families, signals.QUEUE_CAPACITY) == {key: 1000}
    assert _rows(families, signals.QUEUE_OLDEST_READY) == {key: 5.5}
    assert _rows(families, signals.QUEUE_WORKER_SLOTS_BUSY) == {key: 2}
    assert _rows(families, signals.QUEUE_CONSUMERS) == {key: 0}
    assert _rows(families, signals.QUEUE_FINISHED) == {(*key, "success"): 0, (*key, "failure"): 0}


_INFO = {
    "redis_version": "7.0.15",
    "role": "master",
    "keyspace_hits": "90",
    "keyspace_misses": "10",
    "used_memory": "1000",
    "maxmemory": "0",
    "evicted_keys": "1",
    "expired_keys": "2",
    "connected_clients": "3",
    "rejected_connections": "0",
    "db0": "keys=5,expires=1,avg_ttl=0",
    "db3": "keys=2,expires=0,avg_ttl=0",
}


def test_a_cache_tells_hits_items_and_no_limit() -> None:
    """Items add up over databases; maxmemory 0 is no limit; a server without maxclients gives none."""
    families = redis_families(RedisSnapshot(_INFO))
    assert _rows(families, signals.CACHE_REQUESTS) == {
        ("redis", "primary", "hit"): 90,
        ("redis", "primary", "miss"): 10,
    }
    assert _rows(families, signals.CACHE_ITEMS) == {("redis", "primary"): 7}
    assert not _rows(families, signals.CACHE_MEMORY_MAX)
    assert not _rows(families, signals.CACHE_CONNECTIONS_MAX)
    assert not _rows(families, signals.CACHE_REPLICA_LINK_UP)


@pytest.mark.parametrize(("status", "expected"), [("up", 1), ("down", 0)])
def test_a_replica_tells_its_link(status: str, expected: int) -> None:
    """Only a replica has a link to tell about."""
    families = redis_families(RedisSnapshot(_INFO | {"role": "slave", "master_link_status": status}))
    assert _rows(families, signals.CACHE_REPLICA_LINK_UP) == {("redis", "replica"): expected}


def test_valkey_is_called_by_its_name() -> None:
    """A Valkey server is no Redis in the series either."""
    snapshot = RedisSnapshot(_INFO | {"server_name": "valkey", "valkey_version": "8.1.0"})
    assert ("valkey", "primary") in _rows(redis_families(snapshot), signals.CACHE_MEMORY)
    assert snapshot.version == "8.1.0"


def _breaker(breaker: Breaker) -> Sequence[Family]:
    return breaker_families(BreakerSnapshot("api", (breaker,)))


def test_a_breaker_tells_every_state() -> None:
    """All states are there, one of them 1, so that closed is data."""
    rows = _rows(_breaker(Breaker("payments", "half_open", since=7.0)), signals.BREAKER_STATE)
    assert {labels[2]: value for labels, value in rows.items()} == {
        "closed": 0,
        "open": 0,
        "half_open": 1,
        "forced_open": 0,
        "disabled": 0,
    }


def test_an_unknown_breaker_has_no_state() -> None:
    """Unknown is never closed: no state and no opening time, while its counters go on."""
    families = _breaker(Breaker("payments", None, "no such key", transitions={"open": 2}))
    assert not _rows(families, signals.BREAKER_STATE)
    assert not _rows(families, signals.BREAKER_OPENED)
    assert _rows(families, signals.BREAKER_TRANSITIONS) == {("payments", "api", "open"): 2}


def test_workers_of_both_libraries_are_counted_once() -> None:
    """Node names one connection per worker, Python two: either way a worker is one."""
    listing = b"\n".join(
        b"id=%d addr=x laddr=y fd=1 name=%b age=1 cmd=%b user=default" % (i, name, command)
        for i, (name, command) in enumerate(
            [
                (b"bull:bnE=", b"bzpopmin"),
                (b"bull:bnE=:w:named", b"evalsha"),
                (b"bull:bnE=:qe", b"xread"),
                (b"bull:pq", b"evalsha"),
                (b"bull:pq", b"bzpopmin"),
                (b"other", b"get"),
            ]
        )
    )
    assert count_workers(listing, "bull", ["nq", "pq", "idle"]) == {"nq": 2, "pq": 1}


def test_label_values_are_cut_without_becoming_equal() -> None:
    """Two long names that start alike stay two series, and broken UTF-8 becomes readable text."""
    one, two = label_text("a" * 300), label_text("a" * 301)
    assert one != two
    assert len(one) == len(two) == 200
    assert label_text(b"caf\xe9") == "caf\N{REPLACEMENT CHARACTER}"
    assert label_text(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf?"
