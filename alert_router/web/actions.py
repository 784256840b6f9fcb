"""What people can do on the pages: silence, end a silence, send a dead letter again, reload the settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from alert_router.alertmanager import Matcher
from alert_router.core import Router
from alert_router.ledger import reads
from alert_router.web.pages import SILENCE_CHOICES, missing, page
from alert_router.web.security import form_allowed, same_origin
from tocsin.errors import ConfigError, StackError
from tocsin.settings import parse_duration

FORM_BYTES = 16 * 1024
_FREE_TEXT = 200

Form = dict[str, str]
Action = Callable[[Request, Router, Form], Awaitable[Response]]


def form_post(action: Action) -> Callable[[Request], Awaitable[Response]]:
    """Let a form act only when it comes from our own page."""

    async def handle(request: Request) -> Response:
        router: Router = request.app.state.router
        form = await _form(request)
        if form is None or not form_allowed(request, router, form.get("token", "")):
            why = "This form did not come from this router's own page. Open the page again and try once more."
            return page(router, "missing", status=403, title="Not done", why=why)
        try:
            return await action(request, router, form)
        except StackError as error:
            return page(router, "missing", status=503, title="Not done", why=f"{error}. To fix it: {error.fix}.")

    return handle


async def _form(request: Request) -> Form | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            return None
    try:
        fields = parse_qs(body.decode(), max_num_fields=20)
    except ValueError:
        return None
    return {name: values[-1].strip()[:_FREE_TEXT] for name, values in fields.items()}


async def silence(request: Request, router: Router, form: Form) -> Response:
    """Silence a group by its labels for one of the offered times."""
    found = reads.group(router.ledger.reader, request.path_params["ident"])
    if found is None:
        return missing(router, "There is no such page", "It may have been pruned meanwhile.")
    length = form.get("length", "")
    if length not in SILENCE_CHOICES or found.origin != "alertmanager":
        return page(router, "missing", status=400, title="Not done", why="Choose one of the offered times.")
    who = form.get("who") or "inbox"
    matchers = [Matcher(name, value) for name, value in sorted(found.snapshot.labels.items()) if value]
    matchers = matchers or [Matcher("alertname", found.alertname)]
    made = await router.alertmanager.add_silence(
        matchers,
        parse_duration(length),
        created_by=who,
        comment=form.get("comment") or "silenced from the inbox",
        now=router.seams.clock(),
    )
    await router.act(found.id, "silenced", who, {"id": made.id, "ends": made.ends, "comment": made.comment})
    return _back(f"/groups/{found.id}", f"silenced for {length}")


async def expire(request: Request, router: Router, form: Form) -> Response:
    """End a silence of a group."""
    ident, group = request.path_params["silence"], request.path_params["ident"]
    await router.alertmanager.expire_silence(ident)
    await router.act(group, "silence ended", form.get("who") or "inbox", {"silence": ident})
    return _back(f"/groups/{quote(group, safe='')}", "silence ended")


async def resend(request: Request, router: Router, _form: Form) -> Response:
    """Send a dead letter again."""
    now = router.seams.clock()

    def again(connection: sqlite3.Connection) -> str:
        row = connection.execute(
            "UPDATE delivery SET state = 'pending', due = ?, created = ?, backoff = 0, finished = NULL"
            " WHERE id = ? AND state = 'dead' RETURNING dest",
            (now, now, request.path_params["delivery"]),
        ).fetchone()
        return str(row[0]) if row else ""

    dest = await router.ledger.run(again)
    router.dispatcher.wake([dest])
    return _back("/dead-letters", f"sent to {dest} again" if dest else "it is no dead letter any more")


async def dismiss(request: Request, router: Router, _form: Form) -> Response:
    """Take a dead letter off the list; the group's story keeps it."""

    def drop(connection: sqlite3.Connection) -> int:
        return connection.execute(
            "UPDATE delivery SET state = 'dismissed' WHERE id = ? AND state = 'dead'",
            (request.path_params["delivery"],),
        ).rowcount

    count = await router.ledger.run(drop)
    return _back("/dead-letters", "dismissed" if count else "it is no dead letter any more")


async def reload(request: Request) -> Response:
    """Read the settings again; a file with errors changes nothing and is answered with all of them."""
    router: Router = request.app.state.router
    if not same_origin(request, router):
        return JSONResponse({"message": "not from another site's page"}, 403)
    try:
        await router.reload()
    except ConfigError as error:
        return JSONResponse({"message": "nothing changed", "problems": [str(p) for p in error.problems]}, 422)
    return JSONResponse({"message": "reloaded"})


def _back(path: str, done: str) -> Response:
    return RedirectResponse(f"{path}?done={quote(done)}", 303)
