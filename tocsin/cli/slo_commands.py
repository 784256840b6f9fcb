"""The parsers of the SLO tools; what they run is in ``slo_tools``, loaded only when it is called."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from tocsin.settings import parse_duration

Add = Callable[..., argparse.ArgumentParser]
"""Adds one command: name, ``module:function``, what it is about, and more about it."""


def add_tools(add: Add) -> None:
    """Add check, backtest, gate, explain, convert and init to the commands of ``tocsin slo``."""
    _check(add)
    _backtest(add)
    _gate(add)
    _explain(add)
    command = add("convert", "slo_tools:convert", "write SLOs of sloth, OpenSLO or pyrra in our format")
    _specs(command)
    _out(command)
    command = add(
        "init", "slo_tools:init", "write a commented spec from the request metrics that a live Prometheus has"
    )
    _prometheus(command)
    command.add_argument("--service", metavar="NAME", help="of this service (default: the busiest)")
    command.add_argument("--metric", metavar="NAME", help="counted by this metric")
    _out(command)


def _check(add: Add) -> None:
    command = add(
        "check",
        "slo_tools:check",
        "find everything that is wrong in SLO files, with a Prometheus also misspelt names",
        "Exit 0 when there is nothing or only information, 1 with errors or warnings.",
    )
    _windows(command)
    _specs(command)
    _prometheus(command, default="without it only the files are judged")
    command.add_argument(
        "--retention", type=_retention, metavar="D", help="how long samples are kept (default: ask --prometheus)"
    )
    command.add_argument("--scrape", type=_duration, default=timedelta(seconds=15), metavar="D", help="default: 15s")
    command.add_argument("--evaluate", type=_duration, default=timedelta(seconds=15), metavar="D", help="default: 15s")
    _format(command)


def _backtest(add: Add) -> None:
    command = add(
        "backtest",
        "slo_tools:backtest",
        "replay history: the pages that SLOs would have sent, and their budget over time",
        "Reads the source series only; the rules need not have been loaded.",
    )
    _windows(command)
    _specs(command)
    _prometheus(command)
    _slo(command)
    command.add_argument("--past", type=_duration, default=timedelta(days=30), metavar="D", help="default: 30d")
    command.add_argument(
        "--step", type=_step, default=timedelta(minutes=1), metavar="D", help="between evaluations (default: 1m)"
    )
    _format(command)


def _gate(add: Add) -> None:
    command = add(
        "gate",
        "slo_tools:gate",
        "stop a release when an error budget is spent",
        "Exit 0 when budget is left, 1 when it is spent or unknown, 2 on wrong usage.",
    )
    _windows(command)
    _specs(command, count="*", more=" (default: every SLO that Prometheus knows)")
    _prometheus(command)
    _slo(command)
    command.add_argument(
        "--least", type=_percent, default=0.0, metavar="PERCENT", help="more than this must be left (default: 0)"
    )
    _format(command)


def _explain(add: Add) -> None:
    command = add("explain", "slo_tools:explain", "say in plain words what an SLO promises and who is told when")
    _windows(command)
    _specs(command)
    _prometheus(command, default="with it also what is left now")
    _slo(command)


def _specs(command: argparse.ArgumentParser, *, count: str = "+", more: str = "") -> None:
    command.add_argument("specs", nargs=count, type=Path, metavar="SPEC", help=f"SLO files{more}")


def _prometheus(command: argparse.ArgumentParser, *, default: str = "default: the stack's own") -> None:
    command.add_argument("--prometheus", type=_url, metavar="URL", help=f"a live Prometheus ({default})")


def _windows(command: argparse.ArgumentParser) -> None:
    command.add_argument("--windows", type=Path, metavar="FILE", help="sloth's AlertWindows file for one period")


def _slo(command: argparse.ArgumentParser) -> None:
    command.add_argument("--slo", metavar="NAME", help="only the SLO of this name")


def _out(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    command.add_argument("--force", action="store_true", help="replace an existing file")


def _format(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=("text", "json"), default="text", help="json is for programs")


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        # Not the text itself: an address may hold a password.
        msg = "not an http or https address; write for example http://127.0.0.1:9090"
        raise argparse.ArgumentTypeError(msg)
    return text


def _duration(text: str) -> timedelta:
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if length <= timedelta():
        msg = "must be longer than nothing"
        raise argparse.ArgumentTypeError(msg)
    return length


def _step(text: str) -> timedelta:
    step = _duration(text)
    if step > timedelta(minutes=5):
        msg = "must be 5m at most: rules look back five minutes"
        raise argparse.ArgumentTypeError(msg)
    return step


def _retention(text: str) -> timedelta:
    units = {"w": 7, "y": 365}
    if text[:-1].isdigit() and text[-1:] in units:
        return timedelta(days=int(text[:-1]) * units[text[-1]])
    return _duration(text)


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = float("nan")
    if not 0 <= value < 100:
        msg = f"{text!r} is not a percentage from 0 to below 100"
        raise argparse.ArgumentTypeError(msg)
    return value
