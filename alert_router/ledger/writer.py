"""One thread owns the ledger's writing connection and commits what waits together: one fsync for many webhooks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from alert_router.ledger.schema import LedgerError

T = TypeVar("T")
Transaction = Callable[[sqlite3.Connection], T]

BATCH = 256
"""Most transactions that share one commit."""
BACKLOG = 20_000
"""Waiting transactions beyond which new ones are refused: better a 503 now than an answer after the sender gave up."""

_log = logging.getLogger(__name__)


@dataclass
class _Item:
    run: Transaction[Any]
    done: Callable[[Any, BaseException | None], None]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs functions inside transactions, in order, on one thread. A function that raises undoes only its own part.

    While one commit waits for the disk the next batch gathers by itself, so nothing waits for a timer.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._thread.start()
        self._closed = False

    async def run(self, transaction: Transaction[T]) -> T:
        """Run a transaction; returns after its commit is on disk. Raises LedgerError when it cannot be."""
        if self._closed or self._queue.qsize() > BACKLOG:
            msg = "the ledger is closing" if self._closed else "too many writes wait for the disk"
            raise LedgerError(msg)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def done(result: T, error: BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop ended while the disk was busy: nobody waits any more
                loop.call_soon_threadsafe(settle, result, error)

        self._queue.put(_Item(transaction, done))
        return await future

    def close(self) -> None:
        """Finish what waits, then close the connection."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            ended = False
            while len(batch) < BATCH and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    ended = True
                    break
                batch.append(item)
            self._commit(batch)
            if ended:
                return

    def _commit(self, batch: list[_Item]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for item in batch:
                self._run_one(item)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            # A full disk is no bug: no stack trace per request.
            _log.error("router.ledger.unwritable", extra={"error": str(error), "waiting": len(batch)})
            unavailable = LedgerError(f"the ledger cannot be written: {error}")
            for item in batch:
                item.result, item.error = None, unavailable
        for item in batch:
            item.done(item.result, item.error)

    def _run_one(self, item: _Item) -> None:
        self._connection.execute("SAVEPOINT item")
        try:
            item.result = item.run(self._connection)
        except sqlite3.IntegrityError as error:
            self._undo(item, error)
        except sqlite3.Error:
            raise  # the disk's trouble, not this item's: the whole batch fails
        except Exception as error:  # noqa: BLE001  # it belongs to the caller that waits for it
            self._undo(item, error)
        self._connection.execute("RELEASE item")

    def _undo(self, item: _Item, error: Exception) -> None:
        self._connection.execute("ROLLBACK TO item")
        item.error = error
