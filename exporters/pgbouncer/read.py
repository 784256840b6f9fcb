"""PgBouncer's console → one snapshot. Columns are read by name: nearly every release renames some.

The console takes plain statements only; one round trip per scrape asks them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import Field

from exporters.clients.postgres import Answer, Connection
from exporters.clients.postgres_target import PostgresTarget
from exporters.model import Part
from tocsin.errors import TargetError

_CONSOLE: Final = "pgbouncer"
"""PgBouncer's own pool, which serves those who watch it."""
_CONFIG_SECONDS: Final = 60.0
_POOL_NEEDS: Final = frozenset({"database", "user", "cl_active", "cl_waiting", "sv_active", "sv_idle"})

_Records = Sequence[Mapping[str, str | None]]


class PgbouncerSettings(PostgresTarget):
    """A PgBouncer, read at its console: the database of the address is `pgbouncer`, the user one of `stats_users`."""

    kind: Literal["pgbouncer"] = "pgbouncer"
    cap: int = Field(default=200, ge=1, description="Most pools with series of their own; the rest become _other.")


@dataclass(frozen=True)
class Pool:
    """The server connections of one database and user. None means unknown or unlimited."""

    name: str
    """DATABASE/USER."""
    used: int
    idle: int
    waiting: int
    """Clients that wait for a connection."""
    longest_wait: float | None = None
    """Seconds."""
    connections_max: int | None = None


@dataclass(frozen=True)
class PgbouncerSnapshot:
    """One PgBouncer. ``clients`` are its client connections by state."""

    pools: tuple[Pool, ...]
    clients: Mapping[str, int] = field(default_factory=dict)
    clients_max: int | None = None
    waited: Mapping[str, float] = field(default_factory=dict)
    """Seconds that the clients of each database have waited, added up."""
    queries: int | None = None
    query_seconds: float | None = None
    slow: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    version: str = ""


class PgbouncerReader:
    """Reads one PgBouncer over one connection."""

    def __init__(self, settings: PgbouncerSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._connection = Connection(settings)
        self._clock = clock
        self._config: Answer | None = None
        self._config_at = 0.0
        self._config_part: Part | None = None
        self._queries = Sum()
        self._seconds = Sum()

    async def read(self) -> PgbouncerSnapshot:
        """Read the console. Raises TargetError or OSError when it cannot be read at all."""
        asked = {"pools": "SHOW POOLS", "databases": "SHOW DATABASES", "stats": "SHOW STATS_TOTALS"}
        asked |= {"lists": "SHOW LISTS", "users": "SHOW USERS"}
        due = self._config is None or not 0 <= self._clock() - self._config_at < _CONFIG_SECONDS
        if due:
            asked["config"] = "SHOW CONFIG"
        answers = dict(zip(asked, await self._connection.request(*asked.values()), strict=True))
        if answers["pools"].error is not None:
            raise answers["pools"].error
        pools = answers["pools"].dicts()
        if not _POOL_NEEDS.issubset(answers["pools"].columns):
            msg = "SHOW POOLS lacks columns that it must have: is this PgBouncer's console (database pgbouncer)?"
            raise TargetError("parse", msg)
        if due:
            config = answers.pop("config")
            self._config_part = _part("config", config)
            if config.error is None:
                self._config, self._config_at = config, self._clock()
        return self._snapshot(pools, answers)

    def close(self) -> None:
        """Drop the connection."""
        self._connection.close()

    def _snapshot(self, pools: _Records, answers: Mapping[str, Answer]) -> PgbouncerSnapshot:
        limits = Limits(answers["databases"].dicts(), answers["users"].dicts())
        stats = {str(row.get("database")): row for row in answers["stats"].dicts()}
        config = {row.get("key"): row.get("value") for row in self._config.dicts()} if self._config else {}
        waits = {name: number(row, "wait_time", "total_wait_time") for name, row in stats.items() if name != _CONSOLE}
        return PgbouncerSnapshot(
            tuple(_pool(row, limits) for row in pools if row["database"] != _CONSOLE),
            clients=clients(pools, {row.get("list"): row.get("items") for row in answers["lists"].dicts()}),
            clients_max=number(config, "max_client_conn"),
            waited={name: wait / 1e6 for name, wait in waits.items() if wait is not None},
            queries=self._queries.add(_each(stats, "query_count", "total_query_count", "total_requests")),
            query_seconds=_micro(self._seconds.add(_each(stats, "query_time", "total_query_time"))),
            slow={"config": self._config_at} if self._config else {},
            parts=(*(_part(name, answer) for name, answer in answers.items()), *filter(None, [self._config_part])),
            version=self._connection.told.get("server_version", "").partition("/")[0],
        )


class Limits:
    """How many server connections a pool may open: its size and reserve, within the limit of its database."""

    def __init__(self, databases: _Records, users: _Records) -> None:
        self._databases = {row.get("name"): row for row in databases}
        self._users = {row.get("name"): row for row in users}

    def of(self, database: str | None, user: str | None) -> int | None:
        """Return the limit of a pool; None when it is unknown."""
        row = self._databases.get(database, {})
        # Releases from 1.24 on let a user have a pool size of its own.
        size = number(self._users.get(user, {}), "pool_size") or number(row, "pool_size")
        reserve = number(row, "reserve_pool_size", "reserve_pool")
        if size is None or reserve is None:
            return None
        ceiling = number(row, "max_connections", "max_db_connections")
        return min(size + reserve, ceiling) if ceiling else size + reserve


class Sum:
    """A counter over all databases that only grows, though databases come and go and start anew."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._total: int | None = None

    def add(self, now: Mapping[str, int]) -> int | None:
        """Take every database's counter and return the sum so far; None while there has been none."""
        for name, value in now.items():
            before = self._last.get(name, 0)
            self._total = (self._total or 0) + (value - before if value >= before else value)
        self._last = dict(now)
        return self._total


def number(row: Mapping[str | None, str | None] | Mapping[str, str | None], *names: str) -> int | None:
    """Return the first of these fields that holds a number; None when none does."""
    for name in names:
        text = row.get(name)
        if text is not None and text.isdecimal():
            return int(text)
    return None


def clients(pools: _Records, lists: Mapping[str | None, str | None]) -> Mapping[str, int]:
    """Count client connections by state. PgBouncer calls a client active that waits for nothing, even an idle one."""
    linked = sum(number(row, "sv_active") or 0 for row in pools)
    active = sum(number(row, "cl_active") or 0 for row in pools)
    waiting = sum(number(row, "cl_waiting") or 0 for row in pools)
    counts = {"active": min(linked, active), "idle": max(active - linked, 0), "waiting": waiting}
    used = number(lists, "used_clients")
    return counts if used is None else counts | {"other": max(used - active - waiting, 0)}


def _pool(row: Mapping[str, str | None], limits: Limits) -> Pool:
    database, user = row["database"], row["user"]
    busy = ("sv_active", "sv_tested", "sv_login", "sv_active_cancel", "sv_being_canceled")
    seconds = number(row, "maxwait")
    return Pool(
        f"{(database or '').replace('/', '%2F')}/{user or ''}",
        used=sum(number(row, name) or 0 for name in busy),
        # PgBouncer calls a connection used that has been idle for long enough to be checked before its next use.
        idle=sum(number(row, name) or 0 for name in ("sv_idle", "sv_used")),
        waiting=number(row, "cl_waiting") or 0,
        longest_wait=None if seconds is None else seconds + (number(row, "maxwait_us") or 0) / 1e6,
        connections_max=limits.of(database, user),
    )


def _each(stats: Mapping[str, Mapping[str, str | None]], *names: str) -> dict[str, int]:
    found = {name: number(row, *names) for name, row in stats.items() if name != _CONSOLE}
    return {name: value for name, value in found.items() if value is not None}


def _micro(value: int | None) -> float | None:
    return None if value is None else value / 1e6


def _part(name: str, answer: Answer) -> Part:
    error = answer.error
    if error is None:
        return Part(name, ok=True, duration=answer.seconds)
    return Part(name, ok=False, duration=answer.seconds, reason=error.reason, detail=str(error))
