"""RabbitMQ queues → families. What the broker does not tell gives no sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from exporters.filters import DEFAULT
from exporters.model import OTHER, Family, Folding, Row, Value, label_text
from exporters.rabbitmq.read import RabbitmqSnapshot
from exporters.rabbitmq.settings import RabbitmqSettings
from exporters.rabbitmq.shape import Queue
from tocsin import signals
from tocsin.signals import Signal

SIGNALS = (
    signals.QUEUE_MESSAGES,
    signals.QUEUE_CAPACITY,
    signals.QUEUE_CAPACITY_BYTES,
    signals.QUEUE_SIZE_BYTES,
    signals.QUEUE_OLDEST_READY,
    signals.QUEUE_CONSUMERS,
    signals.QUEUE_ENQUEUED,
    signals.QUEUE_FINISHED,
    signals.QUEUE_REDELIVERED,
    signals.BROKER_ALARM,
    signals.BROKER_DEAD_LETTERED,
    signals.DATA_TIMESTAMP,
)
"""All that this source can produce."""

SYSTEM: Final = "rabbitmq"


def _cap(settings: RabbitmqSettings) -> int:
    return settings.queues.cap


def _pinned(settings: RabbitmqSettings) -> frozenset[str]:
    return frozenset({*settings.capacity} - {DEFAULT})


FOLDING: Final = Folding(
    "messaging_destination_name",
    cap=_cap,
    pinned=_pinned,
    rules={
        signals.QUEUE_CAPACITY.name: "sum_if_all",
        signals.QUEUE_CAPACITY_BYTES.name: "sum_if_all",
        signals.QUEUE_OLDEST_READY.name: "min",
    },
)
"""Queues named in the settings are kept first."""

_Named = Sequence[tuple[tuple[str, str], Queue]]


def families(snapshot: RabbitmqSnapshot) -> Sequence[Family]:
    """Shape a snapshot into families."""
    named = [((SYSTEM, label_text(queue.name)), queue) for queue in snapshot.queues]
    if snapshot.other is not None:
        named.append(((SYSTEM, OTHER), snapshot.other))
    alarms = snapshot.alarms or {}
    return [
        Family(signals.QUEUE_MESSAGES, _messages(named)),
        _known(signals.QUEUE_CAPACITY, named, lambda queue: queue.capacity),
        _known(signals.QUEUE_CAPACITY_BYTES, named, lambda queue: queue.capacity_bytes),
        _known(signals.QUEUE_SIZE_BYTES, named, lambda queue: queue.size),
        _known(signals.QUEUE_OLDEST_READY, named, lambda queue: queue.oldest_ready),
        _known(signals.QUEUE_CONSUMERS, named, lambda queue: queue.consumers),
        _known(signals.QUEUE_ENQUEUED, named, lambda queue: queue.enqueued),
        Family(
            signals.QUEUE_FINISHED,
            [((*labels, "success"), queue.finished) for labels, queue in named if queue.finished is not None],
        ),
        _known(signals.QUEUE_REDELIVERED, named, lambda queue: queue.redelivered),
        Family(signals.BROKER_ALARM, [((SYSTEM, resource), int(on)) for resource, on in alarms.items()]),
        Family(
            signals.BROKER_DEAD_LETTERED,
            [((SYSTEM, reason, outcome), count) for reason, outcome, count in snapshot.dead_lettered],
        ),
        Family(signals.DATA_TIMESTAMP, [((collector,), at) for collector, at in snapshot.slow.items()]),
    ]


def _messages(named: _Named) -> list[Row]:
    rows: list[Row] = []
    for (system, name), queue in named:
        if queue.ready is not None:
            rows.append(((system, name, "ready"), queue.ready))
        if queue.in_flight is not None:
            rows.append(((system, name, "in_flight"), queue.in_flight))
        if queue.retained_failed is not None:
            rows.append(((system, name, "retained_failed"), queue.retained_failed))
    return rows


def _known(signal: Signal, named: _Named, value_of: Callable[[Queue], Value | None]) -> Family:
    return Family(signal, [(labels, value) for labels, queue in named if (value := value_of(queue)) is not None])
