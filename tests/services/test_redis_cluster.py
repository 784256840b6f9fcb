"""A real Redis Cluster and real sentinels: nodes, slots, failover, quorum, and what a dead node costs the others."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from exporters.clients.resp import Connection, RedisTarget, pack
from exporters.model import Value
from exporters.runtime.target import Scrape, Target
from exporters.table import SOURCES
from tests.conftest import Keep
from tests.servers import Server, free_port, free_port_pair, need, start, start_redis
from tocsin import signals
from tocsin.signals import Signal

_THIRDS = ((0, 5460), (5461, 10922), (10923, 16383))


async def _ask(port: int, *words: str | int) -> Any:
    connection = Connection(RedisTarget(name="raw", kind="raw", url=f"redis://127.0.0.1:{port}/0"))
    try:
        return (await connection.request(pack(*words), 1))[0]
    finally:
        connection.close()


async def _until(check: Callable[[], Awaitable[Any]], *, timeout: float = 30.0) -> Any:  # noqa: ASYNC109  # a deadline for polling
    async with asyncio.timeout(timeout):
        while not (found := await check()):  # noqa: ASYNC110  # the event is in a real server
            await asyncio.sleep(0.05)
        return found


def _target(kind: str, port: int, **more: Any) -> Target:
    plain = {"name": "it", "kind": kind, "url": f"redis://127.0.0.1:{port}/0", **more}
    return Target(SOURCES[kind].settings.model_validate(plain), SOURCES[kind])


def _rows(scrape: Scrape, wanted: Signal) -> dict[tuple[str, ...], Value]:
    return {labels: value for f in scrape.families if f.signal is wanted for labels, value in f.rows}


def _series(scrape: Scrape) -> set[tuple[str, tuple[str, ...]]]:
    return {(f.signal.name, labels) for f in scrape.families for labels, _ in f.rows}


async def _cluster(keep: Keep, folder: Path) -> list[Server]:
    """Start three primaries and one replica of the first, and wait until all agree."""
    program = need("redis-server")
    flags = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--maxmemory", "32mb")
    ports = [free_port_pair() for _ in range(4)]
    nodes = [
        keep(start_redis(program, folder / str(port), *flags, "--cluster-port", str(port + 1), port=port))
        for port in ports
    ]
    for port, (first, last) in zip(ports, _THIRDS, strict=False):
        await _ask(port, "CLUSTER", "ADDSLOTSRANGE", first, last)
        await _ask(port, "CLUSTER", "SET-CONFIG-EPOCH", ports.index(port) + 1)
    for port in ports[1:]:
        await _ask(ports[0], "CLUSTER", "MEET", "127.0.0.1", port, port + 1)
    await _until(lambda: _knows(ports, 4))
    first = (await _ask(ports[0], "CLUSTER", "MYID")).decode()
    await _ask(ports[3], "CLUSTER", "REPLICATE", first)
    await _until(lambda: _linked(ports[3]))
    return nodes


async def _knows(ports: list[int], count: int) -> bool:
    infos = [(await _ask(port, "CLUSTER", "INFO")).decode() for port in ports]
    return all(f"cluster_known_nodes:{count}" in info and "cluster_state:ok" in info for info in infos)


async def _linked(port: int) -> bool:
    return "master_link_status:up" in (await _ask(port, "INFO", "replication")).decode()


async def test_a_cluster_is_read_whole_and_a_failover_makes_no_new_series(keep: Keep, tmp_path: Path) -> None:
    """Every node, all slots; after a primary dies its replica serves, and the same series tell it."""
    nodes = await _cluster(keep, tmp_path)
    for i in range(40):
        await _ask(nodes[i % 3].port, "GET", f"key-{i}")  # half of these are MOVED answers, the rest are misses
    target = _target("redis-cluster", nodes[1].port)
    before = await target.scrape(5.0)
    assert before.error is None
    assert _rows(before, signals.CACHE_CLUSTER_OK) == {("redis",): 1}
    assert _rows(before, signals.CACHE_CLUSTER_SLOTS) == {
        ("redis", "ok"): 16384,
        ("redis", "pfail"): 0,
        ("redis", "fail"): 0,
        ("redis", "unassigned"): 0,
    }
    names = [f"127.0.0.1:{node.port}" for node in nodes]
    assert _rows(before, signals.CACHE_NODE_UP) == {("redis", name): 1 for name in names}
    assert _rows(before, signals.CACHE_NODE_PRIMARY)["redis", names[3]] == 0
    assert _rows(before, signals.CACHE_MEMORY_MAX)["redis", "primary"] == 3 * 32 * 2**20
    assert _rows(before, signals.CACHE_REPLICA_LINK_UP) == {("redis", "replica"): 1}
    misses = _rows(before, signals.CACHE_REQUESTS)["redis", "primary", "miss"]
    assert misses

    nodes[0].kill()

    async def taken_over() -> bool:
        scrape = await target.scrape(5.0)
        primary, ok = _rows(scrape, signals.CACHE_NODE_PRIMARY), _rows(scrape, signals.CACHE_CLUSTER_OK)
        return primary.get(("redis", names[3])) == 1 and ok == {("redis",): 1}

    await _until(taken_over)
    after = await target.scrape(5.0)
    target.close()
    assert after.up
    assert _rows(after, signals.CACHE_NODE_UP)["redis", names[0]] == 0
    assert _rows(after, signals.COLLECTOR_SUCCESS)["nodes",] == 0
    assert _rows(after, signals.CACHE_REQUESTS)["redis", "primary", "miss"] >= misses, "a counter went back"
    assert not {name for name, _ in _series(after)} - {name for name, _ in _series(before)}
    assert _series(after) <= _series(before), "a failover made new series"


async def test_lost_slots_are_told(keep: Keep, tmp_path: Path) -> None:
    """A primary without a replica dies: its slots fail and the cluster is not ok, which is data and not a gap."""
    nodes = await _cluster(keep, tmp_path)
    target = _target("redis-cluster", nodes[0].port)
    assert (await target.scrape(5.0)).up
    nodes[1].kill()

    async def told() -> bool:
        return _rows(await target.scrape(5.0), signals.CACHE_CLUSTER_OK) == {("redis",): 0}

    await _until(told)
    scrape = await target.scrape(5.0)
    target.close()
    lost = _THIRDS[1][1] - _THIRDS[1][0] + 1
    assert _rows(scrape, signals.CACHE_CLUSTER_SLOTS)["redis", "fail"] == lost


async def test_a_frozen_node_costs_its_patience_and_no_more(keep: Keep, tmp_path: Path) -> None:
    """SIGSTOP on the node that is asked first: the seeds behind it answer, the rest of the cluster is complete."""
    nodes = await _cluster(keep, tmp_path)
    seeds = [f"redis://127.0.0.1:{nodes[2].port}"]
    target = _target("redis-cluster", nodes[1].port, seeds=seeds, patience="200ms")
    os.kill(nodes[1].process.pid, signal.SIGSTOP)
    try:
        scrape = await target.scrape(5.0)
    finally:
        os.kill(nodes[1].process.pid, signal.SIGCONT)
    back = await target.scrape(5.0)
    target.close()
    assert scrape.up
    up = _rows(scrape, signals.CACHE_NODE_UP)
    assert [up["redis", f"127.0.0.1:{node.port}"] for node in nodes] == [1, 0, 1, 1]
    # One primary is alive but unread: what all primaries hold together is unknown, so it is not said.
    assert ("redis", "primary") not in _rows(scrape, signals.CACHE_MEMORY)
    assert set(_rows(back, signals.CACHE_NODE_UP).values()) == {1}


async def test_a_server_that_is_no_cluster_says_what_to_write(redis_server: Server) -> None:
    """The wrong kind for a server is down with the right kind in the text, and so is a server that is no sentinel."""
    target = _target("redis-cluster", redis_server.port)
    scrape = await target.scrape(5.0)
    target.close()
    assert "write kind: redis" in str(scrape.error)
    other = _target("redis-sentinel", redis_server.port)
    scrape = await other.scrape(5.0)
    other.close()
    assert "not a sentinel" in str(scrape.error)


def _sentinel(folder: Path, primary: int) -> Server:
    port = free_port()
    folder.mkdir(parents=True)
    (folder / "sentinel.conf").write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor sessions 127.0.0.1 {primary} 2\n"
        "sentinel down-after-milliseconds sessions 1000\nsentinel failover-timeout sessions 5000\n"
    )
    argv: list[str | Path] = [need("redis-server").path, folder / "sentinel.conf", "--sentinel"]
    return start("sentinel", argv, folder=folder, port=port, ready=None)


@pytest.fixture
async def sentinels(keep: Keep, tmp_path: Path) -> list[Server]:
    """Three sentinels over a primary and a replica."""
    program = need("redis-server")
    primary = keep(start_redis(program, tmp_path / "primary"))
    replica = keep(start_redis(program, tmp_path / "replica", "--replicaof", f"127.0.0.1 {primary.port}"))
    await _until(lambda: _linked(replica.port))
    found = [keep(_sentinel(tmp_path / f"s{i}", primary.port)) for i in range(3)]

    async def meet() -> bool:
        said = [await _ask(each.port, "SENTINEL", "CKQUORUM", "sessions") for each in found]
        return all(isinstance(reply, bytes) and b"3 usable" in reply for reply in said)

    await _until(meet)
    return found


async def test_sentinels_tell_quorum_and_failovers(sentinels: list[Server]) -> None:
    """All well; a failover counts once though the address moved; with one sentinel of three the quorum is gone."""
    seeds = [f"redis://127.0.0.1:{each.port}" for each in sentinels[1:]]
    target = _target("redis-sentinel", sentinels[0].port, seeds=seeds, patience="500ms")
    scrape = await target.scrape(5.0)
    assert scrape.error is None
    key = ("redis", "sessions")
    assert _rows(scrape, signals.CACHE_SENTINEL_QUORUM_OK) == {key: 1}
    assert _rows(scrape, signals.CACHE_SENTINEL_MASTER_UP) == {key: 1}
    assert _rows(scrape, signals.CACHE_SENTINEL_MASTER_CHANGES) == {key: 0}
    assert _rows(scrape, signals.CACHE_SENTINEL_REPLICAS) == {key: 1}
    assert _rows(scrape, signals.CACHE_SENTINEL_SENTINELS) == {key: 3}
    series = _series(scrape)
    await _ask(sentinels[0].port, "SENTINEL", "FAILOVER", "sessions")

    async def changed() -> bool:
        return _rows(await target.scrape(5.0), signals.CACHE_SENTINEL_MASTER_CHANGES) == {key: 1}

    await _until(changed)
    assert _series(await target.scrape(5.0)) == series, "a failover made new series"
    for each in sentinels[:2]:
        each.kill()

    async def without_quorum() -> bool:
        return _rows(await target.scrape(5.0), signals.CACHE_SENTINEL_QUORUM_OK) == {key: 0}

    await _until(without_quorum)
    last = await target.scrape(5.0)
    target.close()
    assert last.up, "the third sentinel still answers"
    assert _rows(last, signals.CACHE_SENTINEL_MASTER_CHANGES) == {key: 1}
