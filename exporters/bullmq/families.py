"""BullMQ queues → families. What a queue does not tell gives no sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from exporters.bullmq.read import BullmqSnapshot, Queue
from exporters.bullmq.settings import DEFAULT, BullmqSettings
from exporters.model import Family, Folding, Row, Value, label_text
from tocsin import signals

SIGNALS = (
    signals.QUEUE_MESSAGES,
    signals.QUEUE_CAPACITY,
    signals.QUEUE_OLDEST_READY,
    signals.QUEUE_ENQUEUED,
    signals.QUEUE_FINISHED,
    signals.QUEUE_WAIT,
    signals.PROCESS_DURATION,
    signals.QUEUE_CONSUMERS,
    signals.QUEUE_WORKER_SLOTS,
    signals.QUEUE_WORKER_SLOTS_BUSY,
    signals.QUEUE_PAUSED,
    signals.QUEUE_LAST_FINISHED,
    signals.EVENTS_MISSED,
    signals.DATA_TIMESTAMP,
)
"""All that this source can produce."""


def _cap(settings: BullmqSettings) -> int:
    return settings.queues.cap


def _pinned(settings: BullmqSettings) -> frozenset[str]:
    return frozenset({*settings.capacity, *settings.slots} - {DEFAULT})


FOLDING: Final = Folding(
    "messaging_destination_name",
    cap=_cap,
    pinned=_pinned,
    rules={
        signals.QUEUE_CAPACITY.name: "sum_if_all",
        signals.QUEUE_WORKER_SLOTS.name: "sum_if_all",
        signals.QUEUE_CONSUMERS.name: "sum_if_all",
        signals.QUEUE_OLDEST_READY.name: "min",
        signals.QUEUE_LAST_FINISHED.name: "max",
        signals.QUEUE_PAUSED.name: "leave_out",
    },
)
"""Queues named in the settings are kept first."""


def families(snapshot: BullmqSnapshot) -> Sequence[Family]:
    """Shape a snapshot into families."""
    named = [(("bullmq", label_text(queue.name)), queue) for queue in snapshot.queues]
    told = [(labels, queue.finished) for labels, queue in named if queue.finished is not None]
    slots = [(labels, queue) for labels, queue in named if queue.slots is not None]
    return [
        Family(signals.QUEUE_MESSAGES, [row for labels, queue in named for row in _messages(labels, queue)]),
        Family(signals.QUEUE_CAPACITY, _known((labels, q.capacity) for labels, q in named)),
        Family(signals.QUEUE_OLDEST_READY, _known((labels, q.oldest_ready) for labels, q in named)),
        Family(signals.QUEUE_LAST_FINISHED, _known((labels, q.last_finished) for labels, q in named)),
        Family(signals.QUEUE_PAUSED, [(labels, int(q.paused)) for labels, q in named]),
        Family(signals.QUEUE_CONSUMERS, _known((labels, q.workers) for labels, q in named)),
        Family(signals.QUEUE_WORKER_SLOTS, _known((labels, q.slots) for labels, q in slots)),
        Family(signals.QUEUE_WORKER_SLOTS_BUSY, [(labels, q.in_flight) for labels, q in slots]),
        Family(signals.QUEUE_ENQUEUED, [(labels, f.enqueued) for labels, f in told]),
        Family(
            signals.QUEUE_FINISHED,
            [
                row
                for labels, f in told
                for row in (((*labels, "success"), f.success), ((*labels, "failure"), f.failure))
            ],
        ),
        Family(signals.QUEUE_WAIT, [(labels, f.wait) for labels, f in told]),
        Family(signals.PROCESS_DURATION, [(labels, f.process) for labels, f in told]),
        Family(signals.EVENTS_MISSED, [(labels, f.missed) for labels, f in told]),
        Family(signals.DATA_TIMESTAMP, [((collector,), at) for collector, at in snapshot.slow.items()]),
    ]


def _messages(labels: tuple[str, str], queue: Queue) -> list[Row]:
    system, name = labels
    return [
        ((system, name, "ready"), queue.ready),
        ((system, name, "in_flight"), queue.in_flight),
        ((system, name, "scheduled"), queue.scheduled),
        ((system, name, "blocked"), queue.blocked),
        ((system, name, "retained_completed"), queue.retained_completed),
        ((system, name, "retained_failed"), queue.retained_failed),
    ]


def _known(rows: Iterable[tuple[tuple[str, ...], Value | None]]) -> list[Row]:
    return [(labels, value) for labels, value in rows if value is not None]
