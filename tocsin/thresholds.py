"""Every number that an alert compares with: defined once, with its unit and source, read by rule and panel alike."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.settings import Settings


@dataclass(frozen=True)
class Threshold:
    """A number, its unit, where it comes from, and the bounds within which an override makes sense."""

    name: str
    value: float
    unit: str
    source: str
    minimum: float
    maximum: float


_ALL = (
    Threshold(
        "queue_fill_ratio",
        0.8,
        "ratio",
        "The platform's owners ask for 80 % of capacity: room for one more burst of a quarter of the load.",
        0.01,
        1.0,
    ),
    Threshold(
        "queue_wait_seconds", 300, "seconds", "The owners' promise to users: a job starts within 5 minutes.", 1, 86400
    ),
    Threshold(
        "queue_stalled_seconds",
        120,
        "seconds",
        "Two minutes without a finished job while work waits: longer than any healthy job of the platform.",
        5,
        86400,
    ),
    Threshold("queue_failure_ratio", 0.1, "ratio", "One job in ten fails: more than retries hide.", 0.001, 1.0),
    Threshold(
        "cache_hit_ratio",
        0.8,
        "ratio",
        "Below 80 % hits, the database behind the cache carries more than twice its usual reads (from 90 %).",
        0.01,
        1.0,
    ),
    Threshold(
        "breaker_open_seconds", 300, "seconds", "A dependency that is away for 5 minutes needs a person.", 1, 86400
    ),
    Threshold(
        "target_down_seconds",
        60,
        "seconds",
        "Four missed scrapes at the default interval: no blip, not yet long.",
        0,
        86400,
    ),
    Threshold("disk_full_days", 4, "days", "Long enough to act after a weekend.", 0.5, 60),
    Threshold("disk_free_ratio", 0.05, "ratio", "Below 5 % free, writes may fail before anyone is awake.", 0.001, 0.9),
    Threshold(
        "queue_failure_minimum",
        10,
        "jobs in 5 minutes",
        "Below ten finished jobs, one bad job alone would be 10 %.",
        1,
        1_000_000,
    ),
    Threshold(
        "cache_lookups_minimum",
        100,
        "lookups in 5 minutes",
        "A hit ratio over fewer lookups says more about chance than about the cache.",
        1,
        1_000_000_000,
    ),
    Threshold(
        "http_p95_seconds",
        0.5,
        "seconds",
        "Half a second is where people start to notice; the platform's API answers in a tenth of it.",
        0.001,
        600,
    ),
    Threshold(
        "http_requests_minimum",
        20,
        "requests in 5 minutes",
        "Below twenty requests, a single slow one is the 95th percentile.",
        1,
        1_000_000_000,
    ),
    Threshold("partly_read_seconds", 120, "seconds", "Longer than a restart of the watched system takes.", 1, 86400),
    Threshold(
        "delivery_stuck_seconds",
        300,
        "seconds",
        "A page that is five minutes late has missed the promise it was sent for.",
        10,
        86400,
    ),
    Threshold(
        "heartbeat_seconds",
        300,
        "seconds",
        "The watchdog comes once a minute; five missed in a row is no delay, it is a broken chain.",
        60,
        86400,
    ),
)

THRESHOLDS: dict[str, Threshold] = {threshold.name: threshold for threshold in _ALL}
"""Thresholds by name."""


@dataclass(frozen=True)
class Resolved:
    """A threshold as one configuration has it: one number for all, others for some targets."""

    threshold: Threshold
    default: float
    targets: dict[str, float]


def resolve(name: str, settings: Settings) -> Resolved:
    """Return a threshold with the overrides of this configuration."""
    threshold = THRESHOLDS[name]
    override = settings.thresholds.get(name)
    if override is None:
        return Resolved(threshold, threshold.value, {})
    default = threshold.value if override.default is None else override.default
    return Resolved(threshold, default, dict(override.targets))
