"""What tocsin.yaml may say about a BullMQ target."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, field_validator

from exporters.clients.resp import RedisTarget
from tocsin.settings import Duration, Strict

DEFAULT = "default"
"""The key of ``capacity`` and ``slots`` that stands for every queue that is not named."""

Count = Annotated[int, Field(ge=1)]


class QueueFilter(Strict):
    """Which queues are watched, by name."""

    include: tuple[str, ...] = Field(
        default=(".*",), min_length=1, description="Regular expressions; one must match the whole name."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Regular expressions; none may match the whole name.")
    cap: int = Field(default=500, ge=1, description="Most queues with series of their own; the rest become _other.")

    @field_validator("include", "exclude")
    @classmethod
    def _compiles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                msg = f"{pattern!r} is not a regular expression ({error.msg}); '.*' matches everything"
                raise ValueError(msg) from None
        return value

    def wants(self, name: str) -> bool:
        """Say whether a queue is watched."""
        return any(re.fullmatch(p, name) for p in self.include) and not any(re.fullmatch(p, name) for p in self.exclude)


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
