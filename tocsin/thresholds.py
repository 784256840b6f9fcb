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
