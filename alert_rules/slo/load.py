"""Read SLO files of any format, strictly: every problem of every file at once, with line, key path and fix."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from alert_rules.slo.document import SpecUnreadable, read_documents
from alert_rules.slo.native import Defaults, read_native
from alert_rules.slo.objective import Objective
from alert_rules.slo.openslo import is_openslo, read_openslo
from alert_rules.slo.review import review
from tocsin.errors import ConfigError, Problem
from tocsin.settings import Settings
from tocsin.settings.document import Document


@dataclass(frozen=True)
class Pace:
    """How often targets are scraped and rules evaluated: windows must hold several of each."""

    scrape: timedelta = timedelta(seconds=15)
    evaluate: timedelta = timedelta(seconds=15)


@dataclass(frozen=True)
class Loaded:
    """The SLOs of a set of files, with every problem of every level. With an error the SLOs are not all there."""

    objectives: tuple[Objective, ...]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that make the files unusable."""
        return tuple(problem for problem in self.problems if problem.level == "error")


def load(paths: Iterable[Path], defaults: Defaults | None = None, pace: Pace | None = None) -> Loaded:
    """Read a set of SLO files as one. Raises SpecUnreadable when one cannot be opened."""
    defaults, pace = defaults or Defaults(), pace or Pace()
    problems: list[Problem] = []
    documents: list[Document] = []
    for path in dict.fromkeys(paths):
        found, wrong = read_documents(path)
        documents += found
        problems += wrong
    # A document with a broken value is not read on: one slip would be told twice.
    whole = [document for document in documents if not document.problems]
    open_slo = [document for document in whole if is_openslo(document)]
    objectives, refused = read_openslo(open_slo, defaults)
    problems += refused
    for document in whole:
        if not is_openslo(document):
            more, refused = _native(document, defaults)
            objectives += more
            problems += refused
    problems += _duplicates(objectives)
    for objective in objectives:
        problems += review(objective, scrape=pace.scrape, evaluate=pace.evaluate)
    return Loaded(tuple(objectives), tuple(dict.fromkeys(problems)))


def _native(document: Document, defaults: Defaults) -> tuple[list[Objective], list[Problem]]:
    if not isinstance(document.data, dict):
        return [], [document.problem((), "must be a mapping", "start with `version: prometheus/v1`")]
    if str(document.data.get("apiVersion", "")).startswith("sloth.slok.dev/"):
        fix = "move `spec` to the top, add `version: prometheus/v1`, and write keys with _ such as page_alert"
        return [], [document.problem(("apiVersion",), "is sloth's Kubernetes format, which is not read here", fix)]
    return read_native(document, defaults)


def _duplicates(objectives: list[Objective]) -> list[Problem]:
    seen: dict[tuple[str, str], Objective] = {}
    problems = []
    for each in objectives:
        first = seen.setdefault((each.service, each.name), each)
        if first is not each:
            where = f"{first.source.file}:{first.source.line}"
            message = f"the SLO {each.name!r} of service {each.service!r} stands in {where} already"
            path = f"{each.source.path}.name" if each.source.path.startswith("slos") else each.source.path
            fix = "give each SLO of a service its own name"
            problems.append(Problem(each.source.file, each.source.line, path, message, fix))
    return problems


def load_settings(settings: Settings) -> Loaded:
    """Read every SLO file that the settings name. Raises ConfigError with the problems of all files."""
    problems: list[Problem] = []
    paths = _files(settings, problems)
    try:
        loaded = load(paths, pace=Pace(settings.intervals.scrape, settings.intervals.evaluate))
    except SpecUnreadable as error:
        raise ConfigError([Problem(str(settings.source), 0, "slos", str(error), "check the file's rights")]) from None
    if problems or loaded.errors:
        raise ConfigError([*problems, *loaded.errors])
    return replace(loaded, objectives=tuple(_near(each, settings.home) for each in loaded.objectives))


def _near(objective: Objective, home: Path) -> Objective:
    """Name the file as people wrote it: relative to the settings file where it lies below it."""
    path = Path(objective.source.file)
    shown = str(path.relative_to(home)) if path.is_relative_to(home) else path.name
    return replace(objective, source=replace(objective.source, file=shown))


def _files(settings: Settings, problems: list[Problem]) -> list[Path]:
    found: dict[Path, None] = {}
    for i, pattern in enumerate(settings.slos):
        # Not pathlib's own glob: it refuses absolute patterns.
        matches = glob.glob(str(settings.home / pattern), recursive=True)  # noqa: PTH207  # as above
        paths = sorted(path for path in map(Path, matches) if path.is_file())
        if not paths:
            message = f"{pattern!r} matches no file in {settings.home}"
            fix = "write a path or pattern relative to the settings file"
            problems.append(Problem(str(settings.source), 0, f"slos[{i}]", message, fix))
        found |= dict.fromkeys(paths)
    return list(found)
