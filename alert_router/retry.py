"""When to try again: decorrelated jitter, so that a hundred waiting messages do not come back as one wave."""

from __future__ import annotations

from random import Random

BASE_SECONDS = 1.0
CAP_SECONDS = 300.0


def next_backoff(previous: float, random: Random) -> float:
    """Return the next wait in seconds: between 1 s and three times the previous wait, at most 5 min."""
    return min(CAP_SECONDS, random.uniform(BASE_SECONDS, max(BASE_SECONDS, previous) * 3))
