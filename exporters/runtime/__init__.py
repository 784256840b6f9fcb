"""The exporter process: configured targets only, each guarded, under a deadline, one read in flight."""

from exporters.runtime.overview import TargetState, overview
from exporters.runtime.serve import Listener, serve

__all__ = ["Listener", "TargetState", "overview", "serve"]
