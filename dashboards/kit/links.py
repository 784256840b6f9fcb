"""Links that carry the time range and the variables, so that one click keeps the question."""

from __future__ import annotations

from dataclasses import dataclass

from grafanalib.core import DashboardLink

from tocsin.links import BOARD_VARIABLES, BOARDS, runbook_url


@dataclass(frozen=True)
class Links:
    """Where the links of the boards lead: ``external_url`` is where people reach the router's pages."""

    external_url: str

    def runbook(self, alertname: str) -> dict[str, object]:
        """The page that says what to do when this is red."""
        return _link(f"If red: {alertname}", runbook_url(self.external_url, alertname))

    def board(self, board: str) -> dict[str, object]:
        """Another board, with this one's time range and variables."""
        variables = "&".join(f"${{{name}:queryparam}}" for name in ("prometheus_datasource", *BOARD_VARIABLES))
        return _link(f"Open {board}", f"/d/{BOARDS[board]}?${{__url_time_range}}&{variables}")

    def inbox(self) -> dict[str, object]:
        """The router's inbox: which pages went out, to whom."""
        return _link("Open the inbox", f"{self.external_url}/")

    def runbook_of_row(self) -> dict[str, object]:
        """In a table of alerts: the runbook of the row's alert."""
        return _link("Runbook", f"{self.external_url}/runbooks/${{__data.fields.alertname}}")


def _link(title: str, url: str) -> dict[str, object]:
    return {"title": title, "url": url, "targetBlank": False}


def between_boards() -> DashboardLink:
    """The menu of all boards, by tag."""
    return DashboardLink(type="dashboards", title="Boards", tags=["tocsin"], includeVars=True, keepTime=True)
