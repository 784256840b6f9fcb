"""One PgBouncer → families. What it does not tell gives no sample."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from exporters.model import Family, Folding, Row, Value, label_text
from exporters.pgbouncer.read import PgbouncerSettings, PgbouncerSnapshot
from tocsin import signals

SIGNALS = (
    signals.POOL_CONNECTIONS,
    signals.POOL_CONNECTIONS_MAX,
    signals.POOL_PENDING,
    signals.POOL_LONGEST_WAIT,
    signals.POOL_WAIT_SECONDS,
    signals.DB_CONNECTIONS,
    signals.DB_CONNECTIONS_MAX,
    signals.DB_QUERIES,
    signals.DB_QUERY_SECONDS,
    signals.DATA_TIMESTAMP,
)
"""All that this source can produce."""

_WHOLE: Final = ("pgbouncer", "")
"""Labels of the pooler as a whole."""


def _cap(settings: PgbouncerSettings) -> int:
    return settings.cap


def _pinned(_settings: PgbouncerSettings) -> Collection[str]:
    return ()


FOLDING: Final = Folding(
    "pool",
    cap=_cap,
    pinned=_pinned,
    rules={signals.POOL_CONNECTIONS_MAX.name: "sum_if_all", signals.POOL_LONGEST_WAIT.name: "max"},
)
"""The pools with most connections are kept."""


def families(snapshot: PgbouncerSnapshot) -> Sequence[Family]:
    """Shape a snapshot into families."""
    named = [(label_text(pool.name), pool) for pool in snapshot.pools]
    both = [row for name, pool in named for row in (((name, "idle"), pool.idle), ((name, "used"), pool.used))]
    waited = [((label_text(f"{database}/*"),), seconds) for database, seconds in snapshot.waited.items()]
    return [
        Family(signals.POOL_CONNECTIONS, both),
        Family(signals.POOL_CONNECTIONS_MAX, _present(((name,), pool.connections_max) for name, pool in named)),
        Family(signals.POOL_PENDING, [((name,), pool.waiting) for name, pool in named]),
        Family(signals.POOL_LONGEST_WAIT, _present(((name,), pool.longest_wait) for name, pool in named)),
        Family(signals.POOL_WAIT_SECONDS, waited),
        Family(signals.DB_CONNECTIONS, [((*_WHOLE, state), count) for state, count in snapshot.clients.items()]),
        Family(signals.DB_CONNECTIONS_MAX, _present([(_WHOLE, snapshot.clients_max)])),
        Family(signals.DB_QUERIES, _present([(_WHOLE, snapshot.queries)])),
        Family(signals.DB_QUERY_SECONDS, _present([(_WHOLE, snapshot.query_seconds)])),
        Family(signals.DATA_TIMESTAMP, [((collector,), at) for collector, at in snapshot.slow.items()]),
    ]


def _present(rows: Iterable[tuple[tuple[str, ...], Value | None]]) -> list[Row]:
    return [(labels, value) for labels, value in rows if value is not None]
