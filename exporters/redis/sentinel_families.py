"""Primaries that sentinels watch → families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from exporters.model import Family, Folding, label_text
from exporters.redis.sentinel_read import RedisSentinelSettings, SentinelSnapshot
from tocsin import signals

SIGNALS = (
    signals.CACHE_SENTINEL_MASTER_UP,
    signals.CACHE_SENTINEL_QUORUM_OK,
    signals.CACHE_SENTINEL_MASTER_CHANGES,
    signals.CACHE_SENTINEL_REPLICAS,
    signals.CACHE_SENTINEL_SENTINELS,
)
"""All that this source can produce."""


def _cap(settings: RedisSentinelSettings) -> int:
    return settings.cap


def _pinned(_settings: RedisSentinelSettings) -> tuple[str, ...]:
    return ()


FOLDING: Final = Folding(
    "master",
    cap=_cap,
    pinned=_pinned,
    # One primary without a quorum makes the folded ones not all well.
    rules={signals.CACHE_SENTINEL_QUORUM_OK.name: "min", signals.CACHE_SENTINEL_MASTER_UP.name: "min"},
)


def families(snapshot: SentinelSnapshot) -> Sequence[Family]:
    """Shape a snapshot into families."""
    named = [(("redis", label_text(master.name)), master) for master in snapshot.masters]
    return [
        Family(signals.CACHE_SENTINEL_MASTER_UP, [(labels, int(m.up)) for labels, m in named]),
        Family(
            signals.CACHE_SENTINEL_QUORUM_OK,
            [(labels, int(m.quorum_ok)) for labels, m in named if m.quorum_ok is not None],
        ),
        Family(signals.CACHE_SENTINEL_MASTER_CHANGES, [(labels, m.changes) for labels, m in named]),
        Family(signals.CACHE_SENTINEL_REPLICAS, [(labels, m.replicas) for labels, m in named]),
        Family(signals.CACHE_SENTINEL_SENTINELS, [(labels, m.sentinels) for labels, m in named]),
    ]
