"""Where each part binds and where the others reach it: loopback ports as native processes, host names in containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.settings import Settings

IN_CONTAINERS = "TOCSIN_IN_CONTAINERS"
"""Environment variable that compose sets on every service of our image."""

CONTAINERS: dict[str, str] = {
    "router": "router:8088",
    "exporter": "exporter:8089",
    "prometheus": "prometheus:9090",
    "alertmanager": "alertmanager:9093",
    "node_exporter": "node-exporter:9100",
    "grafana": "grafana:3000",
    "loki": "loki:3100",
    "loki_grpc": "loki:9095",
    "tempo": "tempo:3200",
    "tempo_grpc": "tempo:9095",
    "tempo_otlp": "tempo:4317",
    "collector_grpc": "collector:4317",
    "collector_http": "collector:4318",
    "collector_health": "collector:13133",
    "collector_metrics": "collector:8888",
    "demo_api": "demo-api:8080",
    "demo_worker": "demo-worker:8081",
    "demo_redis": "demo-redis:6379",
    "demo_cache": "demo-cache:6379",
}
"""``host:port`` of each part on compose's network, by the name of its port in the settings."""


@dataclass(frozen=True)
class Addresses:
    """``reach``: ``host:port`` by the name of the port in the settings. ``listen``: the host that servers bind."""

    reach: Mapping[str, str]
    listen: str

    @property
    def containers(self) -> bool:
        """Whether the parts run in containers of their own."""
        return self.listen == "0.0.0.0"  # noqa: S104  # inside a container; compose publishes on loopback only

    def bind(self, name: str) -> str:
        """Return ``host:port`` for a server to listen on."""
        return f"{self.listen}:{self.port(name)}"

    def port(self, name: str) -> str:
        """Return the port of a part as text."""
        return self.reach[name].rpartition(":")[2]

    def url(self, name: str) -> str:
        """Return the part's base address, without a trailing slash."""
        return f"http://{self.reach[name]}"


def addresses(settings: Settings, environ: Mapping[str, str]) -> Addresses:
    """Return host names when compose says that this process runs in a container, loopback ports otherwise."""
    if environ.get(IN_CONTAINERS):
        return Addresses(CONTAINERS, "0.0.0.0")  # noqa: S104  # inside a container
    return native_addresses(settings)


def native_addresses(settings: Settings) -> Addresses:
    """Return the loopback ports of the settings."""
    return Addresses({name: f"127.0.0.1:{port}" for name, port in settings.ports.model_dump().items()}, "127.0.0.1")
