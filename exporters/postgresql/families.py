"""One PostgreSQL server → families. What it does not tell gives no sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from exporters.clients.postgres_target import split_url
from exporters.model import OTHER, Family, Folding, Row, Value, label_text
from exporters.postgresql.read import Database, PostgresqlSettings, PostgresqlSnapshot
from tocsin import signals
from tocsin.signals import Signal

SIGNALS = (
    signals.DB_CONNECTIONS,
    signals.DB_CONNECTIONS_MAX,
    signals.DB_QUERIES,
    signals.DB_QUERY_SECONDS,
    signals.DB_SLOW_QUERIES,
    signals.DB_TRANSACTIONS,
    signals.DB_DEADLOCKS,
    signals.DB_LOCK_WAITERS,
    signals.DB_LONGEST_TRANSACTION,
    signals.DB_LONGEST_QUERY,
    signals.DB_REPLICATION_LAG,
    signals.DB_SIZE,
    signals.DB_BLOCK_READS,
    signals.DB_STATEMENT_CALLS,
    signals.DB_STATEMENT_SECONDS,
    signals.DATA_TIMESTAMP,
)
"""All that this source can produce."""

_SYSTEM: Final = "postgresql"
_SERVER: Final = (_SYSTEM, "")
"""Labels of a fact that belongs to no single database."""


def _cap(settings: PostgresqlSettings) -> int:
    return settings.databases.cap + 1  # the server itself is a member too


def _pinned(settings: PostgresqlSettings) -> frozenset[str]:
    return frozenset({"", split_url(settings.url).database})


FOLDING: Final = Folding(
    "db_namespace",
    cap=_cap,
    pinned=_pinned,
    rules={
        signals.DB_LONGEST_TRANSACTION.name: "max",
        signals.DB_LONGEST_QUERY.name: "max",
        signals.DB_SIZE.name: "sum_if_all",
    },
)
"""The server's own facts and the database of the address are kept first."""


def families(snapshot: PostgresqlSnapshot) -> Sequence[Family]:
    """Shape a snapshot into families."""
    named = [((_SYSTEM, label_text(database.name)), database) for database in snapshot.databases]

    connected = [(labels, d.connections) for labels, d in named] + [(_SERVER, snapshot.elsewhere)]

    def known(signal: Signal, of: Callable[[Database], Value | None]) -> Family:
        return Family(signal, _present((labels, of(database)) for labels, database in named))

    def split(signal: Signal, of: Callable[[Database], Iterable[tuple[str, Value | None]]]) -> Family:
        return Family(signal, _present(((*labels, kind), v) for labels, database in named for kind, v in of(database)))

    return [
        Family(signals.DB_CONNECTIONS, [row for labels, counts in connected for row in _by_state(labels, counts)]),
        Family(signals.DB_CONNECTIONS_MAX, _present([(_SERVER, snapshot.connections_max)])),
        known(signals.DB_QUERIES, lambda d: None if d.totals is None else d.totals.calls),
        known(signals.DB_QUERY_SECONDS, lambda d: None if d.totals is None else d.totals.seconds),
        known(signals.DB_SLOW_QUERIES, lambda d: None if d.totals is None else d.totals.slow),
        split(signals.DB_TRANSACTIONS, lambda d: (("commit", d.commits), ("rollback", d.rollbacks))),
        known(signals.DB_DEADLOCKS, lambda d: d.deadlocks),
        known(signals.DB_LOCK_WAITERS, lambda d: (d.connections or {}).get("waiting")),
        known(signals.DB_LONGEST_TRANSACTION, lambda d: d.longest_transaction),
        known(signals.DB_LONGEST_QUERY, lambda d: d.longest_query),
        Family(signals.DB_REPLICATION_LAG, _present([(_SERVER, snapshot.replication_lag)])),
        known(signals.DB_SIZE, lambda d: d.size),
        split(signals.DB_BLOCK_READS, lambda d: (("hit", d.blocks_hit), ("miss", d.blocks_missed))),
        _statements(snapshot, signals.DB_STATEMENT_CALLS, seconds=False),
        _statements(snapshot, signals.DB_STATEMENT_SECONDS, seconds=True),
        Family(signals.DATA_TIMESTAMP, [((collector,), at) for collector, at in snapshot.slow.items()]),
    ]


def _by_state(labels: tuple[str, str], counts: Mapping[str, int] | None) -> list[Row]:
    return [((*labels, state), count) for state, count in (counts or {}).items()]


def _statements(snapshot: PostgresqlSnapshot, signal: Signal, *, seconds: bool) -> Family:
    listed = [(s.database, s.query, s.totals) for s in snapshot.statements]
    rest = [(d.name, OTHER, d.others) for d in snapshot.databases if d.others is not None]
    return Family(
        signal,
        [
            ((_SYSTEM, label_text(database), query), totals.seconds if seconds else totals.calls)
            for database, query, totals in (*listed, *rest)
        ],
    )


def _present(rows: Iterable[tuple[tuple[str, ...], Value | None]]) -> list[Row]:
    return [(labels, value) for labels, value in rows if value is not None]
