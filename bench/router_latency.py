"""How long a page takes from the webhook's first byte to the destination's first byte, and how fast webhooks are taken.

Runs a router as a process of its own against the PagerDuty double on loopback. Usage: python -m bench.router_latency
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.router import router_process
from tests.doubles.web import Reply
from tests.doubles.webhooks import alert, body


class _Stopwatch(PagerDutyDouble):
    """Notes when each event arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.seen.append(time.perf_counter())
        return super().answer(path, headers, body)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=200, help="pages sent one after another")
    parser.add_argument("--webhooks", type=int, default=2000, help="webhooks sent as fast as they are taken")
    arguments = parser.parse_args()
    double = _Stopwatch()
    with tempfile.TemporaryDirectory() as folder, double.running():
        text = (
            "destinations:\n"
            f"  pager: {{kind: pagerduty, routing_key: {double.routing_key}, events_url: '{double.events_url}'}}\n"
            "routes:\n  - {match: {severity: critical}, to: [pager]}\n"
        )
        with router_process(Path(folder), text) as router:
            headers = {"Authorization": f"Bearer {router.token}"}
            waits, answers = _one_by_one(router.url, headers, double, arguments.pages)
            print(f"accept → first byte out: p50 {_ms(waits, 50)} ms, p99 {_ms(waits, 99)} ms over {len(waits)} pages")
            print(f"webhook → 200 on disk:   p50 {_ms(answers, 50)} ms, p99 {_ms(answers, 99)} ms")
            rate = asyncio.run(_storm(router.url, router.token, arguments.webhooks))
            print(f"webhooks taken:          {rate:.0f} per second, 32 at once, one alert each")


def _one_by_one(
    url: str, headers: Mapping[str, str], double: _Stopwatch, pages: int
) -> tuple[list[float], list[float]]:
    waits, answers = [], []
    with httpx.Client() as client:
        for number in range(pages + 5):
            content = body(alert(f"Queue{number}", starts=time.time()))
            double.seen.clear()
            began = time.perf_counter()
            client.post(f"{url}/webhook/alertmanager", content=content, headers=headers).raise_for_status()
            answered = time.perf_counter()
            while not double.seen:
                time.sleep(0.0005)
            if number >= 5:  # the first ones warm templates and connections
                waits.append(double.seen[0] - began)
                answers.append(answered - began)
    return waits, answers


async def _storm(url: str, token: str, webhooks: int) -> float:
    """Send over 32 plain connections: a full HTTP client would cost more CPU than the router that is measured."""
    host, port = url.removeprefix("http://").split(":")
    bodies = [body(alert(f"Storm{number}", starts=time.time(), severity="info")) for number in range(webhooks)]
    head = f"POST /webhook/alertmanager HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"

    async def send() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while bodies:
            content = bodies.pop()
            writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(answer.decode())
            length = int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(32)))
    return webhooks / (time.perf_counter() - began)


def _ms(values: list[float], percent: int) -> str:
    return f"{statistics.quantiles(values, n=100)[percent - 1] * 1000:.1f}"


if __name__ == "__main__":
    main()
