"""The router as a program: routes, start, reload and stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from alert_router.clockwork import Clockwork
from alert_router.core import Router
from alert_router.ledger import LedgerError, reads
from alert_router.page import make_page
from alert_router.render import TEMPLATES
from alert_router.text import iso
from alert_router.web import actions, intake, pages
from alert_router.web.security import SecurityHeaders
from tocsin.errors import ConfigError, StackError
from tocsin.settings import Secret, Settings
from tocsin.telemetry import instrument_asgi, setup_logging

_log = logging.getLogger(__name__)

STATIC = TEMPLATES.parent / "static"


def serve(load: Callable[[], Settings], listen: str, *, data: Path) -> int:
    """Run the router on ``HOST:PORT`` until SIGTERM; returns the exit code.

    ``load`` reads the settings, again at SIGHUP or POST /-/reload. ``data`` is the stack's data directory.
    Raises ConfigError for a bad file at the start, and StackError for a taken port or a taken ledger.
    """
    setup_logging("router")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # our own lines say more about start and stop
    bound = bind(listen)
    router = Router(load, data=data, token=router_token(data / "secrets" / "router_token"))
    router.listen_host = listen.rpartition(":")[0].strip("[]")
    app = instrument_asgi(make_app(router))
    server = uvicorn.Server(server_config(app))
    # uvicorn raises the signal again after its own clean stop; for us that stop was all there is to it.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with contextlib.closing(bound), contextlib.suppress(KeyboardInterrupt):
        host, port = bound.getsockname()[:2]
        _log.info("router.listening", extra={"address": f"http://{host}:{port}"})
        asyncio.run(server.serve(sockets=[bound]))
    return 0 if server.started else 1


def server_config(app: ASGIApp) -> uvicorn.Config:
    """How uvicorn serves the app: no access log (the ledger is one), no server header, our own log format."""
    return uvicorn.Config(
        app,
        http="httptools",
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        backlog=1024,
    )


def make_app(router: Router) -> Starlette:
    """Return the ASGI app of a router; its lifespan starts and stops the router."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await router.start()
        clockwork = Clockwork(router)
        clockwork.start()
        with _reload_on_hangup(router):
            yield
        await clockwork.stop()
        await router.stop()

    app = Starlette(routes=_routes(), lifespan=lifespan)
    app.add_middleware(SecurityHeaders)
    app.state.router = router
    return app


def _routes() -> list[Route]:
    post = actions.form_post
    return [
        Route("/webhook/alertmanager", intake.alertmanager, methods=["POST"]),
        Route("/", pages.inbox),
        Route("/groups/{ident}", pages.group),
        Route("/groups/{ident}/silence", post(actions.silence), methods=["POST"]),
        Route("/groups/{ident}/silences/{silence}/expire", post(actions.expire), methods=["POST"]),
        Route("/graph/{ident}", pages.graph),
        Route("/panels/{alertname}", pages.panel),
        Route("/runbooks/{name}", pages.runbook),
        Route("/dead-letters", pages.dead_letters),
        Route("/dead-letters/{delivery:int}/resend", post(actions.resend), methods=["POST"]),
        Route("/dead-letters/{delivery:int}/dismiss", post(actions.dismiss), methods=["POST"]),
        Route("/static/style.css", style),
        Route("/favicon.ico", icon),
        Route("/api/v1/groups", groups),
        Route("/metrics", metrics),
        Route("/-/healthy", healthy),
        Route("/-/ready", ready),
        Route("/-/reload", actions.reload, methods=["POST"]),
    ]


async def groups(request: Request) -> Response:
    """The inbox as JSON; ``?status=firing`` or ``?status=resolved`` chooses."""
    router: Router = request.app.state.router
    status = request.query_params.get("status")
    found = [] if status == "resolved" else reads.firing(router.ledger.reader, 1000)
    found += [] if status == "firing" else reads.recent(router.ledger.reader, 200)
    return JSONResponse([_group_json(router, one) for one in found])


def _group_json(router: Router, group: reads.GroupView) -> dict[str, object]:
    page = make_page(group.snapshot, router.site, "fired")
    return {
        "id": group.id,
        "alertname": group.alertname,
        "status": group.status,
        "severity": group.severity,
        "since": iso(group.since),
        "ended": None if group.ended is None else iso(group.ended),
        "summary": page.summary,
        "value": page.value,
        "labels": dict(page.labels),
        "url": page.url,
        "links": {link.text.lower(): link.url for link in page.links},
        "deliveries": [
            {
                "destination": one.dest,
                "recipient": one.recipient or None,
                "state": one.state,
                "attempts": one.attempts,
                "reason": one.reason,
                "detail": one.detail,
                "at": None if one.finished is None else iso(one.finished),
            }
            for one in group.deliveries
        ],
    }


async def style(_request: Request) -> Response:
    """The one style sheet."""
    return FileResponse(STATIC / "style.css", media_type="text/css", headers={"Cache-Control": "max-age=300"})


async def icon(_request: Request) -> Response:
    """A bell, for the browser's tab."""
    return FileResponse(STATIC / "bell.svg", media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})


async def metrics(request: Request) -> Response:
    """The router's own numbers for Prometheus."""
    router: Router = request.app.state.router
    return Response(router.meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def healthy(_request: Request) -> Response:
    """Whether the process answers."""
    return PlainTextResponse("ok\n")


async def ready(request: Request) -> Response:
    """Whether a page would be taken now: the ledger is written to, and 503 says that it cannot be."""
    router: Router = request.app.state.router
    now = router.seams.clock()
    try:
        await router.ledger.run(
            lambda connection: connection.execute(
                "INSERT INTO destination (name, last_ok) VALUES ('inbox', ?)"
                " ON CONFLICT (name) DO UPDATE SET last_ok = excluded.last_ok",
                (now,),
            )
        )
    except LedgerError as error:
        return PlainTextResponse(f"{error}\n", 503)
    return PlainTextResponse("ready\n")


def router_token(path: Path) -> Secret:
    """Return the webhook's bearer token, making a random one for its owner only when there is none."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError), path.open("x", encoding="ascii") as file:
        path.chmod(0o600)
        file.write(secrets.token_urlsafe(32))
    return Secret(path=path)


def bind(listen: str) -> socket.socket:
    """Bind ``HOST:PORT`` (``[::1]:8088`` for IPv6). Raises StackError when that cannot be."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        msg = f"{listen!r} is not an address to listen on"
        raise StackError(msg, fix="write HOST:PORT, for example 127.0.0.1:8088")
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it each answer waits 40 ms.
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, int(port)))
        made.listen(1024)
    except OSError as error:
        made.close()
        msg = f"cannot listen on {listen}: {error.strerror or error}"
        raise StackError(msg, fix="free the port, or choose another with --listen or `ports.router`") from None
    return made


@contextlib.contextmanager
def _reload_on_hangup(router: Router) -> Iterator[None]:
    """SIGHUP reads the settings again, as other daemons do. Only the main thread of a program can listen to it."""
    running: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        with contextlib.suppress(ConfigError):  # logged there; the old settings stay
            await router.reload()

    def hangup() -> None:
        task = asyncio.create_task(reload())
        running.add(task)
        task.add_done_callback(running.discard)

    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, hangup)
    except (ValueError, RuntimeError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
