"""Headers of every answer, and what a POST from a page must show: the same origin, and a token only our page has."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alert_router.core import Router

_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class SecurityHeaders:
    """Puts the headers on every HTTP answer. Plain ASGI, so that bodies keep streaming."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer through the app inside, with the headers added."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


def same_origin(request: Request, router: Router) -> bool:
    """Whether a POST comes from our own page, or from a program, and not from another site in somebody's browser.

    The Host is checked too: a foreign name that resolves to this address would make its own page "the same origin".
    """
    headers = request.headers
    if not _known_host(headers, router):
        return False
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")


def _known_host(headers: Headers, router: Router) -> bool:
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    own = urlsplit(router.settings.external_url).hostname or ""
    return host in {own, router.listen_host, *_LOOPBACK}


def form_token(router: Router) -> str:
    """A token for forms, made from the router's own secret: other sites cannot read it."""
    return hmac.new(router.token.get().encode(), b"tocsin form", sha256).hexdigest()


def form_allowed(request: Request, router: Router, shown: str) -> bool:
    """Whether a form post may act."""
    return same_origin(request, router) and hmac.compare_digest(shown.encode(), form_token(router).encode())
