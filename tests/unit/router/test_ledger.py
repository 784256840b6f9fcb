"""The ledger: what is news, what replaces what, who hears the end, and what survives."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alert_router.ledger import Arrival, Ledger, LedgerError, accept, prune
from alert_router.ledger.reads import dead_letters
from alert_router.ledger.schema import SCHEMA_VERSION, open_for_reading, open_for_writing
from alert_router.routing import Book, Plan
from tests.unit.router.ledger_bench import START, LedgerBench, chat_plan, snapshot
from tocsin.errors import StackError


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LedgerBench]:
    bench = LedgerBench(tmp_path, {"chat": ("",), "mail": ("a@x", "b@x"), "pager": ("",)}, chat_plan())
    yield bench
    bench.connection.close()


def test_equal_news_within_two_minutes_is_a_duplicate(bench: LedgerBench) -> None:
    """The other half of an Alertmanager pair is dropped, counted and answered."""
    assert bench.take(snapshot()).result == "stored"
    bench.now += 119
    assert bench.take(snapshot()).result == "duplicate"
    assert bench.value("SELECT duplicates FROM event") == 1
    assert bench.states("chat") == ["pending"]


def test_equal_news_later_is_a_reminder(bench: LedgerBench) -> None:
    """After the repeat interval the same state is told again, as an update of the same message."""
    bench.take(snapshot())
    bench.deliver("chat")
    bench.now += 4 * 3600
    assert bench.take(snapshot()).kind == "reminder"
    (job,) = bench.deliver("chat")
    assert job.kind == "reminder"
    assert job.thread is not None


def test_fire_resolve_fire_is_three_pieces_of_news(bench: LedgerBench) -> None:
    """A flapping alert is never swallowed: only the newest state is compared."""
    kinds = [bench.take(snapshot(status)).kind for status in ("firing", "resolved", "firing")]
    assert kinds == ["fired", "resolved", "fired"]


def test_a_second_episode_gets_a_message_of_its_own(bench: LedgerBench) -> None:
    """What ended yesterday is not edited into what fires today."""
    for status in ("firing", "resolved", "firing"):
        bench.take(snapshot(status))
        (job,) = bench.deliver("chat")
    assert job.episode == 2
    assert job.thread is None


def test_news_that_did_not_leave_is_replaced(bench: LedgerBench) -> None:
    """A newer state supersedes older unsent ones: nobody reads three messages about one thing."""
    bench.take(snapshot())
    bench.take(snapshot(starts=START + 1))
    assert bench.states("chat") == ["superseded", "pending"]


def test_a_fire_that_never_left_becomes_one_message_with_its_end(bench: LedgerBench) -> None:
    """Fired and resolved during an outage: one message tells both."""
    bench.take(snapshot())
    bench.take(snapshot("resolved"))
    (job,) = bench.deliver("chat")
    assert job.thread is None
    assert job.snapshot.status == "resolved"


def test_trigger_comes_before_resolve(bench: LedgerBench) -> None:
    """While a message is under way, its group's next one waits."""
    bench.take(snapshot())
    (job,) = bench.lease("chat")
    bench.take(snapshot("resolved"))
    assert bench.lease("chat") == []
    bench.finish(job, "delivered", thread={"ts": "1"})
    (after,) = bench.lease("chat")
    assert after.thread == {"ts": "1"}
    assert after.snapshot.status == "resolved"


def test_the_end_of_a_told_episode_is_told_even_when_it_fires_again(bench: LedgerBench) -> None:
    """Otherwise the first message would say "firing" for ever."""
    bench.take(snapshot())
    bench.deliver("chat")
    bench.take(snapshot("resolved"))
    bench.take(snapshot(starts=START + 300))
    first = bench.deliver("chat")
    second = bench.deliver("chat")
    assert [(job.episode, job.snapshot.status) for job in [*first, *second]] == [(1, "resolved"), (2, "firing")]


def test_the_end_is_kept_for_a_message_that_is_just_leaving(bench: LedgerBench) -> None:
    """A fire under way will be told: its end must follow, although the next fire is known already."""
    bench.take(snapshot())
    (job,) = bench.lease("chat")
    bench.take(snapshot("resolved"))
    bench.take(snapshot(starts=START + 300))
    bench.finish(job, "delivered", thread={"ts": "1"})
    assert [job.snapshot.status for job in bench.deliver("chat")] == ["resolved"]
    assert [job.snapshot.status for job in bench.deliver("chat")] == ["firing"]


def test_a_failure_is_not_retried_when_newer_news_waits(bench: LedgerBench) -> None:
    """The newer state goes instead, at once."""
    bench.take(snapshot())
    (job,) = bench.lease("chat")
    bench.take(snapshot("resolved"))
    finished = bench.finish(job, "transient", reason="network", retry_at=bench.now + 60, backoff=60)
    assert finished.state == "superseded"
    (after,) = bench.lease("chat")
    assert after.snapshot.status == "resolved"


def test_a_rate_limit_holds_the_whole_destination(bench: LedgerBench) -> None:
    """Not sooner than the provider said, for any group, and it is on disk."""
    bench.take(snapshot())
    bench.take(snapshot(name="Other"))
    job = bench.lease("chat", limit=1)[0]
    bench.finish(job, "rate_limited", reason="rate_limited", retry_at=bench.now + 30)
    bench.now += 29
    assert bench.lease("chat") == []
    assert bench.value("SELECT not_before FROM destination WHERE name = 'chat'") == START + 30
    bench.now += 2
    assert len(bench.lease("chat")) == 2


def test_a_success_ends_the_waiting_of_others(bench: LedgerBench) -> None:
    """When a destination answers again, nothing sits out its backoff."""
    for name in ("A", "B"):
        bench.take(snapshot(name=name))
    for job in bench.lease("chat"):
        bench.finish(job, "transient", reason="network", retry_at=bench.now + 300, backoff=300)
    bench.take(snapshot(name="C"))
    assert [job.snapshot.alertname for job in bench.deliver("chat")] == ["C"]
    assert {job.snapshot.alertname for job in bench.deliver("chat")} == {"A", "B"}


def test_the_most_severe_leaves_first(bench: LedgerBench) -> None:
    """A critical page does not queue behind a hundred warnings."""
    bench.take(snapshot(name="W", severity="warning"))
    bench.take(snapshot(name="I", severity="info"))
    bench.take(snapshot(name="C", severity="critical"))
    assert [job.snapshot.alertname for job in bench.lease("chat")] == ["C", "W", "I"]


def test_each_recipient_is_a_delivery(bench: LedgerBench) -> None:
    """One bad address stops nobody else's mail, and its thread is its own."""
    bench.take(snapshot(), Plan(("mail",)))
    good, bad = bench.lease("mail")
    bench.finish(good, "delivered", thread={"root": "1"})
    bench.finish(bad, "permanent", reason="not_found", detail="550 no such user")
    assert bench.states("mail", "Queue") == ["delivered", "dead"]


def test_a_fallback_waits_and_is_not_needed(bench: LedgerBench) -> None:
    """A step whose first destinations took the page ends unsent, with the reason."""
    bench.take(snapshot(), chat_plan((60, "pager")))
    bench.deliver("chat")
    bench.now += 61
    assert bench.lease("pager") == []
    assert bench.states("pager") == ["superseded"]
    assert bench.value("SELECT detail FROM delivery WHERE dest = 'pager'") == "not needed: chat took it"


def test_a_fallback_is_told_when_the_first_are_silent(bench: LedgerBench) -> None:
    """After its time, counted from the first news of the episode, updates notwithstanding."""
    bench.take(snapshot(), chat_plan((60, "pager")))
    bench.now += 40
    bench.take(snapshot(starts=START + 1), chat_plan((60, "pager")))
    bench.now += 19
    assert bench.lease("pager") == []
    bench.now += 2
    assert len(bench.deliver("pager")) == 1


def test_a_fallback_that_was_told_hears_the_end(bench: LedgerBench) -> None:
    """Whoever was told is told the end; who was not is left alone."""
    bench.take(snapshot(), chat_plan((60, "pager"), (120, "mail")))
    bench.now += 61
    bench.deliver("pager")
    bench.take(snapshot("resolved"), chat_plan((60, "pager"), (120, "mail")))
    assert bench.states("pager") == ["delivered", "pending"]
    assert bench.states("mail") == ["superseded", "superseded"]


def test_a_dead_letter_hurries_the_fallback(bench: LedgerBench) -> None:
    """No reason to wait a minute when the first destination has refused for good."""
    bench.take(snapshot(), chat_plan((60, "pager")))
    bench.refuse("chat")
    assert "Queue" in [job.snapshot.alertname for job in bench.deliver("pager")]


def test_a_dead_letter_moves_on_and_is_announced(bench: LedgerBench) -> None:
    """Without a fallback the page goes to another healthy destination, which also learns what is wrong."""
    bench.take(snapshot())
    bench.refuse("chat")
    told = {job.snapshot.alertname for job in bench.deliver("mail")}
    assert told == {"Queue", "DestinationFailing"}
    assert [letter.dest for letter in _dead(bench)] == ["chat"]
    assert bench.states("inbox", "DestinationFailing") == ["delivered"]


def test_a_hundred_dead_letters_are_one_announcement(bench: LedgerBench) -> None:
    """A broken token in a storm must not become a second storm."""
    for number in range(20):
        bench.take(snapshot(name=f"Q{number}"))
    for _ in range(3):
        bench.refuse("chat")
    assert (
        bench.value("SELECT count(*) FROM event e JOIN grp g ON g.id = e.grp WHERE alertname = 'DestinationFailing'")
        == 1
    )
    assert len(_dead(bench)) == 20


def test_everything_broken_ends_in_the_inbox(bench: LedgerBench) -> None:
    """Announcements about announcements come to an end, and the inbox has all of it."""
    bench.take(snapshot())
    for _ in range(5):
        for dest in ("chat", "mail", "pager"):
            bench.refuse(dest)
    assert bench.value("SELECT count(*) FROM delivery WHERE state IN ('pending', 'sending')") == 0
    assert set(bench.states("inbox")) == {"delivered"}
    assert bench.value("SELECT count(*) FROM grp WHERE alertname = 'DestinationFailing'") == 4


def test_the_all_clear_follows_when_the_destination_works_again(bench: LedgerBench) -> None:
    """The announcement is resolved by the next message that arrives."""
    bench.take(snapshot())
    bench.refuse("chat")
    bench.deliver("mail")
    bench.now += 300
    bench.take(snapshot(name="Next"))
    bench.deliver("chat")
    assert bench.value("SELECT status FROM grp WHERE alertname = 'DestinationFailing'") == "resolved"
    assert {job.snapshot.status for job in bench.deliver("mail")} == {"resolved"}


def test_a_message_that_is_too_old_is_a_dead_letter(bench: LedgerBench) -> None:
    """A critical page is tried for a day, then kept and announced."""
    bench.take(snapshot())
    (job,) = bench.lease("chat")
    bench.now += 86_401
    finished = bench.finish(job, "transient", reason="network", retry_at=bench.now + 5, backoff=5)
    assert finished.state == "dead"


def test_what_was_under_way_at_a_kill_goes_again_marked(bench: LedgerBench) -> None:
    """Its outcome is unknown: the attempt says so, and the next one knows that it may be a repetition."""
    bench.take(snapshot())
    bench.lease("chat")
    assert bench.crash() == 1
    (job,) = bench.lease("chat")
    assert job.uncertain
    results = [row[0] for row in bench.connection.execute("SELECT result FROM attempt ORDER BY id")]
    assert results == ["unknown", None]


def test_an_unknown_group_that_ends_is_told_by_its_route(bench: LedgerBench) -> None:
    """Alertmanager only ends what it told before: after a lost ledger the end must still reach the pager."""
    bench.take(snapshot("resolved"))
    assert bench.states("chat") == ["pending"]


def test_pruning_keeps_what_is_undelivered_or_firing(bench: LedgerBench) -> None:
    """Old history goes, with all its rows; dead letters, waiting messages and firing groups stay."""
    for name in ("Done", "Dead", "Waits", "Fires"):
        bench.take(snapshot(name=name))
    for job in bench.lease("chat"):
        match job.snapshot.alertname:
            case "Done" | "Fires":
                bench.finish(job, "delivered", thread={"ts": "1"})
            case "Dead":
                bench.finish(job, "permanent", reason="auth")
            case _:
                bench.finish(job, "transient", reason="network", retry_at=bench.now + 5)
    for name in ("Done", "Dead"):
        bench.take(snapshot("resolved", name=name))
    bench.deliver("chat")
    bench.now += 90 * 86_400
    while prune(bench.connection, bench.now - 30 * 86_400):
        pass
    left = {row[0] for row in bench.connection.execute("SELECT alertname FROM grp")}
    assert {"Dead", "Waits", "Fires"} <= left
    assert "Done" not in left
    orphans = "SELECT count(*) FROM attempt WHERE delivery NOT IN (SELECT id FROM delivery)"
    assert bench.value(orphans) == 0


def _dead(bench: LedgerBench) -> list:
    return dead_letters(bench.connection)


def test_the_ledger_carries_its_version_and_refuses_a_newer_one(tmp_path: Path) -> None:
    """An old program must not write into what it does not understand."""
    path = tmp_path / "ledger.sqlite"
    connection = open_for_writing(path)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    for opening in (open_for_writing, open_for_reading):
        with pytest.raises(StackError, match="format 2"):
            opening(path)


def test_the_ledger_is_durable_and_private(tmp_path: Path) -> None:
    """WAL with full synchronisation, readable by its owner only."""
    path = tmp_path / "ledger.sqlite"
    connection = open_for_writing(path)
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connection.close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """Two writers would send everything twice."""
    code = (
        "import sys; from pathlib import Path; from alert_router.ledger import Ledger\n"
        "from tocsin.errors import StackError\n"
        "try: Ledger(Path(sys.argv[1]), now=0.0)\n"
        "except StackError as error: print(error, '|', error.fix); sys.exit(3)"
    )
    with Ledger(tmp_path / "ledger.sqlite", now=0.0):
        second = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "ledger.sqlite")],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[3],
            env=dict(os.environ),
        )
    assert second.returncode == 3
    assert "another router writes the ledger" in second.stdout


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """It is not overwritten."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"something else entirely, and long enough to have a header" * 10)
    with pytest.raises(StackError, match="not a ledger"):
        open_for_writing(path)


async def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """While the disk is full every webhook is refused; afterwards the next one is taken, by the same process."""
    book = Book({"inbox": ("",)})
    with Ledger(tmp_path / "ledger.sqlite", now=0.0) as ledger:
        await ledger.run(_limit_pages)
        arrival = Arrival(snapshot(), Plan(()), START, body=os.urandom(2_000_000))
        with pytest.raises(LedgerError, match="full"):
            await ledger.run(lambda connection: accept(connection, arrival, book))
        await ledger.run(lambda connection: connection.execute("PRAGMA max_page_count = 1073741823").fetchone())
        assert (await ledger.run(lambda connection: accept(connection, arrival, book))).result == "stored"


def _limit_pages(connection: sqlite3.Connection) -> None:
    connection.execute(
        f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0] + 20}"
    ).fetchone()


async def test_a_transaction_that_fails_undoes_only_itself(tmp_path: Path) -> None:
    """Others in the same commit are kept."""

    def bad(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO heartbeat (source, seen) VALUES ('bad', 1)")
        raise ValueError("mine alone")

    def good(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO heartbeat (source, seen) VALUES ('good', 1)")

    with Ledger(tmp_path / "ledger.sqlite", now=0.0) as ledger:
        results = await asyncio.gather(ledger.run(good), ledger.run(bad), return_exceptions=True)
        assert isinstance(results[1], ValueError)
        assert [row[0] for row in ledger.reader.execute("SELECT source FROM heartbeat")] == ["good"]
