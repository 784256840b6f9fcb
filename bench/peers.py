"""The peers of our exporter that can run here: BullMQ's own Prometheus export and Debian's redis_exporter.

Each one is fetched if it is missing, reads the queues that ours has just read, and counts its own CPU.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

FETCH_SECONDS = 180
LISTS_AND_ZSETS = ("wait", "delayed", "prioritized", "completed", "failed")


class NotRun(Exception):  # noqa: N818  # a report, not an error: the others still run
    """A peer cannot be had on this machine; the text says why."""


class Cost(NamedTuple):
    """One scrape: seconds waited, CPU seconds spent, samples told."""

    wall: float
    cpu: float
    samples: int


class Peer(Protocol):
    """A running peer that can be scraped."""

    def scrape(self) -> Cost:
        """Scrape once."""


NODE_SCRIPT = """\
const { Queue } = require('bullmq');
const Redis = require('ioredis');
const readline = require('readline');

const [port, count] = process.argv.slice(2).map(Number);
const connection = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null });
const queues = Array.from({ length: count }, (_, i) => new Queue(`queue-${i}`, { connection }));

async function main() {
  await Promise.all(queues.map((queue) => queue.waitUntilReady()));
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    const before = process.cpuUsage();
    const started = process.hrtime.bigint();
    const page = (await Promise.all(queues.map((queue) => queue.exportPrometheusMetrics()))).join('\\n');
    const wall = Number(process.hrtime.bigint() - started) / 1e9;
    const spent = process.cpuUsage(before);
    const samples = page.split('\\n').filter((line) => line && !line.startsWith('#')).length;
    console.log(JSON.stringify({ wall, cpu: (spent.user + spent.system) / 1e6, samples }));
  }
  process.exit(0);
}

main().catch((error) => { console.error(error); process.exit(1); });
"""


class BullmqExport:
    """One node process with all queues on one connection; a line in asks for a scrape, a line out tells its cost."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def scrape(self) -> Cost:
        """Export every queue at once, timed inside node."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise NotRun("the node process ended")
        return Cost(**json.loads(line))


@contextmanager
def bullmq_export(redis_port: int, queues: int, ports: Iterator[int]) -> Iterator[Peer]:
    """Install BullMQ into a temporary folder and run its exportPrometheusMetrics there."""
    del ports  # it talks through its pipes
    node, npm = program("node"), program("npm")
    with tempfile.TemporaryDirectory(prefix="bench-bullmq-") as folder:
        quiet = ("--no-audit", "--no-fund", "--silent")
        fetch([npm, "install", "--prefix", folder, *quiet, "bullmq@5", "ioredis@5"])
        script = Path(folder, "export.js")
        script.write_text(NODE_SCRIPT, encoding="utf-8")
        argv = [node, str(script), str(redis_port), str(queues)]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with stopped(process):
            yield BullmqExport(process)


class RedisExporter:
    """A redis_exporter process, scraped over HTTP."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, keys: int) -> None:
        self._process = process
        self._url = url
        self._keys = keys

    def scrape(self) -> Cost:
        """Fetch the page once; its CPU is what the kernel counted in the meantime, in ticks: sum many."""
        before, started = cpu_seconds(self._process.pid), time.perf_counter()
        with urllib.request.urlopen(self._url, timeout=30) as answer:
            page: bytes = answer.read()
        wall = time.perf_counter() - started
        samples = [line for line in page.splitlines() if line and not line.startswith(b"#")]
        keys = sum(line.startswith(b"redis_key_size{") for line in samples)
        assert keys == self._keys, f"redis_exporter told {keys} keys of {self._keys}"
        return Cost(wall, cpu_seconds(self._process.pid) - before, len(samples))


@contextmanager
def redis_exporter(redis_port: int, queues: int, ports: Iterator[int]) -> Iterator[Peer]:
    """Run redis_exporter with every list and zset of the queues named, which spares it the SCAN."""
    binary = debian("prometheus-redis-exporter")
    keys = ",".join(f"db0=bull:queue-{q}:{key}" for q in range(queues) for key in LISTS_AND_ZSETS)
    listen = f"127.0.0.1:{next(ports)}"
    options = ("-redis.addr", f"redis://127.0.0.1:{redis_port}", "-web.listen-address", listen)
    argv = [binary, *options, "-check-single-keys", keys]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with stopped(process):
        url = f"http://{listen}/metrics"
        answering(url)
        yield RedisExporter(process, url, queues * len(LISTS_AND_ZSETS))


PEERS = {"BullMQ's own export": bullmq_export, "redis_exporter, its keys named": redis_exporter}


def program(name: str) -> str:
    """Find a program or say that it is missing."""
    found = shutil.which(name)
    if found is None:
        raise NotRun(f"there is no {name}")
    return found


def debian(package: str) -> str:
    """Find the program of a Debian package of the same name; root installs it, without starting its service."""
    if shutil.which(package) is None:
        if os.geteuid() != 0:
            raise NotRun(f"there is no {package}, and only root can install it")
        fetch([program("apt-get"), "install", "-y", "--no-install-recommends", package], RUNLEVEL="1")
    return program(package)


def fetch(argv: list[str], **environment: str) -> None:
    """Run an installer to its end."""
    try:
        subprocess.run(argv, check=True, capture_output=True, timeout=FETCH_SECONDS, env=os.environ | environment)
    except (OSError, subprocess.SubprocessError) as error:
        why = f"after {FETCH_SECONDS} s" if isinstance(error, subprocess.TimeoutExpired) else "with an error"
        raise NotRun(f"{Path(argv[0]).name} install ended {why}") from error


def cpu_seconds(pid: int) -> float:
    """User and system CPU of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answering(url: str) -> None:
    """Wait until the page can be fetched."""
    for _ in range(100):
        try:
            urllib.request.urlopen(url, timeout=30).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise NotRun("it does not answer")


@contextmanager
def stopped(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> Iterator[None]:
    """End the process whatever happens."""
    try:
        yield
    finally:
        process.kill()
        process.communicate()
