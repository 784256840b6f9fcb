"""``tocsin slo check|backtest|gate|explain|convert|init``: SLO files judged by themselves and by a live Prometheus."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from alert_rules.slo import Defaults, Objective, Pace, SpecUnreadable, load
from alert_rules.slo.alert_windows import read_windows
from alert_rules.slo_tools import backtest as backtests
from alert_rules.slo_tools import check as checks
from alert_rules.slo_tools import convert as converts
from alert_rules.slo_tools import explain as explains
from alert_rules.slo_tools import gate as gates
from alert_rules.slo_tools import suggest
from alert_rules.slo_tools.prometheus import Prometheus, connect
from alert_rules.slo_tools.replay import Span, replay
from tocsin.cli.tables import load_settings
from tocsin.endpoints import endpoints
from tocsin.errors import ConfigError, Problem, StackError

USAGE = 2
_DAY = 86400.0


def check(arguments: argparse.Namespace) -> int:
    """0 when there is nothing or only information, 1 with errors or warnings, 2 when a file cannot be opened."""
    against = checks.Against(
        connect(arguments.prometheus) if arguments.prometheus else None,
        arguments.retention,
        Pace(arguments.scrape, arguments.evaluate),
    )
    try:
        defaults, refused = _defaults(arguments)
        problems = [*refused, *checks.check(arguments.specs, against, defaults)]
    except SpecUnreadable as error:
        return _unreadable(error)
    if arguments.format == "json":
        keys = ("level", "file", "line", "path", "message", "fix")
        _print_json([{key: getattr(problem, key) for key in keys} for problem in problems])
    else:
        _print_findings(problems)
    return 1 if any(problem.level != "info" for problem in problems) else 0


def backtest(arguments: argparse.Namespace) -> int:
    """Print what each SLO would have sent in the past days; 0 however much that is."""
    try:
        objectives = _objectives(arguments)
    except SpecUnreadable as error:
        return _unreadable(error)
    prometheus, step = _prometheus(arguments), arguments.step.total_seconds()
    end = math.floor(time.time() / step) * step
    span = Span(end - arguments.past.total_seconds(), end, step)
    replays = [each for objective in objectives for each in replay(prometheus, objective, span)]
    if arguments.format == "json":
        _print_json([backtests.as_json(each) for each in replays])
    else:
        print("\n\n".join(map(backtests.report, replays)))
    return 0 if any(each.known_from is not None for each in replays) else 1


def gate(arguments: argparse.Namespace) -> int:
    """0 when every SLO has more than the least budget left, 1 when not or when it is unknown, 2 on wrong usage."""
    try:
        objectives = _objectives(arguments) if arguments.specs else None
    except SpecUnreadable as error:
        return _unreadable(error)
    wanted = None if objectives is None else [(each.service, each.name) for each in objectives]
    found = gates.budgets(_prometheus(arguments), wanted)
    if objectives is None:
        found = [each for each in found if arguments.slo in (None, each.slo)]
    least = arguments.least / 100
    if arguments.format == "json":
        _print_json([_budget(each, least) for each in found])
    else:
        print("\n".join(gates.verdict(each, least) for each in found) or "STOP  no SLO is known to this Prometheus")
    return 1 if not found or gates.spent(found, least) else 0


def _budget(budget: gates.Budget, least: float) -> dict[str, object]:
    numbers = {"remaining": budget.remaining, "burn_rate": budget.burn, "days_left": budget.days_left}
    known = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {"service": budget.service, "slo": budget.slo, **known, "go": budget.allows(least)}


def explain(arguments: argparse.Namespace) -> int:
    """Print a page about each SLO; with a Prometheus also what is left of its budget now."""
    try:
        objectives = _objectives(arguments)
    except SpecUnreadable as error:
        return _unreadable(error)
    budgets: Sequence[gates.Budget | None] = [None] * len(objectives)
    if arguments.prometheus:
        wanted = [(each.service, each.name) for each in objectives]
        budgets = gates.budgets(_prometheus(arguments), wanted)
    pages = [explains.page(each, budget) for each, budget in zip(objectives, budgets, strict=True)]
    print("\n".join(pages), end="")
    return 0


def convert(arguments: argparse.Namespace) -> int:
    """Write other tools' SLOs in our format; 1 when something could not be taken over."""
    try:
        text, problems = converts.convert(arguments.specs)
    except SpecUnreadable as error:
        return _unreadable(error)
    if text:
        with tempfile.TemporaryDirectory() as folder:
            told = converts.review(text, Path(folder))
        name = str(arguments.out or "converted")
        problems += [Problem(name, p.line, p.path, p.message, p.fix, p.level) for p in told if p.level != "info"]
    for problem in problems:
        print(f"{problem.level}: {problem}", file=sys.stderr)
    if text and not _write(text, arguments.out, force=arguments.force):
        return USAGE
    return 1 if any(problem.level == "error" for problem in problems) or not text else 0


def init(arguments: argparse.Namespace) -> int:
    """Write a commented spec from what Prometheus has; 1 when it has nothing to count."""
    prometheus = _prometheus(arguments)
    found = suggest.candidates(prometheus)
    chosen = [
        each for each in found if arguments.service in (None, each.service) and arguments.metric in (None, each.metric)
    ]
    if not chosen:
        names = ", ".join(dict.fromkeys(f"{each.metric} of {each.service}" for each in found))
        msg = "no counter was found whose failures a label tells (code, status, grpc_code, outcome, result)"
        raise StackError(
            f"nothing fits --service and --metric; found: {names}" if found else msg,
            fix="scrape the service first, or write the spec by hand: docs/slo.md",
        )
    others = [each for each in found if each != chosen[0]]
    text = suggest.spec(prometheus, chosen[:1], others)
    return 0 if _write(text, arguments.out, force=arguments.force) else USAGE


def _objectives(arguments: argparse.Namespace) -> list[Objective]:
    """Read the specs, or only the SLO that --slo names. Raises SpecUnreadable, or ConfigError with all problems."""
    defaults, refused = _defaults(arguments)
    loaded = load(arguments.specs, defaults)
    if refused or loaded.errors:
        raise ConfigError([*refused, *loaded.errors])
    chosen = [each for each in loaded.objectives if arguments.slo in (None, each.name)]
    if not chosen:
        names = ", ".join(each.name for each in loaded.objectives)
        raise StackError(f"no SLO is called {arguments.slo!r}", fix=f"write one of {names}")
    return chosen


def _defaults(arguments: argparse.Namespace) -> tuple[Defaults, list[Problem]]:
    """Read the windows file that --windows names. Raises SpecUnreadable."""
    windows, refused = read_windows(arguments.windows) if arguments.windows else (None, [])
    return (Defaults(windows.period, windows) if windows else Defaults()), list(refused)


def _prometheus(arguments: argparse.Namespace) -> Prometheus:
    """Connect to --prometheus, else to the stack's own where there is a settings file, else to the usual port."""
    if arguments.prometheus:
        return connect(arguments.prometheus)
    if arguments.config.exists():
        return connect(endpoints(load_settings(arguments.config)).prometheus)
    return connect(os.environ.get("TOCSIN_PROMETHEUS_URL", "http://127.0.0.1:9090"))


def _unreadable(error: SpecUnreadable) -> int:
    print(error, file=sys.stderr)
    return USAGE


def _write(text: str, out: Path | None, *, force: bool) -> bool:
    if out is None:
        print(text, end="")
        return True
    if out.exists() and not force:
        print(f"{out} exists already; --force replaces it", file=sys.stderr)
        return False
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"{out} cannot be written: {error.strerror}", file=sys.stderr)
        return False
    print(f"wrote {out}; next: tocsin slo check {out}", file=sys.stderr)
    return True


def _print_json(answer: object) -> None:
    json.dump(answer, sys.stdout, indent=2)
    print()


def _print_findings(problems: Iterable[Problem]) -> None:
    found = list(problems)
    for problem in found:
        print(f"{problem.level}: {problem}")
    counted = {level: sum(each.level == level for each in found) for level in ("error", "warning")}
    notes = len(found) - sum(counted.values())
    parts = [f"{number} {level}{'' if number == 1 else 's'}" for level, number in counted.items() if number]
    print(f"{', '.join(parts) or 'ok'}{f' ({notes} for information)' if notes else ''}")
