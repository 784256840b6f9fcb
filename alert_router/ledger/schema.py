"""The ledger's tables, its version, and the rule that one process at a time may write it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from tocsin.errors import StackError, TocsinError

SCHEMA_VERSION = 1
"""Written as ``PRAGMA user_version`` from the first commit on."""

_TABLES = """
CREATE TABLE grp (                -- one alert group, as it stands now
    id TEXT PRIMARY KEY,
    receiver TEXT NOT NULL,
    group_key TEXT NOT NULL,
    alertname TEXT NOT NULL,
    severity TEXT NOT NULL,
    status TEXT NOT NULL,
    origin TEXT NOT NULL,
    generation INTEGER NOT NULL,  -- counts accepted states
    episode INTEGER NOT NULL,     -- counts the times it began to fire: one message per episode and destination
    key TEXT NOT NULL,            -- digest of the newest state, for duplicates
    key_at REAL NOT NULL,
    since REAL NOT NULL,
    ended REAL,
    updated REAL NOT NULL
);
CREATE INDEX grp_by_status ON grp (status, updated);
CREATE INDEX grp_by_name ON grp (alertname, updated);

CREATE TABLE event (              -- every accepted state, with the body as it came
    id INTEGER PRIMARY KEY,
    grp TEXT NOT NULL,
    generation INTEGER NOT NULL,
    episode INTEGER NOT NULL,
    received REAL NOT NULL,
    kind TEXT NOT NULL,           -- fired, updated, reminder, resolved
    inferred INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    snapshot TEXT NOT NULL,
    body BLOB,                    -- zlib
    trace TEXT,                   -- traceparent: each delivery goes on in the trace of its webhook
    UNIQUE (grp, generation)
);
CREATE INDEX event_by_time ON event (received);

CREATE TABLE delivery (           -- one message to one recipient of one destination
    id INTEGER PRIMARY KEY,
    grp TEXT NOT NULL,
    generation INTEGER NOT NULL,
    episode INTEGER NOT NULL,
    dest TEXT NOT NULL,
    recipient TEXT NOT NULL DEFAULT '',
    why TEXT NOT NULL,            -- local, route, told, fallback, moved, announcement
    state TEXT NOT NULL,          -- pending, sending, delivered, superseded, dead, dismissed
    created REAL NOT NULL,
    due REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    backoff REAL NOT NULL DEFAULT 0,
    uncertain INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    detail TEXT,
    finished REAL,
    UNIQUE (grp, generation, dest, recipient)
);
CREATE INDEX delivery_open ON delivery (dest, due) WHERE state IN ('pending', 'sending');
CREATE INDEX delivery_dead ON delivery (finished) WHERE state = 'dead';
CREATE INDEX delivery_by_episode ON delivery (grp, episode, dest);

CREATE TABLE attempt (            -- append only; the row is there before the first byte leaves
    id INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL,
    started REAL NOT NULL,
    ended REAL,
    result TEXT,                  -- delivered, transient, rate_limited, permanent, unknown
    reason TEXT,
    detail TEXT
);
CREATE INDEX attempt_by_delivery ON attempt (delivery);

CREATE TABLE thread (             -- where the message of an episode stands, so that the resolve updates it
    dest TEXT NOT NULL,
    recipient TEXT NOT NULL,
    grp TEXT NOT NULL,
    episode INTEGER NOT NULL,
    ref TEXT NOT NULL,
    PRIMARY KEY (grp, episode, dest, recipient)
) WITHOUT ROWID;

CREATE TABLE destination (        -- what must survive a restart about a destination
    name TEXT PRIMARY KEY,
    not_before REAL NOT NULL DEFAULT 0,
    trouble_since REAL,
    trouble TEXT,
    last_ok REAL
);

CREATE TABLE heartbeat (source TEXT PRIMARY KEY, seen REAL NOT NULL, gap REAL);
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, received REAL NOT NULL, reason TEXT NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE action (
    id INTEGER PRIMARY KEY, grp TEXT NOT NULL, at REAL NOT NULL,
    kind TEXT NOT NULL, who TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX action_by_group ON action (grp);
"""


class LedgerError(TocsinError):
    """The ledger cannot be written now (disk full, I/O error): answer 503 and let the sender try again."""


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the ledger, making it when it is missing. Raises StackError (too new, not ours) or LedgerError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
        path.chmod(0o600)
        # Before the first table: it cannot be switched on later without a rewrite of the whole file.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
        _migrate(connection, path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            msg = f"the ledger {path} cannot be opened: {error}"
            raise LedgerError(msg) from None
        msg = f"{path} is not a ledger ({error})"
        raise StackError(msg, fix="move the file away; the router then starts a new ledger") from None
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the ledger read-only, also while a router writes it. Raises StackError when there is none."""
    if not path.is_file():
        msg = f"there is no ledger at {path}"
        raise StackError(msg, fix="start the stack with `tocsin up`; the router then writes one")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=5.0)
    connection.row_factory = sqlite3.Row
    _refuse_newer(connection, path)
    return connection


def take_lock(path: Path) -> int:
    """Take the ledger for this process until the returned descriptor is closed. Raises StackError when it is taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        msg = f"another router writes the ledger {path}"
        raise StackError(msg, fix="stop the other router, or give this one its own data directory") from None
    return descriptor


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    _refuse_newer(connection, path)
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        connection.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        msg = f"the ledger {path} has format {version}; this Tocsin knows {SCHEMA_VERSION}"
        raise StackError(msg, fix="use the Tocsin that wrote it, or a newer one")
