"""The switch: which faults are on, kept in Redis so that API and worker see the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import redis.asyncio
from redis.exceptions import RedisError

from tocsin import telemetry

_log = logging.getLogger("demo.faults")

_KEY = "demo:faults"

FAULTS: dict[str, str] = {
    "worker-stopped": "the worker stops and the queue fills to 90 % → QueueNearCapacity within seconds, "
    "QueueStalled after 2 min, QueueWaitTooLong after 5 min",
    "jobs-failing": "six of ten orders fail → QueueFailureRatioHigh after a minute or two",
    "breaker-open": "payments are away, their circuit breaker opens → BreakerOpenTooLong after 5 min",
    "cache-cold": "no product is found in the cache → CacheHitRatioLow after two or three minutes",
    "api-errors": "six of ten requests end in a server error → ErrorBudgetBurn within two minutes",
    "api-slow": "every request takes about a second → HttpLatencyHigh after a minute",
}
"""Faults by name, each with what happens and which alert follows."""

_FAILURES = (RedisError, OSError)


async def set_fault(redis_url: str, name: str) -> None:
    """Put one fault on. Raises KeyError when there is no such fault."""
    if name not in FAULTS:
        raise KeyError(name)
    async with redis.asyncio.from_url(redis_url) as client:
        await client.sadd(_KEY, name)


async def clear(redis_url: str) -> None:
    """Take every fault off."""
    async with redis.asyncio.from_url(redis_url) as client:
        await client.delete(_KEY)


class Switch:
    """What a process knows of the faults and of the queue: looked up twice a second, asked without waiting."""

    def __init__(self, redis_url: str, *, queue: str, seconds: float = 0.5) -> None:
        self._client: redis.asyncio.Redis = redis.asyncio.from_url(redis_url, socket_timeout=2.0)
        self._waiting_key = f"bull:{queue}:wait"
        self._seconds = seconds
        self._away = False
        self.active: frozenset[str] = frozenset()
        self.waiting = 0
        """Orders in the queue at the last look."""

    def on(self, name: str) -> bool:
        """Say whether a fault is on."""
        return name in self.active

    async def look(self) -> None:
        """Look now; a Redis that is away leaves what was known."""
        try:
            with telemetry.untraced():
                async with self._client.pipeline(transaction=False) as pipe:
                    pipe.smembers(_KEY)
                    pipe.llen(self._waiting_key)
                    active, waiting = await pipe.execute()
        except _FAILURES as error:
            self._tell_away(error)
            return
        self._away = False
        now = frozenset(name.decode() for name in active)
        if now != self.active:
            _log.info("demo.faults.changed", extra={"active": sorted(now)})
        self.active, self.waiting = now, waiting

    async def follow(self, react: Callable[[], Awaitable[None]]) -> None:
        """Look again and again; ``react`` runs after each look. Ends by cancellation."""
        while True:
            await self.look()
            try:
                await react()
            except _FAILURES as error:
                self._tell_away(error)
            await asyncio.sleep(self._seconds)

    def _tell_away(self, error: Exception) -> None:
        if not self._away:  # once per outage, not twice a second
            _log.warning("demo.redis.away", extra={"error": type(error).__name__})
        self._away = True

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
