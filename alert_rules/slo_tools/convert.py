"""SLOs of other tools, written in our format: sloth (file and Kubernetes object), OpenSLO v1 and pyrra."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from alert_rules.slo.document import read_documents
from alert_rules.slo.load import load
from alert_rules.slo.native import Defaults
from alert_rules.slo.objective import Objective
from alert_rules.slo.openslo import is_openslo, read_openslo
from alert_rules.slo.windows import window_name
from alert_rules.slo_tools import pyrra
from tocsin.errors import Problem
from tocsin.settings.document import Document

_SLOTH_OBJECT = re.compile(r"sloth\.slok\.dev/")
_FREE_KEYS = ("labels", "annotations")


def convert(paths: Iterable[Path]) -> tuple[str, list[Problem]]:
    """Return one native file, a document per service, and what could not be taken over.

    Raises SpecUnreadable when a file cannot be opened. The text is empty when nothing could be converted.
    """
    natives: list[dict[str, Any]] = []
    problems: list[Problem] = []
    open_slo: list[Document] = []
    for path in dict.fromkeys(paths):
        documents, wrong = read_documents(path)
        problems += wrong
        for document in documents:
            if is_openslo(document):
                open_slo.append(document)
                continue
            native, refused = _other(document)
            problems += refused
            natives += [native] if native else []
    objectives, refused = read_openslo(open_slo, Defaults())
    problems += refused
    natives += _by_service(objectives)
    return (_HEAD + "---\n".join(map(_dump, natives)) if natives else ""), problems


_HEAD = "# Converted by `tocsin slo convert`. Comments of the source are not taken over.\n"


def review(text: str, folder: Path) -> tuple[Problem, ...]:
    """Return what `tocsin slo check` says of a converted text, which is written to ``folder`` for that."""
    path = folder / "converted.yaml"
    path.write_text(text, encoding="utf-8")
    return load([path]).problems


def _other(document: Document) -> tuple[dict[str, Any] | None, list[Problem]]:
    data = document.data
    if not isinstance(data, dict):
        return None, [document.problem((), "must be a mapping", "give a spec of sloth, OpenSLO or pyrra")]
    kind = str(data.get("apiVersion", ""))
    if kind.startswith("pyrra.dev/"):
        return pyrra.native(document)
    if _SLOTH_OBJECT.match(kind):
        spec = data.get("spec")
        if not isinstance(spec, dict):
            return None, [document.problem(("spec",), "must be a mapping", "give the whole PrometheusServiceLevel")]
        return {"version": "prometheus/v1", **_snake(spec)}, []
    if data.get("version") == "prometheus/v1":
        return data, []
    fix = "sloth: `version: prometheus/v1`; OpenSLO: `apiVersion: openslo/v1`; pyrra: `apiVersion: pyrra.dev/v1alpha1`"
    return None, [document.problem((), "is a spec of no format known here", fix)]


def _snake(value: Any) -> Any:  # noqa: ANN401  # plain YAML data
    """Write the keys of a Kubernetes object as sloth's files do; names of labels and annotations are the owner's."""
    if isinstance(value, list):
        return [_snake(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        re.sub(r"(?<!^)([A-Z])", lambda found: f"_{found[1].lower()}", key): each if key in _FREE_KEYS else _snake(each)
        for key, each in value.items()
    }


def _by_service(objectives: Iterable[Objective]) -> list[dict[str, Any]]:
    services: dict[str, list[dict[str, Any]]] = {}
    for objective in objectives:
        services.setdefault(objective.service, []).append(dict(_slo(objective)))
    return [{"version": "prometheus/v1", "service": service, "slos": slos} for service, slos in services.items()]


def _slo(objective: Objective) -> Iterator[tuple[str, Any]]:
    indicator = objective.indicator
    yield "name", objective.name
    yield "objective", pyrra.number(objective.objective)
    if objective.description:
        yield "description", objective.description
    if objective.owner_labels:
        yield "labels", dict(objective.owner_labels)
    if indicator.mode == "events":
        yield "sli", {"events": {"error_query": indicator.error, "total_query": indicator.total}}
    else:
        yield "sli", {"raw": {"error_ratio_query": indicator.error}}
    alerting = objective.alerting.model_dump(exclude_defaults=True, mode="json")
    if alerting:
        yield "alerting", alerting
    yield "tocsin", dict(_extras(objective))


def _extras(objective: Objective) -> Iterator[tuple[str, Any]]:
    indicator = objective.indicator
    yield "period", window_name(objective.period)
    # What the source said of its queries; ours may not be able to read it off them.
    if indicator.mode != "raw":
        yield "unit", indicator.unit
    if indicator.mode == "weighted":
        yield "total_query", indicator.total
    if indicator.group_by:
        yield "group_by", list(indicator.group_by)
    guard = objective.guard.model_dump(exclude_defaults=True)
    if guard:
        yield "guard", guard
    if not objective.windows.builtin:
        yield "shares", [pyrra.number(pair.share * 100) for pair in objective.windows.pairs]
    tiers = {name: tier.model_dump(exclude_defaults=True, mode="json") for name, tier in objective.tiers.items()}
    if any(tiers.values()):
        yield "tiers", {name: tier for name, tier in tiers.items() if tier}


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that queries stay readable, and lists inside their keys."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  # yaml's own signature
        super().increase_indent(flow, False)  # noqa: FBT003  # as above


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _dump(native: Mapping[str, Any]) -> str:
    return yaml.dump(dict(native), Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
