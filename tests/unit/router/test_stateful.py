"""Any order of fire, change, end, outage, kill and passing time ends in the same state at the destination."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from alert_router.ledger import Job
from tests.unit.router.ledger_bench import LedgerBench, chat_plan, snapshot

GROUPS = ("A", "B")


@dataclass
class Message:
    """One message as the reader has it."""

    group: str
    episode: int
    states: list[str] = field(default_factory=list)


class Reader:
    """A provider with messages that are edited; it may be away, or take a message and lose the answer."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.away = False

    def take(self, job: Job) -> str:
        """Post or edit; returns the message's key."""
        key = (job.thread or {}).get("ts") or f"m{len(self.messages)}"
        message = self.messages.setdefault(key, Message(job.snapshot.alertname, job.episode))
        assert message.group == job.snapshot.alertname
        message.states.append(job.snapshot.status)
        return key


class Delivery(RuleBasedStateMachine):
    """The ledger on one side, a reader on the other, and the world in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.bench = LedgerBench(Path(self.folder.name), {"chat": ("",), "pager": ("",)}, chat_plan((60, "pager")))
        self.readers = {"chat": Reader(), "pager": Reader()}
        self.truth: dict[str, str] = {}
        self.starts = self.bench.now
        self.answers_lost = 0
        self.flying: dict[str, list[Job]] = {"chat": [], "pager": []}

    @rule(group=st.sampled_from(GROUPS))
    def fires(self, group: str) -> None:
        """It fires, or something about it changes."""
        self.starts += 1
        self.bench.take(snapshot(name=group, starts=self.starts))
        self.truth[group] = "firing"

    @rule(group=st.sampled_from(GROUPS))
    def ends(self, group: str) -> None:
        """It ends; Alertmanager only ends what it told before."""
        if self.truth.get(group) == "firing":
            self.bench.take(snapshot("resolved", name=group, starts=self.starts))
            self.truth[group] = "resolved"

    @rule(dest=st.sampled_from(["chat", "pager"]), away=st.booleans())
    def goes_away(self, dest: str, *, away: bool) -> None:
        """The provider goes away, or comes back."""
        self.readers[dest].away = away

    @rule(seconds=st.sampled_from([1, 30, 90, 400]))
    def time_passes(self, seconds: int) -> None:
        """Time passes."""
        self.bench.now += seconds

    @rule(dest=st.sampled_from(["chat", "pager"]))
    def leaves(self, dest: str) -> None:
        """The lane takes what is due; the messages are under way while other things happen."""
        self.flying[dest] += self.bench.lease(dest, limit=3)

    @rule(dest=st.sampled_from(["chat", "pager"]))
    def lands(self, dest: str) -> None:
        """The oldest message under way arrives, or fails, and that is written down."""
        if self.flying[dest]:
            self._send(dest, self.flying[dest].pop(0))

    @rule(arrived=st.booleans())
    def is_killed(self, *, arrived: bool) -> None:
        """The process is killed: what is under way arrived or not, and nobody wrote it down."""
        for dest, jobs in self.flying.items():
            for job in jobs:
                if arrived and not self.readers[dest].away:
                    self.readers[dest].take(job)
                    self.answers_lost += 1
            jobs.clear()
        self.bench.crash()

    def _send(self, dest: str, job: Job) -> None:
        if self.readers[dest].away:
            later = self.bench.now + 5
            self.bench.finish(job, "transient", reason="network", retry_at=later, backoff=5)
        else:
            self.bench.finish(job, "delivered", thread={"ts": self.readers[dest].take(job)})

    @invariant()
    def a_message_never_goes_back(self) -> None:
        """After its end, no message of an episode says that it fires."""
        for reader in self.readers.values():
            for message in reader.messages.values():
                assert "resolved" not in message.states[:-1] or message.states[-1] == "resolved"

    def teardown(self) -> None:
        """Everybody is back, time passes: each reader knows the truth, and nothing waits for ever."""
        try:
            self._calm_down()
            self._compare()
        finally:
            self.bench.connection.close()
            self.folder.cleanup()

    def _calm_down(self) -> None:
        for reader in self.readers.values():
            reader.away = False
        for _ in range(8):
            for dest in self.readers:
                for job in [*self.flying[dest], *self.bench.lease(dest)]:
                    self._send(dest, job)
                self.flying[dest].clear()
            self.bench.now += 400

    def _compare(self) -> None:
        assert self.bench.value("SELECT count(*) FROM delivery WHERE state IN ('pending', 'sending')") == 0
        for group, status in self.truth.items():
            told = [message for message in self.readers["chat"].messages.values() if message.group == group]
            assert told[-1].states[-1] == status
            for dest in self.readers:
                self._no_message_is_left_firing(dest, group, status)
        posted = sum(len(reader.messages) for reader in self.readers.values())
        episodes = self.bench.value("SELECT sum(episode) FROM grp") or 0
        assert posted <= 2 * int(str(episodes)) + self.answers_lost

    def _no_message_is_left_firing(self, dest: str, group: str, status: str) -> None:
        """Only the newest episode may still say that it fires; a lost answer may leave one that nobody can edit."""
        threads = {ref for (ref,) in self.bench.connection.execute("SELECT ref FROM thread WHERE dest = ?", (dest,))}
        known = {key for key in self.readers[dest].messages if f'{{"ts": "{key}"}}' in threads}
        newest = int(str(self.bench.value("SELECT episode FROM grp WHERE alertname = ?", group)))
        for key in known:
            message = self.readers[dest].messages[key]
            if message.group == group and not (message.episode == newest and status == "firing"):
                assert message.states[-1] == "resolved"


Delivery.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


class TestAnyOrder(Delivery.TestCase):
    """Any order of events ends in the same final state at each destination."""
