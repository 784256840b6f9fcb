"""Which queues exist: a SCAN on a slow timer and a connection of its own, so that no scrape waits for it twice."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from exporters.clients.resp import Connection, RedisTarget, ReplyError, failed, pack
from exporters.guard import translate
from exporters.model import Part

_BATCH: Final = 1000
_STEP_SECONDS: Final = 5.0
"""A look outlives the scrape that began it, so each of its steps has a deadline of its own."""
_EMPTY_SECONDS: Final = 1.0
_EMPTY_SHARE: Final = 20
"""While no queue is known, look again after 20 times what the look cost, but not within a second."""


@dataclass(frozen=True)
class Found:
    """The queues of one look, sorted, and when it was made (unix seconds)."""

    names: tuple[str, ...]
    at: float
    part: Part


class Discovery:
    """Keeps the list of queues; a look that fails keeps the old list."""

    def __init__(
        self,
        settings: RedisTarget,
        *,
        prefix: str,
        wanted: Callable[[str], bool],
        interval: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = Connection(settings, name="tocsin-exporter-discovery")
        self._prefix = prefix
        self._wanted = wanted
        self._interval = interval
        self._clock = clock
        self._task: asyncio.Task[Found] | None = None
        self._found: Found | None = None
        self._next = 0.0

    async def current(self) -> Found:
        """Return the known queues; this waits, and raises what went wrong, only while none is known."""
        if self._task is not None and self._task.done():
            self._collect(self._task)
        if self._task is None and (self._found is None or self._clock() >= self._next):
            self._task = asyncio.create_task(self._look())
            # A target that leaves the configuration leaves its last look behind: nobody asks how that ended.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        if self._task is not None and (self._found is None or not self._found.names):
            # The look may take longer than this scrape; it goes on for the next one.
            await asyncio.wait([self._task])
            self._collect(self._task)
        assert self._found is not None
        return self._found

    def _collect(self, task: asyncio.Task[Found]) -> None:
        self._task = None
        error = task.exception()
        if error is not None:
            self._next = self._clock() + self._interval
            if self._found is None:
                raise error
            reason = translate(error)
            part = Part("discovery", ok=False, duration=0.0, reason=reason.reason, detail=str(reason))
            self._found = Found(self._found.names, self._found.at, part)
            return
        self._found = task.result()
        empty_wait = min(self._interval, max(_EMPTY_SECONDS, _EMPTY_SHARE * self._found.part.duration))
        self._next = self._found.at + (self._interval if self._found.names else empty_wait)

    async def _look(self) -> Found:
        started = time.perf_counter()
        names: set[str] = set()
        cursor = b"0"
        try:
            while True:
                cursor, keys = await self._scan(cursor)
                names.update(self._names(keys))
                if cursor == b"0":
                    break
        finally:
            self._connection.close()  # the next look is half a minute away
        part = Part("discovery", ok=True, duration=time.perf_counter() - started)
        return Found(tuple(sorted(names)), self._clock(), part)

    async def _scan(self, cursor: bytes) -> tuple[bytes, Sequence[bytes]]:
        pattern = f"{_glob_escape(self._prefix)}:*:meta"
        request = pack("SCAN", cursor, "MATCH", pattern, "COUNT", _BATCH)
        reply = (await asyncio.wait_for(self._connection.request(request, 1), _STEP_SECONDS))[0]
        if isinstance(reply, ReplyError):
            raise failed(reply)
        return reply[0], reply[1]

    def _names(self, keys: Sequence[bytes]) -> list[str]:
        skip = len(self._prefix.encode()) + 1
        # surrogateescape: a name that is not UTF-8 must still make the very same keys when we ask for them.
        names = [key[skip : -len(b":meta")].decode("utf-8", "surrogateescape") for key in keys]
        # A queue's name holds no colon; deeper keys (a job called "meta") are not queues.
        return [name for name in names if name and ":" not in name and self._wanted(name)]


def _glob_escape(text: str) -> str:
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)
