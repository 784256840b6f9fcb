"""Dead letters: kept, moved on to another destination, announced; and the all-clear when a destination works again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace

from alert_router.ledger.accept import Arrival, accept
from alert_router.routing import Book, Plan
from alert_router.snapshot import Announcement, Snapshot

FAILING_ALERT = "DestinationFailing"
"""Alertname of the router's own page about a destination that refuses its messages."""


_REASONS = {
    "auth": "the credentials are refused",
    "not_found": "it is not there",
    "rejected": "the message is refused",
    "too_large": "even one line is too large",
}


def bury(connection: sqlite3.Connection, delivery: int, now: float, book: Book) -> frozenset[str]:
    """Follow up on a delivery that is dead: next destination, announcement. Returns the destinations to wake."""
    grp, generation, episode, dest, recipient, reason, detail = connection.execute(
        "SELECT grp, generation, episode, dest, recipient, reason, detail FROM delivery WHERE id = ?", (delivery,)
    ).fetchone()
    health = _health_name(dest, recipient)
    connection.execute(
        "INSERT INTO destination (name, trouble_since, trouble) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " trouble_since = coalesce(trouble_since, excluded.trouble_since), trouble = excluded.trouble",
        (health, now, f"{reason}: {detail}"),
    )
    snapshot = Snapshot.from_json(
        connection.execute("SELECT snapshot FROM event WHERE grp = ? AND generation = ?", (grp, generation)).fetchone()[
            0
        ]
    )
    healthy = [name for name in book.remote if name != dest and not _in_trouble(connection, name, book)]
    woken: set[str] = set()
    if _still_fires(connection, grp):
        woken |= _hurry_fallback(connection, grp, generation, now)
        if not woken and not _someone_else(connection, grp, episode, dest):
            woken |= _move(connection, delivery, healthy, book)
    stand_in = [name for name in healthy if name in woken] or healthy
    arrival = _announcement(connection, health, snapshot.severity, now)
    if arrival is not None:
        woken |= accept(connection, _to(arrival, stand_in[:1]), book).wake
    return frozenset(woken)


def cheer(connection: sqlite3.Connection, who: tuple[str, str], now: float, book: Book) -> frozenset[str]:
    """Note that a (destination, recipient) took a message; if it had been failing, take the announcement back."""
    health = _health_name(*who)
    row = connection.execute("SELECT trouble_since, trouble FROM destination WHERE name = ?", (health,)).fetchone()
    connection.execute(
        "INSERT INTO destination (name, last_ok) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET"
        " last_ok = excluded.last_ok, trouble_since = NULL, trouble = NULL",
        (health, now),
    )
    if row is None or row[0] is None:
        return frozenset()
    end = replace(_failing(health, row[1], "warning", row[0]), ends=now)
    return accept(connection, Arrival(end.snapshot(), Plan(()), now, why="announcement"), book).wake


def _health_name(dest: str, recipient: str) -> str:
    return f"{dest}/{recipient}" if recipient else dest


def _in_trouble(connection: sqlite3.Connection, dest: str, book: Book) -> bool:
    """A destination is in trouble when none of its recipients can be reached."""
    names = [_health_name(dest, recipient) for recipient in book.recipients[dest]]
    marks = ",".join("?" * len(names))
    query = f"SELECT count(*) FROM destination WHERE trouble_since IS NOT NULL AND name IN ({marks})"  # noqa: S608  # only question marks
    return bool(connection.execute(query, names).fetchone()[0] == len(names))


def _still_fires(connection: sqlite3.Connection, grp: str) -> bool:
    return bool(connection.execute("SELECT status = 'firing' FROM grp WHERE id = ?", (grp,)).fetchone()[0])


def _hurry_fallback(connection: sqlite3.Connection, grp: str, generation: int, now: float) -> set[str]:
    rows = connection.execute(
        "UPDATE delivery SET due = ? WHERE grp = ? AND generation = ? AND why = 'fallback' AND state = 'pending'"
        " AND due = (SELECT min(due) FROM delivery WHERE grp = ? AND generation = ? AND why = 'fallback'"
        "            AND state = 'pending') RETURNING dest",
        (now, grp, generation, grp, generation),
    )
    return {dest for (dest,) in rows.fetchall()}


def _someone_else(connection: sqlite3.Connection, grp: str, episode: int, dest: str) -> bool:
    """Whether another remote destination was told of this episode, or still waits for its turn."""
    row = connection.execute(
        "SELECT 1 FROM delivery WHERE grp = ? AND episode = ? AND dest != ? AND why != 'local'"
        " AND state IN ('pending', 'sending', 'delivered')",
        (grp, episode, dest),
    ).fetchone()
    return row is not None


def _move(connection: sqlite3.Connection, delivery: int, healthy: Iterable[str], book: Book) -> set[str]:
    """Hand the page to the first healthy destination that does not have it yet."""
    for name in healthy:
        rows = [(name, recipient, delivery) for recipient in book.recipients[name]]
        moved = connection.executemany(
            "INSERT OR IGNORE INTO delivery (grp, generation, episode, dest, recipient, why, state, created, due)"
            " SELECT grp, generation, episode, ?, ?, 'moved', 'pending', finished, finished FROM delivery WHERE id = ?",
            rows,
        ).rowcount
        if moved > 0:
            return {name}
    return set()


def _failing(health: str, trouble: str, severity: str, since: float) -> Announcement:
    dest, _, recipient = health.partition("/")
    where = f"{recipient} at {dest}" if recipient else dest
    return Announcement(
        FAILING_ALERT,
        {"destination": dest, **({"recipient": recipient} if recipient else {})},
        {
            "summary": f"Messages to {where} are refused",
            "description": f"{trouble.partition(': ')[2]}. The messages are kept as dead letters, and can be sent again"
            " from the inbox's page of them.",
            "runbook": "DeadLetters",
            "value": _REASONS.get(trouble.partition(":")[0], trouble.partition(":")[0]),
        },
        severity,
        since,
        news=trouble.partition(":")[0],
    )


def _announcement(connection: sqlite3.Connection, health: str, severity: str, now: float) -> Arrival | None:
    """The page about a failing destination; None when it stands already with the same reason."""
    since, trouble = connection.execute(
        "SELECT trouble_since, trouble FROM destination WHERE name = ?", (health,)
    ).fetchone()
    snapshot = _failing(health, trouble, "critical" if severity == "critical" else "warning", since).snapshot()
    row = connection.execute("SELECT status, key FROM grp WHERE id = ?", (snapshot.group_id,)).fetchone()
    if row == ("firing", snapshot.key):
        return None
    return Arrival(snapshot, Plan(()), now, why="announcement")


def _to(arrival: Arrival, dests: Iterable[str]) -> Arrival:
    return Arrival(arrival.snapshot, Plan(tuple(dests)), arrival.received, why="announcement")
