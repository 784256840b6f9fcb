"""PostgreSQL as it is: a real server, real sessions, real locks; what the exporter says is what is there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from exporters.model import Value
from exporters.postgresql.settings import PostgresqlSettings
from exporters.runtime.render import Renderer, TargetFamilies
from exporters.runtime.target import Scrape, Target
from exporters.table import SOURCES
from tests.databases import Postgres, make_certificates, postgres_folder, start_postgresql, start_replica
from tests.servers import eventually
from tocsin import signals
from tocsin.settings import Secret
from tocsin.signals import Signal

_PASSWORD = "hunter2-rëal"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_folder() as folder:
        make_certificates(folder)
        tls = {"ssl": "on", "ssl_cert_file": f"{folder}/server.pem", "ssl_key_file": f"{folder}/server.key"}
        server = start_postgresql(folder, settings=tls)
        try:
            roles = [
                f"CREATE ROLE {name} LOGIN PASSWORD '{_PASSWORD}'" for name in ("scram", "clear", "secured", "nobody")
            ]
            server.run(
                *roles,
                "SET password_encryption = md5; CREATE ROLE old LOGIN PASSWORD 'hunter2'",
                "GRANT pg_monitor TO scram, clear, secured, old",
                "CREATE EXTENSION pg_stat_statements",
                "CREATE DATABASE app",
                "CREATE DATABASE plain",
            )
            server.run(
                "CREATE EXTENSION pg_stat_statements", "CREATE TABLE t (id int PRIMARY KEY, n int)", database="app"
            )
            server.run("INSERT INTO t SELECT i, 0 FROM generate_series(1, 10) i", database="app")
            yield server
        finally:
            server.stop()


def _target(
    server: Postgres, *, user: str = "postgres", database: str = "app", host: str = "127.0.0.1", **more: Any
) -> Target:
    plain = {"name": "db", "url": f"postgresql://{user}@{host}:{server.port}/{database}", "sizes": "1h"}
    quick = {"interval": "1ms", **more.pop("statements", {})}
    return Target(PostgresqlSettings.model_validate({**plain, "statements": quick, **more}), SOURCES["postgresql"])


async def _once(target: Target, *, budget: float = 5.0) -> Scrape:
    try:
        return await target.scrape(budget)
    finally:
        target.close()


async def _until(target: Target, holds: Callable[[Scrape], bool]) -> Scrape:
    """Scrape until something holds: the server's own statistics come a little later than what they tell."""
    async with asyncio.timeout(15):
        while not holds(scrape := await target.scrape(5.0)):  # noqa: ASYNC110  # the event is in a real server
            await asyncio.sleep(0.1)
    return scrape


def _rows(scrape: Scrape, wanted: Signal, namespace: str = "app") -> dict[tuple[str, ...], Value]:
    """Return what is said of one database, by the labels after it."""
    rows = [row for family in scrape.families if family.signal is wanted for row in family.rows]
    return {labels[2:]: value for labels, value in rows if labels[:2] == ("postgresql", namespace)}


def _value(scrape: Scrape, wanted: Signal, namespace: str = "app") -> float | None:
    value = _rows(scrape, wanted, namespace).get(())
    assert value is None or isinstance(value, int | float)
    return value


def _failed(scrape: Scrape) -> dict[str, str | None]:
    return {part.collector: part.reason for part in scrape.parts if not part.ok}


async def test_sessions_are_counted_by_what_they_do(postgres: Postgres) -> None:
    """Idle, working, idle in a transaction and waiting for a lock: each session once, with the ages and the limit."""
    with ExitStack() as stack:
        idle, holder, waiter, worker = (stack.enter_context(postgres.connect("app")) for _ in range(4))
        idle.execute("SELECT 1")
        holder.execute("BEGIN")
        holder.execute("UPDATE t SET n = 1 WHERE id = 1")
        for session, statement in ((waiter, "UPDATE t SET n = 2 WHERE id = 1"), (worker, "SELECT pg_sleep(20)")):
            threading.Thread(target=_quietly, args=(session, statement), daemon=True).start()
        await asyncio.to_thread(eventually, lambda: _waiting(postgres) == 2)
        scrape = await _once(_target(postgres))
        worker.cancel()
        waiter.cancel()
        holder.execute("ROLLBACK")
    # The exporter's own session is active too.
    states = {state: count for (state,), count in _rows(scrape, signals.DB_CONNECTIONS).items()}
    assert states == {"active": 2, "idle": 1, "idle_in_transaction": 1, "waiting": 1, "other": 0}
    assert _value(scrape, signals.DB_LOCK_WAITERS) == 1
    assert _value(scrape, signals.DB_CONNECTIONS_MAX, "") == 100
    longest, query = _value(scrape, signals.DB_LONGEST_TRANSACTION), _value(scrape, signals.DB_LONGEST_QUERY)
    assert longest is not None
    assert query is not None
    assert 0 < query < longest
    assert _failed(scrape) == {}


def _waiting(postgres: Postgres) -> int:
    (row,) = postgres.run(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event_type IN ('Lock', 'Timeout')"
        " AND backend_type = 'client backend'"
    )
    return int(row[0])


def _quietly(session: psycopg.Connection[Any], statement: str) -> None:
    with suppress(psycopg.Error):
        session.execute(statement.encode())


async def test_a_quiet_database_has_no_longest_transaction(postgres: Postgres) -> None:
    """Nothing runs but we: the ages are absent, the counts are true zeros, a primary has no lag."""
    scrape = await _once(_target(postgres, database="plain"))
    assert _value(scrape, signals.DB_LONGEST_TRANSACTION, "app") is None
    assert _value(scrape, signals.DB_LONGEST_QUERY, "app") is None
    assert set(_rows(scrape, signals.DB_CONNECTIONS, "app").values()) == {0}
    assert _value(scrape, signals.DB_REPLICATION_LAG, "") is None
    assert _value(scrape, signals.DB_SIZE, "app") == postgres.run("SELECT pg_database_size('app')")[0][0]
    assert not _rows(scrape, signals.DB_CONNECTIONS, "template1")


async def test_what_is_not_watched_counts_against_the_limit(postgres: Postgres) -> None:
    """An excluded database has no series; its sessions stand at the server, so that used / max stays true."""
    with postgres.connect("plain") as session:
        session.execute("SELECT 1")
        scrape = await _once(_target(postgres, databases={"exclude": ["plain"]}))
    assert not _rows(scrape, signals.DB_TRANSACTIONS, "plain")
    assert _rows(scrape, signals.DB_CONNECTIONS, "")["idle",] == 1


async def test_queries_are_counted_and_slow_ones_told_apart(postgres: Postgres) -> None:
    """Exactly the calls since the first look; those of statements that were slow on average count as slow."""
    target = _target(postgres, statements={"slow_query_seconds": 0.03, "top": 3})
    first = await target.scrape(5.0)
    for _ in range(2):
        postgres.run("SELECT pg_sleep(0.05)", database="app")
    postgres.run(*["SELECT 7 AS quick"] * 20, database="app")
    second = await target.scrape(5.0)
    postgres.run("SELECT pg_stat_statements_reset()", database="app")
    third = await _once(target)
    assert _value(first, signals.DB_QUERIES) == 0
    assert _value(second, signals.DB_SLOW_QUERIES) == 2
    queries, seconds = _value(second, signals.DB_QUERIES), _value(second, signals.DB_QUERY_SECONDS)
    assert queries is not None
    assert seconds is not None
    assert queries >= 22
    assert seconds >= 0.1
    assert (_value(third, signals.DB_QUERIES) or 0) >= queries, "a reset must not take the counter back"
    listed = _rows(second, signals.DB_STATEMENT_CALLS)
    assert len(listed) <= 4
    assert sum(v for v in listed.values() if isinstance(v, int)) == queries


async def test_deadlocks_and_transactions_are_counted(postgres: Postgres) -> None:
    """A deadlock that the server broke is one more; so are commits, rollbacks and block reads."""
    target = _target(postgres)
    before = await target.scrape(5.0)
    await asyncio.to_thread(_deadlock, postgres)
    known = _value(before, signals.DB_DEADLOCKS)
    after = await _until(target, lambda scrape: _value(scrape, signals.DB_DEADLOCKS) != known)
    target.close()
    assert (_value(after, signals.DB_DEADLOCKS) or 0) - (_value(before, signals.DB_DEADLOCKS) or 0) == 1
    assert _rows(after, signals.DB_TRANSACTIONS).keys() == {("commit",), ("rollback",)}
    assert _rows(after, signals.DB_BLOCK_READS).keys() == {("hit",), ("miss",)}


def _deadlock(postgres: Postgres) -> None:
    with postgres.connect("app") as one, postgres.connect("app") as two:
        for session, row in ((one, 2), (two, 3)):
            session.execute("BEGIN")
            session.execute(b"UPDATE t SET n = 1 WHERE id = %d" % row)
        other = threading.Thread(target=_quietly, args=(one, "UPDATE t SET n = 1 WHERE id = 3"))
        other.start()
        _quietly(two, "UPDATE t SET n = 1 WHERE id = 2")
        other.join()


async def test_without_the_extension_there_are_no_query_facts(postgres: Postgres) -> None:
    """A database that lacks pg_stat_statements says nothing of queries, and nothing has failed."""
    scrape = await _once(_target(postgres, database="plain"))
    assert scrape.up
    assert _value(scrape, signals.DB_QUERIES, "plain") is None
    assert _failed(scrape) == {}


async def test_without_the_grant_what_is_not_seen_is_absent(postgres: Postgres) -> None:
    """A user who may not see others' sessions gets no count of them and a sentence that says what to grant."""
    scrape = await _once(_target(postgres, user="nobody", password=_PASSWORD))
    assert scrape.up
    assert not _rows(scrape, signals.DB_CONNECTIONS)
    assert _value(scrape, signals.DB_QUERIES) is None
    assert _value(scrape, signals.DB_CONNECTIONS_MAX, "") == 100
    assert _rows(scrape, signals.DB_TRANSACTIONS)
    assert _failed(scrape)["activity"] == "auth"
    assert "pg_monitor" in next(part.detail for part in scrape.parts if part.collector == "activity")


@pytest.mark.parametrize(("user", "password"), [("scram", _PASSWORD), ("old", "hunter2"), ("clear", _PASSWORD)])
async def test_every_kind_of_password_opens_the_door(postgres: Postgres, user: str, password: str) -> None:
    """SCRAM (with a password beyond ASCII), MD5, and clear text over loopback."""
    scrape = await _once(_target(postgres, user=user, password=password))
    assert scrape.error is None


@pytest.mark.parametrize("user", ["scram", "old", "clear", "unknown"])
async def test_a_wrong_password_is_said_and_never_shown(postgres: Postgres, user: str) -> None:
    """Reason auth, whatever the method; neither the password nor the server's text is in any output."""
    scrape = await _once(_target(postgres, user=user, password="hunter2-canary"))
    assert scrape.error is not None
    assert scrape.error.reason == "auth"
    page = Renderer().render([TargetFamilies(scrape.target, scrape.families)])
    assert b"canary" not in page
    assert "canary" not in f"{scrape!r}"


async def test_a_missing_password_and_a_missing_database_are_said(postgres: Postgres) -> None:
    """Each mistake of a newcomer has its reason and its fix."""
    no_password = await _once(_target(postgres, user="scram"))
    assert (no_password.error and no_password.error.reason) == "auth"
    assert "password_file" in str(no_password.error)
    no_database = await _once(_target(postgres, database="nowhere"))
    assert (no_database.error and no_database.error.reason) == "refused"
    assert "no such database" in str(no_database.error)


async def test_a_changed_password_is_read_again(postgres: Postgres, tmp_path: Path) -> None:
    """The secret's file changes and the session is lost: the next scrape logs in with the new one, unnoticed."""
    file = tmp_path / "password"
    file.write_text("first")
    postgres.run("CREATE ROLE rotated LOGIN PASSWORD 'first' IN ROLE pg_monitor")
    target = _target(postgres, user="rotated", password=Secret(path=file))
    assert (await target.scrape(5.0)).up
    file.write_text("second-one")
    postgres.run("ALTER ROLE rotated PASSWORD 'second-one'")
    postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotated'")
    scrape = await _once(target)
    assert scrape.error is None


async def test_a_lost_session_costs_no_scrape(postgres: Postgres) -> None:
    """The server ends our session between two scrapes: the second is whole, and there is one session, not two."""
    target = _target(postgres)
    await target.scrape(5.0)
    mine = "FROM pg_stat_activity WHERE application_name = 'tocsin-exporter'"
    postgres.run(f"SELECT pg_terminate_backend(pid) {mine}")
    scrapes = await asyncio.gather(target.scrape(5.0), target.scrape(5.0))
    assert [scrape.error for scrape in scrapes] == [None, None]
    assert postgres.run(f"SELECT count(*) {mine}") == [(1,)]
    target.close()
    await asyncio.to_thread(eventually, lambda: postgres.run(f"SELECT count(*) {mine}") == [(0,)])


async def test_a_frozen_server_is_down_in_time_and_comes_back(postgres: Postgres) -> None:
    """Every process of it stops: down with reason timeout at the deadline; it goes on, and so do we."""
    target = _target(postgres)
    assert (await target.scrape(5.0)).up
    postgres.freeze()
    try:
        frozen = await target.scrape(0.4)
        again = await target.scrape(0.4)
    finally:
        postgres.thaw()
    for scrape in (frozen, again):
        assert scrape.error is not None
        assert scrape.error.reason == "timeout"
    assert (await _once(target)).error is None


async def test_a_statement_that_waits_for_a_lock_is_given_up(postgres: Postgres) -> None:
    """Someone locks a system table: the server ends what waits for it; we say so and do not hang."""
    target = _target(postgres, statement_timeout="300ms")
    assert (await target.scrape(5.0)).up
    with postgres.connect("app") as session:
        session.execute("BEGIN")
        session.execute("LOCK TABLE pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE")
        scrape = await _once(target)
        session.execute("ROLLBACK")
    assert scrape.error is not None
    assert scrape.error.reason == "timeout"
    assert "SQLSTATE" in str(scrape.error), "the server's answer, not our deadline"


async def test_tls_is_verified(postgres: Postgres) -> None:
    """The right authority and host name are needed; `require` alone encrypts; a plain login is refused there."""
    ca = Secret(path=postgres.folder / "ca.pem")
    secured = {"user": "secured", "password": _PASSWORD}
    good = await _once(_target(postgres, host="localhost", tls="verify-full", tls_ca=ca, **secured))
    assert good.error is None
    for wrong in (
        {"host": "localhost", "tls": "verify-full"},
        {"host": "127.0.0.1", "tls": "verify-full", "tls_ca": ca},
    ):
        scrape = await _once(_target(postgres, **secured, **wrong))
        assert (scrape.error and scrape.error.reason) == "tls"
    assert (await _once(_target(postgres, tls="require", **secured))).error is None
    plain = await _once(_target(postgres, **secured))
    assert (plain.error and plain.error.reason) == "auth"


async def test_a_socket_file_is_an_address_too(postgres: Postgres) -> None:
    """The folder of the socket stands in the place of the host."""
    folder = str(postgres.folder).replace("/", "%2F")
    scrape = await _once(_target(postgres, host=folder))
    assert scrape.error is None


async def test_the_server_is_told_to_do_no_harm(postgres: Postgres) -> None:
    """Our session is read-only, bounded in time, and named."""
    target = _target(postgres, statement_timeout="1500ms")
    await target.scrape(5.0)
    connection = target._reader._connection  # type: ignore[union-attr]
    wanted = ("statement_timeout", "lock_timeout", "default_transaction_read_only", "application_name", "jit")
    answers = await connection.request(*(f"SHOW {name}" for name in wanted))
    target.close()
    assert [answer.rows[0][0] for answer in answers] == ["1500ms", "500ms", "on", "tocsin-exporter", "off"]


async def test_a_replica_tells_its_lag(postgres: Postgres) -> None:
    """A replica that has replayed all it received is not behind; a paused one falls behind; other facts stay."""
    with postgres_folder() as folder:
        replica = start_replica(postgres, folder)
        try:
            target = _target(replica)
            postgres.run("INSERT INTO t VALUES (100, 1)", database="app")
            await asyncio.to_thread(eventually, lambda: replica.run("SELECT id FROM t WHERE id = 100", database="app"))
            level = await _until(target, lambda scrape: _value(scrape, signals.DB_REPLICATION_LAG, "") == 0)
            assert _failed(level) == {}
            replica.run("SELECT pg_wal_replay_pause()")
            postgres.run("DELETE FROM t WHERE id = 100", database="app")
            await _until(target, lambda scrape: bool(_value(scrape, signals.DB_REPLICATION_LAG, "")))
            target.close()
        finally:
            replica.stop()
