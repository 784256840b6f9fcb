"""Try one target once, for ``tocsin check --connect``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from exporters.model import Source
from exporters.runtime.target import Target
from exporters.table import SOURCES
from tocsin.errors import TargetReason
from tocsin.settings import TargetSettings


@dataclass(frozen=True)
class TargetResult:
    """How one read of one target went. ``detail`` is fit for a person and holds no secret."""

    up: bool
    reason: TargetReason | None
    detail: str
    duration_seconds: float
    samples: int


def try_target(target: TargetSettings, *, timeout: float, sources: Mapping[str, Source] = SOURCES) -> TargetResult:
    """Read a target once within ``timeout`` seconds. Never raises for a target that is down."""
    return asyncio.run(_try(Target(target, sources[target.kind]), timeout))


async def _try(target: Target, timeout: float) -> TargetResult:  # noqa: ASYNC109  # the deadline is the runtime's, seen from outside
    scrape = await target.scrape(timeout)
    target.close()
    bad = next((part for part in scrape.parts if not part.ok), None)
    reason = scrape.error.reason if scrape.error else bad.reason if bad else None
    detail = str(scrape.error) if scrape.error else f"{bad.collector}: {bad.detail}" if bad else ""
    return TargetResult(scrape.up, reason, detail, scrape.duration, scrape.samples)
