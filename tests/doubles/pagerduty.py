"""PagerDuty's Events API v2: routing keys, dedup keys, incidents that open and close, and the limits of an event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.web import Reply, WebDouble

MAX_BODY = 512 * 1024
MAX_SUMMARY = 1024
MAX_DEDUP_KEY = 255


@dataclass
class Incident:
    """What one dedup key opened. ``events`` are all its events in order."""

    dedup_key: str
    status: str = "triggered"
    events: list[dict[str, Any]] = field(default_factory=list)


class PagerDutyDouble(WebDouble):
    """A service behind one routing key."""

    def __init__(self, routing_key: str = "canary0routing0key0of032letters0") -> None:
        super().__init__()
        self.routing_key = routing_key
        self.incidents: list[Incident] = []
        self.dropped = 0
        """Resolves that had nothing open."""

    @property
    def events_url(self) -> str:
        """Where events are posted."""
        return f"{self.base}/v2/enqueue"

    @property
    def open(self) -> list[Incident]:
        """Incidents that are not resolved."""
        return [incident for incident in self.incidents if incident.status != "resolved"]

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if path != "/v2/enqueue":
            return Reply(404, {"message": "not found"})
        if len(body) > MAX_BODY:
            return Reply(413, {"status": "request entity too large", "errors": ["Event object exceeds 512 KB"]})
        try:
            event = json.loads(body)
        except ValueError:
            return _invalid("Event object is not valid JSON")
        errors = self._errors(event)
        if errors:
            return _invalid(*errors)
        self._handle(event)
        answer = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return Reply(202, answer)

    def _errors(self, event: Mapping[str, Any]) -> list[str]:
        out = []
        if event.get("routing_key") != self.routing_key:
            out.append("'routing_key' is invalid: it is not the key of a service")
        if event.get("event_action") not in ("trigger", "acknowledge", "resolve"):
            out.append("'event_action' is missing or unknown")
        if not 1 <= len(str(event.get("dedup_key", ""))) <= MAX_DEDUP_KEY:
            out.append("'dedup_key' is missing or too long")
        if event.get("event_action") == "trigger":
            payload = event.get("payload") or {}
            if not 1 <= len(str(payload.get("summary", ""))) <= MAX_SUMMARY:
                out.append("'payload.summary' is missing or too long")
            if payload.get("severity") not in ("critical", "error", "warning", "info"):
                out.append("'payload.severity' is invalid")
            if not payload.get("source"):
                out.append("'payload.source' is missing or blank")
            out += [
                "'links' is invalid"
                for link in event.get("links") or []
                if not str(link.get("href")).startswith("http")
            ]
        return out

    def _handle(self, event: dict[str, Any]) -> None:
        found = next((one for one in self.open if one.dedup_key == event["dedup_key"]), None)
        if event["event_action"] == "trigger" and found is None:
            found = Incident(event["dedup_key"])
            self.incidents.append(found)
        if found is None:
            self.dropped += 1
            return
        found.events.append(event)
        if event["event_action"] == "resolve":
            found.status = "resolved"


def _invalid(*errors: str) -> Reply:
    return Reply(400, {"status": "invalid event", "message": "Event object is invalid", "errors": list(errors)})
