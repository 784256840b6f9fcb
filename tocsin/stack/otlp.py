"""The environment that makes a Python service send its telemetry, without a change in its code."""

from __future__ import annotations

DISTRO = "opentelemetry-instrument"
"""The program that starts a Python service with telemetry: ``opentelemetry-instrument tocsin router``."""

_COMMON = {
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",  # loses least while the Collector restarts
    "OTEL_SEMCONV_STABILITY_OPT_IN": "http",  # http.server.request.duration in seconds, the stable name
    "OTEL_PYTHON_LOG_CORRELATION": "false",  # our JSON formatter reads the span itself; true writes each line twice
    "OTEL_BSP_SCHEDULE_DELAY": "2000",  # below 5 s, so that a restart of the Collector costs nothing
    "OTEL_BLRP_SCHEDULE_DELAY": "1000",
    "OTEL_METRIC_EXPORT_INTERVAL": "15000",
    "OTEL_PYTHON_EXCLUDED_URLS": "/-/,/metrics,/probe,/discover,/health",  # asked every second by machines
}
_EXTRA = {
    # Each scrape reads Redis a dozen times; the exporter tells about its reads in its own metrics.
    "exporter": {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis"},
}


def otlp_environment(service: str, collector: str, pipelines: frozenset[str]) -> dict[str, str]:
    """Return the variables for one service.

    ``collector`` is the base address of its OTLP over HTTP, ``pipelines`` what it has a backend for (logs, traces,
    metrics): a telemetry type without a backend is not exported, since the Collector would refuse it.
    """
    namespace = "demo" if service.startswith("demo-") else "tocsin"
    return {
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": f"service.namespace={namespace},deployment.environment.name=local",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        **{
            f"OTEL_{kind.upper()}_EXPORTER": "otlp" if kind in pipelines else "none"
            for kind in ("logs", "metrics", "traces")
        },
        **_COMMON,
        **_EXTRA.get(service, {}),
    }
