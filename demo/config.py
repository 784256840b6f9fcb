"""Where the demo's parts are, and the numbers of its business."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

QUEUE = "orders"
CAPACITY = 1000
"""Orders that the platform wants to have waiting at most; tocsin.yaml says the same to the rules."""
FILL = 900
"""How far the fault worker-stopped fills the queue: over 80 % of the capacity, under all of it."""
PRODUCTS = 20
CONCURRENCY = 8


@dataclass(frozen=True)
class Addresses:
    """HOST:PORT of each part."""

    redis: str = "127.0.0.1:18079"
    cache: str = "127.0.0.1:18078"
    api: str = "127.0.0.1:18080"

    @property
    def redis_url(self) -> str:
        """Address of the queue's Redis."""
        return f"redis://{self.redis}/0"

    @property
    def cache_url(self) -> str:
        """Address of the cache's Redis: another server, since hits and misses are counted per server."""
        return f"redis://{self.cache}/0"


def addresses(environ: Mapping[str, str] = os.environ) -> Addresses:
    """Read DEMO_REDIS, DEMO_CACHE and DEMO_API (each HOST:PORT)."""
    plain = Addresses()
    return Addresses(
        redis=environ.get("DEMO_REDIS", plain.redis),
        cache=environ.get("DEMO_CACHE", plain.cache),
        api=environ.get("DEMO_API", plain.api),
    )
