"""The one parent of all native processes: starts them, restarts what dies, ends each child by its pid.

Run as ``python -m tocsin.stack.supervisor RUN_DIR``. It reads ``plan.json`` (a list of entries, see ``Entry``), keeps
``state.json`` up to date, and holds ``supervisor.lock`` for as long as it lives. SIGHUP makes it read the plan again:
entries that are new start, entries that are gone stop, entries that changed restart. SIGTERM ends everything.

Only the standard library, and only what is small: this process stays for as long as the stack does.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before a dead child is started again: doubled at each death, forgotten after STEADY seconds of life."""
STEADY = 60.0
LOG_BYTES = 10_000_000
"""A log above this size is copied to ``NAME.log.1`` and emptied."""
_WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Entry:
    """One child: what to run, in which environment (added to the supervisor's own), and where its output goes.

    ``revision`` is any text; a changed one restarts the child although its command line is the same.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    log: str
    stop_seconds: float
    revision: str = ""
    tier: int = 0
    """Ended from the highest tier down: what sends telemetry ends before what takes it."""


@dataclass
class _Child:
    entry: Entry
    pid: int = 0
    started: float = 0.0
    restarts: int = 0
    delay: float = FIRST_DELAY
    start_at: float = 0.0
    last_exit: int | None = None
    kill_at: float | None = None
    leaving: bool = False
    successor: Entry | None = None


def read_plan(path: Path) -> list[Entry]:
    """Read the entries of a plan file."""
    return [Entry(**(raw | {"argv": tuple(raw["argv"])})) for raw in json.loads(path.read_text(encoding="utf-8"))]


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401  # whatever json takes
    """Replace a file in one step, readable by its owner only."""
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
    part.replace(path)


def write_plan(path: Path, entries: list[Entry]) -> None:
    """Write a plan file."""
    write_json(path, [asdict(entry) for entry in entries])


class Supervisor:
    """The loop over children. ``clock`` is monotonic seconds; one instance per process."""

    def __init__(self, run: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._clock = clock
        self._children: dict[str, _Child] = {}
        self._stopping = False
        self._parent = os.getpid()
        self._libc = ctypes.CDLL(None, use_errno=True)

    def loop(self) -> None:
        """Run until SIGTERM or SIGINT, and until the last child is gone."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        self._adopt_plan()
        while self._children or not self._stopping:
            self._start_due()
            self._write_state()
            info = signal.sigtimedwait(_WATCHED, self._pause())
            self._reap()
            if info is not None and info.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._stopping = True
            elif info is not None and info.si_signo == signal.SIGHUP and not self._stopping:
                self._adopt_plan()
            if self._stopping:
                self._end_highest_tier()
            self._kill_overdue()
            self._rotate_logs()
        self._write_state()

    def _adopt_plan(self) -> None:
        wanted = {entry.name: entry for entry in read_plan(self._run / "plan.json")}
        for name, child in self._children.items():
            if name not in wanted:
                self._end(child)
            elif wanted[name] != (child.successor or child.entry):
                self._end(child, successor=wanted[name])
        for name, entry in wanted.items():
            if name not in self._children:
                self._children[name] = _Child(entry)
        self._forget_gone()

    def _end(self, child: _Child, *, successor: Entry | None = None) -> None:
        child.leaving = True
        child.successor = successor
        if child.pid and child.kill_at is None:
            child.kill_at = self._clock() + child.entry.stop_seconds
            _signal(child.pid, signal.SIGTERM)

    def _end_highest_tier(self) -> None:
        highest = max((child.entry.tier for child in self._children.values()), default=0)
        for child in self._children.values():
            if child.entry.tier == highest and not child.leaving:
                self._end(child)
        self._forget_gone()

    def _start_due(self) -> None:
        for child in self._children.values():
            if not child.pid and not child.leaving and child.start_at <= self._clock():
                self._start(child)

    def _start(self, child: _Child) -> None:
        entry = child.entry
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        out = os.open(entry.log, flags, 0o600)
        try:
            child.pid = os.fork()
            if child.pid == 0:
                self._become(entry, out)
        finally:
            os.close(out)
        child.started = self._clock()
        child.kill_at = None

    def _become(self, entry: Entry, out: int) -> None:
        """In the child: cut every tie to the parent's terminal and signals, then turn into the program."""
        try:
            os.setsid()
            # A supervisor that was killed -9 must not leave orphans: the kernel tells them.
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != self._parent:
                os._exit(0)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.closerange(3, 256)
            os.execvpe(entry.argv[0], entry.argv, os.environ | entry.env)
        except OSError as error:
            os.write(2, f"cannot start {entry.argv[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            for child in self._children.values():
                if child.pid == pid:
                    self._buried(child, os.waitstatus_to_exitcode(status))
        self._forget_gone()

    def _buried(self, child: _Child, code: int) -> None:
        child.pid, child.last_exit, child.kill_at = 0, code, None
        if child.leaving:
            return
        if self._clock() - child.started > STEADY:
            child.delay = FIRST_DELAY
        child.restarts += 1
        child.start_at = self._clock() + child.delay
        child.delay = min(child.delay * 2, LONGEST_DELAY)

    def _forget_gone(self) -> None:
        for name, child in list(self._children.items()):
            if child.leaving and not child.pid:
                if child.successor is not None and not self._stopping:
                    self._children[name] = _Child(child.successor)
                else:
                    del self._children[name]

    def _kill_overdue(self) -> None:
        for child in self._children.values():
            if child.pid and child.kill_at is not None and child.kill_at <= self._clock():
                _signal(child.pid, signal.SIGKILL)

    def _pause(self) -> float:
        now = self._clock()
        due = [c.start_at - now for c in self._children.values() if not c.pid and not c.leaving]
        due += [c.kill_at - now for c in self._children.values() if c.kill_at is not None]
        return max(0.0, min([5.0, *due]))

    def _write_state(self) -> None:
        children = {
            name: {"pid": c.pid, "restarts": c.restarts, "last_exit": c.last_exit, "leaving": c.leaving}
            for name, c in self._children.items()
        }
        write_json(self._run / "state.json", {"pid": os.getpid(), "stopping": self._stopping, "children": children})

    def _rotate_logs(self) -> None:
        for child in self._children.values():
            log = Path(child.entry.log)
            if log.exists() and log.stat().st_size > LOG_BYTES:
                # The child keeps its descriptor (append mode), so the file is copied and emptied, not renamed.
                log.with_suffix(".log.1").write_bytes(log.read_bytes())
                os.truncate(log, 0)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def main(run: Path) -> int:
    """Take the lock and supervise; 1 when another supervisor holds it."""
    with (run / "supervisor.lock").open("a", encoding="ascii") as lock:
        if not _locked(lock):
            return 1
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        Supervisor(run).loop()
    return 0


def _locked(lock: TextIO) -> bool:
    """Try for a second: somebody who only asks whether a supervisor runs holds the lock for a moment too."""
    for _ in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
