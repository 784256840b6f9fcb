"""PostgreSQL's facts without a server: which columns each version has, running totals, and what is absent."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.clients.postgres import Answer
from exporters.model import OTHER, Family, Value
from exporters.postgresql import catalog as sql
from exporters.postgresql.catalog import Catalog, read_catalog
from exporters.postgresql.families import FOLDING, families
from exporters.postgresql.read import Database, PostgresqlSnapshot, Statement
from exporters.postgresql.settings import PostgresqlSettings
from exporters.postgresql.statements import HALF_LIFE, StatementLog, Totals
from exporters.runtime.fold import Folder
from exporters.table import SOURCES
from tocsin import signals
from tocsin.errors import TargetError
from tocsin.paths import HOUSE
from tocsin.settings import Tables, inspect
from tocsin.signals import Signal

_VERSIONS: dict[str, dict[str, str]] = json.loads(
    Path(HOUSE, "tests/contracts/sources/fixtures/postgresql_versions.json").read_text(encoding="utf-8")
)
"""Columns by view, as each major version has them."""

_STATEMENT_OF = {
    "pg_stat_activity": sql.activity,
    "pg_stat_database": sql.databases,
    "pg_stat_statements": sql.statements,
    "pg_stat_wal_receiver": sql.server,
}


def _catalog(version: str, *, without: tuple[str, str] = ("", "")) -> Catalog:
    columns = {view: frozenset(names.split()) for view, names in _VERSIONS[version].items()}
    if without[0]:
        columns[without[0]] -= {without[1]}
    return Catalog(int(version) * 10000, granted=True, columns=columns, statements_schema="public")


@pytest.mark.parametrize("version", _VERSIONS)
def test_every_version_is_asked_for_everything(version: str) -> None:
    """From 10 to 18 nothing is missing; the time of statements has the name that this version gives it."""
    catalog = _catalog(version)
    assert len(sql.all_of(catalog)) == 4
    listing = sql.statements(catalog)
    assert listing is not None
    assert ("total_exec_time" in listing) is (int(version) >= 13)
    assert ("toplevel" in listing) is (int(version) >= 14)
    assert "NULL AS" not in sql.databases(catalog)


@pytest.mark.parametrize("version", _VERSIONS)
def test_a_column_that_goes_is_not_asked_for(version: str) -> None:
    """Whichever column a later version drops or renames: no statement names it, and the others stay as they are."""
    whole = sql.all_of(_catalog(version))
    for view, names in _VERSIONS[version].items():
        for name in names.split():
            catalog = _catalog(version, without=(view, name))
            statement = _STATEMENT_OF[view](catalog) or ""
            named = re.sub(r"NULL AS \w+|datname IS NOT|GROUP BY datname", "", statement)
            if view == "pg_stat_database":
                assert f"s.{name}" not in named.replace("s.datid", "")
            elif view != "pg_stat_wal_receiver" or name != "pid":
                assert not re.search(rf"\b{name}\b", named), f"{name} of {view}"
            assert len(set(sql.all_of(catalog)) - set(whole)) <= 1


def test_what_the_server_says_of_itself_is_read() -> None:
    """Version, grant, schema and columns; a server before version 10 is refused with a sentence."""
    columns = Answer(("view", "columns"), (("pg_stat_activity", "pid state"),), 0.0)
    about = ("version", "started", "granted", "statements_schema")
    catalog = read_catalog(Answer(about, (("170002", "1.5", "0", None),), 0.0), columns)
    views = {"pg_stat_activity": frozenset({"pid", "state"})}
    assert catalog == Catalog(170002, granted=False, columns=views, started="1.5")
    assert sql.activity(catalog) is None
    assert sql.statements(catalog) is None
    with pytest.raises(TargetError, match="older than PostgreSQL 10"):
        read_catalog(Answer(about, (("90624", "1.5", "1", None),), 0.0), columns)


def _log(**more: float) -> StatementLog:
    return StatementLog(int(more.get("top", 2)), more.get("slow", 1.0))


def _lines(*entries: tuple[int, int, int, int, float]) -> str:
    return "\n".join(" ".join(map(str, entry)) for entry in entries)


def test_the_first_look_counts_nothing() -> None:
    """What was done before we came is no increase; the databases are known with true zeros."""
    log = _log()
    log.take(_lines((10, 1, 7, 100, 5000.0)), 0.0)
    assert log.databases == {"1": Totals()}
    assert log.listed == {("1", "7"): Totals()}


def test_differences_add_up_through_reset_and_eviction() -> None:
    """An entry that starts anew counts as it stands; one that is gone takes nothing back."""
    log = _log()
    log.take(_lines((10, 1, 7, 100, 5000.0), (10, 1, 8, 10, 10.0)), 0.0)
    log.take(_lines((10, 1, 7, 104, 5400.0), (10, 1, 8, 10, 10.0)), 15.0)
    assert log.databases["1"] == Totals(4, pytest.approx(0.4), 0)
    log.take(_lines((10, 1, 7, 3, 30.0)), 30.0)  # reset, and entry 8 evicted
    assert log.databases["1"].calls == 7
    log.take(_lines((10, 1, 7, 3, 30.0), (10, 1, 8, 2, 2.0)), 45.0)  # entry 8 is back
    assert log.databases["1"] == Totals(9, pytest.approx(0.432), 0)
    log.take("", 60.0)
    assert log.databases["1"].calls == 9


def test_slow_calls_are_those_of_statements_slow_on_average() -> None:
    """An interval's mean above the limit makes all its calls slow, at the limit none: a lower bound."""
    log = _log(slow=0.5)
    log.take(_lines((10, 1, 7, 0, 0.0), (10, 1, 8, 0, 0.0)), 0.0)
    log.take(_lines((10, 1, 7, 2, 1002.0), (10, 1, 8, 2, 1000.0)), 15.0)
    assert log.databases["1"].slow == 2
    log.take(_lines((10, 1, 7, 102, 1102.0), (10, 1, 8, 2, 1000.0)), 30.0)
    assert log.databases["1"].slow == 2


def test_users_of_one_statement_share_its_series() -> None:
    """Two users' entries are told apart for the differences and added up for the series."""
    log = _log()
    log.take(_lines((10, 1, 7, 5, 1.0), (11, 1, 7, 5, 1.0)), 0.0)
    log.take(_lines((10, 1, 7, 6, 2.0), (11, 1, 7, 7, 3.0)), 15.0)
    assert log.listed["1", "7"].calls == 3


def test_the_list_changes_only_for_a_clear_lead() -> None:
    """A newcomer enters when it carries more than twice the load of the least; what leaves goes on in the rest."""
    log = _log(top=1)
    log.take(_lines((10, 1, 7, 1, 1000.0), (10, 1, 8, 1, 10.0)), 0.0)
    log.take(_lines((10, 1, 7, 2, 2000.0), (10, 1, 8, 2, 1910.0)), 15.0)
    assert list(log.listed) == [("1", "7")]
    log.take(_lines((10, 1, 7, 2, 2000.0), (10, 1, 8, 9, 9000.0)), 15.0 + 2 * HALF_LIFE)
    assert list(log.listed) == [("1", "8")]
    assert log.others["1"].calls == 8
    log.take(_lines((10, 1, 7, 3, 2001.0), (10, 1, 8, 10, 9001.0)), 30.0 + 2 * HALF_LIFE)
    assert log.listed["1", "8"].calls == 1


def test_another_server_after_a_failover_is_no_increase() -> None:
    """The listing of a server that took over is where we go on from, however much it has done before."""
    log = _log()
    log.take(_lines((10, 1, 7, 100, 5000.0)), 0.0)
    log.rebase()
    log.take(_lines((10, 1, 7, 900_000, 9e9), (10, 1, 8, 5, 5.0)), 15.0)
    assert log.databases["1"].calls == 0
    log.take(_lines((10, 1, 7, 900_001, 9e9), (10, 1, 8, 5, 5.0)), 30.0)
    assert log.databases["1"].calls == 1


def test_no_list_means_no_list() -> None:
    """With top 0 everything is in the totals alone."""
    log = _log(top=0)
    log.take(_lines((10, 1, 7, 1, 1000.0)), 0.0)
    log.take(_lines((10, 1, 7, 2, 9000.0)), 15.0)
    assert log.listed == {}
    assert log.databases["1"].calls == 1


_entry = st.tuples(
    st.integers(1, 2), st.integers(1, 2), st.integers(1, 6), st.integers(1, 50), st.integers(0, 5000).map(float)
)
_listing = st.lists(_entry, max_size=12, unique_by=lambda entry: entry[:3])


@given(st.lists(_listing, max_size=8), st.integers(0, 3))
def test_totals_never_fall_and_the_list_stays_within_its_bound(listings: list[list[tuple[int, ...]]], top: int) -> None:
    """Whatever a server lists, counters only grow and no more statements are listed than were asked for."""
    log = _log(top=top)
    before: dict[str, Totals] = {}
    for turn, listing in enumerate(listings):
        log.take("\n".join(" ".join(map(str, entry)) for entry in listing), 30.0 * turn)
        assert len(log.listed) <= top
        for database, totals in before.items():
            now = log.databases[database]
            assert now.calls >= totals.calls
            assert now.seconds >= totals.seconds
            assert now.slow >= totals.slow
        before = dict(log.databases)


def _rows(shaped: Sequence[Family], signal: Signal) -> dict[tuple[str, ...], Value]:
    return {labels: value for family in shaped if family.signal is signal for labels, value in family.rows}


def test_what_is_unknown_has_no_sample() -> None:
    """A database of which only the name is known gives no series, nor does a primary a lag."""
    shaped = families(PostgresqlSnapshot((Database("app"),)))
    assert [family.signal.name for family in shaped if family.rows] == []


def test_the_rest_of_the_statements_is_one_series() -> None:
    """Listed statements by the server's id, all others of a database as _other; no text of a query is a label."""
    snapshot = PostgresqlSnapshot(
        (Database("app", totals=Totals(10, 2.0, 1), others=Totals(4, 0.5)),),
        statements=(Statement("app", "-77", Totals(6, 1.5, 1)),),
    )
    shaped = families(snapshot)
    key = ("postgresql", "app")
    assert _rows(shaped, signals.DB_STATEMENT_CALLS) == {(*key, "-77"): 6, (*key, OTHER): 4}
    assert _rows(shaped, signals.DB_STATEMENT_SECONDS) == {(*key, "-77"): 1.5, (*key, OTHER): 0.5}
    assert _rows(shaped, signals.DB_SLOW_QUERIES) == {key: 1}


def test_many_databases_fold_and_the_server_stays() -> None:
    """Beyond the cap databases become _other; limits and lag of the server, and the watched database, are kept."""
    settings = PostgresqlSettings.model_validate(
        {"name": "db", "url": "postgresql://m@h/last", "databases": {"cap": 2}}
    )
    states = dict.fromkeys(("active", "idle", "idle_in_transaction", "waiting", "other"), 1)
    every = (*(f"d{i}" for i in range(50)), "last")
    shaped = families(PostgresqlSnapshot(tuple(Database(n, connections=states) for n in every), connections_max=100))
    folded = Folder(FOLDING, FOLDING.cap(settings), FOLDING.pinned(settings)).fold(shaped)
    rows = _rows(folded.families, signals.DB_CONNECTIONS)
    assert {labels[1] for labels in rows} == {"d0", "last", OTHER}
    assert sum(value for value in rows.values() if isinstance(value, int)) == 51 * 5
    assert _rows(folded.families, signals.DB_CONNECTIONS_MAX) == {("postgresql", ""): 100}


def test_the_examples_of_the_documentation_are_right(tmp_path: Path) -> None:
    """What the how-to page says to write for PostgreSQL and PgBouncer is taken as it stands."""
    page = Path(HOUSE, "docs/how-to.md").read_text(encoding="utf-8")
    examples = [text for text in re.findall(r"```yaml\n(targets:.*?)```", page, re.DOTALL) if "postgresql://" in text]
    tables = Tables({kind: source.settings for kind, source in SOURCES.items()}, {}, {})
    (tmp_path / "secrets").mkdir()
    for name in ("main-db", "main-pool"):
        (tmp_path / "secrets" / name).write_text("word")
    for example in examples:
        (tmp_path / "tocsin.yaml").write_text(f"schema: 1\n{example}")
        assert inspect(tmp_path / "tocsin.yaml", tables, {}).problems == []
    assert len(examples) == 2
