"""What tocsin.yaml may say about a RabbitMQ target."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from exporters.filters import DEFAULT, Count, QueueFilter
from tocsin.settings import Duration, HttpBase, Secret, TargetSettings


class RabbitmqSettings(TargetSettings):
    """A RabbitMQ broker or cluster: every node's own metrics page, and one management API for the whole."""

    kind: Literal["rabbitmq"] = "rabbitmq"
    url: HttpBase = Field(
        description="Address of the management API of any node.", examples=["http://rabbit.example.com:15672"]
    )
    user: str = Field(default="guest", min_length=1, description="User with the `monitoring` tag.")
    password: Secret | None = Field(default=None, description="Password of the user; better in a password_file.")
    nodes: tuple[HttpBase, ...] = Field(
        min_length=1,
        description="Address of every node's metrics page (plugin rabbitmq_prometheus): http://rabbit-1:15692, ….",
        examples=["http://rabbit.example.com:15692"],
    )
    queues: QueueFilter = QueueFilter()
    capacity: dict[str, Count | None] = Field(
        default={},
        description="Most messages that a queue may hold, where the broker sets no lower limit: {default: 1000}.",
    )
    slow: Duration = Field(
        default=timedelta(seconds=60),
        description="How often limits, policies, sizes and oldest messages are read: dear facts that change slowly.",
    )
    statistics: bool = Field(
        default=False,
        description="Also count published, acknowledged and redelivered messages on the slow timer, "
        "where the nodes' pages do not tell (before 4.0). Costs the broker about 0.1 s of CPU per 1000 queues.",
    )

    def capacity_of(self, queue: str) -> int | None:
        """Return the configured capacity of a queue; None when there is none."""
        return self.capacity.get(queue, self.capacity.get(DEFAULT))
