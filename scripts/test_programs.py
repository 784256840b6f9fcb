"""Install the real servers that the tests talk to (Debian's packages, one apt call) and say what was found.

Without root nothing is installed; tests whose program is nowhere then say so in their report.
"""

from __future__ import annotations

import os
import shutil
import sys

from tocsin.errors import StackError
from tocsin.stack import preflight, programs

_DEBIAN = ("prometheus", "alertmanager", "redis-server", "prometheus-node-exporter")
_TOOLS = {"chromium": "chromium", "ip": "iproute2"}
"""Command and package of what only the tests need."""


def main() -> int:
    """Install, then print one line per program."""
    wanted = [programs.DEBIAN_PACKAGES[name] for name in _DEBIAN if not _debian_has(name)]
    wanted += [package for command, package in _TOOLS.items() if shutil.which(command) is None]
    if wanted and preflight.can_install(os.environ):
        print(f"installing {', '.join(wanted)} …", flush=True)
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


def _debian_has(name: str) -> bool:
    """Say whether a program stands on the PATH, beside whatever other generation is unpacked elsewhere."""
    path_only = {key: value for key, value in os.environ.items() if key not in ("TOCSIN_BIN_DIR", "HOME")}
    return programs.find(name, path_only) is not None


if __name__ == "__main__":
    sys.exit(main())
