"""A Redis Cluster → cache families by role, the cluster's own state, and each node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from exporters.model import Family, Folding, Row, Value, label_text
from exporters.redis.cluster_read import ClusterSnapshot, NodeView, RedisClusterSettings
from exporters.redis.sums import RoleSums
from tocsin import signals
from tocsin.signals import Signal

SIGNALS = (
    signals.CACHE_REQUESTS,
    signals.CACHE_MEMORY,
    signals.CACHE_MEMORY_MAX,
    signals.CACHE_EVICTIONS,
    signals.CACHE_EXPIRATIONS,
    signals.CACHE_ITEMS,
    signals.CACHE_CONNECTIONS,
    signals.CACHE_CONNECTIONS_MAX,
    signals.CACHE_REJECTED,
    signals.CACHE_REPLICA_LINK_UP,
    signals.CACHE_CLUSTER_OK,
    signals.CACHE_CLUSTER_SLOTS,
    signals.CACHE_NODE_UP,
    signals.CACHE_NODE_PRIMARY,
    signals.CACHE_NODE_MEMORY,
    signals.CACHE_NODE_MEMORY_MAX,
)
"""All that this source can produce."""


def _cap(settings: RedisClusterSettings) -> int:
    return settings.cap


def _pinned(_settings: RedisClusterSettings) -> tuple[str, ...]:
    return ()


FOLDING: Final = Folding(
    "node",
    cap=_cap,
    pinned=_pinned,
    rules={signals.CACHE_NODE_UP.name: "leave_out", signals.CACHE_NODE_MEMORY_MAX.name: "sum_if_all"},
)

_COUNTERS: Final = (
    (signals.CACHE_EVICTIONS, "evicted_keys"),
    (signals.CACHE_EXPIRATIONS, "expired_keys"),
    (signals.CACHE_REJECTED, "rejected_connections"),
)
_GAUGES: Final[tuple[tuple[Signal, Callable[[RoleSums], Value | None]], ...]] = (
    (signals.CACHE_MEMORY, lambda role: role.memory),
    (signals.CACHE_MEMORY_MAX, lambda role: role.memory_max),
    (signals.CACHE_ITEMS, lambda role: role.items),
    (signals.CACHE_CONNECTIONS, lambda role: role.connections),
    (signals.CACHE_CONNECTIONS_MAX, lambda role: role.connections_max),
    (signals.CACHE_REPLICA_LINK_UP, lambda role: None if role.links_up is None else int(role.links_up)),
)
_NODE: Final[tuple[tuple[Signal, Callable[[NodeView], Value | None]], ...]] = (
    (signals.CACHE_NODE_MEMORY, lambda node: node.memory),
    (signals.CACHE_NODE_MEMORY_MAX, lambda node: node.memory_max),
    (signals.CACHE_NODE_UP, lambda node: int(node.up)),
    (signals.CACHE_NODE_PRIMARY, lambda node: int(node.primary)),
)


def families(snapshot: ClusterSnapshot) -> Sequence[Family]:
    """Shape a snapshot into families."""
    system = snapshot.system
    roles = [((system, role.role), role) for role in snapshot.roles]
    requests: list[Row] = [
        ((*labels, result), role.counters[name])
        for labels, role in roles
        for result, name in (("hit", "keyspace_hits"), ("miss", "keyspace_misses"))
    ]
    out = [Family(signals.CACHE_REQUESTS, requests)]
    out += [Family(signal, [(labels, role.counters[name]) for labels, role in roles]) for signal, name in _COUNTERS]
    out += [Family(signal, _known(of, roles)) for signal, of in _GAUGES]
    if snapshot.ok is not None:
        out.append(Family(signals.CACHE_CLUSTER_OK, [((system,), int(snapshot.ok))]))
    slots = snapshot.slots or {}
    out.append(Family(signals.CACHE_CLUSTER_SLOTS, [((system, state), count) for state, count in slots.items()]))
    nodes = [((system, label_text(node.name)), node) for node in snapshot.nodes]
    out += [Family(signal, [(ls, v) for ls, node in nodes if (v := of(node)) is not None]) for signal, of in _NODE]
    return out


def _known(of: Callable[[RoleSums], Value | None], roles: Sequence[tuple[tuple[str, str], RoleSums]]) -> list[Row]:
    return [(labels, value) for labels, role in roles if (value := of(role)) is not None]
