"""Where the parts of the running stack answer: loopback ports, unless the environment says otherwise.

In containers each address comes as an environment variable, since there the parts have host names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tocsin.settings import Settings


@dataclass(frozen=True)
class Endpoints:
    """Base addresses of the parts, without a trailing slash; None for an optional part that this stack has not."""

    router: str
    exporter: str
    prometheus: str
    alertmanager: str
    node_exporter: str | None = None
    collector: str | None = None
    collector_health: str | None = None
    loki: str | None = None
    tempo: str | None = None
    grafana: str | None = None


def endpoints(settings: Settings, environ: Mapping[str, str] = os.environ) -> Endpoints:
    """Return the addresses; ``TOCSIN_<PART>_URL`` overrides the port of the settings file.

    Optional parts are there only when their variable is set: whoever starts the stack knows what it started.
    """

    def required(part: str, port: int) -> str:
        return environ.get(f"TOCSIN_{part}_URL", f"http://127.0.0.1:{port}").rstrip("/")

    def optional(part: str) -> str | None:
        return environ.get(f"TOCSIN_{part}_URL", "").rstrip("/") or None

    ports = settings.ports
    return Endpoints(
        router=required("ROUTER", ports.router),
        exporter=required("EXPORTER", ports.exporter),
        prometheus=required("PROMETHEUS", ports.prometheus),
        alertmanager=required("ALERTMANAGER", ports.alertmanager),
        node_exporter=optional("NODE_EXPORTER"),
        collector=optional("COLLECTOR"),
        collector_health=optional("COLLECTOR_HEALTH"),
        loki=optional("LOKI"),
        tempo=optional("TEMPO"),
        grafana=optional("GRAFANA"),
    )


def data_dir(settings: Settings, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the stack's one data directory: ``.tocsin`` beside the settings file, or ``TOCSIN_DATA_DIR``."""
    override = environ.get("TOCSIN_DATA_DIR")
    return Path(override) if override else settings.data_dir
