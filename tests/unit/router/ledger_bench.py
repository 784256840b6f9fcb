"""A ledger without threads or network: accept, lease and finish as plain calls, with a clock that the test moves."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from alert_router.ledger import Accepted, Arrival, Finished, Job, Outcome, accept, finish, lease, recover
from alert_router.ledger.schema import open_for_writing
from alert_router.routing import Book, Plan, Step
from alert_router.snapshot import Alert, Sender, Snapshot, build

T = TypeVar("T")

START = 1_800_000_000.0


def snapshot(
    status: str = "firing",
    *,
    starts: float = START,
    name: str = "Queue",
    severity: str = "critical",
    ends: float | None = None,
) -> Snapshot:
    """A group of one alert."""
    alert = Alert(
        "firing" if status == "firing" else "resolved",
        {"alertname": name, "severity": severity, "target": "orders"},
        {"summary": f"{name} is full", "value": "93 %"},
        starts,
        None if status == "firing" else ends or starts + 60,
        f"{name}-print",
    )
    return build([alert], Sender("router", {"alertname": name, "target": "orders"}, group_key=f"{{}}:{name}"))


class LedgerBench:
    """One ledger on disk, driven step by step."""

    def __init__(self, folder: Path, recipients: Mapping[str, tuple[str, ...]], plan: Plan) -> None:
        self.connection: sqlite3.Connection = open_for_writing(folder / "ledger.sqlite")
        self.book = Book({"inbox": ("",), **recipients})
        self.plan = plan
        self.now = START

    def take(self, what: Snapshot, plan: Plan | None = None) -> Accepted:
        """Accept a snapshot now."""
        return self._in_transaction(
            lambda: accept(self.connection, Arrival(what, plan or self.plan, self.now), self.book)
        )

    def lease(self, dest: str, limit: int = 10) -> list[Job]:
        """Lease what is due now."""
        return self._in_transaction(lambda: lease(self.connection, dest, limit, self.now))

    def finish(self, job: Job, result: str, **more: object) -> Finished:
        """Say what came of an attempt, now."""
        detail = str(more.pop("detail", result))
        outcome = Outcome(result, self.now, detail, **more)  # type: ignore[arg-type]
        return self._in_transaction(lambda: finish(self.connection, job, outcome, self.book))

    def deliver(self, dest: str) -> list[Job]:
        """Lease and deliver everything that is due at a destination."""
        jobs = self.lease(dest)
        for job in jobs:
            self.finish(job, "delivered", thread={"ts": f"{job.snapshot.group_id}.{job.episode}"})
        return jobs

    def refuse(self, dest: str) -> list[Job]:
        """Lease everything that is due at a destination, and have it refused for good."""
        jobs = self.lease(dest)
        for job in jobs:
            self.finish(job, "permanent", reason="auth", detail="invalid_auth")
        return jobs

    def crash(self) -> int:
        """What a start does after a kill."""
        return self._in_transaction(lambda: recover(self.connection, self.now))

    def states(self, dest: str, name: str | None = None) -> list[str]:
        """States of all deliveries of a destination, oldest first."""
        query = (
            "SELECT state FROM delivery d JOIN grp g ON g.id = d.grp WHERE dest = ?"
            " AND (? IS NULL OR g.alertname = ?) ORDER BY d.id"
        )
        return [state for (state,) in self.connection.execute(query, (dest, name, name))]

    def value(self, query: str, *values: object) -> object:
        """One value of the ledger."""
        row = self.connection.execute(query, values).fetchone()
        return row and row[0]

    def _in_transaction(self, run: Callable[[], T]) -> T:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            result = run()
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return result


def chat_plan(*fallback: tuple[float, str]) -> Plan:
    """Tell ``chat``, with fallback steps."""
    return Plan(("chat",), tuple(Step(after, (dest,)) for after, dest in fallback))
