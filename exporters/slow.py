"""Dear facts on a timer of their own: read in the background, kept when a look fails, never waited for twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from exporters.guard import translate
from exporters.model import Part
from tocsin.errors import TargetError

T = TypeVar("T")

_FIRST_WAIT: Final = 2.0
"""Seconds that a scrape waits for the very first look; it goes on in the background after that."""
_PATIENCE: Final = 30.0
_SOONER: Final = 6
"""After a failure, or when something new was seen, the next look comes after this part of the interval."""


@dataclass(frozen=True)
class Looked(Generic[T]):
    """The last good look: None before there was one. ``at`` is in unix seconds, ``part`` is the latest try's."""

    value: T | None
    at: float
    part: Part


class Slow(Generic[T]):
    """Looks every ``interval`` seconds, each look within half a minute; the very first is waited for ``first_wait``."""

    def __init__(
        self,
        collector: str,
        look: Callable[[], Awaitable[T]],
        *,
        interval: float,
        first_wait: float = _FIRST_WAIT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._collector = collector
        self._look = look
        self._interval = interval
        self._first_wait = first_wait
        self._clock = clock
        self._task: asyncio.Task[tuple[T, float]] | None = None
        self._looked: Looked[T] = Looked(None, 0.0, Part(collector, ok=True, duration=0.0))
        self._next = 0.0

    async def current(self) -> Looked[T]:
        """Return the last look, starting the next one when it is due. Never raises what a look raised."""
        self._collect()
        if self._task is None and self._clock() >= self._next:
            self._task = asyncio.create_task(self._timed(), name=f"slow {self._collector}")
            # A target that leaves the configuration leaves its last look behind: nobody asks how that ended.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        if self._task is not None and self._looked.value is None:
            await asyncio.wait([self._task], timeout=self._first_wait)
            self._collect()
        if self._looked.value is None and self._looked.part.ok:
            late = TargetError("timeout", "the first look is not finished yet")
            return replace(self._looked, part=self._failed(late))
        return self._looked

    def hurry(self) -> None:
        """Have the next look soon: something was seen that the last one did not know."""
        self._next = min(self._next, self._looked.at + self._interval / _SOONER)

    def close(self) -> None:
        """End a look that is under way."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _timed(self) -> tuple[T, float]:
        started = time.perf_counter()
        value = await asyncio.wait_for(self._look(), _PATIENCE)
        return value, time.perf_counter() - started

    def _collect(self) -> None:
        if self._task is None or not self._task.done():
            return
        task, self._task = self._task, None
        now = self._clock()
        error = task.exception()
        if error is not None:
            self._next = now + self._interval / _SOONER
            self._looked = replace(self._looked, part=self._failed(error))
            return
        value, duration = task.result()
        self._next = now + self._interval
        self._looked = Looked(value, now, Part(self._collector, ok=True, duration=duration))

    def _failed(self, error: BaseException) -> Part:
        why = translate(error)
        return Part(self._collector, ok=False, duration=0.0, reason=why.reason, detail=str(why))
