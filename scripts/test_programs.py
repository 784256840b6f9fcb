"""Install the real servers that the tests talk to (Debian's packages, one apt call) and say what was found.

Without root nothing is installed; tests whose program is nowhere then say so in their report.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tocsin.errors import StackError
from tocsin.stack import preflight, programs

_DEBIAN = ("prometheus", "alertmanager", "redis-server", "prometheus-node-exporter")
_TOOLS = {
    "chromium": "chromium",
    "ip": "iproute2",
    "/usr/lib/postgresql/*/bin/postgres": "postgresql",
    "/usr/sbin/pgbouncer": "pgbouncer",
    "/usr/lib/rabbitmq/bin/rabbitmq-server": "rabbitmq-server",
}
"""Command (or where it stands, off the PATH) and package of what only the tests need."""
_NO_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")


def main() -> int:
    """Install, then print one line per program."""
    wanted = [programs.DEBIAN_PACKAGES[name] for name in _DEBIAN if not _debian_has(name)]
    wanted += [package for command, package in _TOOLS.items() if not _is_here(command)]
    if wanted and preflight.can_install(os.environ):
        print(f"installing {', '.join(wanted)} …", flush=True)
        if not _NO_CLUSTER.exists():
            # Debian would make and start a database of its own; the tests start theirs.
            _NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
            _NO_CLUSTER.write_text("create_main_cluster = false\n", encoding="utf-8")
        try:
            preflight.apt_install(sorted(set(wanted)), os.environ)
        except StackError as error:
            print(f"{error}\n    fix: {error.fix}", file=sys.stderr)
            return 1
        programs.forget()
    elif wanted:
        print(f"not installed (no root): {' '.join(wanted)}; their tests will be skipped and say so")
    for name in programs.NAMES:
        found = programs.search(name, os.environ).programs
        versions = ", ".join(f"{p.version or 'pinned'} ({p.generation})" for p in found)
        print(f"  {name:<26} {versions or 'not found: ' + programs.where_to_get(name)}")
    return 0


def _is_here(command: str) -> bool:
    if command.startswith("/"):
        return any(Path("/").glob(command.removeprefix("/")))
    return shutil.which(command) is not None


def _debian_has(name: str) -> bool:
    """Say whether a program stands on the PATH, beside whatever other generation is unpacked elsewhere."""
    path_only = {key: value for key, value in os.environ.items() if key not in ("TOCSIN_BIN_DIR", "HOME")}
    return programs.find(name, path_only) is not None


if __name__ == "__main__":
    sys.exit(main())
