"""A real RabbitMQ of our own: its ports, its folder and its epmd, all ended by their ids."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_READY_SECONDS = 90.0


@dataclass(frozen=True)
class Rabbit:
    """A running broker with its management API and its metrics page."""

    process: subprocess.Popen[bytes]
    folder: Path
    amqp: int
    api: int
    metrics: int
    epmd: int

    def ask(self, method: str, path: str, body: object = None, *, user: str = "guest:guest") -> Any:
        """Ask the management API; returns the JSON. Raises OSError for anything but 2xx."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api, timeout=10)
        login = f"Basic {base64.b64encode(user.encode()).decode()}"
        headers = {"Authorization": login, "Content-Type": "application/json"}
        try:
            connection.request(method, f"/api{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            msg = f"{method} {path} answered {answer.status}: {said[:300]!r}"
            raise OSError(msg)
        return json.loads(said) if said else None

    def declare(self, queue: str, *, vhost: str = "%2F", **arguments: object) -> None:
        """Declare a durable queue."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        self.ask("PUT", f"/queues/{vhost}/{queue}", {"durable": True, "arguments": named})

    def publish(self, queue: str, *, vhost: str = "%2F", **properties: object) -> None:
        """Put one message into a queue."""
        body = {"properties": properties, "routing_key": queue, "payload": "hello", "payload_encoding": "string"}
        assert self.ask("POST", f"/exchanges/{vhost}/amq.default/publish", body) == {"routed": True}

    @property
    def broker_pid(self) -> int:
        """The Erlang process itself; the program that was started is a shell around it."""
        found = [pid for pid in _of_group(self.process.pid) if _command(pid) == "beam.smp"]
        return found[0]

    def stop(self) -> None:
        """End the broker with everything it started, its epmd included."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for pid in _daemons(self.epmd):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def start_rabbit(folder: Path, ports: list[int]) -> Rabbit:
    """Start a broker on five loopback ports, or skip the test with the reason and where to get it."""
    if not _PROGRAM.exists():
        pytest.skip(f"{_PROGRAM} was not found: apt-get install rabbitmq-server")
    amqp, api, metrics, dist, epmd = ports
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rabbit.conf").write_text(
        f"listeners.tcp.local = 127.0.0.1:{amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {api}\n"
        f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {metrics}\ncollect_statistics_interval = 1000\n"
    )
    (folder / "plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].")
    env = {
        **os.environ,
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"tocsin{amqp}@localhost",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbit.conf"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_DIST_PORT": str(dist),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
    }
    with (folder / "out.log").open("ab") as log:
        process = subprocess.Popen(
            [_PROGRAM], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=folder, start_new_session=True
        )
    rabbit = Rabbit(process, folder, amqp, api, metrics, epmd)
    end = time.monotonic() + _READY_SECONDS
    while True:
        try:
            rabbit.ask("GET", "/overview")
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                rabbit.stop()
                tail = (folder / "out.log").read_text(errors="replace")[-2000:]
                msg = f"RabbitMQ did not become ready; it printed:\n{tail}"
                raise AssertionError(msg) from None
            time.sleep(0.2)
        else:
            return rabbit


def _of_group(group: int) -> list[int]:
    out = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[2] == str(group):
                out.append(int(stat.parent.name))
    return out


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _daemons(port: int) -> list[int]:
    """The epmd that listens on our own port: it leaves the group, so it is found by its environment."""
    out = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if comm.read_text().strip() == "epmd":
                environ = (comm.parent / "environ").read_bytes().split(b"\0")
                if f"ERL_EPMD_PORT={port}".encode() in environ:
                    out.append(int(comm.parent.name))
    return out
