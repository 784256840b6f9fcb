"""What tocsin.yaml may say about a BullMQ target."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from exporters.clients.resp import RedisTarget
from exporters.filters import DEFAULT, Count, QueueFilter
from tocsin.settings import Duration

__all__ = ["DEFAULT", "BullmqSettings", "QueueFilter"]


class BullmqSettings(RedisTarget):
    """BullMQ queues in one Redis."""

    kind: Literal["bullmq"] = "bullmq"
    prefix: str = Field(default="bull", min_length=1, description="BullMQ's key prefix.")
    queues: QueueFilter = QueueFilter()
    capacity: dict[str, Count | None] = Field(
        default={},
        description="Most messages that a queue may hold: {default: 1000, emails: 200}; BullMQ itself has no limit.",
    )
    slots: dict[str, Count | None] = Field(
        default={},
        description="Jobs that all workers of a queue do at once, where the queue has no global concurrency.",
    )
    events: bool = Field(
        default=True, description="Read the events stream: finished counters and histograms come from it."
    )
    workers: bool = Field(default=True, description="Count connected workers with CLIENT LIST.")
    discovery: Duration = Field(default=timedelta(seconds=30), description="How often new queues are looked for.")

    def capacity_of(self, queue: str) -> int | None:
        """Return the configured capacity of a queue; None when there is none."""
        return self.capacity.get(queue, self.capacity.get(DEFAULT))

    def slots_of(self, queue: str) -> int | None:
        """Return the configured worker slots of a queue; None when there are none."""
        return self.slots.get(queue, self.slots.get(DEFAULT))
