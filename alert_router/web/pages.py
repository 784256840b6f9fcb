"""The pages people read: the inbox, a group, its graph, runbooks, dead letters. Drawn on the server, no script."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from alert_router import render, runbooks, story
from alert_router.alertmanager import Silence
from alert_router.core import Router
from alert_router.graph import MOST_SERIES, Picture, Series, draw, number
from alert_router.ledger import reads
from alert_router.ledger.reads import DeliveryView, GroupView
from alert_router.page import Event, Page, duration, make_page
from alert_router.prometheus import query_range
from alert_router.text import moment
from alert_router.web.security import form_token
from tocsin.errors import StackError
from tocsin.links import grafana_panel_url

SILENCE_CHOICES = ("30m", "1h", "2h", "4h", "8h", "24h")
SILENCES_WAIT_SECONDS = 0.7
"""How long a page waits for Alertmanager's silences: the page matters more."""
RANGES: Mapping[str, float] = {"1h": 3600.0, "6h": 21_600.0, "24h": 86_400.0, "7d": 604_800.0}


@dataclass(frozen=True)
class Card:
    """A group as the inbox shows it."""

    group: GroupView
    page: Page
    silence: Silence | None


async def inbox(request: Request) -> Response:
    """Firing pages first, then what was resolved lately."""
    router: Router = request.app.state.router
    reader = router.ledger.reader
    silences, problem = await _silences(router)
    everything = request.query_params.get("all") == "1"
    totals = reads.totals(reader)
    beat = max((seen for seen, _ in totals.heartbeats.values()), default=None)
    return page(
        router,
        "inbox",
        firing=[_card(router, one, silences) for one in reads.firing(reader)],
        firing_count=reads.count_firing(reader),
        recent=[_card(router, one, silences) for one in reads.recent(reader, 500 if everything else 30)],
        everything=everything,
        dead=totals.dead,
        beat=beat,
        problem=problem,
    )


async def group(request: Request) -> Response:
    """One group: what it says, who was told, how to silence it, and its whole story."""
    router: Router = request.app.state.router
    found = reads.group(router.ledger.reader, request.path_params["ident"])
    if found is None:
        return missing(router, "There is no such page", "The ledger has no group with this id; perhaps it was pruned.")
    silences, problem = await _silences(router)
    return page(
        router,
        "group",
        card=_card(router, found, silences),
        entries=story.timeline(router.ledger.reader, found.id),
        choices=SILENCE_CHOICES,
        form_token=form_token(router),
        problem=problem,
        done=request.query_params.get("done", ""),
        can_silence=found.origin == "alertmanager",
    )


async def graph(request: Request) -> Response:
    """The series behind a group's alert, drawn from Prometheus, with the threshold as a line."""
    router: Router = request.app.state.router
    found = reads.group(router.ledger.reader, request.path_params["ident"])
    notes = found.snapshot.alerts[0].annotations if found else {}
    if found is None or not notes.get("query"):
        return missing(router, "There is no graph", "No group with this id, or its alert names no query to draw.")
    now = router.seams.clock()
    wanted = request.query_params.get("range", "")
    start, end = _window(found, now, RANGES.get(wanted))
    try:
        series = await query_range(router.http, router.prometheus_url, notes["query"], start=start, end=end)
        problem = "" if series else "Prometheus has no samples of this query in this time."
    except StackError as error:
        series, problem = (), str(error)
    threshold = _number(notes.get("threshold", ""))
    picture = Picture(series, start, end, threshold, found.since, found.ended)
    return page(
        router,
        "graph",
        status=503 if problem and not series else 200,
        card=_card(router, found, []),
        svg=render.safe_html(draw(picture)) if series else None,
        legend=_legend(series),
        full=len(series) == MOST_SERIES,
        query=notes["query"],
        problem=problem,
        ranges=RANGES,
        wanted=wanted,
    )


async def panel(request: Request) -> Response:
    """Lead to the panel of an alert: Grafana's where there is one, our graph of the newest such group otherwise."""
    router: Router = request.app.state.router
    labels = {name: value for name, value in request.query_params.items() if value}
    found = reads.newest_with(router.ledger.reader, request.path_params["alertname"], labels)
    if found is not None:
        lead = found.snapshot.alerts[0]
        ref = lead.annotations.get("panel")
        if router.site.grafana_url and ref:
            url = grafana_panel_url(router.site.grafana_url, ref, {**found.snapshot.labels, **lead.labels, **labels})
            return RedirectResponse(url, 302)
        if lead.annotations.get("query"):
            return RedirectResponse(f"/graph/{found.id}", 302)
    return missing(router, "There is no panel yet", "No page of this alert with these labels has come so far.")


async def runbook(request: Request) -> Response:
    """A runbook, from docs/runbooks."""
    router: Router = request.app.state.router
    name = request.path_params["name"]
    if not router.site.has_runbook(name):
        return missing(router, "There is no such runbook", "Runbooks are named like their alerts.")
    text = await asyncio.to_thread((router.site.runbooks / f"{name}.md").read_text, "utf-8")
    newest = reads.newest_with(router.ledger.reader, name, {})
    card = _card(router, newest, []) if newest and newest.status == "firing" else None
    return page(router, "runbook", name=name, body=render.safe_html(runbooks.to_html(text)), card=card)


async def dead_letters(request: Request) -> Response:
    """Messages that could not be delivered, and bodies that could not be read."""
    router: Router = request.app.state.router
    reader = router.ledger.reader
    return page(
        router,
        "dead",
        letters=reads.dead_letters(reader),
        quarantined=reads.quarantined(reader),
        form_token=form_token(router),
        done=request.query_params.get("done", ""),
    )


def page(router: Router, template: str, /, *, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401  # template values
    """Render one of the pages with what all of them know."""
    now = router.seams.clock()
    common: dict[str, Any] = {"now": now, "moment": lambda at: moment(at, now), "describe": describe}
    text = render.html(template, {**common, **values})
    return HTMLResponse(text, status_code=status, headers={"Cache-Control": "no-store"})


def missing(router: Router, title: str, why: str) -> Response:
    """A page that says that something is not there, and leads back."""
    return page(router, "missing", status=404, title=title, why=why)


def describe(delivery: DeliveryView, now: float) -> tuple[str, str]:
    """Say how a delivery stands, in two or three words, and with which colour."""
    if delivery.state == "pending":
        if delivery.attempts:
            return f"failing: {delivery.reason}, {delivery.attempts} tries", "bad"
        later = delivery.due - now
        return (f"in {duration(later)} if needed", "quiet") if later > 1 else ("waits", "plain")
    return {
        "delivered": ("told", "good"),
        "sending": ("being told", "plain"),
        "superseded": ("not needed", "quiet"),
        "dead": (f"refused: {delivery.reason}", "bad"),
        "dismissed": ("given up", "quiet"),
    }[delivery.state]


def _card(router: Router, group: GroupView, silences: Sequence[Silence]) -> Card:
    event: Event = "resolved" if group.status == "resolved" else "fired"
    content = make_page(group.snapshot, router.site, event, episode=group.episode, generation=group.generation)
    muted = next((one for one in reversed(silences) if _mutes(one, group)), None)
    return Card(group, content, muted)


def _mutes(silence: Silence, group: GroupView) -> bool:
    snapshot = group.snapshot
    return group.origin == "alertmanager" and all(
        silence.mutes({**snapshot.labels, **alert.labels}) for alert in snapshot.alerts if alert.status == group.status
    )


async def _silences(router: Router) -> tuple[list[Silence], str]:
    """Alertmanager's silences, or none and the reason: the inbox must open when Alertmanager is down."""
    try:
        async with asyncio.timeout(SILENCES_WAIT_SECONDS):
            return await router.alertmanager.silences(), ""
    except TimeoutError:
        return [], "Alertmanager does not answer: silences are not shown."
    except StackError as error:
        return [], f"{error}: silences are not shown."


def _window(group: GroupView, now: float, wanted: float | None) -> tuple[float, float]:
    """The time to draw: what was asked for, or the alert with some time before and after."""
    end = now if group.ended is None else min(now, group.ended + 600)
    if wanted is not None:
        return now - wanted, now
    lead = max(600.0, min(6 * 3600.0, 0.5 * (end - group.since)))
    start = max(group.since - lead, end - 7 * 86_400)
    return (start, end) if end - start >= 900 else (end - 900, end)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _legend(series: Sequence[Series]) -> list[tuple[str, str, str]]:
    """(class, name, newest value) of each line; labels that all lines share say nothing."""
    shared = set.intersection(*(set(one.labels.items()) for one in series)) if len(series) > 1 else set()
    out = []
    for index, one in enumerate(series):
        own = [f"{name}={value}" for name, value in sorted(one.labels.items()) if (name, value) not in shared]
        out.append((f"s{index}", ", ".join(own) or "value", number(one.points[-1][1]) if one.points else "none"))
    return out
