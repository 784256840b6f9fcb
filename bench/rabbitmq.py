"""What watching 1,000 RabbitMQ queues costs us and the broker, beside a full read of the management API.

The slow timer (limits, policies, sizes, oldest messages) is printed apart: it runs once a minute, not per scrape.
CPU is the column to trust on a shared machine. Run it alone: ``python -m bench.rabbitmq``.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from bench.exporters import free_port
from exporters.rabbitmq.look import look
from exporters.rabbitmq.page import Labels
from exporters.rabbitmq.settings import RabbitmqSettings
from exporters.runtime.render import Renderer, TargetFamilies
from exporters.runtime.target import Target
from exporters.table import SOURCES
from tests.rabbit import Rabbit, start_rabbit

QUEUES = 1000
SCRAPES = 60
_TICK = 1000 / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print every figure."""
    if not Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists():
        print("1000 RabbitMQ queues: not measured, there is no rabbitmq-server")
        return
    with tempfile.TemporaryDirectory(prefix="bench-rabbit-", ignore_cleanup_errors=True) as folder:
        rabbit = start_rabbit(Path(folder), [free_port() for _ in range(5)])
        try:
            fill(rabbit)
            asyncio.run(measure(rabbit))
        finally:
            rabbit.stop()


def fill(rabbit: Rabbit) -> None:
    """Declare the queues, every tenth with a few messages, and let the broker settle."""
    for i in range(QUEUES):
        rabbit.declare(f"queue-{i}", x_max_length=1000)
        if i % 10 == 0:
            rabbit.publish(f"queue-{i}", timestamp=1_700_000_000)
    time.sleep(7)


async def measure(rabbit: Rabbit) -> None:
    """Scrapes first, then one slow look, then the peer's way."""
    settings = RabbitmqSettings.model_validate(
        {
            "name": "broker",
            "url": f"http://127.0.0.1:{rabbit.api}",
            "password": "guest",
            "nodes": [f"http://127.0.0.1:{rabbit.metrics}"],
            "queues": {"cap": 2 * QUEUES},
            "slow": "1h",
        }
    )
    target = Target(settings, SOURCES["rabbitmq"])
    renderer, samples = Renderer(), 0

    async def scrape() -> None:
        nonlocal samples
        found = await target.scrape(10.0)
        assert found.up, found.error
        page = renderer.render([TargetFamilies(found.target, found.families)])
        samples = page.count(b"\n") - 2 * page.count(b"# HELP")

    for _ in range(5):
        await scrape()
    pid = rabbit.broker_pid
    ours = await cost(pid, scrape, SCRAPES)
    target.close()
    labels = Labels()

    async def slow() -> None:
        await look(settings, labels)

    timer = await cost(pid, slow, 5)

    async def full() -> None:
        await asyncio.to_thread(everything, rabbit)

    peer = await cost(pid, full, 10)
    both, theirs = ours[1] + ours[2], peer[1] + peer[2]
    print(f"{QUEUES} RabbitMQ queues, {samples} samples, per scrape: {line(ours)}")
    print(f"{QUEUES} RabbitMQ queues, slow timer (once a minute): {line(timer)}")
    print(f"{QUEUES} RabbitMQ queues, full management read: {line(peer)}")
    print(f"CPU of both sides per scrape: ours {both:.1f} ms, full management {theirs:.1f} ms: {theirs / both:.1f} x")


def line(figures: tuple[float, float, float]) -> str:
    p50, own, broker = figures
    return f"p50 {p50:.1f} ms, CPU {own:.1f} ms, broker CPU {broker:.1f} ms, CPU together {own + broker:.1f} ms"


async def cost(pid: int, work: Callable[[], Awaitable[Any]], times: int) -> tuple[float, float, float]:
    """Median milliseconds of the wall, and mean CPU milliseconds of us and of the broker.

    The broker's own idle CPU over the same time is taken off.
    """
    idle_from, at = broker_cpu(pid), time.perf_counter()
    await asyncio.sleep(2)
    idle = (broker_cpu(pid) - idle_from) / (time.perf_counter() - at)
    wall: list[float] = []
    before, own, began = broker_cpu(pid), time.process_time(), time.perf_counter()
    for _ in range(times):
        started = time.perf_counter()
        await work()
        wall.append((time.perf_counter() - started) * 1000)
    spent = (time.process_time() - own) / times * 1000
    await asyncio.sleep(0.05)
    total = broker_cpu(pid) - before - idle * (time.perf_counter() - began)
    return statistics.median(wall), spent, max(total, 0.0) / times


def broker_cpu(pid: int) -> float:
    """CPU milliseconds of the Erlang process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def everything(rabbit: Rabbit) -> None:
    """Read all queues with all statistics, as exporters of the management API do."""
    connection = http.client.HTTPConnection("127.0.0.1", rabbit.api)
    login = base64.b64encode(b"guest:guest").decode()
    connection.request("GET", "/api/queues", headers={"Authorization": f"Basic {login}"})
    queues = orjson.loads(connection.getresponse().read())
    connection.close()
    assert len(queues) == QUEUES


if __name__ == "__main__":
    main()
