"""The native stack as a plan: which processes, with which command lines, and what each reads."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tocsin.settings import Settings
from tocsin.stack import programs
from tocsin.stack.otlp import DISTRO, otlp_environment
from tocsin.stack.programs import OTLP_RECEIVER, Program
from tocsin.stack.servers import PROGRAM_PARTS, features_of, parts_of, pipelines_of
from tocsin.stack.service import Layout, Service
from tocsin.stack.supervisor import Entry


@dataclass(frozen=True)
class Found:
    """The programs of this machine that the stack will run, and where to get the absent ones."""

    programs: Mapping[str, Program]
    absent: Mapping[str, str]

    @property
    def parts(self) -> frozenset[str]:
        """The optional parts that will run."""
        return parts_of(self.programs)

    @property
    def features(self) -> frozenset[str]:
        """What the Prometheus that will run can do."""
        return features_of(self.programs)


def required_programs(settings: Settings) -> tuple[str, ...]:
    """Return the programs without which there is no stack."""
    demo = ("redis-server",) if settings.profile == "demo" else ()
    return ("prometheus", "alertmanager", *demo)


def find_programs(settings: Settings, environ: Mapping[str, str]) -> Found:
    """Look for every program that this configuration can use."""
    wanted = (*required_programs(settings), "promtool", "amtool", *PROGRAM_PARTS)
    found = {name: program for name in wanted if (program := programs.find(name, environ)) is not None}
    absent = {PROGRAM_PARTS.get(name, name): programs.where_to_get(name) for name in wanted if name not in found}
    prometheus = found.get("prometheus")
    if prometheus is not None and pipelines_of(found) and OTLP_RECEIVER not in prometheus.features:
        absent["metrics by OTLP"] = (
            f"Prometheus {prometheus.version} has no OTLP receiver, so the Collector carries logs and traces only; "
            + programs.where_to_get("prometheus").rpartition("elsewhere ")[2]
        )
    return Found(found, absent)


def stack_environment(settings: Settings, layout: Layout, found: Found) -> dict[str, str]:
    """Return the addresses that our own processes find the optional parts by."""
    ports = settings.ports
    here = {
        # Not as an option: opentelemetry-instrument takes --config for a short form of its own options.
        "TOCSIN_CONFIG": str(layout.rendered / "tocsin.yaml"),
        "TOCSIN_HOME": str(settings.home),
        "TOCSIN_DATA_DIR": str(layout.data),
        "PYTHONUNBUFFERED": "1",
    }
    optional = {
        "node-exporter": {"TOCSIN_NODE_EXPORTER_URL": ports.node_exporter},
        "collector": {
            "TOCSIN_COLLECTOR_URL": ports.collector_http,
            "TOCSIN_COLLECTOR_HEALTH_URL": ports.collector_health,
        },
        "loki": {"TOCSIN_LOKI_URL": ports.loki},
        "tempo": {"TOCSIN_TEMPO_URL": ports.tempo},
        "grafana": {"TOCSIN_GRAFANA_URL": ports.grafana},
    }
    for part, addresses in optional.items():
        if part in found.parts:
            here |= {name: f"http://127.0.0.1:{port}" for name, port in addresses.items()}
    return here


def python_services(settings: Settings, layout: Layout, found: Found) -> list[Service]:
    """Return our own processes: exporter, router and, in the demo profile, the platform that they watch."""
    shared = stack_environment(settings, layout, found)
    pipelines = pipelines_of(found.programs)
    ports = settings.ports

    def service(
        name: str, arguments: Sequence[str], port: int, ready: str, *, watches: tuple[str, ...] = ()
    ) -> Service:
        argv = (sys.executable, "-m", *arguments, "--listen", f"127.0.0.1:{port}")
        env = dict(shared)
        if pipelines:
            argv = (str(Path(sys.executable).with_name(DISTRO)), *argv)
            env |= otlp_environment(name, f"http://127.0.0.1:{ports.collector_http}", pipelines)
        url = f"http://127.0.0.1:{port}"
        reload_url = f"{url}/-/reload" if watches else None
        return Service(name, argv, port, f"{url}{ready}", env, watches, reload_url, tier=1)

    services = [
        service(
            "exporter",
            ("tocsin", "exporter"),
            ports.exporter,
            "/-/ready",
            watches=("exporter.json",),
        ),
        service("router", ("tocsin", "router"), ports.router, "/-/ready", watches=("router.json",)),
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
        if service.reload_url is None:
            read = sorted(path for path in files if reads(service, path))
            text = "".join(f"{path}\0{files[path]}\0" for path in read)
            revision = hashlib.sha256(text.encode()).hexdigest()[:16] if read else ""
        log = str(layout.log / f"{service.name}.log")
        entries.append(
            Entry(service.name, service.argv, dict(service.env), log, service.stop_seconds, revision, service.tier)
        )
    return entries


def reads(service: Service, path: str) -> bool:
    """Say whether a service reads a rendered file."""
    return any(path == watch or (watch.endswith("/") and path.startswith(watch)) for watch in service.watches)
