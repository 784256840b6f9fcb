"""``tocsin up``, ``down``, ``reload`` and ``clean``."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys

from tocsin.cli.tables import load_settings
from tocsin.errors import StackError
from tocsin.paths import HOUSE
from tocsin.settings import Settings
from tocsin.stack import lifecycle, native, preflight
from tocsin.stack.mode import Mode, choose_mode
from tocsin.stack.service import Layout
from tocsin.stack.status import Part


def up(arguments: argparse.Namespace) -> int:
    """Start the stack, or bring a running one to the settings; returns when all is healthy."""
    settings = load_settings(arguments.config)
    layout = lifecycle.layout_of(settings, os.environ)
    running = lifecycle.supervisor_pid(layout) is not None
    mode = choose_mode(os.environ) if arguments.mode == "auto" else Mode(arguments.mode, "--mode asks for it")
    if mode.kind == "compose" and not running:
        return _compose_up(mode)
    with lifecycle.exclusive(layout):
        if running:
            return _reload_native(settings)
        print(f"mode: native processes, because {mode.reason}", flush=True)
        _install(settings)
        parts = lifecycle.start(lifecycle.want(settings, os.environ), os.environ, wait=arguments.wait)
    _print_up(settings, parts)
    return 0


def reload(arguments: argparse.Namespace) -> int:
    """Apply the settings to the running stack; a wrong file changes nothing."""
    settings = load_settings(arguments.config)
    layout = lifecycle.layout_of(settings, os.environ)
    if lifecycle.supervisor_pid(layout) is None:
        if choose_mode(os.environ).kind == "compose":
            return _compose("up", "-d", "--force-recreate", "init", "exporter", "router", "prometheus", "alertmanager")
        raise StackError("the stack is not running", fix="start it with `make up`")
    with lifecycle.exclusive(layout):
        return _reload_native(settings)


def down(arguments: argparse.Namespace) -> int:
    """Stop the stack and keep its data. Works with a settings file that is broken by now."""
    layout = _layout_without_settings(arguments)
    with lifecycle.exclusive(layout):
        if lifecycle.stop(layout):
            print(f"stopped; the data is kept in {layout.data}")
            return 0
    if choose_mode(os.environ).kind == "compose":
        return _compose("down")
    print("nothing was running")
    return 0


def clean(arguments: argparse.Namespace) -> int:
    """Delete the data directory after asking."""
    layout = _layout_without_settings(arguments)
    if not layout.data.exists():
        print(f"nothing to delete: {layout.data} does not exist")
        return 0
    if not arguments.yes:
        size = sum(path.stat().st_size for path in layout.data.rglob("*") if path.is_file())
        print(f"This stops the stack and deletes {layout.data} ({size / 1e6:.0f} MB): all metrics, pages and secrets.")
        try:
            answer = input("Type yes to go on: ") if sys.stdin.isatty() or not sys.stdin.closed else ""
        except EOFError:
            answer = ""
        if answer.strip() != "yes":
            print("nothing was deleted")
            return 1
    with lifecycle.exclusive(layout):
        lifecycle.stop(layout)
    shutil.rmtree(layout.data)
    print(f"deleted {layout.data}")
    return 0


def _layout_without_settings(arguments: argparse.Namespace) -> Layout:
    override = os.environ.get("TOCSIN_DATA_DIR")
    folder = arguments.config.resolve().parent
    return Layout((folder / override if override else folder / ".tocsin").resolve())


def _install(settings: Settings) -> None:
    required = native.required_programs(settings)
    # Host metrics are no reason not to start: they are asked for only where installing is possible anyway.
    wanted = (*required, "prometheus-node-exporter") if preflight.can_install(os.environ) else required
    preflight.install_missing(wanted, os.environ)


def _reload_native(settings: Settings) -> int:
    changes = lifecycle.apply(lifecycle.want(settings, os.environ), os.environ)
    if not changes:
        print(f"the stack is up already and {settings.source} has not changed")
        return 0
    print(f"applied {settings.source}:")
    for line in changes.lines:
        print(f"  {line}")
    return 0


def _print_up(settings: Settings, parts: list[Part]) -> None:
    ports = settings.ports
    addresses = {
        "inbox": ports.router,
        "exporter": ports.exporter,
        "Prometheus": ports.prometheus,
        "Alertmanager": ports.alertmanager,
    }
    names = {part.name for part in parts if part.state != "absent"}
    optional = {"grafana": ports.grafana, "loki": ports.loki, "tempo": ports.tempo, "collector": ports.collector_http}
    addresses |= {name: port for name, port in optional.items() if name in names}
    if settings.profile == "demo":
        addresses["demo API"] = ports.demo_api
    print("up and healthy:")
    for name, port in addresses.items():
        print(f"  {name:<13} http://127.0.0.1:{port}")
    for part in parts:
        if part.state == "absent":
            print(f"  without {part.name}: {part.detail}")
        elif part.state == "warning":
            print(f"  note: {part.name}: {part.detail}")
    print(f"logs: {lifecycle.log_folder(settings, os.environ)}")
    if settings.profile == "demo":
        print(f"try next: make break FAULT=worker-stopped — and watch http://127.0.0.1:{ports.router}/")
    else:
        print("try next: uv run tocsin send-test inbox")


def _compose_up(mode: Mode) -> int:
    print(f"mode: docker compose, because {mode.reason}", flush=True)
    code = _compose("up", "-d", "--build", "--wait")
    if code == 0:
        print("up and healthy:")
        print("  inbox         http://127.0.0.1:8088")
        print("  Grafana       http://127.0.0.1:18030")
        print("try next: make break FAULT=worker-stopped")
    return 1 if code else 0


def _compose(*arguments: str) -> int:
    return subprocess.run(["docker", "compose", *arguments], cwd=HOUSE, check=False).returncode
