"""The parser of ``tocsin slo generate``; what it runs is in ``slo``, loaded only when it is called."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

Add = Callable[..., argparse.ArgumentParser]
"""Adds one command: name, ``module:function``, what it is about, and more about it."""


def add_generate(add: Add) -> None:
    """Add generate to the commands of ``tocsin slo``."""
    command = add(
        "generate",
        "slo:generate",
        "write the rules, the inhibition and the promtool tests of SLO files",
        "Reads sloth's prometheus/v1 and OpenSLO v1. Exit 0 even with warnings, 1 with errors, 2 on wrong usage.",
    )
    command.add_argument("specs", nargs="+", type=Path, metavar="SPEC", help="SLO files, read as one set")
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="written here; made when missing")
    command.add_argument("--windows", type=Path, metavar="FILE", help="sloth's AlertWindows file for one period")
    command.add_argument(
        "--period", metavar="DAYS", help="of SLOs that name none (default: 30d, or that of the windows file)"
    )
    command.add_argument("--naming", choices=("tocsin", "sloth"), default="tocsin", help="what series are called")
    command.add_argument(
        "--external-url", default="http://127.0.0.1:8088", metavar="URL", help="where links of alerts lead"
    )
