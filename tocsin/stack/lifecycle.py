"""Start, change and stop the native stack; nothing half-started is ever left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tocsin.endpoints import data_dir, endpoints
from tocsin.errors import StackError
from tocsin.settings import Settings
from tocsin.stack import native, preflight, render
from tocsin.stack.addresses import native_addresses
from tocsin.stack.ask import ask, reason
from tocsin.stack.configs import render_configs
from tocsin.stack.private import write_secrets
from tocsin.stack.servers import server_services
from tocsin.stack.service import Layout, Service
from tocsin.stack.status import Part, Probe, inspect_stack
from tocsin.stack.supervisor import Entry, read_plan, write_json, write_plan


@dataclass(frozen=True)
class Wanted:
    """Everything that a settings file asks for: files, processes, and what this machine lacks."""

    settings: Settings
    layout: Layout
    found: native.Found
    files: Mapping[str, str]
    services: Sequence[Service]

    @property
    def entries(self) -> list[Entry]:
        """The supervisor's plan."""
        return native.plan_entries(self.services, self.layout, self.files)


@dataclass
class Changes:
    """What a reload did, for people."""

    lines: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lines)


def layout_of(settings: Settings, environ: Mapping[str, str]) -> Layout:
    """Return the folders of the stack that belongs to a settings file."""
    return Layout(data_dir(settings, environ).resolve())


def want(settings: Settings, environ: Mapping[str, str]) -> Wanted:
    """Work out the whole stack without touching anything. Raises ConfigError for a wrong SLO file."""
    layout = layout_of(settings, environ)
    found = native.find_programs(settings, environ)
    services = [*server_services(settings, layout, found.programs), *native.python_services(settings, layout, found)]
    where = native_addresses(settings)
    configs = render_configs(settings, layout, where, parts=found.parts, features=found.features)
    files = render.render_running(settings) | configs | render.accepted_copy(settings)
    return Wanted(settings, layout, found, files, services)


@contextlib.contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """Let one `up`, `reload` or `down` at a time work on a data directory."""
    preflight.make_folders(layout)
    with (layout.run / "lifecycle.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"another `tocsin up`, `down` or `reload` is at work on {layout.data}", fix="wait until it has ended"
            ) from None
        yield


def supervisor_pid(layout: Layout) -> int | None:
    """Return the pid of the running supervisor, or None; the lock decides, not the pid file."""
    path = layout.run / "supervisor.lock"
    if not path.exists():
        return None
    with path.open("r", encoding="ascii") as lock:
        for _ in range(20):
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if written := lock.read().strip():
                    return int(written)
                time.sleep(0.05)  # it has the lock and is about to write its pid
            else:
                return None
    return None


def _state(layout: Layout) -> dict[str, Any]:
    return _read(layout.run / "state.json")


def _about(layout: Layout) -> dict[str, Any]:
    """What `up` wrote down about the running stack; no services while it is just starting or stopping."""
    return {"services": [], "absent": {}, "prometheus": None} | _read(layout.run / "about.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read


def start(wanted: Wanted, environ: Mapping[str, str], *, wait: float) -> list[Part]:
    """Start everything and return the parts once all are healthy. Raises StackError after stopping all again."""
    layout = wanted.layout
    preflight.check_disk(layout)
    preflight.check_ports(wanted.services, wanted.settings.source)
    write_secrets(wanted.settings, layout)
    preflight.check_configs(render.stage_files(wanted.files, layout), environ)
    render.write_files(wanted.files, layout.rendered)
    _write_run(wanted)
    for service in wanted.services:
        layout.store(service.name).mkdir(parents=True, exist_ok=True)
    process = _spawn_supervisor(layout, environ)
    try:
        return _await_health(wanted, process, environ, wait)
    except BaseException:  # an interrupt too must leave nothing half-started
        stop(layout)
        raise


def _write_run(wanted: Wanted) -> None:
    run = wanted.layout.run
    (run / "state.json").unlink(missing_ok=True)
    write_plan(run / "plan.json", wanted.entries)
    _write_about(wanted)


def _write_about(wanted: Wanted) -> None:
    about = {
        "services": [
            {"name": s.name, "port": s.port, "url": s.ready_url or f"tcp://127.0.0.1:{s.port}"} for s in wanted.services
        ],
        "absent": dict(wanted.found.absent),
        "prometheus": f"http://127.0.0.1:{wanted.settings.ports.prometheus}",
    }
    write_json(wanted.layout.run / "about.json", about)


def _spawn_supervisor(layout: Layout, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    log = layout.log / "supervisor.log"
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "tocsin.stack.supervisor", str(layout.run)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd="/",
            env=dict(environ),
        )


def _await_health(
    wanted: Wanted, process: subprocess.Popen[bytes], environ: Mapping[str, str], wait: float
) -> list[Part]:
    deadline = time.monotonic() + wait
    while True:
        if process.poll() is not None:
            raise StackError("the supervisor ended at once", fix=f"see {wanted.layout.log / 'supervisor.log'}")
        dying = [name for name, child in _state(wanted.layout).get("children", {}).items() if child["restarts"] >= 3]
        if dying:
            raise _dead(wanted.layout, dying[0])
        parts = stack_parts(wanted.settings, environ)
        if all(part.healthy for part in parts):
            return parts
        if time.monotonic() > deadline:
            ill = "; ".join(f"{part.name}: {part.detail}" for part in parts if not part.healthy)
            raise StackError(f"not healthy after {wait:g} s: {ill}", fix=f"see the logs in {wanted.layout.log}")
        time.sleep(0.2)


def _dead(layout: Layout, name: str) -> StackError:
    log = layout.log / f"{name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    tail = "\n      ".join(line[:300] for line in lines[-6:])
    return StackError(
        f"{name} dies as soon as it is started; its last words:\n      {tail}", fix=f"the whole log is {log}"
    )


def stop(layout: Layout, grace: float = 25.0) -> bool:
    """End the supervisor and with it every child; False when nothing ran."""
    pid = supervisor_pid(layout)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while supervisor_pid(layout) is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)  # its children are told by the kernel
        time.sleep(0.05)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    for name in ("state.json", "about.json", "plan.json"):
        (layout.run / name).unlink(missing_ok=True)
    return True


def apply(wanted: Wanted, environ: Mapping[str, str]) -> Changes:
    """Bring the running stack to what the settings ask for now, touching only what changed."""
    layout = wanted.layout
    changes = Changes()
    changed = render.changed_files(wanted.files, layout.rendered)
    before = {entry.name: entry for entry in read_plan(layout.run / "plan.json")}
    after = {entry.name: entry for entry in wanted.entries}
    if not changed and before == after:
        return changes
    preflight.check_configs(render.stage_files(wanted.files, layout), environ)
    ports = {service["name"]: service["port"] for service in _about(layout)["services"]}
    moved = [service for service in wanted.services if ports.get(service.name) != service.port]
    preflight.check_ports(moved, wanted.settings.source)
    write_secrets(wanted.settings, layout)
    render.write_files(wanted.files, layout.rendered)
    if before != after:
        _replan(wanted, before, after, changes)
    for service in wanted.services:
        touched = sorted(path for path in changed if native.reads(service, path))
        # A service without a reload address is restarted by its new revision instead.
        if touched and service.reload_url and before.get(service.name) == after[service.name]:
            _reload(service, service.reload_url)
            changes.lines.append(
                f"reloaded {service.name} ({', '.join(touched[:4])}{' …' if len(touched) > 4 else ''})"
            )
    if not changes:
        changes.lines.append("the file changed, but nothing that runs reads what changed")
    return changes


def _replan(wanted: Wanted, before: Mapping[str, Entry], after: Mapping[str, Entry], changes: Changes) -> None:
    for name in after:
        wanted.layout.store(name).mkdir(parents=True, exist_ok=True)
    write_plan(wanted.layout.run / "plan.json", list(after.values()))
    _write_about(wanted)
    pid = supervisor_pid(wanted.layout)
    if pid is None:
        raise StackError("the supervisor is gone", fix="run `make up` again")
    os.kill(pid, signal.SIGHUP)
    changes.lines += [f"started {name}" for name in after if name not in before]
    changes.lines += [f"stopped {name}" for name in before if name not in after]
    changes.lines += [f"restarted {name}" for name in after if name in before and before[name] != after[name]]


def _reload(service: Service, url: str) -> None:
    try:
        code, body = ask(url, method="POST", timeout=30)
    except OSError as error:
        raise StackError(f"{service.name} did not take the reload: {reason(error)}", fix="see `make status`") from None
    if not 200 <= code < 300:
        said = body[:600].decode("utf-8", "replace").strip()
        raise StackError(f"{service.name} kept its old settings: {said}", fix="mend the settings and reload again")


def stack_parts(settings: Settings, environ: Mapping[str, str]) -> list[Part]:
    """Return the health of every part: of the native stack where one runs, of the addresses in the environment else."""
    layout = layout_of(settings, environ)
    if supervisor_pid(layout) is not None:
        about = _about(layout)
        if not about["services"]:
            return [Part("stack", "starting", "the supervisor is just starting or stopping")]
        probes = [Probe(service["name"], service["url"]) for service in about["services"]]
        parts = inspect_stack(probes, about["prometheus"])
        return [*parts, *(Part(name, "absent", where) for name, where in about["absent"].items())]
    if "TOCSIN_PROMETHEUS_URL" in environ:
        return inspect_stack(_container_probes(settings, environ), endpoints(settings, environ).prometheus)
    return [Part("stack", "down", "not running; start it with `make up`")]


def _container_probes(settings: Settings, environ: Mapping[str, str]) -> list[Probe]:
    where = endpoints(settings, environ)
    addresses = {
        "router": (where.router, "/-/ready"),
        "exporter": (where.exporter, "/-/ready"),
        "prometheus": (where.prometheus, "/-/ready"),
        "alertmanager": (where.alertmanager, "/-/ready"),
        "loki": (where.loki, "/ready"),
        "tempo": (where.tempo, "/ready"),
        "grafana": (where.grafana, "/api/health"),
        "collector": (where.collector_health, "/"),
        "node-exporter": (where.node_exporter, "/metrics"),
    }
    return [Probe(name, f"{base}{path}") for name, (base, path) in addresses.items() if base]


def log_folder(settings: Settings, environ: Mapping[str, str]) -> Path:
    """Return where the native stack's logs lie."""
    return layout_of(settings, environ).log
