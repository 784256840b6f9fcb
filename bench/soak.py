"""One exporter process with 100 targets of mixed kinds, one of them hung; then 20,000 scrapes: memory and series.

20,000 scrapes are a day of five targets at 15 s, or of a hundred at 7 minutes. Run it alone: ``python -m bench.soak``.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from bench.exporters import busy, event, fill, free_port, running_redis, wait_for
from exporters.clients.resp import Connection, pack
from exporters.table import SOURCES

TARGETS = 100
SCRAPES = 20_000
WARM = 1_000
_BUSY_EVERY = 500


def main() -> None:
    """Print every figure."""
    redis = shutil.which("redis-server")
    if redis is None:
        print("100 targets: not measured, there is no redis-server")
        return
    with running_redis(redis) as port, health() as page, mute() as hung:
        server = _server(port)
        asyncio.run(fill(server))
        names, config = targets(port, page, hung)
        with exporter(config) as (pid, listen):
            probing(listen, names, pid)
            soak(listen, [name for name in names if name != "hung"], pid, port)


def _server(port: int) -> Connection:
    plain = {"name": "orders", "url": f"redis://127.0.0.1:{port}/0"}
    return Connection(SOURCES["bullmq"].settings.model_validate(plain))  # type: ignore[arg-type]  # a RedisTarget


def targets(redis: int, page: int, hung: int) -> tuple[list[str], str]:
    """Return names and a settings text: caches, queues (of one to twenty BullMQ queues each), breakers, one mute."""
    lines, names = [], []
    for i in range(TARGETS - 1):
        kind = ("redis", "bullmq", "breaker-json")[i % 3]
        names.append(f"t{i}")
        more = {
            "redis": f"url: 'redis://127.0.0.1:{redis}/0'",
            "bullmq": f"url: 'redis://127.0.0.1:{redis}/0', queues: {{include: ['queue-{i}\\d?']}}",
            "breaker-json": f"url: 'http://127.0.0.1:{page}/h', service: api, breakers: {{pay: {{path: pay}}}}",
        }[kind]
        lines.append(f"  - {{name: t{i}, kind: {kind}, {more}}}")
    names.append("hung")
    lines.append(f"  - {{name: hung, kind: redis, url: 'redis://127.0.0.1:{hung}/0'}}")
    return names, "schema: 1\ntargets:\n" + "\n".join(lines) + "\n"


def probing(listen: str, names: list[str], pid: int) -> None:
    """Probe all targets at once, as Prometheus does, several times; the hung one must cost the others nothing."""
    worst: list[float] = []
    with ThreadPoolExecutor(len(names)) as pool:
        for _ in range(3):
            hung = pool.submit(probe, listen, "hung", timeout=10)
            took = list(pool.map(lambda name: probe(listen, name, timeout=10)[0], names[:-1]))
            worst.append(max(took) * 1000)
            assert b'tocsin_target_up{target="hung"} 0.0' in hung.result()[1]
    print(
        f"{len(names)} targets of mixed kinds, one hung: every other /probe within {max(worst[1:]):.0f} ms (goal 1000; "
        f"{worst[0]:.0f} in the first round, which connects and looks for queues), "
        f"RSS {rss(pid):.0f} MiB (goal 140)"
    )


def soak(listen: str, names: list[str], pid: int, redis: int) -> None:
    """Scrape round and round; between the rounds jobs pass through the queues, so that counters move."""
    connection = http.client.HTTPConnection(listen)
    series = 0
    for turn in range(10):  # every queue has worked once: the series of a first finished job are no growth
        work(redis, turn)
    started = time.perf_counter()
    for i in range(SCRAPES):
        if i % _BUSY_EVERY == 0:
            work(redis, i // _BUSY_EVERY)
        if i == WARM:
            before, series = rss(pid), count(listen)
        connection.request("GET", f"/probe?target={names[i % len(names)]}")
        assert connection.getresponse().read()
    took = time.perf_counter() - started
    connection.close()
    grown, more = rss(pid) - before, count(listen) - series
    print(
        f"{SCRAPES} scrapes in {took:.0f} s: RSS {before:.0f} MiB after {WARM}, {grown:+.1f} MiB at the end (goal 5); "
        f"{series} series, {more:+d} at the end (goal 0)"
    )


def work(redis: int, turn: int) -> None:
    """Let jobs pass through every tenth queue."""
    with socket.create_connection(("127.0.0.1", redis)) as raw:
        raw.sendall(busy(turn) + pack("QUIT") + pack(*event("bull:queue-1:", "added", turn)))
        while raw.recv(2**16):
            pass


def probe(listen: str, name: str, *, timeout: float) -> tuple[float, bytes]:
    """Return seconds and page of one probe."""
    connection = http.client.HTTPConnection(listen, timeout=30)
    started = time.perf_counter()
    connection.request("GET", f"/probe?target={name}", headers={"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)})
    page = connection.getresponse().read()
    connection.close()
    return time.perf_counter() - started, page


def count(listen: str) -> int:
    """Series of all targets, without the hung one's."""
    connection = http.client.HTTPConnection(listen, timeout=30)
    connection.request("GET", "/metrics", headers={"X-Prometheus-Scrape-Timeout-Seconds": "3"})
    page = connection.getresponse().read()
    connection.close()
    return sum(1 for line in page.splitlines() if not line.startswith(b"#") and b'target="hung"' not in line)


def rss(pid: int) -> float:
    """Memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


@contextmanager
def exporter(config: str) -> Iterator[tuple[int, str]]:
    """Run the real exporter process; gives its pid and HOST:PORT."""
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as folder:
        path = Path(folder, "tocsin.yaml")
        path.write_text(config, encoding="utf-8")
        listen = f"127.0.0.1:{free_port()}"
        argv = [sys.executable, "-m", "tocsin", "exporter", "--config", str(path), "--listen", listen]
        process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        try:
            wait_for(int(listen.rpartition(":")[2]))
            yield process.pid, listen
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def health() -> Iterator[int]:
    """A health page with one closed breaker; gives its port."""
    body = json.dumps({"pay": "closed"}).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # 33 targets knock at once: five places would cost them a second each

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@contextmanager
def mute() -> Iterator[int]:
    """A port that takes connections and never answers, as a frozen process does; gives its number."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


if __name__ == "__main__":
    main()
