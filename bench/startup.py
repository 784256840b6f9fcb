"""How long `tocsin up` takes to healthy, how long a fault takes to the inbox, and what the idle stack weighs."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

import pytest

from tests.e2e.native import Native, prepare
from tests.servers import GENERATIONS, Generation, eventually, need_generation

DEMO = {"demo-api", "demo-worker", "demo-redis", "demo-cache"}
BACKENDS = {"collector", "loki", "tempo"}
SETTLE_SECONDS = 45


def main() -> None:
    """Print one block per generation that is here."""
    for name in GENERATIONS:
        try:
            generation = need_generation(name)
        except pytest.skip.Exception as absent:
            print(f"{name}: not run: {absent}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            _demo(generation, Path(folder) / "demo")
            _idle(generation, Path(folder) / "idle")


def _demo(generation: Generation, folder: Path) -> None:
    stack = prepare(folder, generation, {})
    started = time.perf_counter()
    stack.run("up", "--mode", "native")
    print(f"{generation.name}: up to healthy {time.perf_counter() - started:.1f} s (goal ≤ 45 s with installs)")
    try:
        time.sleep(SETTLE_SECONDS)
        demo = sum(size for name, size in _sizes(stack).items() if name in DEMO)
        print(f"{generation.name}: the demo adds {demo:.0f} MB (goal ≤ 200)")
        started = time.perf_counter()
        stack.run("break", "worker-stopped")
        eventually(lambda: stack.group("QueueNearCapacity", "firing"), timeout=60, every=0.05)
        print(f"{generation.name}: break to the page in the inbox {time.perf_counter() - started:.1f} s (goal ≤ 15 s)")
    finally:
        stack.run("down")


def _idle(generation: Generation, folder: Path) -> None:
    """Memory at the intervals of a real platform, with nothing to watch."""
    nothing = {"profile": "standard", "targets": [], "scrape": [], "slos": [], "intervals": {}}
    stack = prepare(folder, generation, nothing)
    stack.run("up", "--mode", "native")
    try:
        time.sleep(SETTLE_SECONDS)
        sizes = _sizes(stack)
    finally:
        stack.run("down")
    backends = sum(size for name, size in sizes.items() if name in BACKENDS)
    core = sum(sizes.values()) - backends
    print("  " + "  ".join(f"{name} {size:.0f}" for name, size in sorted(sizes.items())))
    print(f"{generation.name}: idle memory {core:.0f} MB (goal ≤ 350)", end="")
    print(f", with Collector, Loki and Tempo {core + backends:.0f} MB (goal ≤ 700)" if backends else "")


def _sizes(stack: Native) -> dict[str, float]:
    """Resident MB of each process."""
    supervisor = int((stack.data / "run" / "supervisor.lock").read_text())
    return {name: _resident(pid) for name, pid in (stack.pids() | {"supervisor": supervisor}).items()}


def _resident(pid: int) -> float:
    """Resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else 0.0


if __name__ == "__main__":
    main()
