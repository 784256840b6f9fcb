"""The shop's own metrics."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from demo.metrics import App, MeasureRequests, Message, Receive, Scope, Send


def _app(status: int) -> App:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if status == 0:
            raise ValueError("a bug")
        scope["route"] = type("Route", (), {"path": "/products/{product_id}"})()
        await send({"type": "http.response.start", "status": status, "headers": []})

    return app


async def _receive() -> Message:
    return {"type": "http.request"}


async def _send(_message: Message) -> None:
    pass


async def _ask(app: App, path: str) -> None:
    scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    await app(scope, _receive, _send)


def _count(registry: CollectorRegistry, route: str, status: str) -> Any:
    labels = {"http_request_method": "GET", "http_route": route, "http_response_status_code": status}
    return registry.get_sample_value("http_server_request_duration_seconds_count", labels)


def _measured(registry: CollectorRegistry, status: int) -> MeasureRequests:
    known = [("GET", "/products/{product_id}", (200, 500))]
    return MeasureRequests(_app(status), registry=registry, known=known)


def test_error_series_are_there_before_the_first_error() -> None:
    """A rate needs two samples: every known answer starts at 0."""
    registry = CollectorRegistry()
    _measured(registry, 200)
    assert _count(registry, "/products/{product_id}", "500") == 0


async def test_requests_are_counted_by_route_and_not_by_path() -> None:
    """Product numbers do not become series."""
    registry = CollectorRegistry()
    app = _measured(registry, 200)
    await _ask(app, "/products/1")
    await _ask(app, "/products/2")
    assert _count(registry, "/products/{product_id}", "200") == 2


async def test_a_crash_counts_as_a_server_error() -> None:
    """An exception that leaves the application is a 500 of an unmatched route."""
    registry = CollectorRegistry()
    app = _measured(registry, 0)
    with pytest.raises(ValueError, match="a bug"):
        await _ask(app, "/products/1")
    assert _count(registry, "unmatched", "500") == 1


async def test_machines_are_not_counted() -> None:
    """Scrapes and health checks would thin out the share of errors."""
    registry = CollectorRegistry()
    app = _measured(registry, 200)
    for path in ("/metrics", "/health", "/-/healthy"):
        await _ask(app, path)
    assert _count(registry, "/products/{product_id}", "200") == 0
