"""Putting orders into the queue."""

from __future__ import annotations

import random
from typing import Any

import redis.asyncio
from bullmq import Queue

from demo.config import PRODUCTS, QUEUE
from tocsin import telemetry

_KEEP = {"removeOnComplete": {"count": 100}, "removeOnFail": {"count": 100}}
"""Finished orders that Redis keeps: enough to look at, too few to fill it."""
_BULK = 300


class Orders:
    """The producer's side of the queue."""

    def __init__(self, redis_url: str) -> None:
        # The library's own connection tries for minutes before it gives up; a customer waits for this one.
        self._client: redis.asyncio.Redis = redis.asyncio.from_url(redis_url, decode_responses=True, socket_timeout=2.0)
        self._queue = Queue(QUEUE, {"connection": self._client})

    async def place(self, product: int, quantity: int, payment: str) -> str:
        """Enqueue one order and return its number."""
        data = _order(product, quantity, payment) | {"trace": telemetry.carrier()}
        job = await self._queue.add("order", data, dict(_KEEP))
        return str(job.id)

    async def flood(self, count: int) -> None:
        """Enqueue many orders at once."""
        with telemetry.untraced():
            for start in range(0, count, _BULK):
                some = min(_BULK, count - start)
                await self._queue.addBulk([_any_order() for _ in range(some)])

    async def close(self) -> None:
        """Close the connections."""
        await self._queue.close()
        await self._client.aclose()


def _order(product: int, quantity: int, payment: str) -> dict[str, Any]:
    return {"product": product, "quantity": quantity, "payment": payment}


def _any_order() -> dict[str, Any]:
    product = random.randint(1, PRODUCTS)  # noqa: S311  # whose order it is does not matter
    return {"name": "order", "data": _order(product, 1, "taken"), "opts": dict(_KEEP)}
