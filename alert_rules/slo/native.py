"""From a native SLO document to objectives: what the types cannot say, and everything worth a warning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from alert_rules.slo import promql
from alert_rules.slo.latency import latency_indicator
from alert_rules.slo.objective import Indicator, Objective, Source
from alert_rules.slo.promql import Query, Unit
from alert_rules.slo.spec import Extras, Slo, Spec
from alert_rules.slo.windows import BUILT_IN_PERIODS, WindowSet, window_name, window_set
from tocsin.errors import Problem
from tocsin.settings.document import Document, KeyPath
from tocsin.settings.explain import explain

OURS = ("slo", "service", "window", "tier", "window_long", "window_short", "burn_rate", "alertname")
"""Labels that Tocsin sets itself; an owner's label of that name is not taken."""


@dataclass(frozen=True)
class Defaults:
    """What one run applies to every SLO that does not say otherwise."""

    period: timedelta = timedelta(days=30)
    windows: WindowSet | None = None

    def window_set(self, period: timedelta) -> WindowSet | None:
        """Return the pairs of a period: those of the windows file where it is for this period, else the built-in."""
        if self.windows is not None and self.windows.period == period:
            return self.windows
        return window_set(period) if period in BUILT_IN_PERIODS else None


def read_native(document: Document, defaults: Defaults) -> tuple[list[Objective], list[Problem]]:
    """Return the objectives of one native document and its problems; none where any of them is an error."""
    refused = list(_plugins(document))
    if refused:
        return [], refused
    try:
        spec = Spec.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return [], [_told(each, document) for each in details]
    out, problems = [], []
    for i, slo in enumerate(spec.slos):
        objective, found = build(Place(document, ("slos", i)), spec, slo, defaults)
        problems += found
        out += [objective] if objective else []
    return out, problems


def _told(detail: Any, document: Document) -> Problem:  # noqa: ANN401  # pydantic's own error details
    problem = explain(Spec, (), detail, document)
    pattern = (detail.get("ctx") or {}).get("pattern")
    if pattern == r"^[a-zA-Z_][a-zA-Z0-9_]*$":
        fix = "use letters, digits and _ only, not starting with a digit: Prometheus 2.42 takes no other name"
        return replace(problem, message="is not a label name", fix=fix)
    if detail["type"] == "string_pattern_mismatch":
        fix = "start and end with a letter or digit, two characters or more; between them also . _ -"
        return replace(problem, message="is not a name", fix=fix)
    if detail["type"] == "string_too_short":
        return replace(problem, message="is empty", fix="write a value or leave the key out")
    if detail["type"] == "string_too_long":
        return replace(problem, message="has more than 1050 characters", fix="shorten it and link to the longer text")
    return replace(problem, fix=problem.fix.replace("see docs/reference/settings.md", "see docs/reference/slo.md"))


def _plugins(document: Document) -> Iterator[Problem]:
    """Sloth's Go plugins are programs: they cannot run here, and ignoring them would change the promise."""
    data = document.data
    slos = data.get("slos")
    fix = "write what the plugin makes as `events` queries; `sloth generate` prints them"
    places: list[tuple[KeyPath, Any]] = [((), data)]
    places += [(("slos", i), slo) for i, slo in enumerate(slos if isinstance(slos, list) else [])]
    for path, each in places:
        if isinstance(each, dict):
            for key in ("slo_plugins", "plugins"):
                if key in each:
                    yield document.problem((*path, key), "is a chain of Go plugins, which only sloth can run", fix)
            sli = each.get("sli")
            if isinstance(sli, dict) and "plugin" in sli:
                yield document.problem((*path, "sli", "plugin"), "is a Go plugin, which only sloth can run", fix)


@dataclass(frozen=True)
class Place:
    """Where an SLO stands; makes problems about it. ``foreign`` files have other keys than the native ones."""

    document: Document
    path: KeyPath
    foreign: bool = False

    def error(self, key: KeyPath, message: str, fix: str) -> Problem:
        """Make an error about a native key of this SLO."""
        return self.document.problem(self.path if self.foreign else (*self.path, *key), message, fix)

    def warning(self, key: KeyPath, message: str, fix: str) -> Problem:
        """Make a warning."""
        return replace(self.error(key, message, fix), level="warning")

    def info(self, key: KeyPath, message: str, fix: str) -> Problem:
        """Make a note."""
        return replace(self.error(key, message, fix), level="info")

    def source(self) -> Source:
        """Say where the SLO stands."""
        found = self.error((), "", "")
        return Source(found.file, found.line, found.path)


def build(place: Place, spec: Spec, slo: Slo, defaults: Defaults) -> tuple[Objective | None, list[Problem]]:
    """Return one objective, or None with the errors among its problems."""
    problems = [*_sli_problems(place, slo), *_labels_taken(place, spec, slo)]
    windows = _windows(place, slo.tocsin, defaults, problems)
    if windows is None or any(problem.level == "error" for problem in problems):
        return None, problems
    indicator = _indicator(place, slo, problems)
    if indicator is None:
        return None, problems
    extras, mine = slo.tocsin, {**spec.labels, **slo.labels}
    objective = Objective(
        service=spec.service,
        name=slo.name,
        objective=slo.objective,
        indicator=indicator,
        windows=windows,
        source=place.source(),
        description=slo.description,
        owner_labels={name: value for name, value in mine.items() if name not in OURS},
        alerting=slo.alerting,
        guard=extras.guard,
        absent=extras.absent,
        maintenance=extras.maintenance,
        tiers={"page": extras.tiers.page, "ticket": extras.tiers.ticket},
    )
    return objective, [*problems, *_missing_texts(place, slo)]


def _windows(place: Place, extras: Extras, defaults: Defaults, problems: list[Problem]) -> WindowSet | None:
    period = extras.period or defaults.period
    windows = defaults.window_set(period)
    if windows is None:
        known = ", ".join(window_name(each) for each in BUILT_IN_PERIODS)
        message = f"no windows are known for a period of {window_name(period)}"
        fix = f"write one of {known}, or give a windows file for this period"
        problems.append(place.error(("tocsin", "period"), message, fix))
        return None
    if extras.shares:
        if any(share > 100 for share in extras.shares):
            message = "a pair cannot spend more than 100 percent of the budget"
            problems.append(place.error(("tocsin", "shares"), message, "write percents such as [2, 5, 10, 10]"))
            return None
        windows = windows.with_shares([share / 100 for share in extras.shares])
    return windows


def _sli_problems(place: Place, slo: Slo) -> Iterator[Problem]:
    events, raw, extras = slo.sli.events, slo.sli.raw, slo.tocsin
    if extras.latency and (events or raw):
        yield place.error(("tocsin", "latency"), "stands beside `sli`: two indicators", "keep one of the two")
    elif not (events or raw or extras.latency):
        fix = "write `events` with error_query and total_query, or `raw` with error_ratio_query"
        yield place.error(("sli",), "has no indicator", fix)
    if events and raw:
        yield place.error(("sli",), "has two indicators, `events` and `raw`", "keep one of the two")
    if events and " ".join(events.error_query.split()) == " ".join(events.total_query.split()):
        message = "error_query and total_query are the same, so every event would be bad"
        fix = "select the bad events only in error_query"
        yield place.error(("sli", "events", "error_query"), message, fix)
    if extras.total_query and not raw:
        yield place.error(("tocsin", "total_query"), "weighs a raw ratio, and there is none", "leave it out")


def _labels_taken(place: Place, spec: Spec, slo: Slo) -> Iterator[Problem]:
    alerting = slo.alerting
    fix = "rename it; this name is Tocsin's own"
    for name in sorted(set(spec.labels) & set(OURS)):
        problem = place.document.problem(("labels", name), f"the label {name!r} is not taken over", fix)
        yield replace(problem, level="warning")
    for key, labels in (
        (("labels",), slo.labels),
        (("alerting", "labels"), alerting.labels),
        (("alerting", "page_alert", "labels"), alerting.page_alert.labels),
        (("alerting", "ticket_alert", "labels"), alerting.ticket_alert.labels),
    ):
        for name in sorted(set(labels) & set(OURS)):
            yield place.warning((*key, name), f"the label {name!r} is not taken over", fix)


def _indicator(place: Place, slo: Slo, problems: list[Problem]) -> Indicator | None:
    if slo.tocsin.latency:
        indicator, refused = latency_indicator(slo.tocsin.latency, slo.tocsin.group_by)
        if refused:
            problems.append(place.error(("tocsin", "latency", "matchers"), refused, 'write for example job="api"'))
        return indicator
    if slo.sli.raw:
        return _raw(place, slo, problems)
    return _events(place, slo, problems)


def _events(place: Place, slo: Slo, problems: list[Problem]) -> Indicator | None:
    if slo.sli.events is None:
        return None
    error, total = promql.read(slo.sli.events.error_query), promql.read(slo.sli.events.total_query)
    unit = _unit(slo.tocsin.unit, error, total)
    if unit is None:
        message = "cannot tell whether the queries count per second or per window"
        fix = "add `tocsin: {unit: rate}` or `tocsin: {unit: increase}` beside `sli`"
        problems.append(place.error(("sli", "events"), message, fix))
    group_by = _group_by(place, slo, (error, total), problems)
    if unit is None or group_by is None:
        return None
    return Indicator("events", error.text, total.text, unit, total.watched, not error.difference, group_by)


def _raw(place: Place, slo: Slo, problems: list[Problem]) -> Indicator | None:
    if slo.sli.raw is None:
        return None
    ratio, weight = promql.read(slo.sli.raw.error_ratio_query), slo.tocsin.total_query
    total = promql.read(weight) if weight else None
    unit = _unit(slo.tocsin.unit, total) if total else "increase"
    if unit is None:
        message = "cannot tell whether the query counts per second or per window"
        problems.append(place.error(("tocsin", "total_query"), message, "add `unit: rate` or `unit: increase`"))
    group_by = _group_by(place, slo, (ratio, total) if total else (ratio,), problems)
    if unit is None or group_by is None:
        return None
    if total is None:
        message = "a raw ratio has no totals: its budget is a mean over time, and it has no low-traffic guard"
        fix = "add `tocsin: {total_query: ...}` to weigh it by traffic, or count `events`"
        problems.append(place.info(("sli", "raw"), message, fix))
        return Indicator("raw", ratio.text, None, unit, ratio.watched, group_by=group_by)
    return Indicator("weighted", ratio.text, total.text, unit, total.watched, group_by=group_by)


def _unit(told: Unit | None, *queries: Query) -> Unit | None:
    used = {unit for query in queries for unit in query.units}
    return told or (used.pop() if len(used) == 1 and all(query.units for query in queries) else None)


def _group_by(place: Place, slo: Slo, queries: tuple[Query, ...], problems: list[Problem]) -> tuple[str, ...] | None:
    """Return the labels to keep apart; a spec that says nothing keeps those that both queries aggregate by."""
    wanted, kinds = slo.tocsin.group_by, {query.by for query in queries}
    if wanted:
        missing = [name for kind in kinds if kind is not None for name in wanted if name not in kind]
        if missing:
            message = f"the queries do not keep the label {missing[0]!r}"
            fix = f"write `sum by ({', '.join(wanted)}) (...)` in both queries"
            problems.append(place.error(("tocsin", "group_by"), message, fix))
            return None
        return wanted
    if kinds == {()}:
        return ()
    where: KeyPath = ("sli", "raw" if slo.sli.raw else "events")
    if None in kinds:
        fix = "aggregate both with sum(...), or name the labels: `tocsin: {group_by: [...]}`"
        problems.append(place.warning(where, "a query can return several series, which are added up", fix))
        return ()
    if len(kinds) > 1:
        fix = "aggregate both by the same labels"
        problems.append(place.warning(where, "the two queries aggregate by different labels", fix))
        return ()
    (by,) = kinds
    fix = f"say that it is meant: `tocsin: {{group_by: [{', '.join(by or ())}]}}`"
    problems.append(place.warning(where, f"the queries return one series for each {', '.join(by or ())}", fix))
    return by


def _missing_texts(place: Place, slo: Slo) -> Iterator[Problem]:
    alerting = slo.alerting
    if not slo.description:
        yield place.info(("description",), "has no description", "say in one sentence what is promised to whom")
    annotations = {**alerting.annotations, **alerting.page_alert.annotations, **alerting.ticket_alert.annotations}
    if not any("runbook" in name for name in annotations):
        fix = "add `annotations: {runbook_url: ...}` under `alerting`; Tocsin's own page stands there until then"
        yield place.info(("alerting",), "names no runbook", fix)
