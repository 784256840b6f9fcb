"""The names that a settings file may use, brought together for the parts that know only their own."""

from __future__ import annotations

import os
from pathlib import Path

from alert_router.notifiers.table import NOTIFIERS
from exporters.table import SOURCES
from tocsin.settings import Settings, Tables, load
from tocsin.thresholds import THRESHOLDS


def tables() -> Tables:
    """Return every kind of target and destination, and every threshold, by name."""
    return Tables(
        targets={kind: source.settings for kind, source in SOURCES.items()},
        destinations={kind: notifier.settings for kind, notifier in NOTIFIERS.items()},
        thresholds=THRESHOLDS,
    )


def load_settings(path: Path) -> Settings:
    """Read a settings file with the current environment; raises ConfigError with every problem."""
    return load(path, tables(), os.environ)
