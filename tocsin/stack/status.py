"""Whether the stack is well: one answer for people, for ``tocsin up`` and for the ``gate`` of compose.

Every part is asked at its own readiness address, and Prometheus is asked what only it can know: whether its targets
are up, its rule groups healthy, and an Alertmanager found. What the stack *watches* being down is a warning here,
not a fault of the stack.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from tocsin.stack.ask import ask, reason

State = Literal["ok", "warning", "starting", "down", "absent"]
Fetch = Callable[[str], tuple[int, bytes]]
"""Address → status code and body; raises OSError when nobody answers."""

WATCHED_JOBS = frozenset({"apps"})
"""Scrape jobs of the user's own platform: down is a warning, the stack itself is well."""

PATIENCE = 30.0
"""Seconds. A rule group that is evaluated more seldom than this is not waited for: its turn may be minutes away."""


@dataclass(frozen=True)
class Probe:
    """A part and the address that answers 2xx when it is ready."""

    name: str
    url: str


@dataclass(frozen=True)
class Part:
    """What was found out about one part; ``detail`` is a sentence for people."""

    name: str
    state: State
    detail: str = ""

    @property
    def healthy(self) -> bool:
        """Absent parts and watched systems in trouble do not make the stack ill."""
        return self.state in ("ok", "warning", "absent")


def inspect_stack(probes: Sequence[Probe], prometheus: str | None, get: Fetch = ask) -> list[Part]:
    """Ask every part, all at once, then Prometheus (base address; None leaves that out) about the whole."""
    with ThreadPoolExecutor(max_workers=12) as pool:
        parts = list(pool.map(lambda probe: _ask(probe, get), probes))
    answers = {part.name: part.state for part in parts}
    if prometheus is not None and answers.get("prometheus") == "ok":
        parts += _ask_prometheus(prometheus, get)
    return parts


def _ask(probe: Probe, get: Fetch) -> Part:
    try:
        code, body = get(probe.url)
    except OSError as error:
        return Part(probe.name, "down", f"{probe.url} does not answer: {reason(error)}")
    if 200 <= code < 300:
        return Part(probe.name, "ok")
    text = body.decode("utf-8", "replace").strip().splitlines()
    return Part(probe.name, "starting", f"{probe.url} answers {code}{': ' + text[0][:120] if text else ''}")


def _ask_prometheus(base: str, get: Fetch) -> Iterable[Part]:
    checks: tuple[tuple[str, str, Callable[[Any], Part]], ...] = (
        ("targets", "/api/v1/targets?state=active", _targets),
        ("rules", "/api/v1/rules", _rules),
        ("alertmanagers", "/api/v1/alertmanagers", _alertmanagers),
    )
    for name, path, judge in checks:
        try:
            code, body = get(base + path)
            yield judge(json.loads(body)["data"]) if code == 200 else Part(name, "down", f"Prometheus answers {code}")
        except OSError as error:
            yield Part(name, "down", f"Prometheus could not say: {reason(error)}")
        except (ValueError, KeyError) as error:
            yield Part(name, "down", f"Prometheus gave an answer of another shape: {error}")


def _targets(data: Mapping[str, Any]) -> Part:
    active = data["activeTargets"]
    down, watched = [], []
    for target in active:
        labels = target["labels"]
        if target["health"] == "up":
            continue
        line = f"{labels.get('job')} {labels.get('instance')}: {target.get('lastError') or 'not scraped yet'}"
        if labels.get("job") in WATCHED_JOBS:
            watched.append(line)
        else:
            down.append(line)
    if not active:
        return Part("targets", "starting", "Prometheus has no targets yet")
    if down:
        return Part("targets", "starting", "; ".join(down[:5]))
    if watched:
        return Part("targets", "warning", "; ".join(watched[:5]))
    return Part("targets", "ok", f"{len(active)} up")


def _rules(data: Mapping[str, Any]) -> Part:
    groups = data["groups"]
    bad = [
        f"{group['name']}/{rule['name']}: {rule.get('lastError') or rule['health']}"
        for group in groups
        for rule in group["rules"]
        if rule["health"] == "err"
    ]
    waiting = sum(
        rule["health"] == "unknown"
        for group in groups
        if group.get("interval", 0) <= PATIENCE
        for rule in group["rules"]
    )
    if bad:
        return Part("rules", "down", "; ".join(bad[:5]))
    if not groups:
        return Part("rules", "down", "Prometheus has loaded no rules")
    if waiting:
        return Part("rules", "starting", f"{waiting} rules not evaluated yet")
    return Part("rules", "ok", f"{sum(len(group['rules']) for group in groups)} healthy")


def _alertmanagers(data: Mapping[str, Any]) -> Part:
    if data["activeAlertmanagers"]:
        return Part("alertmanagers", "ok", "found")
    return Part("alertmanagers", "starting", "Prometheus has found no Alertmanager yet")
