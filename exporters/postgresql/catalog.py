"""What this server's statistics views are like, and the statements that read them: pure text, tried on 10 to 18.

Columns come, go and are renamed between versions, so they are looked up once per connection and used by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporters.clients.postgres import Answer
from tocsin.errors import TargetError

OLDEST: Final = 100000
"""Version 10 tells client connections from the server's own processes; before it, they cannot be told apart."""

ABOUT: Final = """\
SELECT current_setting('server_version_num') AS version,
       extract(epoch FROM pg_postmaster_start_time()) AS started,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')::int AS granted,
       (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
         WHERE e.extname = 'pg_stat_statements') AS statements_schema"""
COLUMNS: Final = """\
SELECT c.relname AS view, string_agg(a.attname, ' ') AS columns
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relname IN ('pg_stat_activity', 'pg_stat_database', 'pg_stat_statements', 'pg_stat_wal_receiver')
   AND a.attnum > 0 AND NOT a.attisdropped
 GROUP BY c.relname"""


@dataclass(frozen=True)
class Catalog:
    """One server as one user sees it."""

    version: int
    """As ``server_version_num``: 150018 is 15.18."""
    granted: bool
    """Whether the statistics of other users' sessions and statements may be read."""
    columns: Mapping[str, frozenset[str]]
    """Columns by view; a view that is not there is not named."""
    statements_schema: str | None = None
    """Schema of pg_stat_statements, quoted; None without the extension."""
    started: str = ""
    """When this server started: another value is another server (a failover) or a restart."""

    def has(self, view: str, *names: str) -> bool:
        """Say whether a view has all of these columns."""
        return self.columns.get(view, frozenset()).issuperset(names)


def read_catalog(about: Answer, columns: Answer) -> Catalog:
    """Read the answers to ``ABOUT`` and ``COLUMNS``. Raises TargetError for a server that is too old or refuses."""
    for answer in (about, columns):
        if answer.error is not None:
            raise answer.error
    (said,) = about.dicts()
    version = int(said["version"] or 0)
    if version < OLDEST:
        msg = "the server is older than PostgreSQL 10"
        raise TargetError("parse", msg)
    views = {str(row["view"]): frozenset(str(row["columns"]).split()) for row in columns.dicts()}
    return Catalog(version, said["granted"] == "1", views, said["statements_schema"], said["started"] or "")


def activity(catalog: Catalog) -> str | None:
    """Return the statement that counts client connections per database; None when they cannot be told apart."""
    view = "pg_stat_activity"
    if not catalog.has(view, "datname", "pid", "state", "backend_type", "xact_start", "query_start"):
        return None
    locked = "wait_event_type = 'Lock'" if catalog.has(view, "wait_event_type") else "NULL::bool"
    not_us = "pid <> pg_backend_pid()"
    return f"""\
SELECT datname,
       count(*) AS total,
       count(*) FILTER (WHERE state = 'active' AND {locked} IS NOT TRUE) AS active,
       count(*) FILTER (WHERE state = 'idle') AS idle,
       count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction,
       count(*) FILTER (WHERE state = 'active' AND {locked}) AS waiting,
       extract(epoch FROM clock_timestamp() - min(xact_start) FILTER (WHERE {not_us})) AS longest_transaction,
       extract(epoch FROM clock_timestamp() - min(query_start) FILTER (WHERE state = 'active' AND {not_us}))
         AS longest_query
  FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND datname IS NOT NULL
 GROUP BY datname"""  # noqa: S608  # made of our own words


_DATABASE_COUNTERS: Final = ("xact_commit", "xact_rollback", "blks_hit", "blks_read", "deadlocks")


def databases(catalog: Catalog) -> str:
    """Return the statement that reads the counters of every database but the templates."""
    view = "pg_stat_database"
    listed = ", ".join(f"s.{name}" if catalog.has(view, name) else f"NULL AS {name}" for name in _DATABASE_COUNTERS)
    return f"""\
SELECT d.oid, d.datname, {listed}
  FROM pg_database d LEFT JOIN pg_stat_database s ON s.datid = d.oid
 WHERE NOT d.datistemplate AND d.datallowconn
 ORDER BY d.oid"""  # noqa: S608  # made of our own words


def server(catalog: Catalog) -> str:
    """Return the statement that reads the limit and, on a replica, how far it is behind.

    A replica that has replayed all it received is not behind while it receives; cut off, it falls behind.
    """
    receiving = (
        "EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"
        if catalog.has("pg_stat_wal_receiver", "status") and catalog.granted
        else "EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL)"
        if catalog.has("pg_stat_wal_receiver", "pid")
        else "false"
    )
    return f"""\
SELECT current_setting('max_connections') AS max_connections,
       CASE WHEN NOT pg_is_in_recovery() THEN NULL
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND {receiving} THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END AS lag"""  # noqa: S608  # made of our own words


def statements(catalog: Catalog) -> str | None:
    """Return the statement that lists all entries of pg_stat_statements as lines of numbers; None without them.

    One line is ``user database query calls milliseconds``. One long value is far cheaper to read than many rows, and
    the function without the texts spares the server its file of texts.
    """
    view = "pg_stat_statements"
    time = next((name for name in ("total_exec_time", "total_time") if catalog.has(view, name)), None)
    if catalog.statements_schema is None or time is None or not catalog.has(view, "userid", "dbid", "queryid", "calls"):
        return None
    # Nested statements are part of the time of those that call them.
    only = " AND toplevel" if catalog.has(view, "toplevel") else ""
    return f"""\
SELECT string_agg(concat_ws(' ', userid, dbid, queryid, calls, {time}), E'\\n') AS listing
  FROM {catalog.statements_schema}.pg_stat_statements(false)
 WHERE queryid IS NOT NULL AND calls > 0{only}"""  # noqa: S608  # a column name and a quoted schema


def all_of(catalog: Catalog) -> Sequence[str]:
    """Return every statement that this server is asked, for tests that try them all."""
    wanted = (activity(catalog), databases(catalog), server(catalog), statements(catalog))
    return [statement for statement in wanted if statement is not None]
