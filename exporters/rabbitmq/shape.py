"""Pages of several nodes and the cluster's facts → queues. Remembers what must outlive one scrape, does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from exporters.rabbitmq.cluster import Cluster, Dear, QueueFacts
from exporters.rabbitmq.page import Key, NodePage
from exporters.rabbitmq.settings import RabbitmqSettings


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue at one moment. None means unknown, or no limit."""

    name: str
    ready: int | None
    in_flight: int | None = None
    retained_failed: int | None = None
    """Dead letters that wait for a person."""
    consumers: int | None = None
    capacity: int | None = None
    capacity_bytes: int | None = None
    size: int | None = None
    oldest_ready: float | None = None
    """Unix seconds."""
    enqueued: int | None = None
    finished: int | None = None
    redelivered: int | None = None


@dataclass(frozen=True, slots=True)
class _Told:
    """What is known of one queue beside the slow facts."""

    page: NodePage
    facts: QueueFacts
    redelivered: float | None
    finished: float | None


_NOTHING = QueueFacts()


@dataclass(frozen=True)
class Counted:
    """What a scrape's pages add up to."""

    queues: tuple[Queue, ...]
    other: Queue | None
    dead_lettered: tuple[tuple[str, str, int], ...]
    unknown: bool
    """A queue was seen that the last look did not know."""
    invisible: int
    """Queues in virtual hosts that the management API did not show."""


def label_of(key: Key) -> str:
    """Return a queue's label: its name, with the virtual host (as in an address) before it unless it is ``/``."""
    vhost, name = key
    return name if vhost == "/" and "/" not in name else f"{quote(vhost, safe='')}/{name}"


@dataclass
class Increases:
    """Counters of several nodes as one that only grows, though nodes restart and go missing."""

    _last: dict[str, Mapping[Key, float]] = field(default_factory=dict)
    _totals: dict[Key, float] = field(default_factory=dict)

    def add(self, pages: Iterable[tuple[str, Mapping[Key, float]]], *, whole: bool) -> Mapping[Key, float]:
        """Take one scrape's values by node and return the totals. ``whole``: every node was read."""
        first = not self._last
        seen: set[Key] = set()
        for node, values in pages:
            seen.update(values)
            before = self._last.get(node)
            for key, value in values.items():
                # A node that turns up later brings a history that is not an increase of now.
                old = (0.0 if first else value) if before is None else before.get(key, 0.0)
                self._totals[key] = self._totals.get(key, 0.0) + (value - old if value >= old else value)
            self._last[node] = values
        if whole:
            self._totals = {key: total for key, total in self._totals.items() if key in seen}
        return self._totals


class Shaper:
    """Shapes one target's scrapes."""

    def __init__(self, settings: RabbitmqSettings) -> None:
        self._settings = settings
        self._wanted: dict[Key, str | None] = {}
        self._worked: set[Key] = set()
        self._redelivered = Increases()
        self._finished = Increases()
        self._dead = Increases()

    def shape(self, pages: Sequence[NodePage], cluster: Cluster | None, dear: Dear | None, *, whole: bool) -> Counted:
        """Put the pages of one scrape together."""
        leaders = cluster.queues if cluster is not None else {}
        owners = owners_of(pages, leaders)
        redelivered = self._redelivered.add([(p.node, p.redelivered) for p in pages], whole=whole)
        finished = self._finished.add([(p.node, _sum(p.finished)) for p in pages], whole=whole)
        vhosts = {vhost for vhost, _ in leaders}
        out: list[Queue] = []
        others: list[Queue] = []
        unknown, invisible = False, 0
        for key, page in owners.items():
            facts = leaders.get(key)
            if facts is None and cluster is not None:
                unknown = True
                invisible += key[0] not in vhosts
            name = self._name(key)
            if name is None:
                continue
            passing = facts.ephemeral if facts is not None else _passing(key, cluster, vhosts)
            told = _Told(page, facts or _NOTHING, redelivered.get(key), finished.get(key))
            (others if passing else out).append(self._queue(name, key, told, dear))
        if len(self._wanted) > 4 * len(owners) + 1000:
            self._wanted.clear()
        if whole:
            self._worked &= owners.keys()
        return Counted(tuple(out), _together(others), self._dead_lettered(dear, whole=whole), unknown, invisible)

    def _name(self, key: Key) -> str | None:
        """Return the queue's label; None for one that is not watched."""
        if key not in self._wanted:
            label = label_of(key)
            self._wanted[key] = label if self._settings.queues.wants(label) else None
        return self._wanted[key]

    def _queue(self, name: str, key: Key, told: _Told, dear: Dear | None) -> Queue:
        page, facts = told.page, told.facts
        ready, consumers = _whole(page.ready.get(key)), _whole(page.consumers.get(key))
        if consumers:
            self._worked.add(key)
        # Whoever works on dead letters makes them work like any other; else they only stand there.
        standing = facts.dead_letter and key not in self._worked
        configured = self._settings.capacity_of(name)
        limits = [limit for limit in (facts.capacity, configured) if limit is not None]
        totals = dear.cluster.totals.get(key) if dear is not None and dear.cluster.totals is not None else None
        oldest, size = _details(key, dear)
        # A stream keeps what was read: its length says nothing about who waits.
        waiting = None if facts.stream else 0 if standing else ready
        return Queue(
            name,
            waiting,
            _whole(page.unacked.get(key)),
            ready if standing else None,
            consumers,
            min(limits) if limits and not facts.stream else None,
            facts.capacity_bytes,
            _whole(size),
            # Empty by now: whatever was the oldest then is gone.
            oldest if waiting else None,
            totals.enqueued if totals else None,
            # The nodes' own counters where they tell them, else the statistics of the last look.
            _whole(told.finished) if told.finished is not None else totals.finished if totals else None,
            _whole(told.redelivered) if told.redelivered is not None else totals.redelivered if totals else None,
        )

    def _dead_lettered(self, dear: Dear | None, *, whole: bool) -> tuple[tuple[str, str, int], ...]:
        if dear is None:
            return ()
        totals = self._dead.add([(node, d.dead_lettered) for node, d in dear.details.items()], whole=whole)
        return tuple((reason, outcome, int(count)) for (reason, outcome), count in sorted(totals.items()))


def owners_of(pages: Sequence[NodePage], known: Mapping[Key, QueueFacts]) -> dict[Key, NodePage]:
    """Say whose word counts for each queue. A former leader goes on telling its last numbers for a while."""
    owners: dict[Key, NodePage] = {}
    for page in pages:
        for key in page.ready:
            facts = known.get(key)
            if key not in owners or (facts is not None and facts.leader == page.node):
                owners[key] = page
    return owners


def _passing(key: Key, cluster: Cluster | None, vhosts: set[str]) -> bool:
    """Say whether a queue that the last look did not know is held back: it may have no lasting name."""
    return key[1].startswith("amq.gen-") or (cluster is not None and key[0] in vhosts)


def _details(key: Key, dear: Dear | None) -> tuple[float | None, float | None]:
    """Return the oldest message's time and the size of a queue, from whichever node told them."""
    for details in dear.details.values() if dear is not None else ():
        oldest, size = details.oldest.get(key), details.size.get(key)
        if oldest is not None or size is not None:
            return oldest, size
    return None, None


def _together(queues: Sequence[Queue]) -> Queue | None:
    """Add up queues without a lasting name; what they have at most cannot be added where one has no limit."""
    if not queues:
        return None
    return Queue(
        "_other",
        sum(queue.ready or 0 for queue in queues),
        sum(queue.in_flight or 0 for queue in queues),
        consumers=sum(queue.consumers or 0 for queue in queues),
    )


def _sum(families: Sequence[Mapping[Key, float]]) -> Mapping[Key, float]:
    first = families[0]
    if not any(families[1:]):
        return first
    return {key: sum(f.get(key, 0.0) for f in families) for key in {key for f in families for key in f}}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
