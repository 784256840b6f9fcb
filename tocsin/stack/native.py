"""The native stack as a plan: which processes, with which command lines, and what each reads."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tocsin.settings import Settings
from tocsin.stack import programs
from tocsin.stack.programs import OTLP_RECEIVER, Program
from tocsin.stack.service import Layout, Service
from tocsin.stack.supervisor import Entry

OPTIONAL = ("prometheus-node-exporter", "otelcol-contrib", "loki", "tempo", "grafana")
"""Programs that the stack uses when they are found and names as absent when not."""


@dataclass(frozen=True)
class Found:
    """The programs of this machine that the stack will run, and where to get the absent ones."""

    programs: Mapping[str, Program]
    absent: Mapping[str, str]

    def has(self, name: str) -> bool:
        """Say whether a program was found."""
        return name in self.programs


def required_programs(settings: Settings) -> tuple[str, ...]:
    """Return the programs without which there is no stack."""
    demo = ("redis-server",) if settings.profile == "demo" else ()
    return ("prometheus", "alertmanager", *demo)


def find_programs(settings: Settings, environ: Mapping[str, str]) -> Found:
    """Look for every program that this configuration can use."""
    wanted = (*required_programs(settings), "promtool", "amtool", *OPTIONAL)
    found = {name: program for name in wanted if (program := programs.find(name, environ)) is not None}
    absent = {name: programs.where_to_get(name) for name in wanted if name not in found}
    prometheus = found.get("prometheus")
    if prometheus is not None and "otelcol-contrib" in found and OTLP_RECEIVER not in prometheus.features:
        absent["metrics by OTLP"] = (
            f"Prometheus {prometheus.version} has no OTLP receiver, so the Collector carries logs and traces only; "
            + programs.where_to_get("prometheus").rpartition("elsewhere ")[2]
        )
    return Found(found, absent)


def stack_environment(settings: Settings, layout: Layout, found: Found) -> dict[str, str]:
    """Return the addresses that our own processes find the optional parts by."""
    ports = settings.ports
    here = {
        "TOCSIN_HOME": str(settings.home),
        "TOCSIN_DATA_DIR": str(layout.data),
        "PYTHONUNBUFFERED": "1",
    }
    optional = {
        "prometheus-node-exporter": {"TOCSIN_NODE_EXPORTER_URL": ports.node_exporter},
        "otelcol-contrib": {
            "TOCSIN_COLLECTOR_URL": ports.collector_http,
            "TOCSIN_COLLECTOR_HEALTH_URL": ports.collector_health,
        },
        "loki": {"TOCSIN_LOKI_URL": ports.loki},
        "tempo": {"TOCSIN_TEMPO_URL": ports.tempo},
        "grafana": {"TOCSIN_GRAFANA_URL": ports.grafana},
    }
    for program, addresses in optional.items():
        if found.has(program):
            here |= {name: f"http://127.0.0.1:{port}" for name, port in addresses.items()}
    return here


def telemetry_environment(settings: Settings, service: str, *, metrics: bool) -> dict[str, str]:
    """Return what the OpenTelemetry distro reads at start; http/protobuf with short delays loses least."""
    return {
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=tocsin,deployment.environment.name=local",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{settings.ports.collector_http}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp" if metrics else "none",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
        "OTEL_BSP_SCHEDULE_DELAY": "1000",
        "OTEL_PYTHON_EXCLUDED_URLS": "/-/,/metrics,/probe,/discover,/health",
    }


def python_services(settings: Settings, layout: Layout, found: Found) -> list[Service]:
    """Return our own processes: exporter, router and, in the demo profile, the platform that they watch."""
    shared = stack_environment(settings, layout, found)
    traced = found.has("otelcol-contrib")
    ports = settings.ports
    config = str(layout.rendered / "tocsin.yaml")

    def service(
        name: str, arguments: Sequence[str], port: int, ready: str, *, watches: tuple[str, ...] = ()
    ) -> Service:
        argv = (sys.executable, "-m", *arguments, "--listen", f"127.0.0.1:{port}")
        env = dict(shared)
        if traced:
            argv = (str(Path(sys.executable).with_name("opentelemetry-instrument")), *argv)
            demo_metrics = arguments[0] == "demo" and "metrics by OTLP" not in found.absent
            env |= telemetry_environment(settings, name, metrics=demo_metrics)
        url = f"http://127.0.0.1:{port}"
        reload_url = f"{url}/-/reload" if watches else None
        return Service(name, argv, port, f"{url}{ready}", env, watches, reload_url)

    services = [
        service(
            "exporter",
            ("tocsin", "exporter", "--config", config),
            ports.exporter,
            "/-/ready",
            watches=("exporter.json",),
        ),
        service("router", ("tocsin", "router", "--config", config), ports.router, "/-/ready", watches=("router.json",)),
    ]
    if settings.profile == "demo":
        shared |= {
            "DEMO_REDIS": f"127.0.0.1:{ports.demo_redis}",
            "DEMO_CACHE": f"127.0.0.1:{ports.demo_cache}",
            "DEMO_API": f"127.0.0.1:{ports.demo_api}",
            "DEMO_WORKER": f"127.0.0.1:{ports.demo_worker}",
        }
        services.append(service("demo-api", ("demo", "api"), ports.demo_api, "/-/healthy"))
        services.append(service("demo-worker", ("demo", "worker"), ports.demo_worker, "/-/healthy"))
    return services


def plan_entries(services: Sequence[Service], layout: Layout, files: Mapping[str, str]) -> list[Entry]:
    """Turn services into the supervisor's entries.

    A service that cannot reload gets the digest of the files that it reads as its revision, so that a change in
    one of them restarts it.
    """
    entries = []
    for service in services:
        revision = ""
        if service.reload_url is None and not service.reload_signal:
            read = sorted(path for path in files if reads(service, path))
            text = "".join(f"{path}\0{files[path]}\0" for path in read)
            revision = hashlib.sha256(text.encode()).hexdigest()[:16] if read else ""
        log = str(layout.log / f"{service.name}.log")
        entries.append(Entry(service.name, service.argv, dict(service.env), log, service.stop_seconds, revision))
    return entries


def reads(service: Service, path: str) -> bool:
    """Say whether a service reads a rendered file."""
    return any(path == watch or (watch.endswith("/") and path.startswith(watch)) for watch in service.watches)


def ensure_secrets(layout: Layout) -> None:
    """Make this stack's random secrets once; they stay until the data directory goes."""
    layout.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (layout.router_token, layout.secrets / "grafana_admin_password"):
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(os.urandom(32).hex())
