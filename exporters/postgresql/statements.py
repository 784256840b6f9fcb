"""Running totals out of pg_stat_statements: the differences of each entry, added up.

The server's own sum falls whenever an entry is evicted or reset; ours only grows, and is a lower bound by what an entry
did between our last look and its eviction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

HALF_LIFE: Final = 600.0
"""Seconds after which past load counts half in the choice of the top statements."""
_LEAD: Final = 2.0
"""A newcomer must carry this many times the load of the one it replaces: the list must not churn."""


@dataclass(frozen=True)
class Totals:
    """What was counted so far. ``slow`` are the calls of statements that were slow on average in an interval."""

    calls: int = 0
    seconds: float = 0.0
    slow: int = 0

    def plus(self, calls: int, seconds: float, slow: int = 0) -> Totals:
        """Return these totals and a further interval."""
        return Totals(self.calls + calls, self.seconds + seconds, self.slow + slow)


Statement = tuple[str, str]
"""Database (oid) and query id, as the server writes them."""

_Entries = dict[str, tuple[int, float]]


@dataclass
class StatementLog:
    """Everything that has been seen of one server's statements; ``take`` each listing in turn."""

    top: int
    slow_query_seconds: float
    databases: dict[str, Totals] = field(default_factory=dict)
    """Totals by database (oid)."""
    listed: dict[Statement, Totals] = field(default_factory=dict)
    """The statements with series of their own."""
    others: dict[str, Totals] = field(default_factory=dict)
    """All the rest by database (oid)."""
    at: float | None = None
    """When the last listing was taken, in unix seconds."""
    _is_rebased: bool = False
    _lines: frozenset[str] = frozenset()
    _entries: _Entries = field(default_factory=dict)
    _load: dict[Statement, float] = field(default_factory=dict)

    def take(self, listing: str, now: float) -> None:
        """Add a listing (lines of ``user database query calls milliseconds``) that was read at ``now``."""
        lines = frozenset(listing.splitlines())
        # Entries that nothing happened to are the same lines: comparing sets skips them at no cost.
        changed = _parse(lines - self._lines)
        gone = _parse(self._lines - lines).keys() - changed.keys()
        if self.at is None:
            self._begin(changed)
        elif not self._is_rebased:
            self._fade(now - self.at)
            self._add(changed)
            self._choose()
        self._is_rebased = False
        self._entries.update(changed)
        for entry in gone:
            del self._entries[entry]
        self._lines, self.at = lines, now

    def rebase(self) -> None:
        """Take the next listing as where to go on from: after a failover it is another server's, no increase."""
        self._is_rebased = True

    def _begin(self, entries: Mapping[str, tuple[int, float]]) -> None:
        """Start at zero, with those that took most time before we came."""
        before: dict[Statement, float] = {}
        for entry, (_, seconds) in entries.items():
            statement = _statement(entry)
            self.databases.setdefault(statement[0], Totals())
            self.others.setdefault(statement[0], Totals())
            before[statement] = before.get(statement, 0.0) + seconds
        for statement in sorted(before, key=lambda key: (-before[key], key))[: self.top]:
            self.listed[statement] = Totals()
            self._load[statement] = 0.0

    def _add(self, entries: Mapping[str, tuple[int, float]]) -> None:
        for entry, (calls, seconds) in entries.items():
            before_calls, before_seconds = self._entries.get(entry, (0, 0.0))
            if calls < before_calls:  # reset, or evicted and back: it has begun anew
                before_calls, before_seconds = 0, 0.0
            more, took = calls - before_calls, max(seconds - before_seconds, 0.0)
            slow = more if more and took / more > self.slow_query_seconds else 0
            statement = _statement(entry)
            database = statement[0]
            self.databases[database] = self.databases.get(database, Totals()).plus(more, took, slow)
            self._load[statement] = self._load.get(statement, 0.0) + took
            if statement in self.listed:
                self.listed[statement] = self.listed[statement].plus(more, took, slow)
            else:
                self.others[database] = self.others.get(database, Totals()).plus(more, took, slow)

    def _fade(self, elapsed: float) -> None:
        factor = 0.5 ** (max(elapsed, 0.0) / HALF_LIFE)
        self._load = {
            statement: load * factor
            for statement, load in self._load.items()
            if load * factor > 1e-6 or statement in self.listed
        }

    def _choose(self) -> None:
        """Let the busiest newcomers in, few at a time; what leaves goes on in the rest."""
        waiting = sorted(self._load.keys() - self.listed.keys(), key=lambda key: (-self._load[key], key))
        free = self.top - len(self.listed)
        for statement in waiting[:free]:
            self.listed[statement] = Totals()
        for statement in waiting[max(free, 0) :][: max(self.top // 10, 1)] if self.top else ():
            least = min(self.listed, key=lambda key: (self._load[key], key))
            if self._load[statement] <= _LEAD * self._load[least]:
                break
            del self.listed[least]
            self.listed[statement] = Totals()


def _parse(lines: frozenset[str]) -> dict[str, tuple[int, float]]:
    """Read lines into (calls, seconds) by ``user database query``."""
    out = {}
    for line in lines:
        entry, calls, milliseconds = line.rsplit(" ", 2)
        out[entry] = (int(calls), float(milliseconds) / 1000)
    return out


def _statement(entry: str) -> Statement:
    _, database, query = entry.split(" ")
    return database, query


def by_name(log: StatementLog, names: Mapping[str, str]) -> Sequence[tuple[str, str, Totals]]:
    """Return (database name, query id, totals) of the listed statements of known databases."""
    return [(names[oid], query, totals) for (oid, query), totals in log.listed.items() if oid in names]
