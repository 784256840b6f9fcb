"""Numbers as Prometheus' templates print them: written by hand here so that promtool can disagree."""

from __future__ import annotations


def percent(ratio: float) -> str:
    """``humanizePercentage`` of a ratio: ``0.8`` → ``80%``."""
    return f"{ratio * 100:.4g}%"


def duration(seconds: float) -> str:
    """``humanizeDuration`` of seconds, one second or more: ``301`` → ``5m 1s``."""
    whole = int(seconds)
    days, hours, minutes, rest = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{days}d {hours}h {minutes}m {rest}s"
    if hours:
        return f"{hours}h {minutes}m {rest}s"
    return f"{minutes}m {rest}s" if minutes else f"{seconds:.4g}s"
