"""The router's own numbers: counted where things happen, the rest read from the ledger when somebody asks."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from alert_router.ledger.reads import Totals, totals
from tocsin import signals
from tocsin.signals import Signal


class Meters(Collector):
    """Counts accepted webhooks and deliveries, and shows them with the ledger's totals as Prometheus families."""

    def __init__(self) -> None:
        # A counter that is absent until the first event cannot be seen to rise: all results begin at 0.
        self._accepted = dict.fromkeys(("stored", "duplicate", "quarantined", "refused", "unavailable"), 0)
        self._deliveries: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, list[float]] = {}
        self._sums: dict[str, float] = {}
        self._ledger: sqlite3.Connection | None = None
        self._data: Path | None = None

    def watch(self, ledger: sqlite3.Connection, data: Path) -> None:
        """Name the ledger and the data directory that gauges are read from."""
        self._ledger = ledger
        self._data = data

    def accepted(self, result: str) -> None:
        """Count one answered webhook."""
        self._accepted[result] += 1

    def delivery(self, destination: str, outcome: str) -> None:
        """Count one delivery attempt by its outcome."""
        self._deliveries[destination, outcome] += 1

    def took(self, destination: str, seconds: float) -> None:
        """Observe the time from an alert's start to the destination's answer."""
        buckets = signals.ROUTER_DELIVERY_SECONDS.buckets
        counts = self._seconds.setdefault(destination, [0.0] * (len(buckets) + 1))
        counts[next((i for i, bound in enumerate(buckets) if seconds <= bound), len(buckets))] += 1
        self._sums[destination] = self._sums.get(destination, 0.0) + seconds

    def text(self) -> bytes:
        """Return all families in Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        accepted = _counter(signals.ROUTER_ACCEPTED)
        for result, count in self._accepted.items():
            accepted.add_metric([result], count)
        yield accepted
        deliveries = _counter(signals.ROUTER_DELIVERIES)
        for key, count in self._deliveries.items():
            deliveries.add_metric(list(key), count)
        yield deliveries
        yield self._histogram()
        if self._ledger is not None:
            yield from _from_ledger(totals(self._ledger))
        if self._data is not None:
            yield from _disk(self._data)

    def _histogram(self) -> Metric:
        signal = signals.ROUTER_DELIVERY_SECONDS
        family = HistogramMetricFamily(signal.name, signal.help, labels=signal.labels)
        for destination, counts in self._seconds.items():
            running, buckets = 0.0, []
            for bound, count in zip((*map(str, signal.buckets), "+Inf"), counts, strict=True):
                running += count
                buckets.append((bound, running))
            family.add_metric([destination], buckets, self._sums[destination])
        return family


def _counter(signal: Signal) -> CounterMetricFamily:
    return CounterMetricFamily(signal.name.removesuffix("_total"), signal.help, labels=signal.labels)


def _gauge(signal: Signal, value: float | None = None) -> GaugeMetricFamily:
    if value is None:
        return GaugeMetricFamily(signal.name, signal.help, labels=signal.labels)
    return GaugeMetricFamily(signal.name, signal.help, value=value)


def _from_ledger(found: Totals) -> Iterator[Metric]:
    yield _gauge(signals.ROUTER_DEAD_LETTERS, found.dead)
    if found.oldest_undelivered is not None:
        yield _gauge(signals.ROUTER_OLDEST_UNDELIVERED, found.oldest_undelivered)
    beats = _gauge(signals.ROUTER_HEARTBEAT)
    for source, (seen, _gap) in found.heartbeats.items():
        beats.add_metric([source], seen)
    yield beats


def _disk(data: Path) -> Iterator[Metric]:
    try:
        usage = shutil.disk_usage(data)
    except OSError:
        return  # a fact that cannot be known is absent
    yield _gauge(signals.DISK_FREE, usage.free)
    yield _gauge(signals.DISK_SIZE, usage.total)
