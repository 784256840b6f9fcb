"""The way out: leasing what is due, writing down each attempt before it is made, and what came of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from alert_router.ledger.accept import Kind
from alert_router.ledger.dead import bury, cheer
from alert_router.routing import Book
from alert_router.snapshot import Snapshot

MAX_AGE_SECONDS = {"critical": 86_400.0, "warning": 43_200.0, "info": 3_600.0}
"""How long a message may be tried, by severity. After that it is news of yesterday: a dead letter."""

Result = Literal["delivered", "transient", "rate_limited", "permanent"]


@dataclass(frozen=True)
class Job:
    """One leased delivery: all that rendering and sending need. ``thread`` is None when nothing was told yet."""

    delivery: int
    attempt: int
    dest: str
    recipient: str
    generation: int
    episode: int
    kind: Kind
    snapshot: Snapshot
    thread: Mapping[str, str] | None
    uncertain: bool
    """An earlier attempt may have arrived: the process died, or the answer never came."""
    inferred: bool
    accepted: float
    backoff: float
    why: str
    trace: str | None
    """The traceparent of the webhook."""


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt. ``retry_at`` is set for transient and rate-limited results (unix seconds)."""

    result: Result
    at: float
    """When the attempt ended (unix seconds)."""
    detail: str
    reason: str | None = None
    thread: Mapping[str, str] | None = None
    retry_at: float = 0.0
    backoff: float = 0.0
    uncertain: bool = False


@dataclass(frozen=True)
class Finished:
    """The state a delivery is in after an attempt, and the destinations that got something to do by it."""

    state: str
    wake: frozenset[str] = field(default_factory=frozenset)


_DUE = """
SELECT d.id, d.grp, d.episode, d.why, d.dest, d.recipient, d.generation, d.uncertain, d.backoff, d.created,
       e.kind, e.snapshot, e.inferred, e.trace, t.ref
FROM delivery d
JOIN event e ON e.grp = d.grp AND e.generation = d.generation
JOIN grp g ON g.id = d.grp
LEFT JOIN thread t ON t.grp = d.grp AND t.episode = d.episode AND t.dest = d.dest AND t.recipient = d.recipient
WHERE d.dest = ? AND d.state = 'pending' AND d.due <= ?
  AND NOT EXISTS (SELECT 1 FROM delivery o WHERE o.dest = d.dest AND o.grp = d.grp AND o.recipient = d.recipient
                  AND (o.state = 'sending' OR (o.state = 'pending' AND o.generation < d.generation)))
ORDER BY CASE g.severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, d.due, d.id
LIMIT ?
"""


def lease(connection: sqlite3.Connection, dest: str, limit: int, now: float) -> list[Job]:
    """Take what is due, most severe first, one message per group and recipient at a time; each attempt is on record."""
    row = connection.execute("SELECT not_before FROM destination WHERE name = ?", (dest,)).fetchone()
    if row and row[0] > now:
        return []
    jobs = []
    for found in connection.execute(_DUE, (dest, now, limit)).fetchall():
        ident, grp, episode, why = found[:4]
        if why == "fallback" and (taken := _taken_by(connection, grp, episode)):
            connection.execute(
                "UPDATE delivery SET state = 'superseded', finished = ?, detail = ? WHERE id = ?",
                (now, f"not needed: {', '.join(taken)} took it", ident),
            )
            continue
        connection.execute("UPDATE delivery SET state = 'sending', attempts = attempts + 1 WHERE id = ?", (ident,))
        attempt = connection.execute("INSERT INTO attempt (delivery, started) VALUES (?, ?)", (ident, now)).lastrowid
        jobs.append(_job(found, attempt or 0))
    return jobs


def _job(found: tuple[Any, ...], attempt: int) -> Job:
    ident, _grp, episode, why, dest, recipient, generation, uncertain, backoff, created, *event = found
    kind, text, inferred, trace, ref = event
    return Job(
        delivery=ident,
        attempt=attempt,
        dest=dest,
        recipient=recipient,
        generation=generation,
        episode=episode,
        kind=kind,
        snapshot=Snapshot.from_json(text),
        thread=json.loads(ref) if ref else None,
        uncertain=bool(uncertain),
        inferred=bool(inferred),
        accepted=created,
        backoff=backoff,
        why=why,
        trace=trace,
    )


def _taken_by(connection: sqlite3.Connection, grp: str, episode: int) -> list[str]:
    """The first destinations, if each of them has taken the page; empty when a fallback is needed."""
    rows = connection.execute(
        "SELECT dest, max(state = 'delivered') FROM delivery WHERE grp = ? AND episode = ?"
        " AND why IN ('route', 'announcement') GROUP BY dest",
        (grp, episode),
    ).fetchall()
    return [dest for dest, _ in rows] if rows and all(delivered for _, delivered in rows) else []


def next_due(connection: sqlite3.Connection, dest: str) -> float | None:
    """When the destination has something to do next (unix seconds), or None when nothing waits."""
    row = connection.execute(
        "SELECT max(min(d.due), coalesce((SELECT not_before FROM destination WHERE name = :dest), 0))"
        " FROM delivery d WHERE d.dest = :dest AND d.state = 'pending' AND NOT EXISTS ("
        " SELECT 1 FROM delivery o WHERE o.dest = d.dest AND o.grp = d.grp AND o.recipient = d.recipient"
        " AND o.state = 'sending')",
        {"dest": dest},
    ).fetchone()
    return None if row is None else row[0]


def finish(connection: sqlite3.Connection, job: Job, outcome: Outcome, book: Book) -> Finished:
    """Write down what came of an attempt and everything that follows from it."""
    now = outcome.at
    connection.execute(
        "UPDATE attempt SET ended = ?, result = ?, reason = ?, detail = ? WHERE id = ?",
        (now, outcome.result, outcome.reason, outcome.detail, job.attempt),
    )
    if outcome.result == "delivered":
        return _delivered(connection, job, outcome, book)
    if outcome.result == "rate_limited":
        connection.execute(
            "INSERT INTO destination (name, not_before) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET not_before = max(not_before, excluded.not_before)",
            (job.dest, outcome.retry_at),
        )
    too_old = outcome.retry_at - job.accepted > MAX_AGE_SECONDS[job.snapshot.severity]
    if outcome.result == "permanent" or too_old:
        detail = outcome.detail if outcome.result == "permanent" else f"given up after too long: {outcome.detail}"
        _settle(connection, job, "dead", now, (outcome.reason, detail))
        return Finished("dead", bury(connection, job.delivery, now, book))
    if _newer_waits(connection, job):
        _settle(connection, job, "superseded", now, (outcome.reason, f"replaced by newer news after: {outcome.detail}"))
        return Finished("superseded", frozenset({job.dest}))
    connection.execute(
        "UPDATE delivery SET state = 'pending', due = ?, backoff = ?, reason = ?, detail = ?,"
        " uncertain = max(uncertain, ?) WHERE id = ?",
        (outcome.retry_at, outcome.backoff, outcome.reason, outcome.detail, outcome.uncertain, job.delivery),
    )
    return Finished("pending")


def _delivered(connection: sqlite3.Connection, job: Job, outcome: Outcome, book: Book) -> Finished:
    now = outcome.at
    _settle(connection, job, "delivered", now, (None, outcome.detail))
    if outcome.thread is not None:
        connection.execute(
            "INSERT OR REPLACE INTO thread (dest, recipient, grp, episode, ref) VALUES (?,?,?,?,?)",
            (job.dest, job.recipient, job.snapshot.group_id, job.episode, json.dumps(outcome.thread)),
        )
    # It answers again: what waits for its backoff can go now.
    connection.execute(
        "UPDATE delivery SET due = ? WHERE dest = ? AND recipient = ? AND state = 'pending' AND attempts > 0"
        " AND due > ?",
        (now, job.dest, job.recipient, now),
    )
    return Finished("delivered", cheer(connection, (job.dest, job.recipient), now, book) | {job.dest})


def _settle(connection: sqlite3.Connection, job: Job, state: str, now: float, why: tuple[str | None, str]) -> None:
    connection.execute(
        "UPDATE delivery SET state = ?, finished = ?, reason = ?, detail = ? WHERE id = ?",
        (state, now, *why, job.delivery),
    )


def _newer_waits(connection: sqlite3.Connection, job: Job) -> bool:
    """Whether newer news of the same episode waits for this recipient; another episode's cannot replace this one."""
    row = connection.execute(
        "SELECT 1 FROM delivery WHERE grp = ? AND episode = ? AND dest = ? AND recipient = ? AND generation > ?"
        " AND state = 'pending'",
        (job.snapshot.group_id, job.episode, job.dest, job.recipient, job.generation),
    ).fetchone()
    return row is not None


def recover(connection: sqlite3.Connection, now: float, dest: str | None = None) -> int:
    """Send again, marked as uncertain, what was under way when its sender went away. Returns how many.

    After a start that is everything; ``dest`` is for one destination whose lane was stopped.
    """
    mine = connection.execute(
        "SELECT id FROM delivery WHERE state = 'sending' AND coalesce(dest = ?, 1)", (dest,)
    ).fetchall()
    connection.executemany(
        "UPDATE attempt SET ended = ?, result = 'unknown', detail = 'the router stopped while sending'"
        " WHERE ended IS NULL AND delivery = ?",
        [(now, ident) for (ident,) in mine],
    )
    for (ident,) in mine:
        requeue(connection, ident, now)
    return len(mine)


def requeue(connection: sqlite3.Connection, delivery: int, due: float) -> None:
    """Put one delivery back whose outcome could not be worked out, for another try at ``due`` (unix seconds)."""
    connection.execute(
        "UPDATE delivery SET state = 'pending', uncertain = 1, due = ? WHERE id = ? AND state = 'sending'",
        (due, delivery),
    )


def orphans(connection: sqlite3.Connection, now: float, book: Book) -> frozenset[str]:
    """Bury what waits for destinations that the settings do not have any more. Returns the destinations to wake."""
    rows = connection.execute("SELECT id, dest, recipient FROM delivery WHERE state = 'pending'").fetchall()
    woken: frozenset[str] = frozenset()
    for ident, dest, recipient in rows:
        if recipient not in book.recipients.get(dest, ()):
            connection.execute(
                "UPDATE delivery SET state = 'dead', finished = ?, reason = 'not_found', detail = ? WHERE id = ?",
                (now, "the destination is not in tocsin.yaml any more", ident),
            )
            woken |= bury(connection, ident, now, book)
    return woken
