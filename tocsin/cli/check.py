"""``tocsin check``: everything that is wrong in the settings, and whether what they name can be reached."""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from alert_router import try_destination
from exporters.probe import try_target
from tocsin.cli.tables import tables
from tocsin.errors import ConfigError, Problem
from tocsin.settings import Settings, inspect


@dataclass(frozen=True)
class Reached:
    """One row of the connection table."""

    what: str
    name: str
    kind: str
    ok: bool
    detail: str


def check(arguments: argparse.Namespace) -> int:
    """0 when all is well (warnings included), 1 with errors or, with --connect, something unreachable."""
    report = inspect(arguments.config, tables(), os.environ)
    problems = [*report.problems, *_rule_problems(report.settings)]
    rows = _connect(report.settings, arguments.timeout) if arguments.connect and report.settings else []
    errors = [problem for problem in problems if problem.level == "error"]
    if arguments.format == "json":
        _print_json(problems, rows, connected=arguments.connect)
    else:
        _print_text(arguments, problems, rows)
    return 1 if errors or not all(row.ok for row in rows) else 0


def _rule_problems(settings: Settings | None) -> list[Problem]:
    """Render the rules, since an SLO file is part of the settings and may be wrong too."""
    if settings is None:
        return []
    from tocsin.stack.render import render_rules  # noqa: PLC0415  # only when the settings themselves are right

    try:
        render_rules(settings)
    except ConfigError as error:
        return list(error.problems)
    return []


def _connect(settings: Settings, timeout: float) -> list[Reached]:
    def target(settings_: Any) -> Reached:  # noqa: ANN401  # each source has its own settings type
        found = try_target(settings_, timeout=timeout)
        samples = f"{found.samples} samples in {found.duration_seconds * 1000:.0f} ms"
        return Reached(
            "target",
            settings_.name,
            settings_.kind,
            found.up,
            samples if found.up else f"{found.reason}: {found.detail}",
        )

    def destination(name: str) -> Reached:
        tried = try_destination(name, settings.destinations[name], timeout=timeout)
        said = tried.detail if tried.up else f"{tried.reason}: {tried.detail}"
        return Reached("destination", name, tried.kind, tried.up, said)

    with ThreadPoolExecutor(max_workers=16) as pool:
        return [*pool.map(target, settings.targets), *pool.map(destination, settings.destinations)]


def _print_json(problems: list[Problem], rows: list[Reached], *, connected: bool) -> None:
    answer: dict[str, Any] = {"problems": [asdict(problem) for problem in problems]}
    if connected:
        answer["connections"] = [asdict(row) for row in rows]
    json.dump(answer, sys.stdout, indent=2)
    print()


def _print_text(arguments: argparse.Namespace, problems: list[Problem], rows: list[Reached]) -> None:
    for problem in problems:
        print(f"{problem.level}: {problem}", file=sys.stderr)
    errors = sum(problem.level == "error" for problem in problems)
    if errors:
        print(f"{arguments.config}: {errors} error{'s' if errors > 1 else ''}", file=sys.stderr)
        return
    print(f"{arguments.config}: ok")
    if rows:
        width = max(len(row.name) for row in rows)
        for row in rows:
            print(
                f"  {'ok  ' if row.ok else 'FAIL'}  {row.what:<11}  {row.name:<{width}}  {row.kind:<12}  {row.detail}"
            )
