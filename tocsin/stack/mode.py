"""Containers or processes: compose only where an engine and the compose plugin both answer."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Mode:
    """How the stack will run, and why."""

    kind: Literal["compose", "native"]
    reason: str


def choose_mode(environ: Mapping[str, str], timeout: float = 10.0) -> Mode:
    """Ask docker; a client on the PATH proves nothing."""
    if shutil.which("docker", path=environ.get("PATH")) is None:
        return Mode("native", "there is no docker on this machine")
    if not _answers(("docker", "info"), environ, timeout):
        return Mode("native", "docker is there but no engine answers (`docker info` failed)")
    if not _answers(("docker", "compose", "version"), environ, timeout):
        return Mode("native", "an engine answers but the compose plugin does not (`docker compose version` failed)")
    return Mode("compose", "a Docker engine and the compose plugin both answer")


def _answers(command: Sequence[str], environ: Mapping[str, str], timeout: float) -> bool:
    try:
        return (
            subprocess.run(command, capture_output=True, env=dict(environ), timeout=timeout, check=False).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
