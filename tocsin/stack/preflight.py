"""What must be true before anything is started; each failure is one sentence and what to do about it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tocsin.errors import StackError
from tocsin.stack import programs
from tocsin.stack.service import Layout, Service

LEAST_FREE_BYTES = 500_000_000
"""Prometheus' own two-hour block, the write-ahead log and the ledger of a small stack, with room to spare."""


def can_install(environ: Mapping[str, str]) -> bool:
    """Say whether this user may install Debian packages here."""
    return os.geteuid() == 0 and shutil.which("apt-get", path=environ.get("PATH")) is not None


def install_missing(names: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """Install what Debian packages of these programs, in one apt call; return the packages installed.

    Raises StackError with the exact command when this user may not, or when it did not help.
    """
    missing = [name for name in names if programs.find(name, environ) is None]
    packages = sorted({programs.DEBIAN_PACKAGES[name] for name in missing if name in programs.DEBIAN_PACKAGES})
    if not missing:
        return []
    command = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get", path=environ.get("PATH")) is None:
        hints = "; ".join(programs.where_to_get(name) for name in missing)
        raise StackError(f"not found on this machine: {', '.join(missing)}", fix=hints)
    if os.geteuid() != 0:
        raise StackError(f"not found on this machine: {', '.join(missing)}", fix=f"sudo sh -c '{command}'")
    print(f"installing {', '.join(packages)} …", flush=True)
    apt_install(packages, environ)
    programs.forget()
    still = [name for name in missing if programs.find(name, environ) is None]
    if still:
        raise StackError(f"installed, but still not usable: {', '.join(still)}", fix=programs.where_to_get(still[0]))
    return packages


def apt_install(packages: list[str], environ: Mapping[str, str]) -> None:
    """Install Debian packages in one call, as root. Raises StackError with apt's last words."""
    quiet = dict(environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    lock = ["-o", "DPkg::Lock::Timeout=120"]
    install = ["apt-get", *lock, "install", "-y", "-q", "--no-install-recommends", *packages]
    if subprocess.run(install, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0:
        return
    # Package lists may be missing (a fresh image) or old; only then is the update worth its seconds.
    subprocess.run(
        ["apt-get", *lock, "update", "-q"], env=quiet, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    done = subprocess.run(install, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StackError(
            f"apt-get could not install {', '.join(packages)}: {last}", fix=f"run it by hand: {' '.join(install)}"
        )


def check_ports(services: Iterable[Service], settings_file: Path) -> None:
    """Raise StackError naming every port that somebody else holds."""
    wanted = [(port, service.name) for service in services for port in (service.port, *service.more_ports)]
    holders = [(port, name, _holder(port)) for port, name in wanted]
    taken = [f"port {port} of {name} is taken{holder}" for port, name, holder in holders if holder is not None]
    if taken:
        fix = f"stop what holds it, or give the part another port under `ports:` in {settings_file}"
        raise StackError("; ".join(taken), fix=fix)


def _holder(port: int) -> str | None:
    """None when the port is free, else a few words on who has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EACCES:
                return " (this user may not use it)"
            return _who_listens(port)
    return None


def _who_listens(port: int) -> str:
    """Find the listener's process through /proc; empty when it belongs to somebody whose files are closed to us."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:] if Path(table).exists() else ():
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in inodes for fd in (process / "fd").iterdir()):
                return f" by {(process / 'comm').read_text(encoding='utf-8').strip()} (pid {process.name})"
        except OSError:
            continue
    return ""


def make_folders(layout: Layout) -> None:
    """Make the data directory's folders, private to this user. Raises StackError when they cannot be written."""
    try:
        for folder in (layout.data, layout.secrets, layout.log, layout.run):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = layout.run / "probe"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        fix = "free some space, or choose another folder for the settings file"
        raise StackError(f"{layout.data} cannot be written: {error.strerror}", fix=fix) from None


def check_disk(layout: Layout) -> None:
    """Raise StackError when the disk of the data directory is all but full."""
    free = shutil.disk_usage(layout.data).free
    if free < LEAST_FREE_BYTES:
        what = f"the disk of {layout.data} has only {free // 10**6} MB left"
        raise StackError(what, fix=f"free at least {LEAST_FREE_BYTES // 10**6} MB")


def check_configs(stage: Path, environ: Mapping[str, str]) -> None:
    """Let promtool and amtool judge the staged files, so that a wrong one never reaches a running server."""
    for tool, arguments in (
        ("promtool", ("check", "config", "--syntax-only", str(stage / "prometheus/prometheus.yml"))),
        ("promtool", ("check", "rules", *map(str, sorted((stage / "rules").glob("*.rules.yml"))))),
        ("amtool", ("check-config", str(stage / "alertmanager/alertmanager.yml"))),
    ):
        program = programs.find(tool, environ)
        if program is None:
            continue
        done = subprocess.run([program.path, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = re.sub(r"\s+", " ", (done.stderr + done.stdout).replace(f"{stage}/", "")).strip()
            raise StackError(
                f"{tool} refuses what follows from the settings: {said[:600]}",
                fix="nothing was changed; mend the settings",
            )
