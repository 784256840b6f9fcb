"""Find names that lead nowhere and numbers out of bounds, on raw data so that it runs beside other errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from tocsin.errors import Problem
from tocsin.settings.document import Document, KeyPath
from tocsin.settings.explain import nearest
from tocsin.settings.model import Settings

INBOX = "inbox"
"""The destination that always exists and needs no settings."""


class Bounds(Protocol):
    """What the settings need to know of a threshold."""

    @property
    def minimum(self) -> float:
        """Smallest sensible value."""

    @property
    def maximum(self) -> float:
        """Largest sensible value."""

    @property
    def unit(self) -> str:
        """Unit of the value."""


def cross_checks(document: Document, thresholds: Mapping[str, Bounds]) -> list[Problem]:
    """Return every problem that one key alone cannot show."""
    data = document.data
    targets = [t["name"] for t in _items(data.get("targets")) if isinstance(t, dict) and isinstance(t.get("name"), str)]
    return [
        *_duplicate_targets(document, targets),
        *_dead_routes(document),
        *_bad_thresholds(document, thresholds, targets),
        *_shared_ports(document),
    ]


def _items(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else []


def _duplicate_targets(document: Document, names: Sequence[str]) -> Iterable[Problem]:
    twice = {name for name, count in Counter(names).items() if count > 1}
    seen: set[str] = set()
    for i, target in enumerate(_items(document.data.get("targets"))):
        name = target.get("name") if isinstance(target, dict) else None
        if name in twice and name in seen:
            yield document.problem(
                ("targets", i, "name"), f"the name {name!r} is taken by another target", "give each target its own name"
            )
        seen.add(str(name))


def _dead_routes(document: Document) -> Iterable[Problem]:
    raw = document.data.get("destinations")
    known = {INBOX, *(raw if isinstance(raw, dict) else ())}
    if isinstance(raw, dict) and INBOX in raw:
        yield document.problem(
            ("destinations", INBOX), "is built in", "choose another name; the inbox needs no settings"
        )
    for i, route in enumerate(_items(document.data.get("routes"))):
        if not isinstance(route, dict):
            continue
        lists: list[tuple[KeyPath, Any]] = [(("routes", i, "to"), route.get("to"))]
        for j, step in enumerate(_items(route.get("fallback"))):
            if isinstance(step, dict):
                lists.append((("routes", i, "fallback", j, "to"), step.get("to")))
        for path, names in lists:
            for k, name in enumerate(_items(names)):
                if name not in known:
                    yield document.problem(
                        (*path, k), f"there is no destination {name!r}", nearest(str(name), known, "destinations:")
                    )


def _bad_thresholds(document: Document, known: Mapping[str, Bounds], targets: Sequence[str]) -> Iterable[Problem]:
    raw = document.data.get("thresholds")
    for name, override in (raw if isinstance(raw, dict) else {}).items():
        if name not in known:
            yield document.problem(
                ("thresholds", name), f"there is no threshold {name!r}", nearest(str(name), known, "thresholds:")
            )
            continue
        if not isinstance(override, dict):
            continue
        per_target = override.get("targets")
        per_target = per_target if isinstance(per_target, dict) else {}
        for target in per_target:
            if target not in targets:
                path: KeyPath = ("thresholds", name, "targets", target)
                yield document.problem(
                    path, f"there is no target {target!r}", nearest(str(target), targets, "targets:")
                )
        values: list[tuple[KeyPath, Any]] = [(("thresholds", name, "default"), override.get("default"))]
        values += [(("thresholds", name, "targets", target), value) for target, value in per_target.items()]
        low, high, unit = known[name].minimum, known[name].maximum, known[name].unit
        for path, value in values:
            if isinstance(value, int | float) and not low <= value <= high:
                yield document.problem(
                    path, f"{value} is outside {low:g} to {high:g} ({unit})", f"write a number from {low:g} to {high:g}"
                )


def _shared_ports(document: Document) -> Iterable[Problem]:
    raw = document.data.get("ports")
    users: dict[Any, str] = {name: part for part, name in Settings.model_fields["ports"].default.model_dump().items()}
    for part in raw if isinstance(raw, dict) else ():
        users = {port: owner for port, owner in users.items() if owner != part}
    for part, port in (raw if isinstance(raw, dict) else {}).items():
        if port in users:
            yield document.problem(
                ("ports", part), f"port {port} belongs to {users[port]} already", "give each part its own port"
            )
        users[port] = part
