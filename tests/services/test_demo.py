"""The demo as it runs: two processes, two Redis servers, and every fault does what it promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import alert_rules
from demo.config import CAPACITY, QUEUE
from demo.faults import FAULTS
from exporters.probe import try_target
from exporters.runtime.render import Renderer, TargetFamilies
from exporters.runtime.target import Target
from exporters.table import SOURCES
from tests.conftest import Keep
from tests.servers import Server, eventually, free_port, get, get_json, need, post, start, start_redis
from tocsin.cli.tables import load_settings
from tocsin.paths import HOUSE

_MEGABYTE = 2**20
_BUDGET = 170


class _Shop:
    """The running demo."""

    def __init__(self, keep: Keep, folder: Path) -> None:
        program = need("redis-server")
        self.redis = keep(start_redis(program, folder / "redis"))
        self.cache = keep(start_redis(program, folder / "cache", "--maxmemory", "32mb"))
        port, worker_port = free_port(), free_port()
        self.env = {
            "DEMO_REDIS": f"127.0.0.1:{self.redis.port}",
            "DEMO_CACHE": f"127.0.0.1:{self.cache.port}",
            "DEMO_API": f"127.0.0.1:{port}",
        }
        self.api = keep(self._start("api", port, folder))
        self.worker = keep(self._start("worker", worker_port, folder))

    def _start(self, what: str, port: int, folder: Path) -> Server:
        argv: list[str | Path] = [sys.executable, "-m", "demo", what, "--listen", f"127.0.0.1:{port}"]
        return start(f"demo-{what}", argv, folder=folder, port=port, ready="/-/healthy", env=self.env)

    def break_(self, fault: str) -> None:
        post(f"{self.api.url}/-/faults/{fault}")

    def heal(self) -> None:
        request = urllib.request.Request(f"{self.api.url}/-/faults", method="DELETE")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def waiting(self) -> int:
        done = subprocess.run(
            ["redis-cli", "-p", str(self.redis.port), "llen", f"bull:{QUEUE}:wait"], capture_output=True, check=True
        )
        return int(done.stdout)

    def requests(self, *, status: str) -> float:
        page = get(f"{self.api.url}/metrics").decode()
        name = "http_server_request_duration_seconds_count"
        pattern = rf'^{name}{{[^}}]*http_response_status_code="{status}"[^}}]*}} (\S+)$'
        return sum(float(value) for value in re.findall(pattern, page, re.MULTILINE))

    def orders(self, outcome: str) -> float:
        page = get(f"{self.worker.url}/metrics").decode()
        return float(re.findall(rf'^demo_orders_total{{outcome="{outcome}"}} (\S+)$', page, re.MULTILINE)[0])

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "demo", *words], capture_output=True, text=True, check=False, env=self.env
        )


@pytest.fixture(scope="module")
def shop(keep_module: Keep, tmp_path_factory: pytest.TempPathFactory) -> _Shop:
    return _Shop(keep_module, tmp_path_factory.mktemp("demo"))


@pytest.fixture(autouse=True)
def healed(shop: _Shop) -> Iterator[None]:
    yield
    shop.heal()


def test_a_healthy_shop_is_calm(shop: _Shop) -> None:
    """Traffic flows, orders are fulfilled, the queue is near empty, nothing fails, the breaker is closed."""
    eventually(lambda: shop.orders("success") >= 5, timeout=30)
    assert shop.waiting() < 5
    assert shop.requests(status="5..") == 0
    assert shop.orders("failure") == 0
    assert get_json(f"{shop.api.url}/health")["breakers"] == {"payments": {"state": "closed"}}


def test_the_demo_is_small(shop: _Shop) -> None:
    """API, worker and customers together stay under the memory that the demo may take."""
    eventually(lambda: shop.orders("success") >= 1)
    pages = [int(Path(f"/proc/{s.process.pid}/statm").read_text().split()[1]) for s in (shop.api, shop.worker)]
    assert sum(pages) * 4096 / _MEGABYTE < _BUDGET


def test_the_cache_helps(shop: _Shop) -> None:
    """Once warm, nearly every product comes from the cache; the fault makes every lookup a miss."""
    for number in range(1, 21):
        get(f"{shop.api.url}/products/{number}")
    before = _hits_and_misses(shop)
    for number in range(1, 21):
        get(f"{shop.api.url}/products/{number}")
    hits, misses = _hits_and_misses(shop)
    assert hits - before[0] >= 20
    assert misses == before[1]
    shop.break_("cache-cold")
    get(f"{shop.api.url}/products/1")
    eventually(lambda: _hits_and_misses(shop)[1] > misses)


def _hits_and_misses(shop: _Shop) -> tuple[int, int]:
    done = subprocess.run(
        ["redis-cli", "-p", str(shop.cache.port), "info", "stats"], capture_output=True, check=True, text=True
    )
    found = {name: int(value) for name, value in re.findall(r"keyspace_(hits|misses):(\d+)", done.stdout)}
    return found["hits"], found["misses"]


def test_a_stopped_worker_fills_the_queue_and_healing_empties_it(shop: _Shop) -> None:
    """Past 80 % of the capacity within 10 s, never past all of it; empty again within 10 s of healing."""
    shop.break_("worker-stopped")
    eventually(lambda: shop.waiting() > 0.8 * CAPACITY, timeout=10)
    assert shop.waiting() <= CAPACITY
    shop.heal()
    eventually(lambda: shop.waiting() < 10, timeout=10)


def test_failing_jobs_fail(shop: _Shop) -> None:
    """More than one order in ten fails while the fault is on, and none after."""
    shop.break_("jobs-failing")
    eventually(lambda: shop.orders("failure") >= 3, timeout=30)
    shop.heal()


def test_the_breaker_opens_and_closes(shop: _Shop) -> None:
    """Payments away: the breaker is not closed, orders are taken all the same; healed, it closes by itself."""
    state: Callable[[], Any] = lambda: get_json(f"{shop.api.url}/health")["breakers"]["payments"]["state"]  # noqa: E731  # one line, used twice below
    shop.break_("breaker-open")
    eventually(lambda: state() == "open", timeout=30)
    taken = json.loads(_order(shop))
    assert taken["payment"] == "deferred"
    shop.heal()
    eventually(lambda: state() == "closed", timeout=30)


def _order(shop: _Shop) -> bytes:
    body = json.dumps({"product": 3}).encode()
    return post(f"{shop.api.url}/orders", body, headers={"Content-Type": "application/json"})


def test_api_errors_are_server_errors(shop: _Shop) -> None:
    """The SLO's numerator moves."""
    before = shop.requests(status="5..")
    shop.break_("api-errors")
    eventually(lambda: shop.requests(status="5..") > before + 2, timeout=30)


def test_a_slow_api_answers_slowly(shop: _Shop) -> None:
    """Every request takes longer than the latency threshold, and is answered."""
    shop.break_("api-slow")
    page = lambda: get(f"{shop.api.url}/metrics").decode()  # noqa: E731  # one line, used twice below
    fast = r'^http_server_request_duration_seconds_bucket{.*products.*le="0.5".*} (\S+)$'
    whole = r"^http_server_request_duration_seconds_count{.*products.*} (\S+)$"

    def slow() -> float:
        text = page()
        counts = [sum(float(value) for value in re.findall(each, text, re.MULTILINE)) for each in (whole, fast)]
        return counts[0] - counts[1]

    eventually(lambda: slow() >= 3, timeout=30)


def test_the_switch_by_hand(shop: _Shop) -> None:
    """`python -m demo` lists, sets and clears faults; a wrong name is told with the known ones."""
    listed = json.loads(shop.cli("break").stdout)
    assert listed["faults"] == FAULTS
    assert shop.cli("break", "api-slow").returncode == 0
    assert json.loads(shop.cli("break").stdout)["active"] == ["api-slow"]
    assert shop.cli("heal").returncode == 0
    wrong = shop.cli("break", "nope")
    assert wrong.returncode == 1
    assert "worker-stopped" in wrong.stderr


def test_exporters_see_the_shop(shop: _Shop) -> None:
    """The three sources read the demo as the committed settings have it."""
    wanted = {
        "bullmq": {"url": f"redis://127.0.0.1:{shop.redis.port}/0", "capacity": {"default": CAPACITY}},
        "redis": {"url": f"redis://127.0.0.1:{shop.cache.port}/0"},
        "breaker-json": {
            "url": f"{shop.api.url}/health",
            "service": "demo-api",
            "breakers": {"payments": {"path": "breakers.payments.state"}},
        },
    }
    for kind, plain in wanted.items():
        settings = SOURCES[kind].settings.model_validate({"name": kind, **plain})
        result = try_target(settings, timeout=5.0)
        assert (result.up, result.detail) == (True, "")
        assert result.samples > 5


def test_every_alert_that_a_fault_promises_exists() -> None:
    """The texts of the switch name alerts of the catalogue, and each fault names at least one."""
    known = {alert.name for alert in alert_rules.catalogue(load_settings(HOUSE / "tocsin.yaml"))}
    for fault, about in FAULTS.items():
        promised = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", about))
        assert promised, fault
        assert promised <= known


async def test_the_exporter_counts_what_the_worker_counts(shop: _Shop) -> None:
    """Finished orders by the event stream equal the worker's own numbers, job by job."""
    plain = {"name": "q", "url": f"redis://127.0.0.1:{shop.redis.port}/0"}
    target = Target(SOURCES["bullmq"].settings.model_validate(plain), SOURCES["bullmq"])
    await target.scrape(5.0)
    # Nobody works at the moments of comparison, so that both sides have settled.
    _stop_work(shop)
    before = await _finished(target), shop.orders("success")
    shop.heal()
    eventually(lambda: shop.waiting() < 10)
    _stop_work(shop)
    after = await _finished(target), shop.orders("success")
    target.close()
    assert after[0] - before[0] == after[1] - before[1] >= 890


def _stop_work(shop: _Shop) -> None:
    stops = shop.worker.log.read_text().count("demo.worker.stopped")
    shop.break_("worker-stopped")
    eventually(lambda: shop.worker.log.read_text().count("demo.worker.stopped") > stops)
    eventually(lambda: shop.waiting() >= 900)


async def _finished(target: Target) -> float:
    scrape = await target.scrape(5.0)
    page = Renderer().render([TargetFamilies("q", scrape.families)]).decode()
    return float(re.findall(r'^messaging_queue_finished_total{.*outcome="success".*} (\S+)$', page, re.MULTILINE)[0])


def test_nothing_was_written_that_is_not_json(shop: _Shop) -> None:
    """Both logs are JSON lines from start to end, without a traceback."""
    for server in (shop.api, shop.worker):
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
        assert {line["service"] for line in lines} == {server.name}
