"""OTLP in through the Collector, and out by query: one trace id finds the log, the span and the metric.

The configuration is the committed one, rendered as for ``tocsin up``; the programs are real.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conftest import Keep
from tests.servers import (
    GENERATIONS,
    Server,
    eventually,
    free_ports,
    get,
    get_json,
    need,
    need_generation,
    post,
    start_service,
    write_tree,
)
from tocsin.settings import Settings
from tocsin.stack.addresses import Addresses, native_addresses
from tocsin.stack.configs import render_configs
from tocsin.stack.programs import OTLP_RECEIVER, Program
from tocsin.stack.servers import features_of, parts_of, pipelines_of, server_services
from tocsin.stack.service import Layout

SERVICE = "checkout"


@dataclass(frozen=True)
class Stack:
    """Prometheus, Loki, Tempo and Collector of one generation, and the trace id that went in."""

    where: Addresses
    programs: dict[str, Program]
    servers: dict[str, Server]
    trace_id: str
    answers: dict[str, bytes]
    """What the Collector said to each telemetry type."""

    @property
    def otlp(self) -> bool:
        """Whether this Prometheus takes metrics by OTLP."""
        return OTLP_RECEIVER in self.programs["prometheus"].features


@pytest.fixture(scope="module", params=GENERATIONS)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, keep_module: Keep) -> Stack:
    """Start the four servers from rendered files and send one log, one span and one metric with one trace id."""
    programs = {name: need(name) for name in ("loki", "tempo", "otelcol-contrib")}
    programs["prometheus"] = need_generation(request.param).prometheus
    settings = Settings.model_validate({"schema": 1, "ports": free_ports(), "intervals": {"scrape": "1s"}})
    layout = Layout(tmp_path_factory.mktemp(request.param))
    where = native_addresses(settings)
    files = render_configs(settings, layout, where, parts=parts_of(programs), features=features_of(programs))
    write_tree(files, layout.rendered)
    servers = {
        service.name: keep_module(start_service(service, layout.log))
        for service in server_services(settings, layout, programs)
    }
    trace_id = secrets.token_hex(16)
    answers = {kind: _send(where, kind, trace_id) for kind in ("logs", "traces", "metrics")}
    return Stack(where, programs, servers, trace_id, answers)


def _send(where: Addresses, kind: str, trace_id: str) -> bytes:
    body = json.dumps(_PAYLOADS[kind](trace_id, secrets.token_hex(8), time.time_ns())).encode()
    try:
        return post(f"{where.url('collector_http')}/v1/{kind}", body, headers={"Content-Type": "application/json"})
    except OSError as error:
        return str(error).encode()


def _resource() -> dict[str, Any]:
    return {"attributes": [_text("service.name", SERVICE), _text("service.instance.id", "pod-1")]}


def _text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def _logs(trace_id: str, span_id: str, now: int) -> dict[str, Any]:
    record = {
        "timeUnixNano": str(now),
        "severityText": "ERROR",
        "body": {"stringValue": "card refused"},
        "traceId": trace_id,
        "spanId": span_id,
        "attributes": [_text("http.request.header.authorization", "Bearer canary-5ecret")],
    }
    return {"resourceLogs": [{"resource": _resource(), "scopeLogs": [{"logRecords": [record]}]}]}


def _traces(trace_id: str, span_id: str, now: int) -> dict[str, Any]:
    span = {
        "traceId": trace_id,
        "spanId": span_id,
        "name": "POST /checkout",
        "kind": 2,
        "startTimeUnixNano": str(now - 250_000_000),
        "endTimeUnixNano": str(now),
        "attributes": [_text("http.request.header.cookie", "session=canary-5ecret")],
    }
    return {"resourceSpans": [{"resource": _resource(), "scopeSpans": [{"spans": [span]}]}]}


def _metrics(trace_id: str, span_id: str, now: int) -> dict[str, Any]:
    exemplar = {"traceId": trace_id, "spanId": span_id, "timeUnixNano": str(now), "asDouble": 0.25}
    point = {
        "startTimeUnixNano": str(now - 1_000_000_000),
        "timeUnixNano": str(now),
        "count": "1",
        "sum": 0.25,
        "explicitBounds": [0.1, 0.5],
        "bucketCounts": ["0", "1", "0"],
        "exemplars": [exemplar],
    }
    metric = {
        "name": "http.server.request.duration",
        "unit": "s",
        "histogram": {"aggregationTemporality": 2, "dataPoints": [point]},
    }
    return {"resourceMetrics": [{"resource": _resource(), "scopeMetrics": [{"metrics": [metric]}]}]}


_PAYLOADS = {"logs": _logs, "traces": _traces, "metrics": _metrics}


def _loki(stack: Stack, query: str) -> list[dict[str, Any]]:
    url = f"{stack.where.url('loki')}/loki/api/v1/query_range?{urlencode({'query': query})}"
    return list(get_json(url)["data"]["result"])


def _exemplars(stack: Stack, query: str) -> list[dict[str, Any]]:
    window = {"start": f"{time.time() - 600:.0f}", "end": f"{time.time() + 60:.0f}"}
    url = f"{stack.where.url('prometheus')}/api/v1/query_exemplars?{urlencode({'query': query, **window})}"
    return [exemplar for series in get_json(url)["data"] for exemplar in series["exemplars"]]


def test_the_log_is_found_by_its_trace_id(stack: Stack) -> None:
    """Loki finds the log by service_name (a stream label) and trace_id (structured metadata)."""
    streams = eventually(lambda: _loki(stack, f'{{service_name="{SERVICE}"}} | trace_id="{stack.trace_id}"'))
    assert [value[1] for stream in streams for value in stream["values"]] == ["card refused"]


def test_stream_labels_are_the_three_stable_ones(stack: Stack) -> None:
    """One process more is not one stream more: service.instance.id is no stream label."""
    selector = f'{{service_name="{SERVICE}"}}'
    eventually(lambda: _loki(stack, selector))
    url = f"{stack.where.url('loki')}/loki/api/v1/series?{urlencode({'match[]': selector})}"
    assert get_json(url)["data"] == [{"service_name": SERVICE}]


def test_the_span_is_found_by_its_trace_id(stack: Stack) -> None:
    """Tempo gives the trace back by its id."""
    url = f"{stack.where.url('tempo')}/api/v2/traces/{stack.trace_id}"
    trace = eventually(lambda: get_json(url)["trace"], timeout=30)
    names = [span["name"] for one in trace["resourceSpans"] for scope in one["scopeSpans"] for span in scope["spans"]]
    assert names == ["POST /checkout"]


def test_headers_with_credentials_are_not_stored(stack: Stack) -> None:
    """The Collector takes captured credentials off logs and spans before anybody stores them."""
    logs = eventually(lambda: _loki(stack, f'{{service_name="{SERVICE}"}}'))
    url = f"{stack.where.url('tempo')}/api/v2/traces/{stack.trace_id}"
    trace = eventually(lambda: get(url) if b"POST /checkout" in get(url) else b"", timeout=30)
    assert "canary-5ecret" not in json.dumps(logs)
    assert b"canary-5ecret" not in trace


def test_the_metric_leads_to_the_trace(stack: Stack) -> None:
    """Prometheus 3 has the metric under its Prometheus name with the trace id as an exemplar labelled trace_id."""
    if not stack.otlp:
        assert pipelines_of(stack.programs) == {"logs", "traces"}, "named as absent"
        assert b"404" in stack.answers["metrics"], "and refused, rather than taken and dropped"
        return
    found = eventually(lambda: _exemplars(stack, "http_server_request_duration_seconds_bucket"))
    assert {exemplar["labels"]["trace_id"] for exemplar in found} == {stack.trace_id}
    query = urlencode({"query": f'http_server_request_duration_seconds_count{{service_name="{SERVICE}"}}'})
    result = get_json(f"{stack.where.url('prometheus')}/api/v1/query?{query}")["data"]["result"]
    assert [sample["value"][1] for sample in result] == ["1"]


def test_span_metrics_lead_to_the_trace(stack: Stack) -> None:
    """Tempo's generator writes span metrics to every Prometheus, with exemplars under the same label name."""
    query = f'traces_spanmetrics_latency_bucket{{service="{SERVICE}"}}'
    found = eventually(lambda: _exemplars(stack, query), timeout=60, every=0.5)
    # Tempo writes ids without leading zeros; it takes them back that way too.
    assert {exemplar["labels"]["trace_id"].zfill(32) for exemplar in found} == {stack.trace_id}


def test_every_server_is_scraped(stack: Stack) -> None:
    """Each of the four is a target of its own job, and is up."""
    query = urlencode({"query": 'up{job=~"prometheus|loki|tempo|collector"} == 1'})
    url = f"{stack.where.url('prometheus')}/api/v1/query?{query}"
    jobs = eventually(lambda: (found := _jobs(url)) and len(found) == 4 and found, timeout=30)
    assert jobs == {"prometheus", "loki", "tempo", "collector"}


def _jobs(url: str) -> set[str]:
    return {sample["metric"]["job"] for sample in get_json(url)["data"]["result"]}
