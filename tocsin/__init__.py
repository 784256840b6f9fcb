"""Tocsin's shared kernel: settings, signals, thresholds, links, telemetry, and the command line on top."""

__version__ = "0.1.0"
