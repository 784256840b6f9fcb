"""RabbitMQ 3.10 for real: what the exporter says of queues, limits, alarms and dead letters is what is there."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from exporters.model import Value
from exporters.runtime.target import Scrape, Target
from exporters.table import SOURCES
from tests.amqp import Consumer
from tests.rabbit import Rabbit, start_rabbit
from tests.servers import free_port
from tocsin import signals
from tocsin.signals import Signal

_PASSWORD = "hunter2-real"


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """One broker for the module: it takes ten seconds to start."""
    broker = start_rabbit(tmp_path_factory.mktemp("rabbit"), [free_port() for _ in range(5)])
    broker.ask("PUT", "/users/watcher", {"password": _PASSWORD, "tags": "monitoring"})
    nothing = {"configure": "^$", "write": "^$", "read": "^$"}
    broker.ask("PUT", "/permissions/%2F/watcher", nothing)
    yield broker
    broker.stop()


def _target(rabbit: Rabbit, queues: str, **more: Any) -> Target:
    """A target that watches the queues of one test, with a monitor's rights and no more."""
    plain: dict[str, Any] = {
        "name": "broker",
        "kind": "rabbitmq",
        "url": f"http://127.0.0.1:{rabbit.api}",
        "user": "watcher",
        "password": _PASSWORD,
        "nodes": [f"http://127.0.0.1:{rabbit.metrics}"],
        "queues": {"include": [queues]},
        "slow": "200ms",
    }
    return Target(SOURCES["rabbitmq"].settings.model_validate(plain | more), SOURCES["rabbitmq"])


def _rows(scrape: Scrape, wanted: Signal) -> dict[tuple[str, ...], Value]:
    return {labels[1:]: value for f in scrape.families if f.signal is wanted for labels, value in f.rows}


def _collectors(scrape: Scrape) -> dict[str, Value]:
    rows = [row for f in scrape.families if f.signal is signals.COLLECTOR_SUCCESS for row in f.rows]
    return {labels[0]: value for labels, value in rows}


async def _until(target: Target, holds: Callable[[Scrape], bool]) -> Scrape:
    """Scrape until something holds: the broker's own statistics lag behind, by a second here."""

    async def scrapes() -> Scrape:
        while True:
            scrape = await target.scrape(5.0)
            if holds(scrape):
                return scrape
            await asyncio.sleep(0.1)

    return await asyncio.wait_for(scrapes(), 30)


def _ready(scrape: Scrape, queue: str) -> Value | None:
    return _rows(scrape, signals.QUEUE_MESSAGES).get((queue, "ready"))


async def test_queues_are_counted_with_their_limits(rabbit: Rabbit) -> None:
    """Ready, unacknowledged, consumers; the lowest limit of argument, policy and operator policy; bytes and oldest."""
    rabbit.declare("a.orders", x_max_length=100, x_max_length_bytes=5000)
    rabbit.declare("a.mail")
    rabbit.declare("a.free", x_queue_type="quorum")
    rabbit.ask("PUT", "/policies/%2F/a", {"pattern": "^a\\.mail", "definition": {"max-length": 50}})
    rabbit.ask("PUT", "/operator-policies/%2F/a", {"pattern": "^a\\.orders$", "definition": {"max-length": 60}})
    for _ in range(3):
        rabbit.publish("a.orders", timestamp=1_700_000_000)
        rabbit.publish("a.free")
    with Consumer(rabbit.amqp) as consumer:
        consumer.consume("a.orders")
        consumer.ack(consumer.take())
        consumer.take()
        target = _target(rabbit, r"a\..*", statistics=True)
        rabbit.publish("a.orders", timestamp=1_700_000_005)
        scrape = await _until(
            target,
            lambda s: (
                _rows(s, signals.QUEUE_MESSAGES).get(("a.orders", "in_flight")) == 3
                and bool(_rows(s, signals.QUEUE_ENQUEUED))
                and _rows(s, signals.QUEUE_FINISHED).get(("a.orders", "success")) == 1
            ),
        )
        target.close()
    assert set(_collectors(scrape).values()) == {1}
    assert _rows(scrape, signals.QUEUE_MESSAGES)["a.orders", "ready"] == 0
    assert _ready(scrape, "a.free") == 3
    assert _rows(scrape, signals.QUEUE_CONSUMERS) == {("a.orders",): 1, ("a.mail",): 0, ("a.free",): 0}
    assert _rows(scrape, signals.QUEUE_CAPACITY) == {("a.orders",): 60, ("a.mail",): 50}
    assert _rows(scrape, signals.QUEUE_CAPACITY_BYTES) == {("a.orders",): 5000}
    assert _rows(scrape, signals.QUEUE_ENQUEUED)["a.orders",] == 4


async def test_the_oldest_message_and_the_size_come_from_the_slow_timer(rabbit: Rabbit) -> None:
    """Where publishers stamp messages the oldest is known; it is absent as soon as nothing waits."""
    rabbit.declare("o.stamped")
    rabbit.declare("o.plain")
    rabbit.publish("o.stamped", timestamp=1_700_000_000)
    rabbit.publish("o.plain")
    target = _target(rabbit, r"o\..*")
    scrape = await _until(target, lambda s: bool(_rows(s, signals.QUEUE_OLDEST_READY)))
    assert _rows(scrape, signals.QUEUE_OLDEST_READY) == {("o.stamped",): 1_700_000_000}
    assert _rows(scrape, signals.QUEUE_SIZE_BYTES)["o.stamped",] == 5
    at = [row for f in scrape.families if f.signal is signals.DATA_TIMESTAMP for row in f.rows]
    assert [labels for labels, _ in at] == [("cluster",)]
    rabbit.ask("DELETE", "/queues/%2F/o.stamped/contents")
    scrape = await _until(target, lambda s: _ready(s, "o.stamped") == 0)
    assert not _rows(scrape, signals.QUEUE_OLDEST_READY)
    target.close()


async def test_dead_letters_stand_apart_from_work(rabbit: Rabbit) -> None:
    """What a consumer rejects stands in its dead-letter queue as retained_failed, and the broker's count tells why."""
    rabbit.ask("PUT", "/exchanges/%2F/d.fan", {"type": "fanout"})
    rabbit.declare("d.work", x_dead_letter_exchange="d.fan")
    rabbit.declare("d.dead")
    rabbit.ask("POST", "/bindings/%2F/e/d.fan/q/d.dead", {})
    target = _target(rabbit, r"d\..*")
    before = await _until(target, lambda s: ("d.dead", "retained_failed") in _rows(s, signals.QUEUE_MESSAGES))
    rabbit.publish("d.work")
    with Consumer(rabbit.amqp) as consumer:
        consumer.consume("d.work")
        consumer.reject(consumer.take(), requeue=False)
        scrape = await _until(
            target,
            lambda s: (
                _rows(s, signals.QUEUE_MESSAGES).get(("d.dead", "retained_failed")) == 1
                and _rows(s, signals.BROKER_DEAD_LETTERED) != _rows(before, signals.BROKER_DEAD_LETTERED)
            ),
        )
    assert _ready(scrape, "d.dead") == 0
    was, now = _rows(before, signals.BROKER_DEAD_LETTERED), _rows(scrape, signals.BROKER_DEAD_LETTERED)
    assert {key for key in now if now[key] != was[key]} == {("rejected", "routed")}
    with Consumer(rabbit.amqp) as reader:
        reader.consume("d.dead")
        reader.take()
        await _until(target, lambda s: _rows(s, signals.QUEUE_CONSUMERS).get(("d.dead",)) == 1)
    # Somebody works on the dead letters: from now on they are work like any other.
    scrape = await _until(target, lambda s: _ready(s, "d.dead") == 1)
    assert ("d.dead", "retained_failed") not in _rows(scrape, signals.QUEUE_MESSAGES)
    target.close()


async def test_queues_without_a_lasting_name_make_no_series(rabbit: Rabbit) -> None:
    """An exclusive queue is part of _other; the same holds for one that nobody has looked at yet."""
    rabbit.declare("e.kept")
    target = _target(rabbit, r"e\..*|amq\..*")
    with Consumer(rabbit.amqp) as consumer:
        name = consumer.declare_exclusive()
        rabbit.publish(name)
        scrape = await _until(target, lambda s: _ready(s, "_other") == 1)
        assert {labels[0] for labels in _rows(scrape, signals.QUEUE_MESSAGES)} == {"e.kept", "_other"}
    target.close()


async def test_streams_have_no_backlog(rabbit: Rabbit) -> None:
    """A stream keeps what was read: its length is not said to wait for anybody."""
    rabbit.declare("s.clicks", x_queue_type="stream")
    rabbit.publish("s.clicks")
    target = _target(rabbit, r"s\..*", capacity={"default": 10})
    scrape = await _until(target, lambda s: bool(_rows(s, signals.QUEUE_CONSUMERS)))
    target.close()
    assert _ready(scrape, "s.clicks") is None
    assert not _rows(scrape, signals.QUEUE_CAPACITY)


async def test_an_alarm_is_told_at_the_next_scrape(rabbit: Rabbit) -> None:
    """All resources are always there; a disk limit above what is free raises the disk alarm."""
    target = _target(rabbit, "none")
    quiet = await target.scrape(5.0)
    assert _rows(quiet, signals.BROKER_ALARM) == {("memory",): 0, ("disk",): 0, ("fd",): 0}
    node = rabbit.ask("GET", "/nodes")[0]["name"]
    await _rabbitmqctl(rabbit, node, "set_disk_free_limit", "9000GB")
    try:
        await _until(target, lambda s: _rows(s, signals.BROKER_ALARM)["disk",] == 1)
    finally:
        await _rabbitmqctl(rabbit, node, "set_disk_free_limit", "50MB")
    await _until(target, lambda s: _rows(s, signals.BROKER_ALARM)["disk",] == 0)
    target.close()


async def _rabbitmqctl(rabbit: Rabbit, node: str, *words: str) -> None:
    env = {**os.environ, "HOME": str(rabbit.folder), "ERL_EPMD_PORT": str(rabbit.epmd)}
    done = await asyncio.create_subprocess_exec(
        "/usr/lib/rabbitmq/bin/rabbitmqctl",
        "-n",
        node,
        *words,
        env={**env, "RABBITMQ_CONF_ENV_FILE": os.devnull},
        cwd=rabbit.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await done.communicate()
    assert done.returncode == 0, said.decode()


async def test_other_virtual_hosts_need_permissions_and_say_so(rabbit: Rabbit) -> None:
    """Queues of a virtual host that the user may not see are counted, their missing limits are a failed part."""
    rabbit.ask("PUT", "/vhosts/shop")
    rabbit.ask("PUT", "/permissions/shop/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    rabbit.declare("v.orders", vhost="shop", x_max_length=7)
    rabbit.publish("v.orders", vhost="shop")
    target = _target(rabbit, r"shop/.*")
    try:
        hidden = await _until(target, lambda s: _ready(s, "shop/v.orders") == 1 and _collectors(s)["cluster"] == 0)
        assert not _rows(hidden, signals.QUEUE_CAPACITY)
        rabbit.ask("PUT", "/permissions/shop/watcher", {"configure": "^$", "write": "^$", "read": "^$"})
        seen = await _until(target, lambda s: bool(_rows(s, signals.QUEUE_CAPACITY)))
        assert _rows(seen, signals.QUEUE_CAPACITY) == {("shop/v.orders",): 7}
        assert _collectors(seen)["cluster"] == 1
    finally:
        rabbit.ask("DELETE", "/vhosts/shop")
        target.close()


async def test_a_wrong_password_costs_the_slow_facts_only(rabbit: Rabbit) -> None:
    """The nodes' pages need no login: queues are counted, alarms and limits are unknown and the part says why."""
    rabbit.declare("p.orders", x_max_length=5)
    target = _target(rabbit, r"p\..*", password="hunter2-wrong")
    scrape = await _until(target, lambda s: _ready(s, "p.orders") == 0)
    target.close()
    assert scrape.up
    assert _collectors(scrape) == {"read": 1, "nodes": 1, "alarms": 0, "cluster": 0}
    assert not _rows(scrape, signals.QUEUE_CAPACITY)
    assert not _rows(scrape, signals.BROKER_ALARM)
    assert {part.reason for part in scrape.parts if not part.ok} == {"auth"}
    assert "hunter2" not in str(scrape.parts)


async def test_a_node_that_is_not_read_is_named(rabbit: Rabbit) -> None:
    """One of two pages is gone: its queues are missing, the others are served, and the part says which."""
    rabbit.declare("n.orders")
    nowhere = f"http://127.0.0.1:{free_port()}"
    target = _target(rabbit, r"n\..*", nodes=[f"http://127.0.0.1:{rabbit.metrics}", nowhere])
    scrape = await _until(target, lambda s: _ready(s, "n.orders") == 0)
    target.close()
    part = next(part for part in scrape.parts if part.collector == "nodes")
    assert (part.ok, part.reason, nowhere in part.detail) == (False, "refused", True)


async def test_a_frozen_broker_is_down_in_time_and_comes_back(rabbit: Rabbit) -> None:
    """SIGSTOP leaves the ports open: the read hits the deadline; after SIGCONT the next scrape is complete."""
    rabbit.declare("f.orders")
    target = _target(rabbit, r"f\..*")
    await _until(target, lambda s: _ready(s, "f.orders") == 0)
    os.kill(rabbit.broker_pid, signal.SIGSTOP)
    try:
        frozen = await target.scrape(0.5)
    finally:
        os.kill(rabbit.broker_pid, signal.SIGCONT)
    back = await _until(target, lambda s: s.up)
    target.close()
    assert frozen.error is not None
    assert frozen.error.reason == "timeout"
    assert _ready(back, "f.orders") == 0
