"""Every target on one page: what ``tocsin targets`` prints, made by the exporter itself out of what it remembers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from exporters.runtime.target import Target


@dataclass(frozen=True)
class TargetState:
    """One target as the running exporter knows it. Times are unix seconds; None: not read yet, or never happened."""

    target: str
    kind: str
    up: bool | None
    reason: str
    """Why it is down, or why a part of it is missing; empty when all is well."""
    detail: str
    duration_seconds: float | None
    samples: int
    folded: int
    read_at: float | None
    last_error: str
    last_error_at: float | None


def overview(targets: Iterable[Target]) -> list[TargetState]:
    """Return the state of each target as of its last read, without reading any; sorted, what is down first."""
    states = [_state(target) for target in targets]
    return sorted(states, key=lambda state: (state.up is not False, not state.reason, state.target))


def as_json(states: Iterable[TargetState]) -> list[dict[str, Any]]:
    """Return plain data for ``/-/targets``."""
    return [asdict(state) for state in states]


def _state(target: Target) -> TargetState:
    last, error = target.last, target.last_error
    wrong = last is not None and (last.error is not None or not all(part.ok for part in last.parts))
    return TargetState(
        target=target.name,
        kind=target.source.kind,
        up=None if last is None else last.up,
        reason=error.reason if wrong and error is not None else "",
        detail=error.text if wrong and error is not None else "",
        duration_seconds=None if last is None else last.duration,
        samples=0 if last is None else last.samples,
        folded=0 if last is None else last.folded,
        read_at=target.read_at,
        last_error=error.reason if error is not None else "",
        last_error_at=error.at if error is not None else None,
    )
