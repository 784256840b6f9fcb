"""The one version table of the stack: which image at which tag, and which program that is as a plain process.

compose.yaml, the docs, the "where to get it" texts and the tests read it; a new version is one edit here and one in
compose.yaml, and a test says so when only one of the two was made.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pin:
    """One part that others make: its image and exact tag, its program's name and its project's downloads page."""

    part: str
    image: str
    tag: str
    program: str
    downloads: str

    @property
    def version(self) -> str:
        """The tag without what is not a version: ``v3.13.5`` → ``3.13.5``, ``7.2.7-alpine`` → ``7.2.7``."""
        return self.tag.removeprefix("v").partition("-")[0]

    @property
    def reference(self) -> str:
        """The image as compose writes it."""
        return f"{self.image}:{self.tag}"


_ALL = (
    Pin(
        "prometheus",
        "docker.io/prom/prometheus",
        "v3.13.5",
        "prometheus",
        "https://github.com/prometheus/prometheus/releases",
    ),
    Pin(
        "alertmanager",
        "docker.io/prom/alertmanager",
        "v0.34.2",
        "alertmanager",
        "https://github.com/prometheus/alertmanager/releases",
    ),
    Pin("grafana", "docker.io/grafana/grafana", "13.2.3", "grafana", "https://grafana.com/grafana/download"),
    Pin("loki", "docker.io/grafana/loki", "3.7.8", "loki", "https://github.com/grafana/loki/releases"),
    Pin("tempo", "docker.io/grafana/tempo", "3.0.3", "tempo", "https://github.com/grafana/tempo/releases"),
    Pin(
        "collector",
        "docker.io/otel/opentelemetry-collector-contrib",
        "0.152.0",
        "otelcol-contrib",
        "https://github.com/open-telemetry/opentelemetry-collector-releases/releases",
    ),
    Pin("redis", "docker.io/library/redis", "7.2.7-alpine", "redis-server", "https://redis.io/downloads"),
    Pin(
        "node-exporter",
        "docker.io/prom/node-exporter",
        "v1.9.1",
        "prometheus-node-exporter",
        "https://github.com/prometheus/node_exporter/releases",
    ),
)

PINS: dict[str, Pin] = {pin.part: pin for pin in _ALL}
"""Pins by part."""

BUILD_IMAGES: dict[str, str] = {
    "docker.io/library/python": "3.13.9-slim-bookworm",
    "ghcr.io/astral-sh/uv": "0.13.9",
}
"""Images that the Dockerfile starts from, with their exact tags."""
