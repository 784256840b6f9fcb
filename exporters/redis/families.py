"""Fields of INFO → cache families. A field that is not there gives no sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporters.model import Family, Row, label_text
from exporters.redis.read import RedisSnapshot
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
)
"""All that this source can produce."""

_PLAIN: tuple[tuple[Signal, str], ...] = (
    (signals.CACHE_MEMORY, "used_memory"),
    (signals.CACHE_EVICTIONS, "evicted_keys"),
    (signals.CACHE_EXPIRATIONS, "expired_keys"),
    (signals.CACHE_CONNECTIONS, "connected_clients"),
    (signals.CACHE_CONNECTIONS_MAX, "maxclients"),
    (signals.CACHE_REJECTED, "rejected_connections"),
)
_ROLES = {"master": "primary", "slave": "replica"}
"""Redis' words and those of everybody else."""


def families(snapshot: RedisSnapshot) -> Sequence[Family]:
    """Shape one INFO into families."""
    info = snapshot.info
    system = "valkey" if info.get("server_name") == "valkey" else "redis"
    role = info.get("role", "unknown")
    labels = (system, _ROLES.get(role, label_text(role)))
    out = [Family(signals.CACHE_REQUESTS, _requests(info, labels))]
    for signal, name in _PLAIN:
        value = _number(info, name)
        if value is not None:
            out.append(Family(signal, [(labels, value)]))
    limit = _number(info, "maxmemory")
    if limit:  # 0 is Redis' word for "no limit"
        out.append(Family(signals.CACHE_MEMORY_MAX, [(labels, limit)]))
    out.append(Family(signals.CACHE_ITEMS, [(labels, count_items(info))]))
    if "master_link_status" in info:
        up = int(info["master_link_status"] == "up")
        out.append(Family(signals.CACHE_REPLICA_LINK_UP, [(labels, up)]))
    return out


def _requests(info: Mapping[str, str], labels: tuple[str, str]) -> list[Row]:
    found = [("hit", _number(info, "keyspace_hits")), ("miss", _number(info, "keyspace_misses"))]
    return [((*labels, result), value) for result, value in found if value is not None]


def count_items(info: Mapping[str, str]) -> int:
    """Add up ``db0:keys=5,expires=0,…``; a server without keys has no such line, which is a true 0."""
    total = 0
    for name, value in info.items():
        if name.startswith("db") and name[2:].isdecimal() and value.startswith("keys="):
            total += int(value[5:].partition(",")[0])
    return total


def _number(info: Mapping[str, str], name: str) -> int | None:
    text = info.get(name, "")
    return int(text) if text.isdecimal() else None
