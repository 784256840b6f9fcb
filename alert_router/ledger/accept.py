"""Taking a snapshot into the ledger: is it news, which generation and episode is it, and who must be told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from alert_router.routing import Book, Plan
from alert_router.snapshot import Snapshot

DUPLICATE_SECONDS = 120.0
"""Equal news within this time is the other half of an Alertmanager pair; later it is a reminder."""

Kind = Literal["fired", "updated", "reminder", "resolved"]


@dataclass(frozen=True)
class Arrival:
    """A snapshot at the door: ``body`` is the packed raw body, ``received`` unix seconds, ``trace`` a traceparent."""

    snapshot: Snapshot
    plan: Plan
    received: float
    body: bytes | None = None
    trace: str | None = None
    inferred: bool = False
    why: Literal["route", "announcement"] = "route"


@dataclass(frozen=True)
class Accepted:
    """What became of an arrival, and the destinations that now have something to send."""

    result: Literal["stored", "duplicate"]
    group_id: str
    generation: int
    kind: Kind
    wake: frozenset[str] = frozenset()


def accept(connection: sqlite3.Connection, arrival: Arrival, book: Book) -> Accepted:
    """Store an arrival with everything that must be sent because of it: one transaction."""
    new = arrival.snapshot
    row = connection.execute(
        "SELECT generation, episode, status, key, key_at FROM grp WHERE id = ?", (new.group_id,)
    ).fetchone()
    generation, episode, status, key, key_at = row or (0, 0, "", "", 0.0)
    kind = _kind(new, status, same=key == new.key)
    if row and key == new.key and arrival.received - key_at < DUPLICATE_SECONDS:
        connection.execute(
            "UPDATE event SET duplicates = duplicates + 1 WHERE grp = ? AND generation = ?", (new.group_id, generation)
        )
        return Accepted("duplicate", new.group_id, generation, kind)
    generation += 1
    episode += kind == "fired" or not row
    _write_group(connection, arrival, generation, episode)
    _write_event(connection, arrival, generation, (episode, kind))
    place = _Place(new.group_id, generation, episode, arrival.received)
    tell = _who(connection, arrival, place, known=row is not None)
    _supersede(connection, place)
    wake = _write_deliveries(connection, place, tell, book)
    return Accepted("stored", new.group_id, generation, kind, wake)


@dataclass(frozen=True)
class _Place:
    grp: str
    generation: int
    episode: int
    received: float


def _kind(new: Snapshot, status: str, *, same: bool) -> Kind:
    if new.status == "resolved":
        return "resolved"
    if status != "firing":
        return "fired"
    return "reminder" if same else "updated"


def _write_group(connection: sqlite3.Connection, arrival: Arrival, generation: int, episode: int) -> None:
    new = arrival.snapshot
    connection.execute(
        "INSERT INTO grp VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET"
        " group_key=excluded.group_key, severity=excluded.severity, status=excluded.status, origin=excluded.origin,"
        " generation=excluded.generation, episode=excluded.episode, key=excluded.key,"
        " key_at=excluded.key_at, since=excluded.since, ended=excluded.ended, updated=excluded.updated",
        (
            new.group_id,
            new.receiver,
            new.group_key,
            new.alertname,
            new.severity,
            new.status,
            new.origin,
            generation,
            episode,
            new.key,
            arrival.received,
            new.since,
            new.ended,
            arrival.received,
        ),
    )


def _write_event(connection: sqlite3.Connection, arrival: Arrival, generation: int, story: tuple[int, Kind]) -> None:
    episode, kind = story
    connection.execute(
        "INSERT INTO event (grp, generation, episode, received, kind, inferred, snapshot, body, trace)"
        " VALUES (?,?,?,?,?,?,?,?,?)",
        (
            arrival.snapshot.group_id,
            generation,
            episode,
            arrival.received,
            kind,
            arrival.inferred,
            arrival.snapshot.to_json(),
            arrival.body,
            arrival.trace,
        ),
    )


@dataclass(frozen=True)
class _Tell:
    dest: str
    why: str
    due: float


def _who(connection: sqlite3.Connection, arrival: Arrival, place: _Place, *, known: bool) -> list[_Tell]:
    """Destinations of this generation; the first reason that names one stands."""
    now = place.received
    heard = [_Tell(dest, "told", now) for dest in _heard(connection, place)]
    if arrival.snapshot.status == "resolved" and known:
        return heard
    tell = [*(_Tell(dest, arrival.why, now) for dest in arrival.plan.to), *heard]
    if arrival.snapshot.status == "firing":
        began = connection.execute(
            "SELECT min(received) FROM event WHERE grp = ? AND episode = ?", (place.grp, place.episode)
        ).fetchone()[0]
        for step in arrival.plan.fallback:
            tell += [_Tell(dest, "fallback", max(now, began + step.after)) for dest in step.to]
    seen: dict[str, _Tell] = {}
    for item in tell:
        seen.setdefault(item.dest, item)
    return list(seen.values())


def _heard(connection: sqlite3.Connection, place: _Place) -> list[str]:
    """Destinations that were told of this episode, or were about to be: they hear every change and the end."""
    rows = connection.execute(
        "SELECT dest FROM thread WHERE grp = :grp AND episode = :episode"
        " UNION SELECT dest FROM delivery WHERE grp = :grp AND episode = :episode"
        " AND (state = 'sending' OR state = 'pending' AND (why != 'fallback' OR attempts > 0 OR due <= :now))",
        {"grp": place.grp, "episode": place.episode, "now": place.received},
    )
    return [dest for (dest,) in rows]


def _supersede(connection: sqlite3.Connection, place: _Place) -> None:
    """Newer news replaces what has not left yet; but an episode that was told, or is being told, must get its end."""
    connection.execute(
        "UPDATE delivery SET state = 'superseded', finished = ?, detail = 'replaced by newer news before it left'"
        " WHERE grp = ? AND state = 'pending' AND (episode = ? OR NOT EXISTS ("
        "  SELECT 1 FROM thread t WHERE t.grp = delivery.grp AND t.episode = delivery.episode"
        "  AND t.dest = delivery.dest AND t.recipient = delivery.recipient"
        " ) AND NOT EXISTS ("
        "  SELECT 1 FROM delivery o WHERE o.grp = delivery.grp AND o.episode = delivery.episode"
        "  AND o.dest = delivery.dest AND o.recipient = delivery.recipient AND o.state = 'sending'))",
        (place.received, place.grp, place.episode),
    )
    # What is left stands in front of the newer news: no reason to wait for its backoff.
    connection.execute(
        "UPDATE delivery SET due = ? WHERE grp = ? AND state = 'pending' AND attempts > 0 AND due > ?",
        (place.received, place.grp, place.received),
    )


def _write_deliveries(
    connection: sqlite3.Connection, place: _Place, tell: Iterable[_Tell], book: Book
) -> frozenset[str]:
    now = place.received
    rows: list[tuple[str, str, str, str, float, str | None, float | None]] = [
        (name, "", "local", "delivered", now, "shown in the inbox", now) for name in sorted(book.local)
    ]
    wake = set()
    for item in tell:
        if item.dest in book.local:
            continue
        for recipient in book.recipients.get(item.dest, ()):
            rows.append((item.dest, recipient, item.why, "pending", item.due, None, None))
            wake.add(item.dest)
    connection.executemany(
        "INSERT INTO delivery (grp, generation, episode, created, dest, recipient, why, state, due, detail, finished)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        [(place.grp, place.generation, place.episode, now, *row) for row in rows],
    )
    return frozenset(wake)
