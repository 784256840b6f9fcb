"""compose.yaml without an engine: each service in a network and mount namespace of its own, as its file says.

What compose promises is done here with plain Linux: user 10001, a read-only root, no capabilities, no new privileges,
the mounts, the host names, the environment and the command line. Images are replaced by the programs of this machine,
so what stays unproven is only what the images themselves hold. Nothing of the host's own network is touched: even the
switch between the services is a namespace.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.images import copy_image
from tests.servers import need
from tocsin.paths import HOUSE

USER = 10001
PROGRAMS = {  # by the part that an image is for: the program that is its entry point
    "prometheus": "prometheus",
    "alertmanager": "alertmanager",
    "loki": "loki",
    "tempo": "tempo",
    "collector": "otelcol-contrib",
}
_TOOLS = ("promtool", "amtool")
_PLACES = {"/usr/bin/loki": "loki", "/tempo": "tempo"}  # where the images keep what their probes call
_BIN = "/opt/bin"


def need_namespaces() -> None:
    """Skip the test, with the reason, where this user may not make namespaces."""
    for program in ("ip", "unshare", "setpriv", "chroot"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} was not found: on Debian, apt-get install iproute2 util-linux coreutils")
    if subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make network and mount namespaces (run as root)")


@dataclass
class Engine:
    """Runs services of a compose file; ``folder`` holds their volumes, logs and roots."""

    services: Mapping[str, Mapping[str, Any]]
    folder: Path
    app: Path
    binaries: dict[str, Path]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a service as its file says."""
        self.running[name] = self._open(name, self.services[name]["command"], self.folder / f"{name}.log")

    def run(self, name: str, command: list[str], *, entry_point: bool = False) -> tuple[int, str]:
        """Run a command to its end inside a service's place; return its status and what it printed."""
        log = self.folder / f"{name}-run.log"
        log.unlink(missing_ok=True)
        process = self._open(name, command, log, entry_point=entry_point)
        return process.wait(timeout=120), log.read_text(errors="replace")

    def log(self, name: str) -> str:
        """Return the end of what a service has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """End every service by its pid, those that depend on another one before it."""
        waits = {name for name in self.running if set(self.services[name].get("depends_on", ())) & set(self.running)}
        for names in (waits, set(self.running) - waits):
            for name in names:
                self.running[name].terminate()
            for name in names:
                try:
                    self.running[name].wait(10)
                except subprocess.TimeoutExpired:
                    self.running[name].kill()
                    self.running[name].wait()

    def _open(self, name: str, command: list[str], log: Path, *, entry_point: bool = True) -> subprocess.Popen[bytes]:
        program = PROGRAMS.get(name)
        argv = [f"{_BIN}/{program}", *command] if program and entry_point else list(command)
        argv[0] = f"{_BIN}/{_PLACES[argv[0]]}" if argv[0] in _PLACES else argv[0]
        script = self._script(name, argv)
        with log.open("ab") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", _namespace(name), "unshare", "--mount", "bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _script(self, name: str, argv: list[str]) -> str:
        """Return the shell lines that build a service's root and become its process."""
        service = self.services[name]
        root = self.folder / "roots" / name
        lines = ["set -e", f"mkdir -p {root}", f"mount -t tmpfs -o mode=755 none {root}", f"cd {root}", "mkdir tmp"]
        lines.append("mount -t tmpfs -o mode=1777 none tmp")
        lines += [f"ln -s usr/{place} {place}" for place in ("bin", "lib", "lib64", "sbin")]
        shared = ("/usr", "/etc", "/dev", sys.prefix, sys.base_prefix)
        lines += [_bind(source, source, read_only=source != "/dev") for source in shared]
        lines.append(_bind(self.app, "/app", read_only=True))
        lines.append(f"mount --bind {self.folder / 'hosts'} etc/hosts")
        lines.append("mkdir proc && mount -t proc proc proc")
        for program, path in self.binaries.items():
            lines.append(_bind(path, f"{_BIN}/{program}", read_only=True))
        for mount in sorted(service.get("volumes", ()), key=lambda mount: mount["target"].count("/")):
            volume = self.folder / "volumes" / mount["source"]
            source = volume if mount["type"] == "volume" else HOUSE / mount["source"]
            lines.append(_bind(source, mount["target"], read_only=mount.get("read_only", False)))
        lines.append(f"mount -o remount,ro {root}")
        environment = {
            key: str(value) for key, value in service.get("environment", {}).items() if "$" not in str(value)
        }
        environment |= {"PATH": f"{sys.prefix}/bin:{_BIN}:/usr/bin:/bin", "PYTHONPATH": "/app", "HOME": "/tmp"}
        drop = (
            f"setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
        )
        words = shlex.join(f"{key}={value}" for key, value in environment.items())
        lines.append(f"exec chroot {root} env -i --chdir=/app {words} {drop} {shlex.join(argv)}")
        return "\n".join(lines)


def _bind(source: str | Path, target: str, *, read_only: bool) -> str:
    here = target.removeprefix("/")
    make = f"mkdir -p {here}" if Path(source).is_dir() else f"mkdir -p {Path(here).parent} && touch {here}"
    # What lies in a folder that is bound already (usr) is there without a mount of its own.
    bind = f"[ -e {here} ] || {{ {make}; }}; mount --rbind {source} {here}"
    return f"{bind}; mount -o remount,bind,ro {here}" if read_only else bind


def _namespace(name: str) -> str:
    return f"tocsin{os.getpid()}-{name}"


@contextmanager
def engine(services: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[Engine]:
    """Make network, volumes and image for these services, and take all of it away at the end."""
    need_namespaces()
    binaries = {program: need(program).path for program in (*PROGRAMS.values(), *_TOOLS)}
    need("redis-server")  # its place is under /usr, which every root has
    app = copy_image(folder / "app")
    (app / "secrets").mkdir()
    volumes = {m["source"] for s in services.values() for m in s.get("volumes", ()) if m["type"] == "volume"}
    for volume in volumes:
        (folder / "volumes" / volume).mkdir(parents=True)
        os.chown(folder / "volumes" / volume, USER, USER)
        (folder / "volumes" / volume).chmod(0o750)
    made = Engine(services, folder, app, binaries)
    try:
        _connect(list(services), folder)
        yield made
    finally:
        made.stop()
        for name in ("switch", *services):
            subprocess.run(["ip", "netns", "delete", _namespace(name)], capture_output=True, check=False)


def _connect(names: list[str], folder: Path) -> None:
    """Give each service an address on one switch, and all of them the same host names."""
    switch = _namespace("switch")
    hosts = ["127.0.0.1 localhost"]
    commands = [f"netns add {switch}", f"-n {switch} link add switch type bridge", f"-n {switch} link set switch up"]
    for number, name in enumerate(names):
        here, address = _namespace(name), f"10.99.0.{number + 10}"
        hosts.append(f"{address} {name}")
        commands += [
            f"netns add {here}",
            f"-n {switch} link add port{number} type veth peer name eth0 netns {here}",
            f"-n {switch} link set port{number} master switch up",
            f"-n {here} addr add {address}/24 dev eth0",
            f"-n {here} link set eth0 up",
            f"-n {here} link set lo up",
        ]
    (folder / "hosts").write_text("\n".join(hosts) + "\n")
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)
