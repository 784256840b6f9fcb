"""Real servers for tests: each on a free loopback port with a folder of its own, awaited until ready, ended by its pid.

Use the fixtures of conftest.py: ``generation`` runs a test once per Prometheus/Alertmanager generation, ``keep`` ends
at teardown whatever a test starts:

    def test_it(generation, keep, tmp_path):
        server = keep(start_prometheus(generation.prometheus, tmp_path / "prometheus", "global: {scrape_interval: 1s}"))
        eventually(lambda: get_json(f"{server.url}/api/v1/targets"))
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tocsin.settings import Ports
from tocsin.stack import programs
from tocsin.stack.programs import Program
from tocsin.stack.service import Service

T = TypeVar("T")

GENERATIONS = ("debian", "pinned")
READY_SECONDS = 30.0


@dataclass(frozen=True)
class Generation:
    """The four programs that belong together: Debian 12's, or those that compose pins."""

    name: str
    prometheus: Program
    promtool: Program
    alertmanager: Program
    amtool: Program


@dataclass(frozen=True)
class Server:
    """A running server. ``log`` holds everything that it printed."""

    name: str
    url: str
    port: int
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]

    def stop(self, *, grace: float = 10.0) -> None:
        """Ask it to end, and end it for good after ``grace`` seconds."""
        self.process.terminate()
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as kill -9 does."""
        self.process.kill()
        self.process.wait()


def need(name: str) -> Program:
    """Return a program, or skip the test with the reason and where to get it."""
    program = programs.find(name, os.environ)
    if program is None:
        pytest.skip(f"{name} was not found: {programs.where_to_get(name)}")
    return program


def need_generation(name: str) -> Generation:
    """Return the four programs of a generation, or skip the test with the reason."""
    found: list[Program] = []
    for program in ("prometheus", "promtool", "alertmanager", "amtool"):
        every = programs.search(program, os.environ).programs
        match = next((candidate for candidate in every if candidate.generation == name), None)
        if match is None:
            pytest.skip(f"{program} of the {name} generation was not found: {programs.where_to_get(program)}")
        found.append(match)
    return Generation(name, *found)


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_port_pair() -> int:
    """Return a port whose successor is free too: the cluster's own bus listens there."""
    while True:
        port = free_port()
        try:
            with socket.create_server(("127.0.0.1", port + 1)):
                return port
        except OSError:
            continue


def free_ports() -> dict[str, int]:
    """Return a free port for every key of ``ports:`` in the settings, all different."""
    with ExitStack() as held:
        sockets = {name: held.enter_context(socket.create_server(("127.0.0.1", 0))) for name in Ports.model_fields}
        return {name: int(server.getsockname()[1]) for name, server in sockets.items()}


def start(
    name: str,
    argv: list[str | Path],
    *,
    folder: Path,
    port: int,
    ready: str | None,
    env: Mapping[str, str] | None = None,
) -> Server:
    """Start a process and wait until ``ready`` (a path, or a whole address) answers 2xx; None waits for the port."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**os.environ, **(env or {})},
        )
    server = Server(name, f"http://127.0.0.1:{port}", port, folder, log, process)
    try:
        eventually(lambda: _is_ready(server, ready), timeout=READY_SECONDS, every=0.05)
    except BaseException as error:
        server.stop()
        tail = log.read_text(errors="replace")[-2000:]
        raise AssertionError(f"{name} did not become ready; it printed:\n{tail}") from error
    return server


def _is_ready(server: Server, ready: str | None) -> bool:
    if server.process.poll() is not None:
        # Not an AssertionError: waiting longer cannot help a process that has ended.
        msg = f"{server.name} ended with status {server.process.returncode}"
        raise RuntimeError(msg)
    if ready is None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=1):
            return True
    get(ready if "://" in ready else server.url + ready)
    return True


def start_service(service: Service, folder: Path) -> Server:
    """Start one service of the native stack as it is described, with its log in ``folder``."""
    return start(
        service.name, list(service.argv), folder=folder, port=service.port, ready=service.ready_url, env=service.env
    )


def start_prometheus(program: Program, folder: Path, config: str, *flags: str, port: int | None = None) -> Server:
    """Start Prometheus with a configuration text (written to ``folder``); alerts are re-sent after 1 s."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    (folder / "prometheus.yml").write_text(config)
    argv: list[str | Path] = [
        program.path,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-lifecycle",
        "--enable-feature=exemplar-storage",
        "--rules.alert.resend-delay=1s",
        *flags,
    ]
    return start("prometheus", argv, folder=folder, port=port, ready="/-/ready")


def start_alertmanager(program: Program, folder: Path, config: str, *flags: str, port: int | None = None) -> Server:
    """Start Alertmanager, alone and without gossip, with a configuration text (written to ``folder``)."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    (folder / "alertmanager.yml").write_text(config)
    argv: list[str | Path] = [
        program.path,
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        *flags,
    ]
    return start("alertmanager", argv, folder=folder, port=port, ready="/-/ready")


def start_redis(program: Program, folder: Path, *flags: str, port: int | None = None) -> Server:
    """Start a Redis that keeps nothing on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    argv: list[str | Path] = [
        program.path,
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", folder),
        *("--save", "", "--appendonly", "no", *flags),
    ]
    return start("redis", argv, folder=folder, port=port, ready=None)


def write_tree(files: Mapping[str, str], root: Path) -> None:
    """Write texts by their paths under ``root``."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def eventually(check: Callable[[], T], *, timeout: float = 20.0, every: float = 0.1) -> T:
    """Return the first truthy answer of ``check`` within ``timeout`` seconds; assertions and network errors wait."""
    end = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            answer = check()
        except (AssertionError, OSError, LookupError) as error:
            last = error
        else:
            if answer:
                return answer
            last = answer
        if time.monotonic() > end:
            msg = f"nothing within {timeout:g} s; last: {last!r}"
            raise AssertionError(msg)
        time.sleep(every)


def get(url: str, *, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the body of an address. Raises OSError for anything but 2xx, with the answer in its text."""
    return _ask(urllib.request.Request(url, headers=dict(headers or {})))


def get_json(url: str, *, headers: Mapping[str, str] | None = None) -> Any:  # JSON may be anything
    """Return the JSON of an address. Raises OSError for anything but 2xx."""
    return json.loads(get(url, headers=headers))


def post(url: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None) -> bytes:
    """Post bytes and return the body of the answer. Raises OSError for anything but 2xx."""
    return _ask(urllib.request.Request(url, data=body, headers=dict(headers or {}), method="POST"))


def _ask(request: urllib.request.Request) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(500).decode("utf-8", "replace")
        msg = f"{request.full_url} answered {error.code}: {said}"
        raise OSError(msg) from None
