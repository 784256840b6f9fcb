"""How long `tocsin up` takes to healthy, how long a fault takes to the inbox, and what the idle stack weighs."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from tests.e2e.native import Native, prepare
from tests.servers import eventually, need_generation

DEMO = {"demo-api", "demo-worker", "demo-redis", "demo-cache"}
BACKENDS = {"collector", "loki", "tempo"}
SETTLE_SECONDS = 20


def main() -> None:
    """Print one block per generation that is here."""
    for generation in ("debian", "pinned"):
        with tempfile.TemporaryDirectory() as folder:
            stack = prepare(Path(folder) / "stack", need_generation(generation), {})
            started = time.perf_counter()
            stack.run("up", "--mode", "native")
            print(f"{generation}: up to healthy {time.perf_counter() - started:.1f} s (goal ≤ 45 s with installs)")
            try:
                time.sleep(SETTLE_SECONDS)
                _memory(stack)
                started = time.perf_counter()
                stack.run("break", "worker-stopped")
                eventually(lambda stack=stack: stack.group("QueueNearCapacity", "firing"), timeout=60, every=0.05)
                print(
                    f"{generation}: break to the page in the inbox {time.perf_counter() - started:.1f} s (goal ≤ 15 s)"
                )
            finally:
                stack.run("down")


def _memory(stack: Native) -> None:
    sizes = {name: _resident(pid) for name, pid in stack.pids().items()}
    supervisor = int((stack.data / "run" / "supervisor.lock").read_text())
    sizes["supervisor"] = _resident(supervisor)
    demo = sum(size for name, size in sizes.items() if name in DEMO)
    backends = sum(size for name, size in sizes.items() if name in BACKENDS)
    core = sum(sizes.values()) - demo - backends
    print("  " + "  ".join(f"{name} {size:.0f}" for name, size in sorted(sizes.items())))
    print(f"  idle memory: core {core:.0f} MB (goal ≤ 350)", end="")
    print(f", with Collector, Loki, Tempo {core + backends:.0f} MB (goal ≤ 700)" if backends else "", end="")
    print(f", demo {demo:.0f} MB (goal ≤ 200)")


def _resident(pid: int) -> float:
    """Resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else 0.0


if __name__ == "__main__":
    main()
