"""Telemetry of ourselves: JSON logs with trace ids, and the only door to OpenTelemetry.

The distro starts everything (``opentelemetry-instrument``); without it all calls here do nothing and cost nothing.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach
from pythonjsonlogger.json import JsonFormatter

_TRACER_NAME = "tocsin"


class _TraceFormatter(JsonFormatter):
    """Adds the current span's ids, so that a log line on disk leads to its trace without a Collector's help."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            log_data["trace_id"] = trace.format_trace_id(context.trace_id)
            log_data["span_id"] = trace.format_span_id(context.span_id)


def setup_logging(service: str, *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Write JSON lines to ``stream`` (standard error by default) with time, level, logger, message and trace ids.

    Handlers that the distro put on the root logger (OTLP) stay.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        _TraceFormatter(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"service": service},
            timestamp=True,
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if type(h) is logging.StreamHandler]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "slack_sdk", "aiosmtplib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@contextlib.contextmanager
def span(
    name: str,
    attributes: Mapping[str, str | int | float | bool] | None = None,
    *,
    parent: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Run a block inside a span; without an SDK this is a no-op.

    ``parent`` is what ``carrier`` returned elsewhere: the span then continues that trace instead of the current one.
    """
    context = None if parent is None else propagate.extract(parent, context=Context())
    token = None if context is None else attach(context)
    try:
        with trace.get_tracer(_TRACER_NAME).start_as_current_span(name, attributes=attributes):
            yield
    finally:
        if token is not None:
            detach(token)


def carrier() -> dict[str, str]:
    """Return the current trace as text to send along with a piece of work (``traceparent``); empty outside of one."""
    out: dict[str, str] = {}
    propagate.inject(out)
    return out


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """Run a block whose calls make no spans of their own: polling, which nobody wants to read about."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        yield
        return
    from opentelemetry.instrumentation.utils import suppress_instrumentation  # noqa: PLC0415  # only traced runs need it

    with suppress_instrumentation():
        yield


def current_trace_id() -> str | None:
    """Return the 32-digit id of the current trace, or None outside of one."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def instrument_asgi(app: Any) -> Any:
    """Wrap an ASGI app with server spans when the distro is running; otherwise hand it back unchanged."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return app
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415  # 20 MB that only traced runs need
    from opentelemetry.util.http import get_excluded_urls  # noqa: PLC0415  # comes with the middleware

    # This middleware, unlike the automatic ones, does not look at OTEL_PYTHON_EXCLUDED_URLS by itself.
    return OpenTelemetryMiddleware(app, excluded_urls=get_excluded_urls("ASGI"))
