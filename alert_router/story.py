"""Who was told what, when and why: the timeline of a group, for ``tocsin why`` and the group's page alike."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from alert_router.ledger.reads import GroupView
from alert_router.page import clock_time, duration
from alert_router.snapshot import Snapshot

Tone = Literal["bad", "good", "plain", "quiet"]

MOST_ENTRIES = 500
"""Longest timeline: the newest entries of a group that flaps for weeks."""


@dataclass(frozen=True)
class Entry:
    """One line of a timeline. ``at`` is unix seconds; ``tone`` says how it should look."""

    at: float
    what: str
    text: str
    tone: Tone = "plain"


_WHY = {
    "route": "by the route",
    "told": "because it was told before",
    "fallback": "as fallback",
    "moved": "in place of a destination that refuses",
    "announcement": "as announcement",
}


def timeline(connection: sqlite3.Connection, group: str) -> list[Entry]:
    """Return all that happened to a group, oldest first."""
    entries = [*_events(connection, group), *_attempts(connection, group), *_endings(connection, group)]
    entries += _actions(connection, group)
    return sorted(entries, key=lambda entry: entry.at)[-MOST_ENTRIES:]


def _events(connection: sqlite3.Connection, group: str) -> Iterator[Entry]:
    rows = connection.execute(
        "SELECT received, kind, generation, inferred, duplicates, snapshot, trace FROM event WHERE grp = ?"
        " ORDER BY generation DESC LIMIT ?",
        (group, MOST_ENTRIES),
    )
    for received, kind, generation, inferred, duplicates, text, trace in rows:
        snapshot = Snapshot.from_json(text)
        lead = snapshot.alerts[0]
        said = lead.annotations.get("summary") or snapshot.alertname
        value = lead.annotations.get("value", "")
        count = f"{snapshot.firing} firing, {snapshot.resolved} resolved"
        parts = [f"{said}{f' ({value})' if value and kind != 'resolved' else ''}", f"state {generation}: {count}"]
        if kind == "resolved" and snapshot.ended is not None:
            parts.insert(0, f"after {duration(snapshot.ended - snapshot.since)}")
        parts += ["inferred: Alertmanager has it no more"] if inferred else []
        parts += [f"{duplicates} duplicate{'s' if duplicates > 1 else ''} dropped"] if duplicates else []
        parts += [f"trace {trace.split('-')[1]}"] if trace else []
        yield Entry(received, kind, "; ".join(parts), "good" if kind == "resolved" else "bad")


def _attempts(connection: sqlite3.Connection, group: str) -> Iterator[Entry]:
    rows = connection.execute(
        "SELECT a.started, a.ended, a.result, a.detail, d.dest, d.recipient, d.why, d.generation,"
        " row_number() OVER (PARTITION BY a.delivery ORDER BY a.id) AS try"
        " FROM attempt a JOIN delivery d ON d.id = a.delivery WHERE d.grp = ? ORDER BY a.id DESC LIMIT ?",
        (group, MOST_ENTRIES),
    )
    for started, ended, result, detail, dest, recipient, why, generation, number in rows:
        about = f"state {generation}, {_WHY.get(why, why)}{f', try {number}' if number > 1 else ''}"
        name = _address(dest, recipient)
        if ended is None:
            yield Entry(started, name, f"under way: {about}", "plain")
            continue
        took = f"{(ended - started) * 1000:.0f} ms" if ended - started < 10 else duration(ended - started)
        if result == "delivered":
            yield Entry(ended, name, f"told ({about}) in {took}: {detail}", "good")
        else:
            yield Entry(ended, name, f"{_RESULTS.get(result, result)} ({about}) after {took}: {detail}", "bad")


_RESULTS = {
    "transient": "failed, will try again",
    "rate_limited": "told to wait",
    "permanent": "refused",
    "unknown": "outcome unknown",
}


def _endings(connection: sqlite3.Connection, group: str) -> Iterator[Entry]:
    """Deliveries whose end is no attempt of their own: shown by the commit, replaced, dead, or still waiting."""
    rows = connection.execute(
        "SELECT state, dest, recipient, generation, why, detail, finished, due, attempts, created FROM delivery"
        " WHERE grp = ? AND (state != 'delivered' OR why = 'local') ORDER BY id DESC LIMIT ?",
        (group, MOST_ENTRIES),
    )
    for state, dest, recipient, generation, why, detail, finished, due, attempts, created in rows:
        name = _address(dest, recipient)
        if why == "local":
            yield Entry(created, name, f"told (state {generation}): {detail}", "good")
        elif state == "superseded":
            yield Entry(finished, name, f"not sent (state {generation}): {detail}", "quiet")
        elif state in ("dead", "dismissed"):
            end = "dead letter" if state == "dead" else "dead letter, dismissed by a person"
            yield Entry(finished, name, f"{end} (state {generation}): {detail}", "bad")
        elif state == "pending":
            when = f"due {clock_time(due)}"
            text = f"waits, {when}; {attempts} tries so far" if attempts else f"waits {_WHY.get(why, why)}, {when}"
            yield Entry(max(created, due), name, f"{text} (state {generation})", "quiet")


def _actions(connection: sqlite3.Connection, group: str) -> Iterator[Entry]:
    rows = connection.execute("SELECT at, kind, who, detail FROM action WHERE grp = ? ORDER BY id", (group,))
    for at, kind, who, text in rows:
        detail = json.loads(text)
        if kind == "silenced":
            said = f"until {clock_time(detail['ends'])}: {detail['comment'] or 'no comment'} (silence {detail['id']})"
        else:
            said = ", ".join(f"{name} {value}" for name, value in detail.items())
        yield Entry(at, kind, f"by {who}, {said}", "plain")


def _address(dest: str, recipient: str) -> str:
    return f"{dest} ({recipient})" if recipient else dest


def tell(group: GroupView, entries: Iterable[Entry], *, url: str) -> str:
    """Write a group's story as plain text for a terminal."""
    state = f"firing since {clock_time(group.since)}"
    if group.status == "resolved" and group.ended is not None:
        state = f"resolved at {clock_time(group.ended)} after {duration(group.ended - group.since)}"
    labels = " ".join(f"{name}={value}" for name, value in group.snapshot.routing_labels().items())
    lines = [f"{group.alertname}: {state}", f"group {group.id}, {labels}", url, ""]
    listed = list(entries)
    width = min(40, max((len(entry.what) for entry in listed), default=0))
    day = ""
    for entry in listed:
        moment = datetime.fromtimestamp(entry.at, UTC)
        if (today := moment.strftime("%Y-%m-%d")) != day:
            lines.append(f"{today} UTC")
            day = today
        lines.append(f"  {moment.strftime('%H:%M:%S.%f')[:-3]}  {entry.what:<{width}}  {entry.text}")
    return "\n".join(lines)
