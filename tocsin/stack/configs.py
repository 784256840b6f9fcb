"""The configuration of every server, from the committed files and the settings: one source for container and process.

``prometheus/`` and ``alertmanager/`` hold the compose form, which is changed as data; ``collector/``, ``loki/``,
``tempo/`` and ``dashboards/provisioning/`` hold ``${NAME}``s, which are filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import yaml

from tocsin.settings import ScrapeEndpoint, Settings, format_duration
from tocsin.stack.addresses import Addresses
from tocsin.stack.derive import fill, made_from, read_base, relocate, write_yaml
from tocsin.stack.programs import OTLP_RECEIVER
from tocsin.stack.service import Layout
from tocsin.stack.way_out import alertmanager_yml

PARTS: frozenset[str] = frozenset({"node-exporter", "collector", "loki", "tempo", "grafana"})
"""Parts that a stack may be without; the others are always there."""

COMPOSE_PARTS: frozenset[str] = PARTS - {"node-exporter"}
"""What plain ``docker compose up`` starts; the node exporter has a profile of its own."""

HOST_PROFILE = "host"
"""The compose profile that adds the node exporter."""


def compose_parts(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the optional parts that compose starts with these profiles (``COMPOSE_PROFILES``, comma separated)."""
    return PARTS if HOST_PROFILE in environ.get("COMPOSE_PROFILES", "").split(",") else COMPOSE_PARTS


_PROMETHEUS = "prometheus/prometheus.yml"
_STACK_JOBS = {"node": "node-exporter", "collector": "collector", "loki": "loki", "tempo": "tempo"}
_OWN_JOBS = {"prometheus", "alertmanager", *_STACK_JOBS}
_LONGEST_TIMEOUT = timedelta(seconds=10)
_OWN_INTERVAL = timedelta(seconds=5)


def render_configs(
    settings: Settings, layout: Layout, where: Addresses, *, parts: frozenset[str], features: frozenset[str]
) -> dict[str, str]:
    """Return the text of each server's configuration by its path under ``rendered/``.

    ``parts`` are the optional parts that this stack runs (of PARTS), ``features`` those of the Prometheus that will
    read the file (``Program.features``). Raises StackError when a committed file is missing or names an unknown value.
    """
    values = _values(settings, layout, where)
    files = {
        _PROMETHEUS: prometheus_yml(settings, where, parts=parts, features=features),
        "alertmanager/alertmanager.yml": alertmanager_yml(settings, layout, where),
    }
    for part in ("loki", "tempo"):
        if part in parts:
            path = f"{part}/{part}.yaml"
            files[path] = made_from(path) + fill(read_base(path), values, path=path)
    if "collector" in parts and (pipelines := collector_pipelines(parts, features)):
        files["collector/collector.yaml"] = collector_yaml(values, pipelines)
    if "grafana" in parts:
        files["grafana/provisioning/datasources/tocsin.yaml"] = _datasources(values, parts)
        files["grafana/provisioning/dashboards/tocsin.yaml"] = _providers(values)
    return files


def prometheus_yml(settings: Settings, where: Addresses, *, parts: frozenset[str], features: frozenset[str]) -> str:
    """Return prometheus.yml for one stack; without the OTLP receiver, without what Debian's 2.42 does not know."""
    tree = relocate(yaml.safe_load(read_base(_PROMETHEUS)), where)
    scrape = settings.intervals.scrape
    tree["global"] = {
        "scrape_interval": format_duration(scrape),
        "scrape_timeout": format_duration(min(scrape, _LONGEST_TIMEOUT)),
        "evaluation_interval": format_duration(settings.intervals.evaluate),
    }
    tree["scrape_configs"] = [
        _job(job, settings)
        for job in tree["scrape_configs"]
        if _STACK_JOBS.get(job["job_name"], job["job_name"]) in parts or job["job_name"] not in _STACK_JOBS
    ]
    if where.containers:
        kept = settings.retention.metrics
        tree["storage"]["tsdb"]["retention"] = {"time": f"{kept.days}d", "size": f"{kept.size}B"}
    else:
        del tree["storage"]["tsdb"]["retention"]
    if OTLP_RECEIVER not in features:
        del tree["otlp"]
    return write_yaml(tree, _PROMETHEUS)


def _job(job: dict[str, Any], settings: Settings) -> dict[str, Any]:
    if job["job_name"] == "apps":
        return {**job, "static_configs": [_app(endpoint) for endpoint in settings.scrape]}
    if job["job_name"] in _OWN_JOBS:
        interval = max(settings.intervals.scrape, _OWN_INTERVAL)
        timeout = min(interval, _LONGEST_TIMEOUT)
        return {**job, "scrape_interval": format_duration(interval), "scrape_timeout": format_duration(timeout)}
    return job


def _app(endpoint: ScrapeEndpoint) -> dict[str, Any]:
    scheme, _, rest = endpoint.url.partition("://")
    host, slash, path = rest.partition("/")
    labels = {"service": endpoint.name, "__scheme__": scheme, "__metrics_path__": slash + path or "/metrics"}
    return {"targets": [host], "labels": labels}


def collector_pipelines(parts: frozenset[str], features: frozenset[str]) -> frozenset[str]:
    """Return the Collector's pipelines that have a backend in this stack: of logs, traces and metrics."""
    pipelines = {"loki": "logs", "tempo": "traces"}
    out = {pipeline for part, pipeline in pipelines.items() if part in parts}
    return frozenset(out | {"metrics"} if OTLP_RECEIVER in features else out)


def collector_yaml(values: Mapping[str, str], pipelines: frozenset[str]) -> str:
    """Return collector.yaml with these pipelines only, and only the exporters that they use."""
    path = "collector/collector.yaml"
    tree = yaml.safe_load(fill(read_base(path), values, path=path))
    service = tree["service"]
    service["pipelines"] = {name: pipeline for name, pipeline in service["pipelines"].items() if name in pipelines}
    used = {exporter for pipeline in service["pipelines"].values() for exporter in pipeline["exporters"]}
    tree["exporters"] = {name: exporter for name, exporter in tree["exporters"].items() if name in used}
    return write_yaml(tree, path)


def _datasources(values: Mapping[str, str], parts: frozenset[str]) -> str:
    path = "dashboards/provisioning/datasources/tocsin.yaml"
    tree = yaml.safe_load(fill(read_base(path), values, path=path))
    absent = {"loki", "tempo"} - parts
    tree["datasources"] = [source for source in tree["datasources"] if source["uid"] not in absent]
    return write_yaml(tree, path)


def _providers(values: Mapping[str, str]) -> str:
    path = "dashboards/provisioning/dashboards/tocsin.yaml"
    return made_from(path) + fill(read_base(path), values, path=path)


def _values(settings: Settings, layout: Layout, where: Addresses) -> dict[str, str]:
    """Return what the ``${NAME}``s of the committed files stand for in this stack."""
    return {
        "PROMETHEUS_URL": where.url("prometheus"),
        "ALERTMANAGER_URL": where.url("alertmanager"),
        "SCRAPE_INTERVAL": format_duration(settings.intervals.scrape),
        "STACK_INTERVAL": format_duration(max(settings.intervals.scrape, _OWN_INTERVAL)),
        "DASHBOARDS": str(layout.rendered / "dashboards"),
        "LOKI_URL": where.url("loki"),
        "LOKI_DATA": str(layout.store("loki")),
        "LOKI_LISTEN": where.listen,
        "LOKI_HTTP_PORT": where.port("loki"),
        "LOKI_GRPC_LISTEN": "127.0.0.1",  # only Loki's own parts call it
        "LOKI_GRPC_PORT": where.port("loki_grpc"),
        "LOGS_RETENTION": f"{settings.retention.logs.days * 24}h",
        "TEMPO_URL": where.url("tempo"),
        "TEMPO_OTLP": where.reach["tempo_otlp"],
        "TEMPO_DATA": str(layout.store("tempo")),
        "TEMPO_LISTEN": where.listen,
        "TEMPO_HTTP_PORT": where.port("tempo"),
        "TEMPO_GRPC_LISTEN": "127.0.0.1",
        "TEMPO_GRPC_PORT": where.port("tempo_grpc"),
        "TEMPO_OTLP_LISTEN": where.bind("tempo_otlp"),
        "TRACES_RETENTION": f"{settings.retention.traces.days * 24}h",
        "COLLECTOR_DATA": str(layout.store("collector")),
        "COLLECTOR_GRPC_LISTEN": where.bind("collector_grpc"),
        "COLLECTOR_HTTP_LISTEN": where.bind("collector_http"),
        "COLLECTOR_HEALTH_LISTEN": where.bind("collector_health"),
        "COLLECTOR_METRICS_HOST": where.listen,
        "COLLECTOR_METRICS_PORT": where.port("collector_metrics"),
    }
