"""What a scrape of PostgreSQL costs here and on the server: ours, with its parts, beside Debian's postgres_exporter.

CPU is the column to trust on a shared machine. Run it alone: ``python -m bench.postgresql``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exporters.runtime.render import Renderer, TargetFamilies
from exporters.runtime.target import Target
from exporters.table import SOURCES
from tests.databases import Postgres, postgres_folder, start_postgresql
from tests.servers import free_port

SCRAPES = 200
SESSIONS = 50
DATABASES = 5
TABLES = 500
PEER = "prometheus-postgres-exporter"
GOAL_MS, GOAL_SERVER_MS = 12.0, 6.0
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Milliseconds per scrape."""

    p50: float
    cpu: float
    server: float
    samples: int

    def __str__(self) -> str:
        return f"{self.samples} samples: p50 {self.p50:.1f} ms, CPU {self.cpu:.1f} ms, server CPU {self.server:.1f} ms"


def main() -> int:
    """Print every figure; 1 when ours is beyond its goal."""
    with ExitStack() as stack:
        try:
            server = start_postgresql(stack.enter_context(postgres_folder()), settings={"max_connections": "200"})
        except pytest.skip.Exception as missing:
            print(f"not measured: {missing}")
            return 0
        stack.callback(server.stop)
        fill(server)
        for _ in range(SESSIONS):
            stack.callback(server.connect("shop").close)
        print(f"{SESSIONS} sessions, {DATABASES} databases, {TABLES} tables, {entries(server)} statements")
        core = ours(server, {"interval": "1h"})
        print(f"core facts, {core}")
        print(f"core facts and all statements at every scrape, {ours(server, {'interval': '1ms'})}")
        refused()
        with peer_program() as program:
            if program is None:
                print(f"{PEER}: not measured, it is not installed and cannot be fetched")
            else:
                theirs = peer(program, server)
                print(f"{PEER}, {theirs}")
                print(f"ratio: p50 {theirs.p50 / core.p50:.1f} x, server CPU {theirs.server / core.server:.1f} x")
        many(server, 5000)
        print(
            f"pg_stat_statements full ({entries(server)}): {ours(server, {'interval': '1ms'})}; by default every 30 s"
        )
    kept = core.p50 <= GOAL_MS and core.server <= GOAL_SERVER_MS
    print(f"goal: p50 <= {GOAL_MS:g} ms, server CPU <= {GOAL_SERVER_MS:g} ms: {'kept' if kept else 'MISSED'}")
    return 0 if kept else 1


def fill(server: Postgres) -> None:
    server.run("CREATE EXTENSION pg_stat_statements", *(f"CREATE DATABASE d{i}" for i in range(DATABASES - 2)))
    server.run("CREATE DATABASE shop")
    server.run("CREATE EXTENSION pg_stat_statements", database="shop")
    server.run(*(f"CREATE TABLE t{i} (id int PRIMARY KEY, v text)" for i in range(TABLES)), database="shop")
    many(server, 300)


def many(server: Postgres, count: int) -> None:
    """Run statements that differ in shape, so that each has an entry of its own."""
    bits = [[("oid::int" if n >> b & 1 else "relnatts") for b in range(13)] for n in range(count)]
    server.run(*(f"SELECT {' + '.join(row)} FROM pg_class LIMIT 1" for row in bits), database="shop")


def entries(server: Postgres) -> int:
    return int(server.run("SELECT count(*) FROM pg_stat_statements")[0][0])


def ours(server: Postgres, statements: dict[str, Any]) -> Cost:
    plain = {"name": "db", "url": f"postgresql://postgres@127.0.0.1:{server.port}/shop", "statements": statements}
    target = Target(SOURCES["postgresql"].settings.model_validate(plain), SOURCES["postgresql"])
    renderer = Renderer()

    async def scrapes() -> Cost:
        def page() -> bytes:
            return renderer.render([TargetFamilies(scrape.target, scrape.families)])

        for _ in range(10):  # the first ones connect, prepare, and read the sizes
            scrape = await target.scrape(5.0)
            samples = page().count(b"\n") - 2 * page().count(b"# HELP")
        wall = []
        server_before, before = server_cpu(server), time.process_time()
        for _ in range(SCRAPES):
            started = time.perf_counter()
            scrape = await target.scrape(5.0)
            page()
            wall.append(time.perf_counter() - started)
            assert scrape.up, scrape.error
        spent, on_server = time.process_time() - before, server_cpu(server) - server_before
        target.close()
        return Cost(statistics.median(wall) * 1000, spent / SCRAPES * 1000, on_server / SCRAPES * 1000, samples)

    return asyncio.run(scrapes())


def refused() -> None:
    """Time a target where nothing listens."""
    plain = {"name": "db", "url": f"postgresql://postgres@127.0.0.1:{free_port()}/shop"}
    target = Target(SOURCES["postgresql"].settings.model_validate(plain), SOURCES["postgresql"])
    scrape = asyncio.run(target.scrape(5.0))
    assert scrape.error is not None
    print(f"refused target: {scrape.duration * 1000:.1f} ms, reason {scrape.error.reason}")


def peer(program: Path, server: Postgres) -> Cost:
    port = free_port()
    argv = [program, f"--web.listen-address=127.0.0.1:{port}"]
    source = f"postgresql://postgres@127.0.0.1:{server.port}/shop?sslmode=disable"
    process = subprocess.Popen(argv, env={**os.environ, "DATA_SOURCE_NAME": source}, stderr=subprocess.DEVNULL)
    try:
        page = repeat(lambda: get(port), 50)
        wall = []
        before, server_before = process_cpu(process.pid), server_cpu(server)
        for _ in range(50):
            started = time.perf_counter()
            page = get(port)
            wall.append(time.perf_counter() - started)
        spent, on_server = process_cpu(process.pid) - before, server_cpu(server) - server_before
    finally:
        process.terminate()
        process.wait(10)
    samples = sum(1 for line in page.splitlines() if line.startswith(b"pg_"))
    return Cost(statistics.median(wall) * 1000, spent / 50 * 1000, on_server / 50 * 1000, samples)


def get(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        return bytes(answer.read())


def repeat(ask: Callable[[], bytes], times: int) -> bytes:
    """Ask until there is an answer: the program may still be starting."""
    for _ in range(times):
        try:
            return ask()
        except OSError:
            time.sleep(0.1)
    raise TimeoutError


@contextmanager
def peer_program() -> Iterator[Path | None]:
    """Find the peer, or fetch Debian's package and unpack it for this run; nothing is installed."""
    found = shutil.which(PEER)
    if found is not None:
        yield Path(found)
        return
    with tempfile.TemporaryDirectory(prefix="bench-peer-") as folder:
        for command in (["apt-get", "download", "-qq", PEER], ["sh", "-c", "dpkg-deb -x ./*.deb ."]):
            if shutil.which(command[0]) is not None:
                subprocess.run(command, cwd=folder, check=False, capture_output=True)
        program = Path(folder, "usr/bin", PEER)
        yield program if program.exists() else None


def server_cpu(server: Postgres) -> float:
    """CPU seconds of the server and all its processes, those included that have ended."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return process_cpu(pid, ended=True) + sum(process_cpu(int(child)) for child in children)


def process_cpu(pid: int, *, ended: bool = False) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11 : 15 if ended else 13]) / _TICK


if __name__ == "__main__":
    sys.exit(main())
