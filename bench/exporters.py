"""What a scrape costs: 10,000 samples rendered, beside prometheus_client, and 200 BullMQ queues on a real Redis,
beside BullMQ's own export and redis_exporter.

CPU is the column to trust on a shared machine. Run it alone: ``python -m bench.exporters``.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest

from bench.peers import PEERS, Cost, NotRun, Peer
from exporters.clients.resp import Connection, info_fields, pack, pack_all
from exporters.model import Family, Histogram
from exporters.runtime.render import FamilyCollector, Renderer, TargetFamilies
from exporters.runtime.target import Target
from exporters.table import SOURCES
from tocsin import signals

QUEUES = 200
SCRAPES = 200


class Figures(NamedTuple):
    """What one scrape cost on average (p50 for the wall), in milliseconds."""

    samples: int
    p50: float
    cpu: float
    server_cpu: float

    def __str__(self) -> str:
        return (
            f"{self.samples} samples: p50 {self.p50:.1f} ms, CPU {self.cpu:.1f} ms, Redis CPU {self.server_cpu:.1f} ms"
        )


def main() -> None:
    """Print every figure."""
    rendering()
    redis = shutil.which("redis-server")
    if redis is None:
        print("200 BullMQ queues: not measured, there is no redis-server")
        return
    asyncio.run(queues(redis))


def rendering() -> None:
    """Time our renderer against generate_latest on the same families, with every histogram moving."""
    names = [("bullmq", f"queue-{i}") for i in range(1190)]
    states = ("ready", "in_flight", "scheduled", "blocked", "retained_completed")
    scalars = [
        Family(signals.QUEUE_MESSAGES, [((*n, s), i * 7) for i, n in enumerate(names) for s in states]),
        Family(signals.QUEUE_OLDEST_READY, [(n, 1795393498.061 + i) for i, n in enumerate(names)]),
    ]
    shift = 0

    def page() -> list[TargetFamilies]:
        nonlocal shift
        shift += 1
        moving = [(n, Histogram(tuple(range(shift, shift + 17)), 1.25 * shift)) for n in names[:150]]
        return [TargetFamilies("orders", [*scalars, Family(signals.QUEUE_WAIT, moving)])]

    renderer = Renderer()
    parts = page()
    registry = CollectorRegistry()
    registry.register(FamilyCollector(parts))
    assert renderer.render(parts) == generate_latest(registry)
    samples = sum(1 for line in renderer.render(parts).splitlines() if not line.startswith(b"#"))
    pages = iter([page() for _ in range(60)])
    ours = cpu_ms(lambda: renderer.render(next(pages)), 50)
    peer = cpu_ms(lambda: generate_latest(registry), 8)
    print(f"{samples} samples rendered, CPU: ours {ours:.1f} ms, prometheus_client {peer:.1f} ms: {peer / ours:.1f} x")


def cpu_ms(work: Callable[[], object], times: int) -> float:
    """CPU milliseconds per call."""
    work()
    gc.collect()
    before = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - before) / times * 1000


async def queues(redis: str) -> None:
    """Time whole scrapes (read, shape, render) of 200 filled queues, with and without the events stream, then peers."""
    with ExitStack() as stack:
        port = stack.enter_context(running_redis(redis))
        settings = SOURCES["bullmq"].settings
        plain = {"name": "orders", "url": f"redis://127.0.0.1:{port}/0", "capacity": {"default": 1000}}
        server = Connection(settings.model_validate(plain))  # type: ignore[arg-type]  # a RedisTarget by its kind
        await fill(server)
        figures: dict[str, Figures] = {}
        for label, extra in (("events off", {"events": False}), ("with events", {})):
            target = Target(settings.model_validate(plain | extra), SOURCES["bullmq"])
            figures[label] = await measure(scraper(target), server)
            print(f"{QUEUES} BullMQ queues, {label}, {figures[label]}")
            target.close()
        await peers(port, server, figures["events off"])
        server.close()
        for label, extra in (("events off", "events: false"), ("with events", "events: true")):
            print(f"exporter process, 200 queues, {label}: RSS {process_rss(port, extra):.0f} MiB after 50 scrapes")


def process_rss(redis_port: int, extra: str) -> float:
    """Start the real exporter, scrape it 50 times and return its memory in MiB."""
    with tempfile.TemporaryDirectory(prefix="bench-exporter-") as folder:
        config = Path(folder, "tocsin.yaml")
        target = f"{{name: orders, kind: bullmq, url: 'redis://127.0.0.1:{redis_port}/0', {extra}}}"
        config.write_text(f"schema: 1\ntargets: [{target}]\n", encoding="utf-8")
        listen = f"127.0.0.1:{free_port()}"
        argv = [sys.executable, "-m", "tocsin", "exporter", "--config", str(config), "--listen", listen]
        process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        try:
            wait_for(int(listen.rpartition(":")[2]))
            for _ in range(50):
                urllib.request.urlopen(f"http://{listen}/probe?target=orders", timeout=10).read()
            pages = int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1])
            return pages * resource.getpagesize() / 2**20
        finally:
            process.terminate()
            process.wait(10)


async def peers(redis_port: int, server: Connection, ours: Figures) -> None:
    """Measure the peers on the same queues; they read counts, so ours without the events stream is what compares."""
    for name, start in PEERS.items():
        try:
            with start(redis_port, QUEUES, iter(free_port, 0)) as peer:

                async def scrape(peer: Peer = peer) -> Cost:
                    return peer.scrape()

                theirs = await measure(scrape, server)
        except NotRun as why:
            print(f"{name}, not run: {why}")
            continue
        cpu, redis, time_taken = theirs.cpu / ours.cpu, theirs.server_cpu / ours.server_cpu, theirs.p50 / ours.p50
        print(
            f"{name}, {theirs}; ours, events off, takes 1/{cpu:.1f} of its CPU, "
            f"1/{redis:.1f} of its Redis CPU and 1/{time_taken:.1f} of its time"
        )


def scraper(target: Target) -> Callable[[], Awaitable[Cost]]:
    """Return what scrapes our target once."""
    renderer = Renderer()

    async def scrape() -> Cost:
        own, started = time.process_time(), time.perf_counter()
        scrape = await target.scrape(5.0)
        page = renderer.render([TargetFamilies(scrape.target, scrape.families)])
        wall, cpu = time.perf_counter() - started, time.process_time() - own
        assert scrape.up, scrape.error
        return Cost(wall, cpu, page.count(b"\n") - 2 * page.count(b"# HELP"))

    return scrape


async def measure(scrape: Callable[[], Awaitable[Cost]], server: Connection) -> Figures:
    """Scrape again and again; between scrapes every tenth queue works, so that there is something to tell."""
    costs: list[Cost] = []
    server_cpu = 0.0
    for i in range(SCRAPES + 10):
        await server.request(busy(i), BUSY_REPLIES)
        before = await redis_cpu(server)
        cost = await scrape()
        after = await redis_cpu(server)
        if i >= 10:  # the first ones connect, look for queues and make every series' text
            costs.append(cost)
            server_cpu += after - before
    wall, cpu = statistics.median(c.wall for c in costs), statistics.fmean(c.cpu for c in costs)
    return Figures(costs[-1].samples, wall * 1000, cpu * 1000, server_cpu / SCRAPES * 1000)


async def fill(server: Connection) -> None:
    """Write what BullMQ writes: per queue 50 waiting jobs, some delayed, some finished, and their events."""
    commands: list[Sequence[str | bytes | int]] = []
    for q in range(QUEUES):
        base = f"bull:queue-{q}:"
        commands.append(("HSET", f"{base}meta", "opts.maxLenEvents", 10000))
        commands += [("LPUSH", f"{base}wait", job) for job in range(50)]
        commands.append(("HSET", f"{base}0", "timestamp", int(time.time() * 1000), "name", "x", "data", "{}"))
        commands += [("ZADD", f"{base}{key}", 1, "a", 2, "b") for key in ("delayed", "prioritized")]
        commands += [("ZADD", f"{base}{key}", int(time.time() * 1000), "c") for key in ("completed", "failed")]
        commands += [event(base, "completed", job) for job in range(100)]
    await server.request(pack_all(commands), len(commands))


def event(base: str, name: str, job: int) -> Sequence[str | int]:
    return ("XADD", f"{base}events", "MAXLEN", "~", 10000, "*", "event", name, "jobId", job, "prev", "x")


_PER_JOB = ("added", "waiting", "active", "completed")
BUSY_REPLIES = QUEUES // 10 * 10 * len(_PER_JOB)


def busy(turn: int) -> bytes:
    """Ten jobs through every tenth queue: 200 jobs between two scrapes."""
    return b"".join(
        pack(*event(f"bull:queue-{q}:", name, turn * 10 + job))
        for q in range(turn % 10, QUEUES, 10)
        for job in range(10)
        for name in _PER_JOB
    )


async def redis_cpu(server: Connection) -> float:
    fields = info_fields((await server.request(pack("INFO", "cpu"), 1))[0])
    return float(fields["used_cpu_user"]) + float(fields["used_cpu_sys"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError


class running_redis:  # noqa: N801  # reads as the context manager that it is
    """A Redis of our own on a free port."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._folder = tempfile.TemporaryDirectory(prefix="bench-redis-")

    def __enter__(self) -> int:
        port = free_port()
        argv = [self._program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self._folder.name]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        wait_for(port)
        return port

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._folder.cleanup()


if __name__ == "__main__":
    main()
