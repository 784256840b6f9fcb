"""Rules and boards on a real Prometheus of each generation: healthy is green, a fault turns its own tile red, and
what cannot be read is never green.
"""

from __future__ import annotations

import math
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import dashboards
from dashboards.kit.live import Tile, silent_selectors, tiles
from tests.conftest import Keep
from tests.house import house_settings, rendered_rules
from tests.promql import selectors
from tests.servers import Generation, Server, eventually, get_json, start_prometheus, write_tree

QUEUE = 'target="demo-queue",messaging_system="bullmq",messaging_destination_name="orders"'
CACHE = 'target="demo-cache",cache_system="redis",role="primary"'
BREAKER = 'target="demo-breakers",breaker="payments",service="demo-api"'

MAY_BE_ABSENT = {
    "queue:messaging_queue_stalled:seconds": "absent while work moves",
    "stack:disk_full_in:seconds": "needs three hours of history",
    "http_server_request_duration_seconds_count": "no error has happened yet",
    "ALERTS": "nothing but the watchdog fires",
}


class World:
    """What the pages say: changed by a test, read by Prometheus."""

    def __init__(self) -> None:
        self.backlog = 10.0
        self.breaker_open = False
        self.error_share = 0.0
        self.exporter = True
        self.started = time.time()

    def page(self, path: str) -> str | None:
        """The text of one metrics page, or None for an error."""
        if path in ("/demo-queue", "/demo-cache", "/demo-breakers", "/exporter") and not self.exporter:
            return None
        lines = getattr(self, f"_{path.strip('/').replace('-', '_')}")(time.time() - self.started + 30)
        return "\n".join(lines) + "\n"

    def _demo_queue(self, age: float) -> Iterator[str]:
        states = {"ready": self.backlog, "in_flight": 2, "scheduled": 1, "blocked": 0, "retained_completed": 5000}
        for state, count in states.items():
            yield f'messaging_queue_messages{{{QUEUE},state="{state}"}} {count}'
        yield f"messaging_queue_capacity_messages{{{QUEUE}}} 1000"
        yield f"messaging_queue_oldest_ready_timestamp_seconds{{{QUEUE}}} {time.time() - 3}"
        yield f"messaging_queue_last_finished_timestamp_seconds{{{QUEUE}}} {time.time() - 1}"
        yield f"messaging_queue_enqueued_total{{{QUEUE}}} {20 * age}"
        yield f'messaging_queue_finished_total{{{QUEUE},outcome="success"}} {20 * age}'
        yield f'messaging_queue_finished_total{{{QUEUE},outcome="failure"}} {0.1 * age}'
        for name, value in {"consumers": 1, "worker_slots": 4, "worker_slots_busy": 2, "paused": 0}.items():
            yield f"messaging_queue_{name}{{{QUEUE}}} {value}"
        yield f"tocsin_events_missed_total{{{QUEUE}}} 0"
        yield 'tocsin_series_folded{target="demo-queue",family="messaging_queue_messages"} 0'
        yield from _read("demo-queue")

    def _demo_cache(self, age: float) -> Iterator[str]:
        yield f'cache_requests_total{{{CACHE},result="hit"}} {95 * age}'
        yield f'cache_requests_total{{{CACHE},result="miss"}} {5 * age}'
        yield from _read("demo-cache")

    def _demo_breakers(self, age: float) -> Iterator[str]:
        now = "open" if self.breaker_open else "closed"
        for state in ("closed", "open", "half_open", "forced_open", "disabled"):
            yield f'circuit_breaker_state{{{BREAKER},state="{state}"}} {int(state == now)}'
        if self.breaker_open:
            yield f"circuit_breaker_opened_timestamp_seconds{{{BREAKER}}} {time.time() - 20}"
        yield from _read("demo-breakers")

    def _app(self, age: float) -> Iterator[str]:
        name = "http_server_request_duration_seconds"
        good, bad = 50 * age * (1 - self.error_share), 50 * age * self.error_share
        counts = {"200": good, "500": bad} if bad else {"200": good}
        for code, count in counts.items():
            labels = f'http_request_method="GET",http_route="/orders",http_response_status_code="{code}"'
            for le in ("0.1", "0.25", "0.5", "1.0", "+Inf"):
                yield f'{name}_bucket{{{labels},le="{le}"}} {count}'
            yield f"{name}_count{{{labels}}} {count}"
            yield f"{name}_sum{{{labels}}} {count * 0.05}"

    def _exporter(self, age: float) -> Iterator[str]:
        yield "tocsin_exporter_config_ok 1"

    def _router(self, age: float) -> Iterator[str]:
        yield "tocsin_router_dead_letters 0"
        yield f'tocsin_router_heartbeat_timestamp_seconds{{source="alertmanager"}} {time.time() - 5}'
        yield f'tocsin_router_deliveries_total{{destination="inbox",outcome="delivered"}} {age}'
        yield "tocsin_data_disk_free_bytes 6e10"
        yield "tocsin_data_disk_size_bytes 1e11"


def _read(target: str) -> Iterator[str]:
    yield f'tocsin_target_up{{target="{target}"}} 1'
    yield f'tocsin_collector_success{{target="{target}",collector="read"}} 1'


@pytest.fixture
def world() -> Iterator[tuple[World, int]]:
    state = World()

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = state.page(self.path)
            self.send_response(200 if text else 503)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state, server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def _config(port: int) -> str:
    targets = "\n".join(
        f'      - targets: ["127.0.0.1:{port}"]\n'
        f"        labels: {{target: {name}, instance: {name}, __metrics_path__: /{name}}}"
        for name in ("demo-queue", "demo-cache", "demo-breakers")
    )
    return f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules/*.rules.yml]
scrape_configs:
  - job_name: exporter-targets
    honor_labels: true
    static_configs:
{targets}
  - job_name: exporter
    metrics_path: /exporter
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
  - job_name: router
    metrics_path: /router
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
  - job_name: apps
    metrics_path: /app
    static_configs:
      - {{targets: ["127.0.0.1:{port}"], labels: {{service: demo-api}}}}
"""


@pytest.fixture
def prometheus(generation: Generation, keep: Keep, tmp_path: Path, world: tuple[World, int]) -> Server:
    rules = {
        # The slow groups of SLOs would keep a test waiting for minutes; what they record is the same.
        f"rules/{name}": text.replace("    interval: 1m\n", "").replace("    interval: 2m\n", "")
        for name, text in rendered_rules(house_settings()).items()
    }
    write_tree(rules, tmp_path)
    return keep(start_prometheus(generation.prometheus, tmp_path, _config(world[1])))


def ask(prometheus: Server, expr: str) -> list[tuple[dict[str, str], float]]:
    """Ask for now; returns labels and values."""
    query = urllib.parse.urlencode({"query": expr})
    answer = get_json(f"{prometheus.url}/api/v1/query?{query}")
    return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]


def look(prometheus: Server) -> dict[str, Tile]:
    """All tiles, by title."""

    def value_of(expr: str) -> float | None:
        found = ask(prometheus, expr)
        assert len(found) <= 1, expr
        return found[0][1] if found and not math.isnan(found[0][1]) else None

    boards = dashboards.render(house_settings())
    return {f"{tile.board.removesuffix('.json')}/{tile.title}": tile for tile in tiles(boards, value_of)}


def red(prometheus: Server) -> set[str]:
    """Titles of the red tiles."""
    return {title for title, tile in look(prometheus).items() if tile.color in ("red", "orange")}


def firing(prometheus: Server) -> set[str]:
    """Names of the firing alerts."""
    return {labels["alertname"] for labels, _ in ask(prometheus, 'ALERTS{alertstate="firing"}')}


def test_health_is_green_a_fault_is_red_and_darkness_is_neither(prometheus: Server, world: tuple[World, int]) -> None:
    """Every query finds data; each fault turns its own tiles and nothing else; a dead exporter leaves no green tile."""
    state, _ = world
    boards = dashboards.render(house_settings())

    def nothing_silent() -> bool:
        silent = silent_selectors(
            boards,
            lambda expr: [str(selector) for selector in selectors(expr)],
            lambda selector: bool(ask(prometheus, selector)),
            expected=MAY_BE_ABSENT,
        )
        assert not silent, [str(finding) for finding in silent]
        return True

    eventually(nothing_silent, timeout=30)
    eventually(lambda: firing(prometheus) == {"Watchdog"} and not red(prometheus), timeout=15)
    assert [title for title, tile in look(prometheus).items() if tile.value is None] == []

    state.backlog = 808  # 808 + 2 + 1: 81.1 % of 1000
    eventually(lambda: "QueueNearCapacity" in firing(prometheus), timeout=10)
    eventually(
        lambda: red(prometheus) == {"queues/Near capacity", "home/Queues in trouble", "home/Firing critical"},
        timeout=10,
    )
    state.backlog = 10
    eventually(lambda: not red(prometheus), timeout=10)

    state.breaker_open = True
    eventually(lambda: red(prometheus) == {"home/Breakers open"}, timeout=10)
    state.breaker_open = False
    eventually(lambda: not red(prometheus), timeout=10)

    state.backlog = 900
    eventually(lambda: "QueueNearCapacity" in firing(prometheus), timeout=10)
    state.exporter = False
    dark = {"queues/Near capacity", "queues/Oldest waiting", "queues/Stalled", "queues/Workers busy"}
    eventually(lambda: all(look(prometheus)[title].color is None for title in dark), timeout=10)
    assert look(prometheus)["home/Targets down"].color == "red"
    # The page must not end because its source died, not even for the moment in between.
    for _ in range(10):
        assert "QueueNearCapacity" in firing(prometheus)
        time.sleep(0.3)
    state.exporter, state.backlog = True, 10
    eventually(lambda: firing(prometheus) == {"Watchdog"}, timeout=15)


def test_an_error_burst_pages_by_the_fast_pair(prometheus: Server, world: tuple[World, int]) -> None:
    """Real rates over real scrapes: a third of the requests failing is paged by its burn rate, with its value."""
    state, _ = world
    eventually(lambda: ask(prometheus, 'slo:sli_error:ratio{window="1h"}'), timeout=20)
    state.error_share = 0.3
    eventually(lambda: "ErrorBudgetBurn" in firing(prometheus), timeout=60)
    alerts = get_json(f"{prometheus.url}/api/v1/alerts")["data"]["alerts"]
    page = next(alert for alert in alerts if alert["labels"].get("window_long") == "1h")
    assert page["labels"]["severity"] == "critical"
    assert page["annotations"]["value"].endswith("%")
    assert page["annotations"]["panel_url"].endswith("?slo=availability&service=demo-api")
    assert ask(prometheus, page["annotations"]["query"])
