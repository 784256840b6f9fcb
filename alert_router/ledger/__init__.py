"""The ledger: what was accepted, who was told, when and why. SQLite on disk before any answer leaves."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from alert_router.ledger.accept import Accepted, Arrival, accept
from alert_router.ledger.outbox import Finished, Job, Outcome, finish, lease, next_due, orphans, recover, requeue
from alert_router.ledger.prune import prune, shrink
from alert_router.ledger.schema import LedgerError, open_for_reading, open_for_writing, take_lock
from alert_router.ledger.writer import Transaction, Writer

__all__ = [
    "Accepted",
    "Arrival",
    "Finished",
    "Job",
    "Ledger",
    "LedgerError",
    "Outcome",
    "accept",
    "finish",
    "lease",
    "next_due",
    "open_for_reading",
    "orphans",
    "prune",
    "recover",
    "requeue",
]

T = TypeVar("T")


class Ledger:
    """The one writer of a ledger file, and a reading connection beside it. Close it, or use it as a context."""

    def __init__(self, path: Path, *, now: float) -> None:
        """Open the ledger at ``path``; raises StackError when another process has it or its format is newer."""
        self.path = path
        self._lock = take_lock(path)
        try:
            connection = open_for_writing(path)
        except BaseException:
            os.close(self._lock)
            raise
        self.recovered = recover(connection, now)
        """Messages whose outcome was unknown at the start, to be sent again."""
        self._connection = connection
        self._writer = Writer(connection)
        self.reader = open_for_reading(path)

    async def run(self, transaction: Transaction[T]) -> T:
        """Run a transaction and return after its commit. Raises LedgerError when the disk refuses it."""
        return await self._writer.run(transaction)

    async def prune(self, cutoff: float) -> int:
        """Delete what is older than ``cutoff`` (unix seconds) in small steps; returns how many states went."""
        whole = 0
        while count := await self.run(lambda connection: prune(connection, cutoff)):
            whole += count
        return whole

    def shrink(self) -> None:
        """Give freed space back to the disk; blocks, so call it in a thread."""
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
        try:
            shrink(connection)
        finally:
            connection.close()

    def close(self) -> None:
        """Commit what waits and let the file go."""
        self._writer.close()
        self.reader.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
