"""``tocsin status``: the health of each part; the ``gate`` of compose runs the same."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict

from tocsin.cli.tables import load_settings
from tocsin.stack.lifecycle import stack_parts
from tocsin.stack.status import Part

_MARKS = {"ok": "ok", "warning": "warn", "starting": "wait", "down": "DOWN", "absent": "-"}


def status(arguments: argparse.Namespace) -> int:
    """0 when every part is healthy, 1 otherwise; with --wait, as soon as it is or when the time is over."""
    settings = load_settings(arguments.config)
    deadline = time.monotonic() + arguments.wait
    while True:
        parts = stack_parts(settings, os.environ)
        healthy = all(part.healthy for part in parts)
        if healthy or time.monotonic() >= deadline:
            break
        time.sleep(0.5)
    if arguments.format == "json":
        json.dump({"healthy": healthy, "parts": [asdict(part) for part in parts]}, sys.stdout, indent=2)
        print()
    else:
        print_parts(parts)
    return 0 if healthy else 1


def print_parts(parts: list[Part]) -> None:
    """Print one line per part."""
    width = max((len(part.name) for part in parts), default=0)
    for part in parts:
        print(f"  {_MARKS[part.state]:<4}  {part.name:<{width}}  {part.detail}".rstrip())
