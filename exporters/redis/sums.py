"""INFO of many nodes → sums by role, with counters that only grow though nodes change their role, restart or leave."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from exporters.redis.families import count_items

_COUNTERS = ("keyspace_hits", "keyspace_misses", "evicted_keys", "expired_keys", "rejected_connections")


@dataclass(frozen=True)
class RoleSums:
    """All nodes of one role together. None: not known of every one of them, or no limit."""

    role: str
    counters: Mapping[str, int]
    """By field of INFO, since the exporter first saw the cluster."""
    memory: int | None = None
    memory_max: int | None = None
    items: int | None = None
    connections: int | None = None
    connections_max: int | None = None
    links_up: bool | None = None
    """Every replica has its primary; None for primaries."""


@dataclass
class Sums:
    """Remembers how far each node's counters were."""

    _last: dict[str, dict[str, int]] = field(default_factory=dict)
    _totals: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(
        self, infos: Mapping[str, Mapping[str, str]], primary: Mapping[str, bool], *, incomplete: Collection[bool]
    ) -> tuple[RoleSums, ...]:
        """Take one INFO per node name; ``incomplete`` holds the roles (primary?) of which a node was not read."""
        first = not self._last
        for name, info in infos.items():
            self._count(name, info, _role(primary=primary[name]), first=first)
        for name in self._last.keys() - primary.keys():
            del self._last[name]  # it left the cluster; what it counted stays counted
        out = []
        for is_primary in (True, False):
            role = _role(primary=is_primary)
            mine = [info for name, info in infos.items() if primary[name] is is_primary]
            if role not in self._totals:
                continue
            if not mine or is_primary in incomplete:
                out.append(RoleSums(role, dict(self._totals[role])))
                continue
            out.append(
                RoleSums(
                    role,
                    dict(self._totals[role]),
                    memory=_sum(mine, "used_memory"),
                    memory_max=_limit(mine, "maxmemory"),
                    items=sum(count_items(info) for info in mine),
                    connections=_sum(mine, "connected_clients"),
                    connections_max=_sum(mine, "maxclients"),
                    links_up=None if is_primary else all(info.get("master_link_status") == "up" for info in mine),
                )
            )
        return tuple(out)

    def _count(self, name: str, info: Mapping[str, str], role: str, *, first: bool) -> None:
        totals = self._totals.setdefault(role, dict.fromkeys(_COUNTERS, 0))
        known = self._last.get(name)
        now = {counter: int(info[counter]) for counter in _COUNTERS if info.get(counter, "").isdecimal()}
        for counter, value in now.items():
            # A node that joins later brings a history that is not an increase of now.
            before = (0 if first else value) if known is None else known.get(counter, 0)
            totals[counter] += value - before if value >= before else value
        self._last[name] = now


def _role(*, primary: bool) -> str:
    return "primary" if primary else "replica"


_Infos = list[Mapping[str, str]]


def _sum(infos: _Infos, name: str) -> int | None:
    return _all(infos, name, lambda text: text.isdecimal())


def _limit(infos: _Infos, name: str) -> int | None:
    return _all(infos, name, lambda text: text.isdecimal() and text != "0")


def _all(infos: _Infos, name: str, fits: Callable[[str], bool]) -> int | None:
    texts = [info.get(name, "") for info in infos]
    return sum(map(int, texts)) if all(map(fits, texts)) else None
