"""What a person reads: one message's content, the same facts for every destination, and only links that work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from alert_router.snapshot import Alert, Snapshot, Status
from tocsin.endpoints import endpoints
from tocsin.links import grafana_panel_url, graph_url, group_url, runbook_url
from tocsin.paths import HOUSE
from tocsin.settings import Settings

Event = Literal["fired", "updated", "reminder", "resolved", "fired_and_resolved"]
"""What a message tells: ``fired_and_resolved`` when nobody was told before it ended."""

SHOWN_ALERTS = 10
"""Alerts listed in one message; the group's page has more."""

_OWN_LABELS = ("alertname", "severity", "target")
_ELSEWHERE = {"alertname", "severity", "messaging_system", "cache_system"}
_WORDS = {
    "messaging_destination_name": "queue",
    "http_route": "route",
    "http_request_method": "method",
    "http_response_status_code": "status code",
}


@dataclass(frozen=True)
class Link:
    """A text to click on and where it leads."""

    text: str
    url: str


@dataclass(frozen=True)
class Line:
    """One alert of the group in one line. Times are unix seconds."""

    summary: str
    value: str
    status: Status
    since: float
    ended: float | None


@dataclass(frozen=True)
class Page:
    """One message, not yet dressed for a destination. Times are unix seconds."""

    group_id: str
    group_key: str
    episode: int
    generation: int
    event: Event
    status: Status
    severity: str
    alertname: str
    summary: str
    description: str
    value: str
    since: float
    ended: float | None
    labels: Mapping[str, str]
    lines: tuple[Line, ...]
    firing: int
    total: int
    links: tuple[Link, ...]
    url: str
    """The group's own page."""
    note: str = ""
    """What the reader must know about the message itself, such as that it may be a repetition."""

    @property
    def tag(self) -> str:
        """``CRITICAL``, ``WARNING``, ``INFO`` or ``RESOLVED``: the first word of every message."""
        return "RESOLVED" if self.status == "resolved" else self.severity.upper()

    @property
    def lasted(self) -> str:
        """How long it fired, such as ``3m12s``; empty while it fires."""
        return "" if self.ended is None else duration(self.ended - self.since)

    @property
    def state_text(self) -> str:
        """The one sentence that says what changed."""
        match self.event:
            case "resolved":
                return f"resolved after {self.lasted}"
            case "fired_and_resolved":
                return f"fired and resolved after {self.lasted}, before this message could leave"
            case "updated":
                return f"changed: {self.firing} of {self.total} firing"
            case "reminder":
                return f"still firing, since {clock_time(self.since)}"
            case _:
                return f"firing since {clock_time(self.since)}"

    @property
    def more(self) -> int:
        """Alerts of the group that are not in ``lines``."""
        return self.total - len(self.lines)

    @property
    def where(self) -> Mapping[str, str]:
        """Labels that say where, in people's words and without those that every message shows anyway."""
        return {
            _WORDS.get(name, name): value
            for name, value in sorted(self.labels.items(), key=lambda item: item[0] != "target")
            if value and name not in _ELSEWHERE
        }


@dataclass(frozen=True)
class Site:
    """Where links lead in this configuration."""

    external_url: str
    grafana_url: str | None
    runbooks: Path

    def has_runbook(self, alertname: str) -> bool:
        """Whether this alert has a runbook page of ours."""
        return alertname.isidentifier() and (self.runbooks / f"{alertname}.md").is_file()


def site(settings: Settings, environ: Mapping[str, str] = os.environ) -> Site:
    """Return the addresses for links: Grafana's where people reach it is the settings' word, else the stack's."""
    grafana = settings.grafana_url or endpoints(settings, environ).grafana
    return Site(settings.external_url, grafana, HOUSE / "docs" / "runbooks")


def make_page(snapshot: Snapshot, place: Site, event: Event, *, episode: int = 1, generation: int = 1) -> Page:
    """Turn a snapshot into a message's content."""
    leading = snapshot.alerts[0]
    shown = snapshot.alerts[:SHOWN_ALERTS]
    return Page(
        group_id=snapshot.group_id,
        group_key=snapshot.group_key,
        episode=episode,
        generation=generation,
        event=event,
        status=snapshot.status,
        severity=snapshot.severity,
        alertname=snapshot.alertname,
        summary=_summary(snapshot),
        description=leading.annotations.get("description", "").strip(),
        # With several alerts each has its own value, on its own line.
        value=leading.annotations.get("value", "").strip() if snapshot.firing + snapshot.truncated <= 1 else "",
        since=snapshot.since,
        ended=snapshot.ended,
        labels=snapshot.routing_labels() | ({} if len(snapshot.alerts) > 1 else dict(leading.labels)),
        lines=tuple(_line(alert) for alert in shown),
        firing=snapshot.firing,
        total=snapshot.firing + snapshot.resolved + snapshot.truncated,
        links=links(snapshot, place),
        url=group_url(place.external_url, snapshot.group_id),
    )


def links(snapshot: Snapshot, place: Site) -> tuple[Link, ...]:
    """Return the links of a group; one with nothing behind it is left out."""
    return tuple(
        link
        for link in (
            _picture(snapshot, place),
            _runbook(snapshot, place),
            _silence(snapshot, place),
            Link("Timeline", group_url(place.external_url, snapshot.group_id)),
        )
        if link is not None
    )


def _picture(snapshot: Snapshot, place: Site) -> Link | None:
    notes = snapshot.alerts[0].annotations
    if place.grafana_url and notes.get("panel"):
        labels = {**snapshot.labels, **snapshot.alerts[0].labels}
        return Link("Panel", grafana_panel_url(place.grafana_url, notes["panel"], labels))
    if notes.get("query"):
        return Link("Graph", graph_url(place.external_url, snapshot.group_id))
    candidates = (notes.get(name, "") for name in ("panel_url", "dashboard_url", "dashboard"))
    foreign = next((url for url in candidates if _is_http(url)), "")
    if foreign and not _is_ours(foreign, place):
        return Link("Panel", foreign)
    return None


def _runbook(snapshot: Snapshot, place: Site) -> Link | None:
    notes = snapshot.alerts[0].annotations
    written = notes.get("runbook_url", "")
    if _is_http(written) and "/runbooks/" not in written:
        return Link("Runbook", written)
    # One of ours, named by its rule; its address is made anew, because the rule may be older than external_url.
    named = written.rpartition("/runbooks/")[2]
    for name in (named, notes.get("runbook", ""), snapshot.alertname):
        if place.has_runbook(name):
            return Link("Runbook", runbook_url(place.external_url, name))
    return Link("Runbook", written) if _is_http(written) and not _is_ours(written, place) else None


def _is_ours(url: str, place: Site) -> bool:
    return url.startswith(f"{place.external_url}/")


def _silence(snapshot: Snapshot, place: Site) -> Link | None:
    # The router's own announcements do not pass Alertmanager: a silence would not stop them.
    if snapshot.origin != "alertmanager" or snapshot.status == "resolved":
        return None
    return Link("Silence", f"{group_url(place.external_url, snapshot.group_id)}#silence")


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _line(alert: Alert) -> Line:
    return Line(
        _alert_summary(alert), alert.annotations.get("value", "").strip(), alert.status, alert.starts, alert.ends
    )


def _alert_summary(alert: Alert) -> str:
    for name in ("summary", "message", "description"):
        if text := alert.annotations.get(name, "").strip():
            return " ".join(text.split())
    named = [f"{name}={value}" for name, value in sorted(alert.labels.items()) if name not in _OWN_LABELS]
    title = " ".join([alert.labels.get("alertname", "Alert"), alert.labels.get("target", "")]).strip()
    return f"{title} ({', '.join(named)})" if named else title


def _summary(snapshot: Snapshot) -> str:
    first = _alert_summary(snapshot.alerts[0])
    others = (snapshot.firing or snapshot.resolved) - 1 + snapshot.truncated
    return f"{first} (and {others} more)" if others > 0 else first


def duration(seconds: float) -> str:
    """Write a length of time for people, in at most two units: ``45s``, ``3m12s``, ``2h05m``, ``3d4h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600}h"


def clock_time(at: float, *, now: float | None = None) -> str:
    """Write a moment (unix seconds) as ``02:41 UTC``, or with its date when it is not of the day of ``now``."""
    moment = datetime.fromtimestamp(at, UTC)
    if now is not None and datetime.fromtimestamp(now, UTC).date() == moment.date():
        return moment.strftime("%H:%M UTC")
    return moment.strftime("%Y-%m-%d %H:%M UTC")
