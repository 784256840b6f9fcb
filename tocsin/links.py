"""What rules, boards and messages agree on beside signals: panel ids, dashboard uids, every address in a message."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import quote, urlencode

BOARDS: dict[str, str] = {"home": "tocsin-home", "queues": "tocsin-queues"}
"""Dashboard uids by board. A uid never changes: old messages link to it."""

BOARD_VARIABLES = ("target", "service")
"""Labels that a panel link hands over to the board's variables of the same name."""


def panel_id(board: str, key: str) -> int:
    """31-bit id that survives inserting, moving and retitling other panels."""
    return int.from_bytes(sha256(f"{board}/{key}".encode()).digest()[:4], "big") >> 1


def panel_ref(board: str, key: str) -> str:
    """Name a panel in an annotation: ``<dashboard uid>/<panel id>``."""
    return f"{BOARDS[board]}/{panel_id(board, key)}"


def grafana_panel_url(grafana_url: str, ref: str, labels: Mapping[str, str]) -> str:
    """Address of one panel in Grafana, with the alert's labels as variables."""
    uid, _, number = ref.partition("/")
    variables = [(f"var-{name}", labels[name]) for name in BOARD_VARIABLES if labels.get(name)]
    return f"{grafana_url}/d/{uid}?{urlencode([('viewPanel', number), *variables])}"


def runbook_url(external_url: str, alertname: str) -> str:
    """Address of an alert's runbook page on the router."""
    return f"{external_url}/runbooks/{quote(alertname, safe='')}"


def group_url(external_url: str, group_id: str) -> str:
    """Address of a group's own page on the router: its timeline, deliveries and silence button."""
    return f"{external_url}/groups/{group_id}"


def graph_url(external_url: str, group_id: str) -> str:
    """Address of a group's graph, drawn by the router from Prometheus."""
    return f"{external_url}/graph/{group_id}"


def panel_url(external_url: str, alertname: str, labels_query: str) -> str:
    """Address on the router that leads to the panel of an alert: Grafana's where there is one, our graph otherwise.

    ``labels_query`` is a query string of the alert's labels; in a rule it holds Prometheus templates.
    """
    return f"{external_url}/panels/{quote(alertname, safe='')}?{labels_query}"
