"""A toy source for tests of the runtime: it does what the test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from exporters.model import Family, Part, Source
from tocsin import signals
from tocsin.settings import TargetSettings


class ToySettings(TargetSettings):
    """Settings of a toy."""

    kind: Literal["toy"] = "toy"
    level: int = 0


@dataclass(frozen=True)
class ToySnapshot:
    """One number."""

    value: int
    parts: tuple[Part, ...] = ()
    version: str = "1.0"


@dataclass
class Toy:
    """The system behind the toy source: slow, broken or fine, and it counts who asks."""

    seconds: float = 0.0
    error: Exception | None = None
    value: int = 1
    parts: tuple[Part, ...] = ()
    reads: int = 0
    closed: int = 0
    gate: asyncio.Event | None = field(default=None)

    def source(self) -> Source:
        """Return the line of the source table."""

        def families(snapshot: ToySnapshot) -> Sequence[Family]:
            return [Family(signals.CACHE_ITEMS, [(("toy", "primary"), snapshot.value)])]

        return Source("toy", ToySettings, (signals.CACHE_ITEMS,), lambda _: _ToyReader(self), families)


class _ToyReader:
    def __init__(self, toy: Toy) -> None:
        self._toy = toy

    async def read(self) -> ToySnapshot:
        self._toy.reads += 1
        if self._toy.gate is not None:
            await self._toy.gate.wait()
        await asyncio.sleep(self._toy.seconds)
        if self._toy.error is not None:
            raise self._toy.error
        return ToySnapshot(self._toy.value, self._toy.parts)

    def close(self) -> None:
        self._toy.closed += 1


def settings_of(*names: str, level: int = 0) -> tuple[ToySettings, ...]:
    """Return toy targets by name."""
    return tuple(ToySettings(name=name, level=level) for name in names)
