"""Keeping the ledger bounded: what is older than the retention goes, unless somebody still has to be told."""

from __future__ import annotations

import sqlite3

KEPT_QUARANTINED = 50
"""Unreadable bodies that are kept at most, newest first: a broken sender must not fill the disk."""

_OLD_EVENTS = """
SELECT e.id, e.grp, e.generation FROM event e JOIN grp g ON g.id = e.grp
WHERE e.received < :cutoff
  AND (e.generation < g.generation OR g.status = 'resolved')
  AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.grp = e.grp AND d.generation = e.generation
                  AND d.state IN ('pending', 'sending', 'dead'))
LIMIT 2000
"""


def prune(connection: sqlite3.Connection, cutoff: float) -> int:
    """Delete up to 2,000 states accepted before ``cutoff`` (unix seconds), with all that hangs on them.

    A group's newest state stays while it fires; a state stays while a delivery of it waits or is a dead letter.
    Returns how many states went; call again while it is not 0.
    """
    old = connection.execute(_OLD_EVENTS, {"cutoff": cutoff}).fetchall()
    for ident, grp, generation in old:
        place = (grp, generation)
        connection.execute(
            "DELETE FROM attempt WHERE delivery IN (SELECT id FROM delivery WHERE grp = ? AND generation = ?)", place
        )
        connection.execute("DELETE FROM delivery WHERE grp = ? AND generation = ?", place)
        connection.execute("DELETE FROM event WHERE id = ?", (ident,))
    connection.execute("DELETE FROM grp WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.grp = grp.id)")
    for table in ("thread", "action"):
        connection.execute(f"DELETE FROM {table} WHERE grp NOT IN (SELECT id FROM grp)")  # noqa: S608  # two fixed names
    connection.execute(
        "DELETE FROM quarantine WHERE received < ? OR id NOT IN (SELECT id FROM quarantine ORDER BY id DESC LIMIT ?)",
        (cutoff, KEPT_QUARANTINED),
    )
    return len(old)


def shrink(connection: sqlite3.Connection) -> None:
    """Give freed pages back to the disk and start the log file anew; outside of a transaction."""
    connection.execute("PRAGMA incremental_vacuum").fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
