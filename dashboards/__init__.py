"""Dashboards as code: ``render`` makes what Grafana provisions, ``check`` finds what Grafana would swallow."""

from dashboards.files import BOARDS, render
from dashboards.kit.check import Finding, check

__all__ = ["BOARDS", "Finding", "check", "render"]
