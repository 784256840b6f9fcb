"""One native stack of its own for a test: started and driven by the command line, as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.servers import Generation, free_ports, get, get_json
from tocsin.paths import HOUSE
from tocsin.stack import programs

PINNED_EXTRAS = ("otelcol-contrib", "loki", "tempo")


@dataclass(frozen=True)
class Native:
    """A stack's folder, ports and environment; ``run`` is the command line."""

    config: Path
    ports: Mapping[str, int]
    environ: Mapping[str, str]

    @property
    def router(self) -> str:
        """Base address of the router."""
        return f"http://127.0.0.1:{self.ports['router']}"

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.config.parent / ".tocsin"

    def run(self, *arguments: str, code: int | None = 0, stdin: str = "") -> str:
        """Run a command and return all that it printed; ``code`` None takes any exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "tocsin", *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            input=stdin,
            env=dict(self.environ),
            cwd=self.config.parent,
            timeout=150,
            check=False,
        )
        said = done.stdout + done.stderr
        if code is not None:
            assert done.returncode == code, f"{' '.join(arguments)} exited {done.returncode}:\n{said}\n{self.logs()}"
        return said

    def groups(self) -> list[dict[str, Any]]:
        """The inbox as JSON."""
        groups: list[dict[str, Any]] = get_json(f"{self.router}/api/v1/groups")
        return groups

    def group(self, alertname: str, status: str) -> dict[str, Any] | None:
        """The newest group of an alert in this status, or None."""
        return next((g for g in self.groups() if (g["alertname"], g["status"]) == (alertname, status)), None)

    def pids(self) -> dict[str, int]:
        """Pid of each child of the supervisor."""
        state = json.loads((self.data / "run" / "state.json").read_text())
        return {name: child["pid"] for name, child in state["children"].items()}

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus."""
        quoted = urlquote(expression)
        result: list[dict[str, Any]] = get_json(
            f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/query?query={quoted}"
        )["data"]["result"]
        return result

    def page(self, path: str) -> str:
        """One page of the router."""
        return get(self.router + path).decode()

    def logs(self) -> str:
        """The end of every log, for a failing test."""
        folder = self.data / "log"
        texts = [f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in sorted(folder.glob("*.log"))]
        return "\n".join(texts)


def urlquote(text: str) -> str:
    """Quote for a query string."""
    from urllib.parse import quote  # noqa: PLC0415  # one use

    return quote(text, safe="")


def prepare(folder: Path, generation: Generation, changes: Mapping[str, Any]) -> Native:
    """Write a settings file like the committed one, on free ports, with ``changes`` on top."""
    ports = free_ports()
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("TOCSIN_", "OTEL_", "DEMO_"))}
    environ |= {"TOCSIN_BIN_DIR": str(_bin_dir(folder / "bin", generation)), "HOME": str(folder)}
    environ |= {
        "DEMO_REDIS": f"127.0.0.1:{ports['demo_redis']}",
        "DEMO_CACHE": f"127.0.0.1:{ports['demo_cache']}",
        "DEMO_API": f"127.0.0.1:{ports['demo_api']}",
        "DEMO_WORKER": f"127.0.0.1:{ports['demo_worker']}",
        # Test doubles and the stack answer on loopback only.
        "NO_PROXY": "127.0.0.1",
    }
    settings = yaml.safe_load((HOUSE / "tocsin.yaml").read_text())
    settings["external_url"] = f"http://127.0.0.1:{ports['router']}"
    settings["ports"] = ports
    settings["slos"] = [str(HOUSE / "demo/slos/*.yaml")]
    settings |= changes
    config = folder / "tocsin.yaml"
    config.write_text(yaml.safe_dump(settings, sort_keys=False))
    return Native(config, ports, environ)


def _bin_dir(folder: Path, generation: Generation) -> Path:
    """Offer exactly one generation: its programs come first, and only the pinned one brings the rest along."""
    folder.mkdir(parents=True)
    for name in ("prometheus", "promtool", "alertmanager", "amtool"):
        (folder / name).symlink_to(getattr(generation, name).path.resolve())
    if generation.name == "pinned":
        for name in PINNED_EXTRAS:
            if (program := programs.find(name, os.environ)) is not None:
                (folder / name).symlink_to(program.path.resolve())
    return folder
