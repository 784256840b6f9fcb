"""The second reader: OpenSLO v1. Each objective of an SLO becomes one SLO of ours, through the native types."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from alert_rules.slo import openslo_types as o
from alert_rules.slo.native import Defaults, Place, build
from alert_rules.slo.objective import Objective
from alert_rules.slo.openslo_checks import policies, slo_problems
from alert_rules.slo.openslo_queries import QueryRefused, sli_of
from alert_rules.slo.spec import Spec
from tocsin.errors import Problem
from tocsin.settings.document import Document, KeyPath
from tocsin.settings.explain import explain, nearest


def is_openslo(document: Document) -> bool:
    """Say whether a document is meant for OpenSLO, right or wrong."""
    data = document.data
    return isinstance(data, dict) and str(data.get("apiVersion", "")).lower().startswith("openslo")


@dataclass(frozen=True)
class _Read:
    """One document and what it says."""

    document: Document
    item: o.Document

    @property
    def key(self) -> tuple[str, str]:
        return self.item.kind, self.item.metadata.name


def read_openslo(documents: Sequence[Document], defaults: Defaults) -> tuple[list[Objective], list[Problem]]:
    """Return the objectives of a set of documents, which may refer to each other, and every problem."""
    problems: list[Problem] = []
    reads: dict[tuple[str, str], _Read] = {}
    for document in documents:
        item, found = _validated(document)
        problems += found
        if item is None:
            continue
        read = _Read(document, item)
        if read.key in reads:
            first = reads[read.key].document.file
            message = f"the {item.kind} {item.metadata.name!r} stands in {first} already"
            problems.append(document.problem(("metadata", "name"), message, "give each object of a kind its own name"))
        reads.setdefault(read.key, read)
    known: dict[tuple[str, str], Any] = {key: read.item for key, read in reads.items()}
    objectives: list[Objective] = []
    for read in reads.values():
        problems += _references(read, known)
        if isinstance(read.item, o.Slo):
            more, found = _slo(read.document, read.item, known, defaults)
            objectives += more
            problems += found
    return objectives, problems


def _validated(document: Document) -> tuple[o.Document | None, list[Problem]]:
    data = document.data
    version, kind = str(data.get("apiVersion")), str(data.get("kind"))
    if version != "openslo/v1":
        fix = "write it in openslo/v1: ratioMetric with metricSource, timeWindow as a list with `duration`"
        return None, [document.problem(("apiVersion",), f"{version} is not read here", fix)]
    model = o.KINDS.get(kind)
    if model is None:
        return None, [document.problem(("kind",), f"unknown kind {kind!r}", nearest(kind, o.KINDS, "known kinds:"))]
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return None, [_told(model, each, document) for each in details]


def _told(model: type[o.Document], detail: Any, document: Document) -> Problem:  # noqa: ANN401  # pydantic's details
    problem = explain(model, (), detail, document)
    problem = replace(problem, fix=problem.fix.replace("see docs/reference/settings.md", "see docs/reference/slo.md"))
    key = str(detail["loc"][-1]) if detail["loc"] else ""
    if detail["type"] == "string_too_long":
        return replace(problem, fix="shorten it")
    if detail["type"] == "too_long":
        return replace(problem, fix="write exactly one item")
    if detail["type"] == "string_pattern_mismatch" and key in ("duration", "lookbackWindow", "alertAfter"):
        fix = "write one number and one letter, such as 30d or 4w (m minute, h, d, w; M month, Q, Y)"
        return replace(problem, message="is not a duration", fix=fix)
    return problem


def _references(read: _Read, known: Mapping[tuple[str, str], Any]) -> Iterator[Problem]:
    for path, kind, name in _named(read.document.data, ()):
        if (kind, name) not in known:
            names = [other for each, other in known if each == kind]
            message = f"no {kind} of the name {name!r} is among the files"
            fix = nearest(name, names, "known:") if names else f"add its document, or write the {kind} in this place"
            yield read.document.problem(path, message, fix)


_REFERENCES = {
    "indicatorRef": "SLI",
    "alertPolicyRef": "AlertPolicy",
    "conditionRef": "AlertCondition",
    "targetRef": "AlertNotificationTarget",
    "metricSourceRef": "DataSource",
}


def _named(data: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str, str]]:  # noqa: ANN401  # plain YAML data
    if isinstance(data, dict):
        for key, value in data.items():
            if key in _REFERENCES and isinstance(value, str):
                yield (*path, key), _REFERENCES[key], value
            else:
                yield from _named(value, (*path, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from _named(value, (*path, i))


def _slo(
    document: Document, slo: o.Slo, known: Mapping[tuple[str, str], Any], defaults: Defaults
) -> tuple[list[Objective], list[Problem]]:
    problems = list(slo_problems(document, slo))
    if any(problem.level == "error" for problem in problems):
        return [], problems
    problems += policies(document, slo)
    indicator = slo.spec.indicator or known.get(("SLI", slo.spec.indicator_ref or ""))
    if indicator is None:
        return [], problems  # a dangling reference, told already
    try:
        sli = sli_of(indicator.spec, known)
    except QueryRefused as refused:
        path: KeyPath = ("spec", "indicator", "spec", *refused.path) if slo.spec.indicator else ("spec", "indicatorRef")
        return [], [*problems, document.problem(path, refused.message, refused.fix)]
    out = []
    for i, objective in enumerate(slo.spec.objectives):
        built, found = _objective(document, slo, i, {**sli, "objective": _percent(objective)}, defaults)
        problems += found
        out += [built] if built else []
    return out, problems


def _percent(objective: o.Objective) -> str:
    return str(objective.target * 100 if objective.target is not None else objective.target_percent)


def _objective(
    document: Document, slo: o.Slo, i: int, native: dict[str, Any], defaults: Defaults
) -> tuple[Objective | None, list[Problem]]:
    place = Place(document, ("spec", "objectives", i), foreign=True)
    labels = {name: ",".join(values) for name, values in slo.metadata.labels.items() if ",".join(values)}
    usable = {name: value for name, value in labels.items() if re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name)}
    extras = {**native.pop("tocsin", {}), "period": slo.spec.time_window[0].duration}
    one = {
        **native,
        "name": _name(slo, i),
        "description": slo.spec.description,
        "labels": usable,
        "tocsin": extras,
    }
    problems = [
        place.warning((), f"the label {name!r} is no Prometheus label and is left out", "use letters, digits and _")
        for name in labels
        if name not in usable
    ]
    try:
        spec = Spec.model_validate({"version": "prometheus/v1", "service": slo.spec.service, "slos": [one]})
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            what, _, fix = detail["msg"].removeprefix("Value error, ").partition("; ")
            key = ".".join(str(part) for part in detail["loc"][2:] or detail["loc"])
            problems.append(place.error((), f"{key}: {what}", fix or "see docs/reference/slo.md"))
        return None, problems
    built, found = build(place, spec, spec.slos[0], defaults)
    return built, [*problems, *found]


def _name(slo: o.Slo, i: int) -> str:
    if len(slo.spec.objectives) == 1:
        return slo.metadata.name
    shown = re.sub(r"[^a-z0-9]+", "-", slo.spec.objectives[i].display_name.lower()).strip("-")
    return f"{slo.metadata.name}-{shown or i + 1}"
