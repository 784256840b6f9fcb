"""What the demo's processes tell Prometheus about themselves, and the page that says it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_MACHINES = ("/-/", "/metrics", "/health")
"""Pages that only machines ask: they would thin out the share of errors that people see."""


def registry() -> CollectorRegistry:
    """Make a registry with the numbers of the process itself."""
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    return made


def exposition(registry_: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return the metrics page and its content type."""
    encoder, content_type = choose_encoder(accept)
    return encoder(registry_), content_type


class MeasureRequests:
    """ASGI middleware: durations of people's requests, by OpenTelemetry's stable names."""

    def __init__(
        self, app: App, *, registry: CollectorRegistry, known: Iterable[tuple[str, str, Iterable[int]]]
    ) -> None:
        self._app = app
        self._seconds = Histogram(
            "http_server_request_duration_seconds",
            "Duration of HTTP server requests.",
            ("http_request_method", "http_route", "http_response_status_code"),
            registry=registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
        )
        # A rate needs two samples: the first error must not be the one that only makes the series appear.
        for method, route, statuses in known:
            for status in statuses:
                self._seconds.labels(method, route, str(status))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and measure it."""
        if scope["type"] != "http" or scope["path"].startswith(_MACHINES):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            seconds = time.perf_counter() - started
            self._seconds.labels(scope["method"], route, str(status)).observe(seconds)


def small_app(registry_: CollectorRegistry) -> App:
    """Make the worker's two pages: /metrics and /-/healthy."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        status, body, content_type = 404, b"not found\n", "text/plain"
        if scope["path"] == "/metrics":
            status = 200
            body, content_type = exposition(registry_, headers.get(b"accept", b"").decode("latin-1"))
        elif scope["path"] == "/-/healthy":
            status, body = 200, b"OK\n"
        start = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": start})
        await send({"type": "http.response.body", "body": body})

    return app
