"""What pages, metrics and ``why`` ask of the ledger. All functions take a connection with ``sqlite3.Row`` rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alert_router.snapshot import Snapshot
from tocsin.errors import TocsinError


class NoGroupError(TocsinError):
    """No group, or more than one, goes by that name; the text lists what there is."""


@dataclass(frozen=True)
class DeliveryView:
    """The newest delivery of a group to one recipient of one destination."""

    dest: str
    recipient: str
    state: str
    why: str
    attempts: int
    due: float
    finished: float | None
    reason: str | None
    detail: str | None


@dataclass(frozen=True)
class GroupView:
    """A group as it stands, with its newest snapshot and deliveries."""

    id: str
    status: str
    severity: str
    alertname: str
    origin: str
    generation: int
    episode: int
    since: float
    ended: float | None
    updated: float
    snapshot: Snapshot
    deliveries: tuple[DeliveryView, ...]


@dataclass(frozen=True)
class DeadLetter:
    """A message that could not be delivered."""

    id: int
    grp: str
    alertname: str
    severity: str
    dest: str
    recipient: str
    reason: str
    detail: str
    at: float
    attempts: int
    generation: int


@dataclass(frozen=True)
class Quarantined:
    """A body that could not be read; ``size`` in bytes before compression."""

    id: int
    received: float
    reason: str
    size: int


_GROUP = """
SELECT g.*, e.snapshot FROM grp g JOIN event e ON e.grp = g.id AND e.generation = g.generation
"""


def firing(connection: sqlite3.Connection, limit: int = 200) -> list[GroupView]:
    """Groups that fire, most severe first, then newest first."""
    return _groups(
        connection,
        "WHERE g.status = 'firing' ORDER BY"
        " CASE g.severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, g.since DESC LIMIT ?",
        (limit,),
    )


def recent(connection: sqlite3.Connection, limit: int = 50) -> list[GroupView]:
    """Groups that are resolved, the newest end first."""
    return _groups(connection, "WHERE g.status = 'resolved' ORDER BY g.updated DESC LIMIT ?", (limit,))


def count_firing(connection: sqlite3.Connection) -> int:
    """How many groups fire."""
    return int(connection.execute("SELECT count(*) FROM grp WHERE status = 'firing'").fetchone()[0])


def group(connection: sqlite3.Connection, ident: str) -> GroupView | None:
    """One group by its whole id."""
    found = _groups(connection, "WHERE g.id = ?", (ident,))
    return found[0] if found else None


def find(connection: sqlite3.Connection, name: str) -> GroupView:
    """One group by its id, the beginning of its id, or its alertname (the newest). Raises NoGroupError."""
    found = _groups(connection, "WHERE g.id = ?", (name,)) or _groups(
        connection, "WHERE g.alertname = ? ORDER BY g.status = 'firing' DESC, g.updated DESC LIMIT 1", (name,)
    )
    if not found and name and set(name) <= set("0123456789abcdef"):
        found = _groups(connection, "WHERE g.id GLOB ? LIMIT 6", (f"{name}*",))
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{one.id} ({one.alertname})" for one in found)
        msg = f"{name!r} is the beginning of several groups: {names}"
        raise NoGroupError(msg)
    known = ", ".join(f"{one.id} ({one.alertname})" for one in [*firing(connection, 5), *recent(connection, 5)])
    msg = f"the ledger has no group {name!r}; newest: {known}" if known else "the ledger is empty: no page came yet"
    raise NoGroupError(msg)


def newest_with(connection: sqlite3.Connection, alertname: str, labels: Mapping[str, str]) -> GroupView | None:
    """The newest group of an alert in which one alert carries all these labels; firing groups first."""
    for one in _groups(
        connection, "WHERE g.alertname = ? ORDER BY g.status = 'firing' DESC, g.updated DESC LIMIT 500", (alertname,)
    ):
        if any(labels.items() <= {**one.snapshot.labels, **alert.labels}.items() for alert in one.snapshot.alerts):
            return one
    return None


def _groups(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[GroupView]:
    rows = connection.execute(_GROUP + where, values).fetchall()
    deliveries = _deliveries(connection, [row["id"] for row in rows])
    return [
        GroupView(
            row["id"],
            row["status"],
            row["severity"],
            row["alertname"],
            row["origin"],
            row["generation"],
            row["episode"],
            row["since"],
            row["ended"],
            row["updated"],
            Snapshot.from_json(row["snapshot"]),
            tuple(deliveries.get(row["id"], ())),
        )
        for row in rows
    ]


def _deliveries(connection: sqlite3.Connection, groups: Sequence[str]) -> dict[str, list[DeliveryView]]:
    """Per group, the newest delivery of the current episode to each recipient; the inbox first."""
    rows = connection.execute(
        "SELECT d.*, max(d.generation) FROM delivery d JOIN grp g ON g.id = d.grp AND g.episode = d.episode"
        " WHERE d.grp IN (SELECT value FROM json_each(?))"
        " GROUP BY d.grp, d.dest, d.recipient ORDER BY d.why != 'local', d.why = 'fallback', d.dest, d.recipient",
        (json.dumps(list(groups)),),
    )
    out: dict[str, list[DeliveryView]] = {}
    for row in rows:
        out.setdefault(row["grp"], []).append(DeliveryView(*(row[name] for name in DeliveryView.__dataclass_fields__)))
    return out


def dead_letters(connection: sqlite3.Connection, limit: int = 200) -> list[DeadLetter]:
    """Dead letters, newest first."""
    rows = connection.execute(
        "SELECT d.id, d.grp, g.alertname, g.severity, d.dest, d.recipient, coalesce(d.reason, '') AS reason,"
        " coalesce(d.detail, '') AS detail, d.finished AS at, d.attempts, d.generation"
        " FROM delivery d JOIN grp g ON g.id = d.grp WHERE d.state = 'dead' ORDER BY d.finished DESC LIMIT ?",
        (limit,),
    )
    return [DeadLetter(*row) for row in rows]


def quarantined(connection: sqlite3.Connection, limit: int = 50) -> list[Quarantined]:
    """Bodies that could not be read, newest first."""
    rows = connection.execute("SELECT id, received, reason, size FROM quarantine ORDER BY id DESC LIMIT ?", (limit,))
    return [Quarantined(*row) for row in rows]


@dataclass(frozen=True)
class Totals:
    """Numbers for metrics and the inbox's head. Times are unix seconds."""

    dead: int
    oldest_undelivered: float | None
    heartbeats: Mapping[str, tuple[float, float | None]]
    """Source → (last seen, seconds between the last two)."""


def totals(connection: sqlite3.Connection) -> Totals:
    """Count dead letters, find the oldest undelivered message, and list the heartbeats."""
    dead = connection.execute("SELECT count(*) FROM delivery WHERE state = 'dead'").fetchone()[0]
    oldest = connection.execute(
        "SELECT min(created) FROM delivery WHERE state IN ('pending', 'sending') AND why != 'fallback'"
    ).fetchone()[0]
    beats = connection.execute("SELECT source, seen, gap FROM heartbeat").fetchall()
    return Totals(dead, oldest, {source: (seen, gap) for source, seen, gap in beats})
