"""The demo's worker: takes orders out of the queue, and plays the customers that put them in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import Any

from bullmq import Job, Worker
from prometheus_client import CollectorRegistry, Counter, Histogram

from demo.config import CONCURRENCY, QUEUE, Addresses
from demo.faults import Switch
from demo.metrics import registry, small_app
from demo.serving import serve
from demo.traffic import traffic
from tocsin import telemetry

_log = logging.getLogger("demo.worker")

_BACKLOG = 50
"""From so many waiting orders on, the worker skips what can wait, so that a backlog is gone in seconds."""


class OrderFailedError(Exception):
    """An order could not be fulfilled."""


class Fulfilment:
    """What happens to an order, and its numbers."""

    def __init__(self, switch: Switch, metrics: CollectorRegistry) -> None:
        self._switch = switch
        self._chance = random.Random()  # noqa: S311  # chance of faults, not of secrets
        self._orders = Counter("demo_orders", "Orders fulfilled or failed.", ("outcome",), registry=metrics)
        self._seconds = Histogram("demo_order_seconds", "Time to fulfil an order.", registry=metrics)
        for outcome in ("success", "failure"):
            self._orders.labels(outcome)

    async def fulfil(self, job: Job, _token: str) -> dict[str, Any]:
        """Fulfil one order. Raises OrderFailedError when the fault says so."""
        started = time.perf_counter()
        parent = job.data.get("trace") or {}
        with telemetry.span("fulfil order", {"messaging.destination.name": QUEUE}, parent=parent):
            await asyncio.sleep(0.001 if self._switch.waiting > _BACKLOG else self._chance.uniform(0.02, 0.08))
            if self._switch.on("jobs-failing") and self._chance.random() < 0.6:
                self._orders.labels("failure").inc()
                _log.error("demo.order.failed", extra={"order": job.id, "product": job.data.get("product")})
                msg = "the warehouse does not answer"
                raise OrderFailedError(msg)
            self._orders.labels("success").inc()
            self._seconds.observe(time.perf_counter() - started)
            _log.info("demo.order.fulfilled", extra={"order": job.id})
        return {"fulfilled": True}


class Staff:
    """The BullMQ worker, hired and sent home by the fault worker-stopped."""

    def __init__(self, where: Addresses, fulfilment: Fulfilment, switch: Switch) -> None:
        self._where = where
        self._fulfilment = fulfilment
        self._switch = switch
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None

    async def react(self) -> None:
        """Start or stop the worker as the switch says."""
        if self._switch.on("worker-stopped"):
            await self.stop()
        elif self._running is None or self._running.done():
            await self.stop()
            self._start()

    def _start(self) -> None:
        options = {"connection": self._where.redis_url, "concurrency": CONCURRENCY, "autorun": False}
        self._worker = Worker(QUEUE, self._fulfilment.fulfil, options)
        self._worker.on("error", _complain)
        with telemetry.untraced():  # its polling; each order continues the trace of its request
            self._running = asyncio.create_task(self._worker.run())
        _log.info("demo.worker.started", extra={"concurrency": CONCURRENCY})

    async def stop(self) -> None:
        """Let the orders at hand finish, then stop."""
        worker, running = self._worker, self._running
        self._worker = self._running = None
        if worker is not None:
            await worker.close()
            _log.info("demo.worker.stopped")
        if running is not None:
            await asyncio.gather(running, return_exceptions=True)


def _complain(error: BaseException, *_more: object) -> None:
    _log.warning("demo.worker.error", extra={"error": type(error).__name__})


async def work(where: Addresses, listen: str) -> None:
    """Serve /metrics and /-/healthy, take orders and send customers until SIGTERM."""
    metrics = registry()
    switch = Switch(where.redis_url, queue=QUEUE)
    staff = Staff(where, Fulfilment(switch, metrics), switch)
    tasks = [asyncio.create_task(switch.follow(staff.react)), asyncio.create_task(traffic(where.api))]
    try:
        await serve(small_app(metrics), listen)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(staff.stop(), 5)
        await switch.close()
