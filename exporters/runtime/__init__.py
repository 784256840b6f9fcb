"""The exporter process: configured targets only, each guarded, under a deadline, one read in flight."""

from exporters.runtime.serve import serve

__all__ = ["serve"]
