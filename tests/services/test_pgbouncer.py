"""PgBouncer as it is: a real pooler before a real server; what the exporter says is what is there."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from exporters.model import Value
from exporters.pgbouncer.read import PgbouncerSettings
from exporters.runtime.target import Scrape, Target
from exporters.table import SOURCES
from tests.databases import Postgres, postgres_folder, start_pgbouncer, start_postgresql
from tests.servers import Server
from tocsin import signals
from tocsin.signals import Signal

_PASSWORD = "hunter2-real"


@dataclass(frozen=True)
class _Pooled:
    server: Postgres
    bouncer: Server

    def connect(self, database: str = "app") -> psycopg.Connection[Any]:
        """Return a client session through the pool."""
        place = {"host": "127.0.0.1", "port": self.bouncer.port, "user": "postgres", "password": _PASSWORD}
        return psycopg.connect(dbname=database, autocommit=True, prepare_threshold=None, **place)  # type: ignore[arg-type]

    def target(self, **more: Any) -> Target:
        plain = {"name": "pool", "url": f"postgresql://stats@127.0.0.1:{self.bouncer.port}/pgbouncer"}
        settings = PgbouncerSettings.model_validate({**plain, "password": _PASSWORD, **more})
        return Target(settings, SOURCES["pgbouncer"])


@pytest.fixture(scope="module")
def pooled() -> Iterator[_Pooled]:
    with ExitStack() as stack:
        folder, own = stack.enter_context(postgres_folder()), stack.enter_context(postgres_folder())
        server = start_postgresql(folder)
        stack.callback(server.stop)
        place = f"host=127.0.0.1 port={server.port} dbname=postgres"
        config = (
            f"[databases]\napp = {place} pool_size=1 reserve_pool=2\nspare = {place} max_db_connections=3\n"
            "[pgbouncer]\nauth_type=scram-sha-256\nstats_users=stats\nmax_client_conn=50\npool_mode=transaction\n"
            "reserve_pool_timeout=0\n"
        )
        bouncer = start_pgbouncer(own, config, {"stats": _PASSWORD, "postgres": _PASSWORD})
        stack.callback(bouncer.stop)
        yield _Pooled(server, bouncer)


def _rows(scrape: Scrape, wanted: Signal) -> dict[tuple[str, ...], Value]:
    return {labels: value for family in scrape.families if family.signal is wanted for labels, value in family.rows}


async def _until(target: Target, holds: Callable[[Scrape], bool]) -> Scrape:
    async with asyncio.timeout(15):
        while not holds(scrape := await target.scrape(5.0)):  # noqa: ASYNC110  # the event is in a real server
            await asyncio.sleep(0.05)
    return scrape


async def test_a_pool_tells_who_has_and_who_waits(pooled: _Pooled) -> None:
    """One connection for two clients: one used, one client waiting and for how long, the limits, an idle client."""
    target = pooled.target()
    pending = ("app/postgres",)
    with pooled.connect() as holder, pooled.connect() as waiter, pooled.connect() as idle:
        idle.execute("SELECT 1")
        holder.execute("BEGIN")
        waiting = asyncio.create_task(asyncio.to_thread(waiter.execute, "SELECT 1"))
        scrape = await _until(target, lambda s: (_rows(s, signals.POOL_LONGEST_WAIT).get(pending) or 0) > 0)
        holder.execute("COMMIT")
        await waiting
    after = await _until(target, lambda s: _rows(s, signals.POOL_PENDING)[pending] == 0)
    target.close()
    assert _rows(scrape, signals.POOL_CONNECTIONS)["app/postgres", "used"] == 1
    assert _rows(scrape, signals.POOL_PENDING)[pending] == 1
    assert _rows(scrape, signals.POOL_CONNECTIONS_MAX)[pending] == 3
    states = {labels[2]: value for labels, value in _rows(scrape, signals.DB_CONNECTIONS).items()}
    # Idle are the client that waits for nothing and the exporter itself.
    assert states == {"active": 1, "idle": 2, "waiting": 1, "other": 0}
    assert _rows(scrape, signals.DB_CONNECTIONS_MAX) == {("pgbouncer", ""): 50}
    assert all(part.ok for part in scrape.parts)
    waited = _rows(after, signals.POOL_WAIT_SECONDS)["app/*",]
    assert isinstance(waited, float)
    assert waited > 0


async def test_a_limit_of_the_database_bounds_the_pool(pooled: _Pooled) -> None:
    """Twenty connections by the pool's size, three by the database's own limit: three."""
    target = pooled.target()
    with pooled.connect("spare") as session:
        session.execute("SELECT 1")
        scrape = await target.scrape(5.0)
    target.close()
    assert _rows(scrape, signals.POOL_CONNECTIONS_MAX)["spare/postgres",] == 3


async def test_queries_through_the_pool_are_counted(pooled: _Pooled) -> None:
    """Ten queries are ten more, and they took time."""
    target = pooled.target()
    key = ("pgbouncer", "")
    with pooled.connect() as session:
        session.execute("SELECT 1")
        first = await target.scrape(5.0)
        before = _rows(first, signals.DB_QUERIES)[key]
        for _ in range(10):
            session.execute("SELECT 1")
        second = await target.scrape(5.0)
    target.close()
    after, seconds = _rows(second, signals.DB_QUERIES)[key], _rows(second, signals.DB_QUERY_SECONDS)[key]
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after - before == 10
    assert isinstance(seconds, float)
    assert seconds > 0


@pytest.mark.parametrize("user", ["stats", "nobody"])
async def test_a_wrong_password_is_said_and_never_shown(pooled: _Pooled, user: str) -> None:
    """Reason auth; the password is in no output."""
    url = f"postgresql://{user}@127.0.0.1:{pooled.bouncer.port}/pgbouncer"
    target = pooled.target(url=url, password="hunter2-canary")
    scrape = await target.scrape(5.0)
    target.close()
    assert scrape.error is not None
    assert scrape.error.reason == "auth"
    assert "canary" not in f"{scrape!r}"


async def test_a_database_behind_the_pool_is_no_console(pooled: _Pooled) -> None:
    """A target that names a pooled database instead of the console says what to write."""
    url = f"postgresql://postgres@127.0.0.1:{pooled.bouncer.port}/app"
    target = pooled.target(url=url)
    scrape = await target.scrape(5.0)
    target.close()
    assert scrape.error is not None
    assert scrape.error.reason == "parse"


async def test_a_pooler_is_not_taken_for_a_server(pooled: _Pooled) -> None:
    """A PostgreSQL target that points at a pooler is told so: what the pooler hides, we would tell wrongly."""
    plain = {"name": "db", "url": f"postgresql://postgres@127.0.0.1:{pooled.bouncer.port}/app", "password": _PASSWORD}
    source = SOURCES["postgresql"]
    scrape = await Target(source.settings.model_validate(plain), source).scrape(5.0)
    assert scrape.error is not None
    assert scrape.error.reason == "protocol"
    assert "kind pgbouncer" in str(scrape.error)


async def test_a_frozen_pooler_is_down_in_time_and_comes_back(pooled: _Pooled) -> None:
    """Down with reason timeout at the deadline, and up at the next scrape once it goes on."""
    target = pooled.target()
    assert (await target.scrape(5.0)).up
    os.kill(pooled.bouncer.process.pid, signal.SIGSTOP)
    try:
        frozen = await target.scrape(0.4)
    finally:
        os.kill(pooled.bouncer.process.pid, signal.SIGCONT)
    assert frozen.error is not None
    assert frozen.error.reason == "timeout"
    assert (await target.scrape(5.0)).error is None
    target.close()
