"""``tocsin slo generate``: from SLO files to what Prometheus and Alertmanager load, with its proof."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta

from alert_rules.slo import Defaults, SpecUnreadable, load
from alert_rules.slo.alert_windows import read_windows, span
from alert_rules.slo.windows import BUILT_IN_PERIODS, WindowSet, window_name
from alert_rules.slo.write import generate as written
from tocsin.errors import Problem

USAGE = 2


def generate(arguments: argparse.Namespace) -> int:
    """Write every file, or none when a spec has an error; findings go to standard error."""
    try:
        windows, refused = read_windows(arguments.windows) if arguments.windows else (None, [])
        period = _period(arguments.period, windows)
        loaded = load(arguments.specs, Defaults(period, windows)) if not refused else None
    except (SpecUnreadable, ValueError) as error:
        print(f"tocsin slo generate: {error}", file=sys.stderr)
        return USAGE
    problems = loaded.problems if loaded else tuple(refused)
    _tell([problem for problem in problems if problem.level != "info"])
    if loaded is None or loaded.errors:
        return 1
    if not loaded.objectives:
        print("tocsin slo generate: no SLO is in these files", file=sys.stderr)
        return 1
    files = written(loaded.objectives, arguments.naming, external_url=arguments.external_url.rstrip("/"))
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (arguments.out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"tocsin slo generate: {arguments.out} cannot be written: {error.strerror}", file=sys.stderr)
        return USAGE
    count = len(loaded.objectives)
    print(f"{count} SLO{'' if count == 1 else 's'} written to {arguments.out}: {', '.join(sorted(files))}")
    return 0


def _period(wanted: str | None, windows: WindowSet | None) -> timedelta:
    """Return the period of SLOs that name none. Raises ValueError with the fix."""
    if wanted is None:
        return windows.period if windows else timedelta(days=30)
    period = span(wanted)
    if period not in BUILT_IN_PERIODS and (windows is None or windows.period != period):
        known = ", ".join(window_name(each) for each in BUILT_IN_PERIODS)
        msg = f"--period {wanted}: no windows are known for it; write one of {known}, or give --windows"
        raise ValueError(msg)
    return period


def _tell(problems: list[Problem]) -> None:
    for problem in problems:
        print(f"{problem.level}: {problem}", file=sys.stderr)
