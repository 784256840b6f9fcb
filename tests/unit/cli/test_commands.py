"""The command line: exit codes, help, and what is printed when things are wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.servers import free_ports
from tocsin.cli import parser
from tocsin.paths import HOUSE

COMMANDS = (
    *("check", "init", "render", "up", "down", "reload", "status", "clean"),
    *("exporter", "targets", "router", "send-test", "why", "silence", "explain", "break", "heal"),
)
GOOD = "schema: 1\ntargets: []\n"


def tocsin(
    *arguments: str, cwd: Path, environ: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TOCSIN_")}
    return subprocess.run(
        [sys.executable, "-m", "tocsin", *arguments],
        capture_output=True,
        text=True,
        input=stdin,
        cwd=cwd,
        env={**clean, **(environ or {})},
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with good settings on ports of its own."""
    (tmp_path / "tocsin.yaml").write_text(GOOD + yaml.safe_dump({"ports": free_ports()}))
    return tmp_path


def test_every_command_helps_and_takes_a_settings_file(tmp_path: Path) -> None:
    """Each command of the interface is in the help, explains itself, and knows --config."""
    overview = parser().format_help()
    for name in COMMANDS:
        assert f"\n    {name} " in overview or f"\n    {name}\n" in overview, name
        if name == "silence":
            name = "silence list"  # noqa: PLW2901  # its actions take the options
        done = tocsin(*name.split(), "--help", cwd=tmp_path)
        assert (done.returncode, "--config" in done.stdout) == (0, True), name


def test_the_version_is_printed(tmp_path: Path) -> None:
    """`tocsin --version` names the program and its version."""
    done = tocsin("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "tocsin 0.1.0\n")


@pytest.mark.parametrize(
    "arguments", [(), ("nonsense",), ("check", "--nonsense"), ("send-test",), ("up", "--wait", "x")]
)
def test_wrong_usage_exits_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A wrong flag or a missing argument is usage, not a finding."""
    assert tocsin(*arguments, cwd=tmp_path).returncode == 2


def test_check_says_ok(folder: Path) -> None:
    """A good file exits 0."""
    done = tocsin("check", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "tocsin.yaml: ok\n")


def test_check_exits_1_with_every_error(folder: Path) -> None:
    """A wrong file exits 1 with file, line, key and fix of each error."""
    (folder / "tocsin.yaml").write_text("schema: 1\nexternalurl: x\nintervals: {scrape: 15}\n")
    done = tocsin("check", cwd=folder)
    assert done.returncode == 1
    assert "tocsin.yaml:2: externalurl: unknown key" in done.stderr
    assert "tocsin.yaml:3: intervals.scrape:" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_speaks_json(folder: Path) -> None:
    """With --format json standard output holds nothing but JSON."""
    (folder / "tocsin.yaml").write_text("schema: 1\nexternalurl: x\n")
    done = tocsin("check", "--format", "json", cwd=folder)
    [problem] = json.loads(done.stdout)["problems"]
    assert (done.returncode, problem["line"], problem["path"], problem["level"]) == (1, 2, "externalurl", "error")
    assert problem["fix"]


def test_check_finds_a_wrong_slo_file(folder: Path) -> None:
    """An SLO file is part of the settings."""
    (folder / "slo.yaml").write_text("version: prometheus/v1\nservice: x\nslos: [{name: a}]\n")
    (folder / "tocsin.yaml").write_text("schema: 1\nslos: [slo.yaml]\n")
    done = tocsin("check", cwd=folder)
    assert done.returncode == 1
    assert "slo.yaml:3" in done.stderr


def test_check_connect_tells_what_cannot_be_reached(folder: Path) -> None:
    """An unreachable target is a finding with a bounded reason, and no secret."""
    [port] = [free_ports()["router"]]
    (folder / "pw").write_text("canary-password")
    target = f"{{name: gone, kind: redis, url: 'redis://127.0.0.1:{port}/0', password_file: pw}}"
    (folder / "tocsin.yaml").write_text(f"schema: 1\ntargets:\n  - {target}\n")
    done = tocsin("check", "--connect", cwd=folder)
    assert done.returncode == 1
    assert "FAIL" in done.stdout
    assert "refused" in done.stdout
    assert "canary-password" not in done.stdout + done.stderr


def test_init_writes_a_file_that_passes_check(tmp_path: Path) -> None:
    """`init` then `check` is a start; a second `init` does not overwrite."""
    assert tocsin("init", cwd=tmp_path).returncode == 0
    assert tocsin("check", cwd=tmp_path).returncode == 0
    (tmp_path / "tocsin.yaml").write_text("mine")
    done = tocsin("init", cwd=tmp_path)
    assert (done.returncode, "--force" in done.stderr) == (1, True)
    assert (tmp_path / "tocsin.yaml").read_text() == "mine"
    assert tocsin("init", "--force", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("command", [("up",), ("reload",), ("status",), ("exporter",), ("router",), ("render",)])
def test_a_broken_file_is_one_clear_error_for_every_command(folder: Path, command: tuple[str, ...]) -> None:
    """Every command that reads the settings refuses a broken file the same way, and starts nothing."""
    (folder / "tocsin.yaml").write_text("schema: 1\ntargets: [{name: a, kind: bulmq}]\n")
    done = tocsin(*command, cwd=folder)
    assert done.returncode == 1
    assert "did you mean 'bullmq'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / ".tocsin" / "run" / "plan.json").exists()


def test_up_with_a_taken_port_starts_nothing(folder: Path) -> None:
    """One clear message with the holder, exit 1, and no process or plan left behind."""
    port = yaml.safe_load((folder / "tocsin.yaml").read_text())["ports"]["router"]
    with socket.create_server(("127.0.0.1", port)):
        done = tocsin("up", "--mode", "native", cwd=folder)
    assert done.returncode == 1
    assert f"port {port} of router is taken by" in done.stderr
    assert "not running" in tocsin("status", cwd=folder).stdout


def test_up_without_a_program_starts_nothing(folder: Path) -> None:
    """A missing binary is named with where to get it."""
    environ = {"PATH": str(folder / "empty"), "HOME": str(folder)}
    done = tocsin("up", "--mode", "native", cwd=folder, environ=environ)
    assert done.returncode == 1
    assert "not found on this machine: prometheus, alertmanager" in done.stderr
    assert not (folder / ".tocsin" / "run" / "plan.json").exists()


def test_up_where_nothing_can_be_written_starts_nothing(folder: Path) -> None:
    """A data directory that cannot be made is told before anything starts."""
    done = tocsin("up", "--mode", "native", cwd=folder, environ={"TOCSIN_DATA_DIR": "/dev/full/data"})
    assert done.returncode == 1
    assert "/dev/full/data cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_up_on_a_full_disk_starts_nothing(folder: Path) -> None:
    """A disk without room (a real one, of 1 MB) is told before anything starts."""
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("a small disk cannot be mounted here: that needs root with the right to mount")
    try:
        done = tocsin("up", "--mode", "native", cwd=folder, environ={"TOCSIN_DATA_DIR": str(disk)})
    finally:
        subprocess.run(["umount", disk], check=True)
    assert done.returncode == 1
    assert "has only" in done.stderr


def test_up_takes_everything_down_again_when_a_part_dies(folder: Path) -> None:
    """A part that cannot start is shown with its last words, and the rest is stopped."""
    fake = folder / "bin"
    fake.mkdir()
    script = fake / "alertmanager"
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "alertmanager, version 0.34.2 (x)" && exit\necho no way\nexit 3\n'
    )
    script.chmod(0o755)
    done = tocsin("up", "--mode", "native", cwd=folder, environ={"TOCSIN_BIN_DIR": str(fake)})
    assert done.returncode == 1
    assert "alertmanager dies as soon as it is started; its last words:\n      no way" in done.stderr
    assert "not running" in tocsin("status", cwd=folder).stdout


def test_down_works_with_a_broken_file(folder: Path) -> None:
    """Stopping must not need a settings file that parses."""
    (folder / "tocsin.yaml").write_text("broken: [")
    done = tocsin("down", cwd=folder, environ={"PATH": str(folder)})
    assert (done.returncode, done.stdout) == (0, "nothing was running\n")


def test_clean_asks_first(folder: Path) -> None:
    """Without a yes nothing is deleted; with it the data directory goes."""
    data = folder / ".tocsin"
    data.mkdir()
    (data / "ledger.sqlite").write_text("pages")
    assert tocsin("clean", cwd=folder, stdin="no\n").returncode == 1
    assert tocsin("clean", cwd=folder).returncode == 1
    assert data.exists()
    assert tocsin("clean", cwd=folder, stdin="yes\n").returncode == 0
    assert not data.exists()


def test_up_hands_over_to_compose_where_it_answers(folder: Path) -> None:
    """With an engine and the plugin, `up` says so and runs compose in the house; `down` ends it there."""
    calls = folder / "calls"
    docker = folder / "docker"
    docker.write_text(f'#!/bin/sh\necho "$PWD $*" >> {calls}\n')
    docker.chmod(0o755)
    done = tocsin("up", cwd=folder, environ={"PATH": f"{folder}:/bin"})
    assert done.returncode == 0, done.stderr
    assert "docker compose, because a Docker engine and the compose plugin both answer" in done.stdout
    tocsin("down", cwd=folder, environ={"PATH": f"{folder}:/bin"})
    assert calls.read_text().splitlines()[2] == f"{HOUSE} compose up -d --build --wait"
    assert calls.read_text().splitlines()[-1] == f"{HOUSE} compose down"


def test_a_command_for_the_demo_without_the_demo_says_what_to_do(folder: Path) -> None:
    """`break` without a running demo is one sentence."""
    done = tocsin("break", "worker-stopped", cwd=folder)
    assert done.returncode == 1
    assert "make up" in done.stderr


def test_explain_shows_number_and_runbook(folder: Path) -> None:
    """`explain` prints the threshold in force here and the runbook."""
    (folder / "tocsin.yaml").write_text("schema: 1\nthresholds: {queue_fill_ratio: {default: 0.66}}\n")
    done = tocsin("explain", "QueueNearCapacity", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "0.66 ratio" in done.stdout
    assert "# QueueNearCapacity" in done.stdout
    assert "QueueStalled" in tocsin("explain", cwd=folder).stdout


def test_listen_must_be_host_and_port(folder: Path) -> None:
    """A wrong --listen is refused with an example."""
    done = tocsin("router", "--listen", "8088", cwd=folder)
    assert done.returncode == 1
    assert "127.0.0.1:8088" in done.stderr
