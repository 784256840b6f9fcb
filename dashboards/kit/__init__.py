"""The only importer of grafanalib: factories, layout, variables, links, and one ``normalise`` that knows the format."""

from dashboards.kit.build import Board, Row, board_json
from dashboards.kit.check import Finding, check
from dashboards.kit.links import Links
from dashboards.kit.panels import Drawing, ModernPanel, alerts_table, history, series, stat, table
from dashboards.kit.targets import Query

__all__ = [
    "Board",
    "Drawing",
    "Finding",
    "Links",
    "ModernPanel",
    "Query",
    "Row",
    "alerts_table",
    "board_json",
    "check",
    "history",
    "series",
    "stat",
    "table",
]
