"""Every measurement, one after the other: `make bench`. Each file also runs alone: `python -m bench.chain`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ORDER = (
    "startup",
    "chain",
    "router_kill",
    "exporters",
    "postgresql",
    "rabbitmq",
    "soak",
    "slo_tools",
    "slo",
)


def main() -> int:
    """Run each script in a process of its own; 1 when one of them failed."""
    here = Path(__file__).parent
    wanted = sys.argv[1:] or [name for name in ORDER if (here / f"{name}.py").exists()]
    failed = []
    for name in wanted:
        print(f"\n== {name}: {_about(here / f'{name}.py')}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], cwd=here.parent, check=False).returncode:
            failed.append(name)
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall measured")
    return 1 if failed else 0


def _about(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition('"""')[2].partition("\n")[0].rstrip('"')


if __name__ == "__main__":
    sys.exit(main())
