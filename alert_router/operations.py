"""What the command line does with the router: test messages, connection checks, stories and silences."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from alert_router import story
from alert_router.alertmanager import Alertmanager, Matcher, Silence, parse_matcher
from alert_router.deliver import send_fitting
from alert_router.dispatch import make_book
from alert_router.ledger import Arrival, Ledger, accept, open_for_reading, reads
from alert_router.ledger.schema import LedgerError
from alert_router.notifiers.base import Notifier, Outgoing, Tools
from alert_router.notifiers.table import NOTIFIERS
from alert_router.outbound import HttpClient
from alert_router.page import make_page, site
from alert_router.routing import TEST_ALERT, Plan
from alert_router.snapshot import Announcement, Snapshot
from tocsin.endpoints import endpoints
from tocsin.errors import DeliveryError, StackError, Transient
from tocsin.links import group_url
from tocsin.settings import INBOX, DestinationSettings, Secret, Settings

T = TypeVar("T")

TEST_SECONDS = 45.0


@dataclass(frozen=True)
class DestinationResult:
    """What trying a destination showed. ``reason`` is empty or one of the delivery reasons."""

    name: str
    kind: str
    up: bool
    reason: str
    detail: str
    duration_seconds: float


def try_destination(name: str, settings: DestinationSettings, *, timeout: float) -> DestinationResult:
    """Try a destination's address and credentials within ``timeout`` seconds, without sending a message."""
    return asyncio.run(_with_notifier(name, settings, timeout, lambda notifier: notifier.probe()))


def send_test(settings: Settings, destination: str, data: Path) -> DestinationResult:
    """Send one real test message to a destination and tell what came back.

    The inbox gets it through the running router's webhook, or, when none runs, straight into the ledger under
    ``data``. Raises StackError for an unknown destination or an unusable ledger.
    """
    if destination == INBOX:
        return asyncio.run(_test_inbox(settings, data))
    chosen = settings.destinations.get(destination)
    if chosen is None:
        known = ", ".join([INBOX, *settings.destinations])
        msg = f"there is no destination {destination!r}"
        raise StackError(msg, fix=f"choose one of: {known}")
    fired, ended = _test_snapshots(destination, time.time())
    place = site(settings)

    async def send(notifier: Notifier) -> str:
        said = []
        for recipient in NOTIFIERS[chosen.kind].recipients(chosen):
            receipt = await send_fitting(notifier, Outgoing(make_page(fired, place, "fired"), recipient=recipient))
            said.append(f"{recipient}: {receipt.detail}" if recipient else receipt.detail)
            # The end follows at once, as the same message: nothing stays open, and the update is tried as well.
            end = make_page(ended, place, "resolved", generation=2)
            receipt = await send_fitting(notifier, Outgoing(end, recipient=recipient, thread=receipt.thread))
            said.append(f"then: {receipt.detail}")
        return "; ".join(said)

    return asyncio.run(_with_notifier(destination, chosen, TEST_SECONDS, send))


async def _with_notifier(
    name: str, settings: DestinationSettings, seconds: float, work: Callable[[Notifier], Awaitable[str]]
) -> DestinationResult:
    began = time.monotonic()
    reason, detail = "", ""
    notifier = NOTIFIERS[settings.kind].factory(name, settings, Tools())
    try:
        async with asyncio.timeout(seconds):
            detail = await work(notifier)
    except DeliveryError as error:
        reason, detail = error.reason, str(error)
    except TimeoutError:
        reason, detail = "timeout", f"no answer within {seconds:g} s"
    finally:
        await notifier.aclose()
    return DestinationResult(name, settings.kind, not reason, reason, detail, time.monotonic() - began)


def _test_snapshots(destination: str, now: float) -> tuple[Snapshot, Snapshot]:
    fired = Announcement(
        TEST_ALERT,
        {"destination": destination, "test": str(round(now))},
        {
            "summary": f"Test message to {destination}: if you can read this, pages arrive",
            "description": "Sent by `tocsin send-test`. There is nothing to do.",
            "value": "test",
        },
        "info",
        now,
    )
    end = Announcement(fired.alertname, fired.labels, fired.annotations, "info", now, ends=now + 1)
    return fired.snapshot(origin="test"), end.snapshot(origin="test")


async def _test_inbox(settings: Settings, data: Path) -> DestinationResult:
    began = time.monotonic()
    now = time.time()
    group = ""
    for snapshot in _test_snapshots(INBOX, now):
        group = await _post(settings, data, snapshot) or await _write(settings, data, snapshot)
    url = group_url(settings.external_url, group)
    return DestinationResult(
        INBOX, INBOX, up=True, reason="", detail=f"see {url}", duration_seconds=time.monotonic() - began
    )


async def _post(settings: Settings, data: Path, snapshot: Snapshot) -> str:
    """Hand the test to a running router; returns the group's id, or nothing when no router answers."""
    http = HttpClient(timeout=10.0)
    try:
        token = Secret(path=data / "secrets" / "router_token").get()
        url = f"{endpoints(settings).router}/webhook/alertmanager"
        answer = await http.request("POST", url, json=_webhook(snapshot), headers={"Authorization": f"Bearer {token}"})
    except (OSError, Transient):
        return ""
    finally:
        await http.aclose()
    if answer.status == 200 and isinstance(answer.json, dict):
        return str(answer.json["group"])
    msg = f"the router refuses the test ({answer.status}: {answer.text[:200]})"
    raise StackError(msg, fix="see `tocsin status`; is the program on this port the router of these settings?")


def _webhook(snapshot: Snapshot) -> dict[str, object]:
    def written(at: float | None) -> str:
        return "0001-01-01T00:00:00Z" if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))

    alerts = [
        {
            "status": alert.status,
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "startsAt": written(alert.starts),
            "endsAt": written(alert.ends),
            "fingerprint": alert.fingerprint,
        }
        for alert in snapshot.alerts
    ]
    return {
        "version": "4",
        "receiver": snapshot.receiver,
        "groupKey": snapshot.group_key,
        "groupLabels": dict(snapshot.labels),
        "status": snapshot.status,
        "alerts": alerts,
    }


async def _write(settings: Settings, data: Path, snapshot: Snapshot) -> str:
    now = time.time()
    try:
        ledger = Ledger(data / "ledger.sqlite", now=now)
    except LedgerError as error:
        raise StackError(str(error), fix="make room on the disk, or correct the rights of the data directory") from None
    book = make_book(settings.destinations, NOTIFIERS)
    with ledger:
        arrival = Arrival(snapshot, Plan(()), now)
        accepted = await ledger.run(lambda connection: accept(connection, arrival, book))
    return accepted.group_id


def why(data: Path, group: str, *, external_url: str = "") -> str:
    """Tell the story of a group: what was accepted, who was told what and when, and why.

    ``group`` is an id, the beginning of one, or an alertname (its newest group). Works while the router runs.
    Raises NoGroupError or StackError.
    """
    connection = open_for_reading(data / "ledger.sqlite")
    with contextlib.closing(connection):
        found = reads.find(connection, group)
        url = group_url(external_url, found.id) if external_url else f"/groups/{found.id}"
        return story.tell(found, story.timeline(connection, found.id), url=url)


def why_json(data: Path, group: str) -> str:
    """Tell the same story as a JSON text: the group and a list of {at, what, text, tone}; ``at`` in unix seconds."""
    connection = open_for_reading(data / "ledger.sqlite")
    with contextlib.closing(connection):
        found = reads.find(connection, group)
        entries = [vars(entry) for entry in story.timeline(connection, found.id)]
    about = {"id": found.id, "alertname": found.alertname, "status": found.status, "severity": found.severity}
    return json.dumps(
        {**about, "labels": dict(found.snapshot.labels), "timeline": entries}, ensure_ascii=False, indent=2
    )


def silence_add(
    settings: Settings, matchers: Sequence[str], length: timedelta, *, comment: str, created_by: str
) -> Silence:
    """Mute alerts by matchers such as ``alertname=QueueNearCapacity``. Raises StackError."""
    parsed = [parse_matcher(text) for text in matchers]
    if not parsed or all(_matches_nothing(matcher) for matcher in parsed):
        msg = "a silence needs at least one matcher that names something"
        raise StackError(msg, fix="write for example alertname=QueueNearCapacity target=orders")
    return _with_alertmanager(
        settings,
        lambda alertmanager: alertmanager.add_silence(
            parsed, length, created_by=created_by, comment=comment, now=time.time()
        ),
    )


def silence_list(settings: Settings) -> list[Silence]:
    """List silences that are active or pending. Raises StackError."""
    return _with_alertmanager(settings, lambda alertmanager: alertmanager.silences())


def silence_expire(settings: Settings, ident: str) -> None:
    """End a silence by its id. Raises StackError."""
    _with_alertmanager(settings, lambda alertmanager: alertmanager.expire_silence(ident))


def _matches_nothing(matcher: Matcher) -> bool:
    return matcher.holds({})


def _with_alertmanager(settings: Settings, work: Callable[[Alertmanager], Awaitable[T]]) -> T:
    async def run() -> T:
        http = HttpClient()
        try:
            return await work(Alertmanager(endpoints(settings).alertmanager, http))
        finally:
            await http.aclose()

    return asyncio.run(run())
