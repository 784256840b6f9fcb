"""The servers' own validators accept what Tocsin renders, for containers and for both native generations."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.rendering import STACKS, rendered_folder, team_settings
from tests.servers import Generation, need
from tocsin.paths import HOUSE

stacks = pytest.mark.parametrize("stack", STACKS)


def _accepts(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@stacks
def test_prometheus_accepts_its_file(generation: Generation, stack: str, tmp_path: Path) -> None:
    """Promtool of the generation that will read it accepts prometheus.yml."""
    if generation.name == "debian" and stack != "native 2.42":
        with pytest.raises(AssertionError, match="otlp"):
            _accepts(generation.promtool.path, "check", "config", _prometheus_yml(stack, tmp_path))
        return
    _accepts(generation.promtool.path, "check", "config", _prometheus_yml(stack, tmp_path))


def _prometheus_yml(stack: str, folder: Path) -> Path:
    return rendered_folder(team_settings(), stack, folder) / "prometheus" / "prometheus.yml"


@stacks
def test_alertmanager_accepts_its_file(generation: Generation, stack: str, tmp_path: Path) -> None:
    """Both generations of amtool accept alertmanager.yml with all three native receivers in it."""
    folder = rendered_folder(team_settings(), stack, tmp_path)
    _accepts(generation.amtool.path, "check-config", folder / "alertmanager" / "alertmanager.yml")


def test_committed_files_are_accepted_as_they_are(generation: Generation) -> None:
    """The committed compose forms are whole files, which people can check by hand."""
    _accepts(generation.amtool.path, "check-config", HOUSE / "alertmanager" / "alertmanager.yml")
    if generation.name == "pinned":
        _accepts(generation.promtool.path, "check", "config", "--syntax-only", HOUSE / "prometheus" / "prometheus.yml")


@stacks
def test_collector_accepts_its_file(stack: str, tmp_path: Path) -> None:
    """The Collector's `validate` accepts collector.yaml."""
    folder = rendered_folder(team_settings(), stack, tmp_path)
    _accepts(need("otelcol-contrib").path, "validate", "--config", folder / "collector" / "collector.yaml")


@stacks
def test_loki_accepts_its_file(stack: str, tmp_path: Path) -> None:
    """Loki's `-verify-config` accepts loki.yaml."""
    folder = rendered_folder(team_settings(), stack, tmp_path)
    _accepts(need("loki").path, f"-config.file={folder / 'loki' / 'loki.yaml'}", "-verify-config")


@stacks
def test_tempo_accepts_its_file(stack: str, tmp_path: Path) -> None:
    """Tempo's `-config.verify` accepts tempo.yaml."""
    folder = rendered_folder(team_settings(), stack, tmp_path)
    _accepts(need("tempo").path, f"-config.file={folder / 'tempo' / 'tempo.yaml'}", "-config.verify=true")


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"alertname": "QueueNearCapacity", "severity": "critical"}, "router"),
        ({"alertname": "Watchdog", "severity": "info"}, "router"),
        ({"alertname": "RouterDown", "severity": "critical"}, "last-way-out"),
        ({"alertname": "WatchdogMissing", "severity": "critical"}, "last-way-out"),
    ],
)
def test_alerts_take_their_route(generation: Generation, tmp_path: Path, labels: dict[str, str], receiver: str) -> None:
    """Alertmanager itself says that pages go to the router, and what says that it is down goes around it too."""
    folder = rendered_folder(team_settings(), "native 2.42", tmp_path)
    config = f"--config.file={folder / 'alertmanager' / 'alertmanager.yml'}"
    pairs = [f"{name}={value}" for name, value in labels.items()]
    command = [generation.amtool.path, "config", "routes", "test", config, f"--verify.receivers={receiver}", *pairs]
    _accepts(*command)
