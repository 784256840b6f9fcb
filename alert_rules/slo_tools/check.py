"""Everything that can be said of a set of SLO files: by themselves, and against a live Prometheus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from alert_rules.slo import Defaults, Objective, Pace, load
from alert_rules.slo.document import read_documents
from alert_rules.slo.latency import both_bounds
from alert_rules.slo.windows import window_name
from alert_rules.slo_tools import cost
from alert_rules.slo_tools.live import Known, Place, Role, check_query
from alert_rules.slo_tools.prometheus import Prometheus
from alert_rules.slo_tools.queries import with_window
from tocsin.errors import Problem, StackError
from tocsin.settings.document import Document, show_path

_LEVELS = ("error", "warning", "info")
_DEFAULT_RETENTION = timedelta(days=15)
_RETENTION = re.compile(r"(\d+(?:ms|[smhdwy]))+")
_QUERY_KEYS = {
    "error": (".sli.events.error_query", ".sli.raw.error_ratio_query", ".tocsin.latency", ".sli"),
    "total": (".sli.events.total_query", ".tocsin.total_query", ".tocsin.latency", ".sli"),
}


@dataclass(frozen=True)
class Against:
    """What to check against beside the files: a Prometheus, a retention, and how often rules are evaluated."""

    prometheus: Prometheus | None = None
    retention: timedelta | None = None
    pace: Pace = field(default_factory=Pace)


def check(paths: Iterable[Path], against: Against | None = None, defaults: Defaults | None = None) -> list[Problem]:
    """Return every finding, sorted by file and line. Raises SpecUnreadable when a file cannot be opened.

    A Prometheus that does not answer is a finding like any other.
    """
    chosen, against = list(dict.fromkeys(paths)), against or Against()
    loaded = load(chosen, defaults, against.pace)
    problems = [*loaded.problems]
    places = _Places([document for path in chosen for document in read_documents(path)[0]])
    try:
        for objective in loaded.objectives:
            problems += _live(objective, places, against)
        retention = against.retention or (retention_of(against.prometheus) if against.prometheus else None)
    except StackError as error:
        retention = against.retention
        problems.append(Problem(str(chosen[0]), 0, "", str(error), error.fix))
    for objective in loaded.objectives:
        problems += _retention(objective, places, retention)
    return sorted(dict.fromkeys(problems), key=lambda each: (each.file, each.line, _LEVELS.index(each.level)))


class _Places:
    """Finds the line of a key of an SLO in the documents it was read from."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._lines: dict[tuple[str, str], list[int]] = {}
        for document in documents:
            for path, line in document.lines.items():
                self._lines.setdefault((document.file, show_path(path)), []).append(line)

    def of(self, objective: Objective, keys: Iterable[str]) -> Place:
        """Return the place of the first of these keys that is written below the SLO, else the SLO's own."""
        source = objective.source
        for key in keys:
            path = f"{source.path}{key}"
            # Of several documents with the same path it is the first one from the SLO's own line on.
            later = [line for line in self._lines.get((source.file, path), []) if line >= source.line]
            if later:
                return Place(source.file, min(later), path)
        return Place(source.file, source.line, source.path)


def _live(objective: Objective, places: _Places, against: Against) -> Iterator[Problem]:
    here = places.of(objective, ())
    prometheus = against.prometheus
    if prometheus is None:
        estimate = _estimate(objective, len(cost.selectors_read(objective)), against.pace)
        yield here.problem("info", f"{objective.name}: {cost.told(estimate, measured=False)}", "nothing to do")
        return
    known = Known(prometheus)
    wrong: list[Problem] = []
    for role, query in _queries(objective):
        wrong += check_query(known, query, role=role, at=places.of(objective, _QUERY_KEYS[role]))
    if objective.maintenance:
        wrong += check_query(
            known, objective.maintenance, role="error", at=places.of(objective, (".tocsin.maintenance",))
        )
    yield from wrong
    if all(problem.level == "info" for problem in wrong):
        yield from _values(objective, places, prometheus)
    series = sum(prometheus.count(selector) for selector in cost.selectors_read(objective))
    if series:
        told = cost.told(_estimate(objective, series, against.pace), measured=True)
        yield here.problem("info", f"{objective.name}: {told}", "nothing to do")


def _estimate(objective: Objective, series: int, pace: Pace) -> cost.Cost:
    return cost.estimate(objective, series, scrape=pace.scrape, evaluate=pace.evaluate)


def _queries(objective: Objective) -> Iterator[tuple[Role, str]]:
    # As the rules read them: a bound in either spelling of Prometheus' generations.
    yield "error", both_bounds(objective.indicator.error)
    if objective.indicator.total:
        yield "total", both_bounds(objective.indicator.total)


def _values(objective: Objective, places: _Places, prometheus: Prometheus) -> Iterator[Problem]:
    """Say what the two queries say of the last hour, where it cannot be: more bad events than events."""
    indicator = objective.indicator
    at = places.of(objective, _QUERY_KEYS["error"])
    error = with_window(both_bounds(indicator.error), "1h")
    if indicator.mode != "events" or indicator.total is None:
        beyond = prometheus.instant(f"max(({error}) > 1.000001) or max(({error}) < -0.000001)")
        if beyond:
            message = f"the ratio is {next(iter(beyond.values())):.4g}, and a ratio lies between 0 and 1"
            yield at.problem("error", message, "divide bad events by all events")
        return
    total = with_window(both_bounds(indicator.total), "1h")
    found = prometheus.instant(f"sum({error}) / (sum({total}) > 0)")
    ratio = next(iter(found.values()), 0.0)
    # Buckets are not scraped all at once; a hair above 1 is no mistake.
    if ratio > 1.01:
        message = f"counts {ratio:.3g} times as many bad events as there are events in the last hour"
        yield at.problem("error", message, "count in both queries the same kind of event, by the same labels")
    elif ratio < -0.01:
        message = "counts fewer than no bad events in the last hour: more good events than events"
        yield at.problem("error", message, "count in both queries the same kind of event, by the same labels")


def retention_of(prometheus: Prometheus) -> timedelta | None:
    """Return how long a Prometheus keeps its samples; None where only a size limits it. Raises StackError."""
    told = str(prometheus.runtime().get("storageRetention", ""))
    found = _RETENTION.search(told)
    if found:
        length = _span(found[0])
        return length or _DEFAULT_RETENTION
    return None if told else _DEFAULT_RETENTION


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def _span(text: str) -> timedelta:
    return timedelta(seconds=sum(int(size) * _UNITS[unit] for size, unit in re.findall(r"(\d+)(ms|[smhdwy])", text)))


def _retention(objective: Objective, places: _Places, retention: timedelta | None) -> Iterator[Problem]:
    if retention is None or retention >= objective.period:
        return
    problem = places.of(objective, (".tocsin.period", ".tocsin")).problem(
        "warning",
        f"{objective.name}: Prometheus keeps {window_name(retention)}, less than the period of "
        f"{window_name(objective.period)}: the budget would forget failures too early",
        f"keep samples for {window_name(objective.period)} or longer (--storage.tsdb.retention.time), "
        "or write a shorter `tocsin: {period: ...}`",
    )
    yield replace(problem, path=problem.path or objective.source.path)
