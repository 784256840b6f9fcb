"""PostgreSQL's statistics → one snapshot, in one round trip of statements that were prepared once.

Each statement has a transaction of its own: one that fails leaves its facts absent and the others untouched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from exporters.clients.postgres import Answer, Connection
from exporters.model import Part
from exporters.postgresql import catalog as sql
from exporters.postgresql.catalog import Catalog, read_catalog
from exporters.postgresql.settings import PostgresqlSettings
from exporters.postgresql.sizes import Sizes
from exporters.postgresql.statements import StatementLog, Totals, by_name
from tocsin.errors import TargetError

__all__ = ["Database", "PostgresqlReader", "PostgresqlSettings", "PostgresqlSnapshot", "Statement"]

_RELEARN_SECONDS: Final = 300.0
"""An extension or a grant may come while we are connected."""
_LOCK_TIMEOUT_MS: Final = 500
_JIT_SINCE: Final = 110000
_NO_GRANT: Final = "the user may not read the statistics of others: GRANT pg_monitor TO the user"
_STATES: Final = ("active", "idle", "idle_in_transaction", "waiting")


@dataclass(frozen=True)
class Database:
    """One database. None means unknown; times are in seconds by the server's clock."""

    name: str
    connections: Mapping[str, int] | None = None
    """Client connections by state."""
    longest_transaction: float | None = None
    longest_query: float | None = None
    commits: int | None = None
    rollbacks: int | None = None
    blocks_hit: int | None = None
    blocks_missed: int | None = None
    deadlocks: int | None = None
    size: int | None = None
    """Bytes."""
    totals: Totals | None = None
    others: Totals | None = None
    """What the statements of this database did that are not listed one by one."""


@dataclass(frozen=True)
class Statement:
    """One of the statements that take most time. ``query`` is the server's id of it."""

    database: str
    query: str
    totals: Totals


@dataclass(frozen=True)
class PostgresqlSnapshot:
    """One server, and when the slow facts were read (unix seconds by collector)."""

    databases: tuple[Database, ...]
    connections_max: int | None = None
    elsewhere: Mapping[str, int] | None = None
    """Client connections by state to databases that are not watched; None when there is none, or unknown."""
    replication_lag: float | None = None
    """Seconds; None on a primary."""
    statements: tuple[Statement, ...] = ()
    slow: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    version: str = ""


class PostgresqlReader:
    """Reads one server over one connection."""

    def __init__(self, settings: PostgresqlSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        timeout_ms = max(round(settings.statement_timeout.total_seconds() * 1000), 1)
        self._connection = Connection(
            settings,
            parameters={
                "statement_timeout": str(timeout_ms),
                "lock_timeout": str(min(_LOCK_TIMEOUT_MS, timeout_ms)),
                "default_transaction_read_only": "on",
                # Whoever may create functions in the database must not make us call them.
                "search_path": "pg_catalog",
            },
        )
        self._catalog: Catalog | None = None
        self._learnt = (0, 0.0)
        """The connection over which the catalogue was read, and when."""
        self._log = StatementLog(settings.statements.top, settings.statements.slow_query_seconds)
        self._parts: dict[str, Part] = {}
        """How each collector last went; one on a slow timer is told of in between too."""
        self._sizes = Sizes(settings.sizes.total_seconds())

    async def read(self) -> PostgresqlSnapshot:
        """Read the server. Raises TargetError or OSError when it cannot be read at all."""
        catalog = await self._learn()
        asked = self._questions(catalog)
        answers = dict(zip(asked, await self._connection.request(*asked.values(), prepared=True), strict=True))
        if answers["databases"].error is not None:
            raise answers["databases"].error
        self._parts |= {name: _part(name, answer) for name, answer in answers.items()}
        if not catalog.granted:
            self._parts["activity"] = Part("activity", ok=False, duration=0.0, reason="auth", detail=_NO_GRANT)
        is_same = self._connection.number == self._learnt[0]  # else it may be another server: learn that first
        if is_same and "statements" in answers and answers["statements"].error is None:
            self._log.take(answers["statements"].dicts()[0]["listing"] or "", self._clock())
        rows = [row for row in answers["databases"].dicts() if self._settings.databases.wants(str(row["datname"]))]
        names = {str(row["oid"]): str(row["datname"]) for row in rows}
        self._parts["sizes"] = await self._sizes.read(self._connection, tuple(names), self._clock)
        if any(answer.error is not None and answer.error.reason == "parse" for answer in answers.values()):
            self._learnt = (0, 0.0)  # something is not as it was: an extension was moved, updated or dropped
        (limits,) = answers["server"].dicts() or [{}]
        return PostgresqlSnapshot(
            self._databases(rows, answers.get("activity")),
            elsewhere=_elsewhere(answers.get("activity"), frozenset(names.values())),
            connections_max=_int(limits.get("max_connections")),
            replication_lag=_seconds(limits.get("lag")),
            statements=tuple(Statement(*listed) for listed in by_name(self._log, names)),
            slow=self._slow(),
            parts=tuple(self._parts.values()),
            version=self._connection.told.get("server_version", "").partition(" ")[0],
        )

    def close(self) -> None:
        """Drop the connection. What was counted stays: the next read goes on where this one ended."""
        self._connection.close()

    async def _learn(self) -> Catalog:
        """Look up what the views are like: once per connection, and again now and then."""
        number, at = self._learnt
        now = self._clock()
        is_known = self._connection.is_open and number == self._connection.number
        if self._catalog is None or not is_known or not 0 <= now - at < _RELEARN_SECONDS:
            about, columns = await self._connection.request(sql.ABOUT, sql.COLUMNS)
            catalog = read_catalog(about, columns)
            if self._catalog is not None and self._catalog.started != catalog.started:
                self._log.rebase()
            self._catalog = catalog
            self._learnt = (self._connection.number, now)
            if self._catalog.version >= _JIT_SINCE:
                # Compiling a statement would cost a hundred times what running it does.
                await self._connection.request("SET jit = off")
        return self._catalog

    def _questions(self, catalog: Catalog) -> dict[str, str]:
        """Return what to ask in this read, by collector."""
        asked = {"databases": sql.databases(catalog), "server": sql.server(catalog)}
        counting = sql.activity(catalog)
        if catalog.granted and counting is not None:
            asked["activity"] = counting
        listing = sql.statements(catalog)
        wanted = self._settings.statements
        due = self._log.at is None or not 0 <= self._clock() - self._log.at < wanted.interval.total_seconds() - 0.5
        if wanted.enabled and catalog.granted and listing is not None and due:
            asked["statements"] = listing
        return asked

    def _databases(self, rows: Sequence[Mapping[str, str | None]], activity: Answer | None) -> tuple[Database, ...]:
        known = activity is not None and activity.error is None
        busy = {row["datname"]: row for row in activity.dicts()} if activity is not None and known else {}
        return tuple(self._database(row, busy.get(row["datname"], {}) if known else None) for row in rows)

    def _database(self, row: Mapping[str, str | None], busy: Mapping[str, str | None] | None) -> Database:
        oid = str(row["oid"])
        nothing = None if self._log.at is None else Totals()
        return Database(
            str(row["datname"]),
            connections=None if busy is None else _by_state(busy),
            longest_transaction=_seconds((busy or {}).get("longest_transaction")),
            longest_query=_seconds((busy or {}).get("longest_query")),
            commits=_int(row["xact_commit"]),
            rollbacks=_int(row["xact_rollback"]),
            blocks_hit=_int(row["blks_hit"]),
            blocks_missed=_int(row["blks_read"]),
            deadlocks=_int(row["deadlocks"]),
            size=self._sizes.of(oid),
            totals=self._log.databases.get(oid, nothing),
            others=self._log.others.get(oid, nothing) if self._settings.statements.top else None,
        )

    def _slow(self) -> Mapping[str, float]:
        found = {"statements": self._log.at, "sizes": self._sizes.at}
        return {collector: at for collector, at in found.items() if at is not None}


def _part(name: str, answer: Answer) -> Part:
    error: TargetError | None = answer.error
    if error is None:
        return Part(name, ok=True, duration=answer.seconds)
    return Part(name, ok=False, duration=answer.seconds, reason=error.reason, detail=str(error))


def _by_state(row: Mapping[str, str | None]) -> Mapping[str, int]:
    """Count every connection once; a database without any is a true 0 in every state."""
    counts = {state: _int(row.get(state)) or 0 for state in _STATES}
    return counts | {"other": max((_int(row.get("total")) or 0) - sum(counts.values()), 0)}


def _elsewhere(activity: Answer | None, watched: frozenset[str]) -> Mapping[str, int] | None:
    """Count what is connected to unwatched databases: it uses up the limit all the same."""
    rows = [row for row in activity.dicts() if row["datname"] not in watched] if activity is not None else []
    counts = [_by_state(row) for row in rows]
    return {state: sum(count[state] for count in counts) for state in counts[0]} if counts else None


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)


def _seconds(text: str | None) -> float | None:
    """Read a duration; one that is negative (the clock was set back) is 0."""
    return None if text is None else max(float(text), 0.0)
