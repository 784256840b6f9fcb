"""PagerDuty by Events API v2: one incident per episode, opened by trigger and closed by resolve."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from alert_router.notifiers.base import NotifierKind, Outgoing, Receipt, Tools, retry_after
from alert_router.page import Page
from alert_router.text import cut, iso, one_line
from tocsin.errors import Permanent, RateLimited, TooLarge, Transient
from tocsin.settings import DestinationSettings, HttpBase, Secret

if TYPE_CHECKING:
    from alert_router.outbound import Answer, HttpClient

SUMMARY_CHARACTERS = 1024
BODY_BYTES = 512 * 1024
RATE_LIMIT_SECONDS = 60.0
"""Wait after a 429 without Retry-After: PagerDuty asks for minutes."""

_SEVERITY = {"critical": "critical", "warning": "warning", "info": "info"}


class PagerDutySettings(DestinationSettings):
    """A PagerDuty service with an Events API v2 integration."""

    kind: Literal["pagerduty"]
    routing_key: Secret = Field(description="The integration key of the service (32 characters).")
    events_url: Annotated[HttpBase, Field(description="Where events are posted.")] = (
        "https://events.pagerduty.com/v2/enqueue"
    )


class PagerDutyNotifier:
    """Posts events. Sending the same event twice is harmless: the dedup key joins them."""

    def __init__(self, settings: PagerDutySettings, tools: Tools, http: HttpClient) -> None:
        self._settings = settings
        self._tools = tools
        self._http = http

    async def send(self, message: Outgoing) -> Receipt:
        """Trigger, or resolve when the page says so; the dedup key of the trigger is kept for the resolve."""
        page = message.page
        # Equal to what Alertmanager itself sends, so that either can resolve what the other opened.
        key = (message.thread or {}).get("dedup_key") or sha256(page.group_key.encode()).hexdigest()
        event: dict[str, Any] = {"event_action": "resolve", "dedup_key": key}
        if page.status == "firing":
            event = self._trigger(message) | {"event_action": "trigger", "dedup_key": key}
        answer = await self._post(event)
        # An answer without JSON is still an answer: the status was 202.
        status = (answer.json if isinstance(answer.json, dict) else {}).get("status", "accepted")
        return Receipt({"dedup_key": key}, f"{event['event_action']}: {cut(str(status), 60)} (202)")

    async def probe(self) -> str:
        """Resolve an incident that does not exist: the key is checked and nobody is told."""
        await self._post({"event_action": "resolve", "dedup_key": "tocsin-connection-check"})
        return "the routing key is accepted"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _trigger(self, message: Outgoing) -> dict[str, Any]:
        page = message.page
        summary = self._tools.renderer.message("pagerduty.{size}.txt.j2", page, message.size)
        payload: dict[str, Any] = {
            "summary": cut(" ".join(summary.split()), SUMMARY_CHARACTERS),
            "source": page.labels.get("target") or page.labels.get("service") or "tocsin",
            "severity": _SEVERITY[page.severity],
            "timestamp": iso(page.since),
            "component": page.labels.get("target") or page.labels.get("service") or page.alertname,
            "group": page.alertname,
            "class": page.alertname,
        }
        if message.size == "full":
            payload["custom_details"] = _details(page)
        event: dict[str, Any] = {"payload": payload, "client": "Tocsin", "client_url": page.url}
        if message.size != "line":
            event["links"] = [{"href": link.url, "text": link.text} for link in page.links]
        return event

    async def _post(self, event: dict[str, Any]) -> Answer:
        try:
            key = self._settings.routing_key.get()
        except OSError as error:
            raise Permanent("auth", f"the routing key's file cannot be read: {error.strerror}") from None
        body = {"routing_key": key, **event}
        size = len(json.dumps(body).encode())
        if size > BODY_BYTES:
            raise TooLarge(f"{size} bytes; PagerDuty takes {BODY_BYTES}")
        answer = await self._http.request("POST", self._settings.events_url, json=body)
        if answer.status != 202:
            raise self._error(answer, key)
        return answer

    def _error(self, answer: Answer, key: str) -> Exception:
        said = _said(answer).replace(key, "**********")
        if answer.status == 429:
            wait = retry_after(answer.headers, now=self._tools.clock())
            not_before = self._tools.clock() + (RATE_LIMIT_SECONDS if wait is None else wait)
            return RateLimited("PagerDuty asks to wait (429)", not_before=not_before)
        if answer.status >= 500 or answer.status == 408:
            return Transient("server_error", f"PagerDuty answered {answer.status}")
        if answer.status in (401, 403) or "routing key" in said.lower() or "routing_key" in said.lower():
            return Permanent("auth", f"PagerDuty refuses the routing key ({answer.status}: {said})")
        if answer.status in (400, 413):
            # It may dislike one field: the smaller forms have fewer of them, and a page must leave.
            return TooLarge(f"PagerDuty refuses the event ({answer.status}: {said})")
        if answer.status == 404:
            return Permanent("not_found", "nothing answers at the events address (404)")
        return Permanent("rejected", f"PagerDuty answered {answer.status}: {said}")


def _said(answer: Answer) -> str:
    if not isinstance(answer.json, dict):
        return cut(" ".join(answer.text.split()), 200)
    errors = answer.json.get("errors") or []
    return cut("; ".join(str(error) for error in errors) or str(answer.json.get("message", "no reason given")), 200)


def _details(page: Page) -> dict[str, Any]:
    return {
        "value": page.value,
        "description": page.description,
        "what": one_line(page),
        "labels": dict(page.labels),
        "alerts": [f"{line.summary}{f': {line.value}' if line.value else ''}" for line in page.lines],
        **({"not listed": page.more} if page.more else {}),
        **({"note": page.note} if page.note else {}),
    }


def _open(_name: str, settings: PagerDutySettings, tools: Tools) -> PagerDutyNotifier:
    from alert_router.outbound import HttpClient  # noqa: PLC0415  # httpx: only who sends needs it

    return PagerDutyNotifier(settings, tools, HttpClient())


PAGERDUTY_KIND = NotifierKind("pagerduty", PagerDutySettings, _open)
