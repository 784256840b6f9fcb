"""One part of the native stack as plain data, and the folders that one stack lives in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The folders of one stack, all under one data directory (``.tocsin`` beside the settings file)."""

    data: Path

    @property
    def rendered(self) -> Path:
        """Configuration made from the settings: ``prometheus/``, ``alertmanager/``, ``rules/``, ``grafana/`` …."""
        return self.data / "rendered"

    @property
    def secrets(self) -> Path:
        """Random secrets of this stack, mode 700."""
        return self.data / "secrets"

    @property
    def log(self) -> Path:
        """One log file per service."""
        return self.data / "log"

    @property
    def run(self) -> Path:
        """Pid file, lock and plan of the supervisor."""
        return self.data / "run"

    @property
    def router_token(self) -> Path:
        """The bearer token that Alertmanager shows to the router."""
        return self.secrets / "router_token"

    def store(self, name: str) -> Path:
        """Where one service keeps its data."""
        return self.data / "data" / name


@dataclass(frozen=True)
class Service:
    """One process of the native stack.

    ``ready_url`` answers 2xx when the service is ready (None: ready when ``port`` accepts connections).
    ``watches`` are the rendered files (relative to ``Layout.rendered``; a folder ends in ``/``) that it reads:
    when one of them changes, ``reload_url`` is posted to; without one the service is restarted.
    """

    name: str
    argv: tuple[str, ...]
    port: int
    ready_url: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    watches: tuple[str, ...] = ()
    reload_url: str | None = None
    stop_seconds: float = 10.0
    tier: int = 0
    """Ended from the highest tier down: our processes send telemetry until they end, so the Collector outlives them."""
    more_ports: tuple[int, ...] = ()
    """Further ports that it listens on, beside ``port``."""
