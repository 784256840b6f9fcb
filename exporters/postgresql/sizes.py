"""Database sizes on a slow timer, a few per read: the server looks at every file, which may take long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from exporters.clients.postgres import Connection
from exporters.model import Part
from tocsin.errors import TargetError

_BUDGET_SECONDS: Final = 0.25
"""After so much time in one read, the rest waits for the next: no scrape is late for the sake of sizes."""


class Sizes:
    """The last known size of each database (bytes, by oid)."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._known: dict[str, tuple[int | None, float]] = {}
        self._error: TargetError | None = None

    @property
    def at(self) -> float | None:
        """When the oldest size that is still told was read (unix seconds); None when there is none."""
        return min((at for size, at in self._known.values() if size is not None), default=None)

    def of(self, oid: str) -> int | None:
        """Return a database's size in bytes; None when unknown."""
        return self._known.get(oid, (None, 0.0))[0]

    async def read(self, connection: Connection, oids: Sequence[str], clock: Callable[[], float]) -> Part:
        """Ask for the sizes that are due, one by one, until the budget of one read is spent."""
        self._known = {oid: known for oid, known in self._known.items() if oid in oids}
        due = [
            oid for oid in oids if not 0 <= clock() - self._known.get(oid, (None, float("-inf")))[1] < self._interval
        ]
        started = time.perf_counter()
        if due:
            self._error = None
        for oid in due:
            (answer,) = await connection.request(f"SELECT pg_database_size({int(oid)}::oid)")
            size = answer.rows[0][0] if answer.rows else None
            # One that fails is unknown and not asked again at once: it may be what takes so long.
            self._known[oid] = (None if size is None else int(size), clock())
            self._error = self._error or answer.error
            if time.perf_counter() - started > _BUDGET_SECONDS:
                break
        error, seconds = self._error, time.perf_counter() - started
        if error is None:
            return Part("sizes", ok=True, duration=seconds)
        return Part("sizes", ok=False, duration=seconds, reason=error.reason, detail=str(error))
