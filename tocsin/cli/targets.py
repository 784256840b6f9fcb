"""``tocsin targets``: every target of the running exporter in one table."""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from tocsin.cli.tables import load_settings
from tocsin.endpoints import endpoints
from tocsin.errors import StackError
from tocsin.settings import Secret

_TIMEOUT = 5.0
_HEAD = ("", "target", "kind", "reason", "read", "ms", "samples", "folded", "last error")


def targets(arguments: argparse.Namespace) -> int:
    """0 when every target is up and whole, 1 otherwise. Raises StackError when the exporter does not answer."""
    base = (arguments.exporter or endpoints(load_settings(arguments.config)).exporter).rstrip("/")
    token = Secret(path=arguments.token_file).get() if arguments.token_file else None
    states = _ask(f"{base}/-/targets", token)
    if arguments.format == "json":
        json.dump(states, sys.stdout, indent=2)
        print()
    else:
        print(table(states, now=time.time()))
    return 0 if all(state["up"] is not False and not state["reason"] for state in states) else 1


def _ask(address: str, token: str | None) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(  # noqa: S310  # the address is http by its type, or the caller's own word
            urllib.request.Request(address, headers=headers),  # noqa: S310  # as above
            timeout=_TIMEOUT,
        ) as answer:
            found: list[dict[str, Any]] = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            fix = "give its token with --token-file" if error.code == 401 else "is this the exporter's address?"
            msg = f"the exporter at {address} answered {error.code}"
            raise StackError(msg, fix=fix) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or type(error).__name__
        msg = f"the exporter at {address} does not answer: {why}"
        raise StackError(msg, fix="start it (`tocsin up`), or try each target with `tocsin check --connect`") from None
    return found


def table(states: Sequence[dict[str, Any]], *, now: float) -> str:
    """Return the table as text; ``now`` is in unix seconds. What is down stands first."""
    if not states:
        return "no targets; add some under targets: in the settings"
    rows = [_HEAD, *(_row(state, now) for state in states)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    right = {5, 6, 7}
    lines = [
        "  ".join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    details = [f"  {state['target']}: {state['detail']}" for state in states if state["detail"]]
    return "\n".join(line.rstrip() for line in [*lines, *([""] if details else []), *details])


def _row(state: dict[str, Any], now: float) -> tuple[str, ...]:
    mark = {True: "part" if state["reason"] else "up", False: "DOWN", None: "wait"}[state["up"]]
    took = state["duration_seconds"]
    last = f"{state['last_error']} {_ago(state['last_error_at'], now)}" if state["last_error"] else "none"
    return (
        mark,
        state["target"],
        state["kind"],
        state["reason"] or "-",
        _ago(state["read_at"], now) if state["read_at"] else "not yet",
        "-" if took is None else f"{took * 1000:.1f}",
        str(state["samples"]),
        str(state["folded"]),
        last,
    )


def _ago(at: float, now: float) -> str:
    seconds = max(0, round(now - at))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"
