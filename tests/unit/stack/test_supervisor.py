"""The supervisor, tried on real child processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tocsin.stack.supervisor import Entry, write_plan

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
)


def entry(tmp_path: Path, name: str, argv: tuple[str, ...] = SLEEPER, **more: Any) -> Entry:
    return Entry(name, argv, more.pop("env", {}), str(tmp_path / f"{name}.log"), more.pop("stop_seconds", 5.0), **more)


def until(check: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := check():
            return value
        time.sleep(0.02)
    raise AssertionError("did not happen in time")


def children(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "state.json"
    return json.loads(path.read_text())["children"] if path.exists() else {}


def pid_of(tmp_path: Path, name: str) -> int:
    return children(tmp_path).get(name, {}).get("pid", 0)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


@contextmanager
def supervising(tmp_path: Path, *entries: Entry) -> Iterator[subprocess.Popen[bytes]]:
    write_plan(tmp_path / "plan.json", list(entries))
    process = subprocess.Popen([sys.executable, "-m", "tocsin.stack.supervisor", str(tmp_path)])
    try:
        for each in entries:
            until(lambda each=each: pid_of(tmp_path, each.name))
        yield process
    finally:
        process.terminate()
        process.wait(15)


def test_a_killed_child_comes_back(tmp_path: Path) -> None:
    """A child that dies is started again with a new pid, and its restart is counted."""
    with supervising(tmp_path, entry(tmp_path, "a")):
        first = pid_of(tmp_path, "a")
        os.kill(first, signal.SIGKILL)
        until(lambda: pid_of(tmp_path, "a") not in (0, first))
        assert children(tmp_path)["a"]["restarts"] == 1
        assert children(tmp_path)["a"]["last_exit"] == -9


def test_terminate_ends_every_child_even_a_stubborn_one(tmp_path: Path) -> None:
    """SIGTERM ends all children; one that ignores it is killed after its own grace."""
    entries = entry(tmp_path, "a"), entry(tmp_path, "b", STUBBORN, stop_seconds=0.3)
    with supervising(tmp_path, *entries):
        pids = [pid_of(tmp_path, "a"), pid_of(tmp_path, "b")]
        until(lambda: "up" in (tmp_path / "b.log").read_text())
    assert not any(alive(pid) for pid in pids)
    assert children(tmp_path) == {}


def test_higher_tiers_end_first(tmp_path: Path) -> None:
    """What sends telemetry is gone before what takes it is asked to end."""
    script = (
        "import signal, sys, time\n"
        "signal.signal(15, lambda *_: (time.sleep({wait}), print(time.time(), flush=True), sys.exit()))\n"
        "print('up', flush=True)\ntime.sleep(600)"
    )
    slow, quick = ((sys.executable, "-c", script.format(wait=wait)) for wait in (0.5, 0))
    with supervising(tmp_path, entry(tmp_path, "backend", quick), entry(tmp_path, "sender", slow, tier=1)):
        until(lambda: all("up" in (tmp_path / f"{name}.log").read_text() for name in ("backend", "sender")))
    ended = {name: float((tmp_path / f"{name}.log").read_text().split()[-1]) for name in ("backend", "sender")}
    assert ended["sender"] < ended["backend"]


def test_a_killed_supervisor_leaves_no_orphans(tmp_path: Path) -> None:
    """When the supervisor itself is killed -9, the kernel ends its children."""
    with supervising(tmp_path, entry(tmp_path, "a")) as process:
        pid = pid_of(tmp_path, "a")
        process.kill()
        process.wait()
        until(lambda: not alive(pid))


def test_a_new_plan_touches_only_what_changed(tmp_path: Path) -> None:
    """SIGHUP starts new entries, stops gone ones, restarts changed ones and leaves the rest alone."""
    with supervising(tmp_path, entry(tmp_path, "same"), entry(tmp_path, "gone"), entry(tmp_path, "changed")) as process:
        same, gone, changed = (pid_of(tmp_path, name) for name in ("same", "gone", "changed"))
        plan = [entry(tmp_path, "same"), entry(tmp_path, "changed", revision="2"), entry(tmp_path, "new")]
        write_plan(tmp_path / "plan.json", plan)
        process.send_signal(signal.SIGHUP)
        until(lambda: set(children(tmp_path)) == {"same", "changed", "new"} and pid_of(tmp_path, "new"))
        until(lambda: pid_of(tmp_path, "changed") not in (0, changed))
        assert pid_of(tmp_path, "same") == same
        assert not alive(gone)


def test_children_hold_none_of_the_starters_streams(tmp_path: Path) -> None:
    """A child's standard input is /dev/null and its output is its own log."""
    with supervising(tmp_path, entry(tmp_path, "a")):
        links = [str(Path(f"/proc/{pid_of(tmp_path, 'a')}/fd/{n}").readlink()) for n in (0, 1, 2)]
        assert links == ["/dev/null", str(tmp_path / "a.log"), str(tmp_path / "a.log")]


def test_a_program_that_is_not_there_is_named_in_its_log(tmp_path: Path) -> None:
    """A missing program shows up as one plain line and as exit 127, and is tried again slowly."""
    write_plan(tmp_path / "plan.json", [entry(tmp_path, "a", ("/nowhere/program",))])
    process = subprocess.Popen([sys.executable, "-m", "tocsin.stack.supervisor", str(tmp_path)])
    try:
        until(lambda: children(tmp_path).get("a", {}).get("last_exit") == 127)
        assert "cannot start /nowhere/program: No such file or directory" in (tmp_path / "a.log").read_text()
    finally:
        process.terminate()
        process.wait(10)


def test_a_second_supervisor_is_refused(tmp_path: Path) -> None:
    """Two supervisors on one run directory would start everything twice."""
    with supervising(tmp_path, entry(tmp_path, "a")):
        second = subprocess.run(
            [sys.executable, "-m", "tocsin.stack.supervisor", str(tmp_path)], check=False, timeout=10
        )
        assert second.returncode == 1


@pytest.mark.parametrize("name", ["plan.json", "state.json"])
def test_run_files_are_private(tmp_path: Path, name: str) -> None:
    """Plan and state can hold environment values, so only the owner may read them."""
    with supervising(tmp_path, entry(tmp_path, "a")):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
