"""The pages of the exporter as one small ASGI application."""

from __future__ import annotations

import gzip
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from exporters.runtime.fleet import Fleet
from exporters.runtime.overview import as_json, overview
from exporters.runtime.render import Renderer, TargetFamilies
from exporters.runtime.target import Scrape
from tocsin.errors import ConfigError
from tocsin.settings import Secret

DEFAULT_BUDGET: Final = 9.0
"""Seconds for a read when the scraper does not say how long it waits."""

SUSPECT_BUDGET: Final = 1.0
"""Seconds on /metrics for a target that missed its last deadline, so that it cannot hold the page."""

_GZIP_FROM: Final = 1024
_OPEN: Final = frozenset({"/-/healthy", "/-/ready"})
"""Pages that need no token: they tell nothing."""
_HOST = re.compile(r"[A-Za-z0-9._\[\]:-]{1,255}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Message = Mapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Response:
    """One answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class Request:
    """What the pages need to know of a request. Header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


def budget(headers: Mapping[str, str]) -> float:
    """Return the seconds that a read may take: what Prometheus waits less 0.5 s, but at least half of it."""
    try:
        waits = float(headers.get("x-prometheus-scrape-timeout-seconds", ""))
    except ValueError:
        return DEFAULT_BUDGET
    return max(waits - 0.5, waits / 2) if 0 < waits < 3600 else DEFAULT_BUDGET


@dataclass(frozen=True)
class Own:
    """What the process gives the pages beside the fleet.

    ``reload`` takes a new configuration over or raises ConfigError; ``token`` is asked of everybody when there is one.
    """

    registry: CollectorRegistry
    reload: Callable[[], Awaitable[None]]
    token: Secret | None = None


class App:
    """Serves the fleet."""

    def __init__(self, fleet: Fleet, own: Own, *, listen: str) -> None:
        self._fleet = fleet
        self._own = own
        self._listen = listen
        self._renderers: dict[str, Renderer] = {}
        self._page = Renderer()
        self._routes: dict[tuple[str, str], Callable[[Request], Awaitable[Response]]] = {
            ("GET", "/"): self._index,
            ("GET", "/probe"): self._probe,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/-/metrics"): self._own_metrics,
            ("GET", "/discover"): self._discover,
            ("GET", "/-/targets"): self._targets,
            ("GET", "/-/healthy"): self._fine,
            ("GET", "/-/ready"): self._fine,
            ("POST", "/-/reload"): self._reloaded,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        del receive  # no page reads a body
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        request = Request(method, scope["path"], scope["query_string"].decode("latin-1"), headers)
        response = _compressed(await self._answer(request), headers)
        start = [(b"content-type", response.content_type.encode()), (b"content-length", b"%d" % len(response.body))]
        await send({"type": "http.response.start", "status": response.status, "headers": [*start, *response.headers]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})

    async def _answer(self, request: Request) -> Response:
        if request.path not in _OPEN and not self._may(request.headers.get("authorization", "")):
            why = b"send the exporter's token: Authorization: Bearer ...\n"
            return Response(401, why, headers=((b"www-authenticate", b"Bearer"),))
        page = self._routes.get((request.method, request.path))
        if page is not None:
            return await page(request)
        allowed = [method for method, path in self._routes if path == request.path]
        if allowed:
            return Response(405, b"method not allowed\n", headers=((b"allow", ", ".join(allowed).encode()),))
        return Response(404, b"no such page; see / for the list\n")

    def _may(self, authorization: str) -> bool:
        if self._own.token is None:
            return True
        try:
            wanted = f"Bearer {self._own.token.get()}"
        except OSError:
            return False  # a token whose file is gone lets nobody in
        return hmac.compare_digest(authorization.encode(), wanted.encode())

    async def _index(self, _request: Request) -> Response:
        lines = ["Tocsin exporter", "", *(f"{method:4} {path}" for method, path in self._routes), "", "targets:"]
        lines += [f"  /probe?target={target.name}  {_state(target.last)}" for target in self._fleet]
        return Response(200, "\n".join([*lines, ""]).encode())

    async def _probe(self, request: Request) -> Response:
        pairs = parse_qsl(request.query, keep_blank_values=True)
        # A query that names anything but a configured target is refused as a whole, unread: it would make us a
        # way into the network, and what it holds may be a credential.
        if len(pairs) != 1 or pairs[0][0] != "target" or _looks_like_address(pairs[0][1]):
            return Response(400, b"write /probe?target=NAME with a configured name; addresses are not taken\n")
        name = pairs[0][1]
        target = self._fleet.targets.get(name)
        if target is None:
            return Response(404, self._unknown(name).encode())
        scrape = await target.scrape(budget(request.headers))
        renderer = self._renderers.setdefault(name, Renderer())
        return _exposition(renderer, [scrape], request)

    def _unknown(self, name: str) -> str:
        if name in self._fleet.elsewhere:
            return f"target {name} belongs to shard {self._fleet.elsewhere[name]}/{self._fleet.shard.count}\n"
        shown = f" {name}" if _NAME.fullmatch(name) else ""
        return f"no target{shown} in this exporter; /discover lists the names\n"

    async def _metrics(self, request: Request) -> Response:
        scrapes = await self._fleet.scrape_all(budget(request.headers), suspect_budget=SUSPECT_BUDGET)
        return _exposition(self._page, scrapes, request)

    async def _own_metrics(self, request: Request) -> Response:
        encoder, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(200, encoder(self._own.registry), content_type)

    async def _discover(self, request: Request) -> Response:
        address = _address(request.headers, self._listen)
        groups = [
            {
                "targets": [address],
                "labels": {
                    "__metrics_path__": "/probe",
                    "__param_target": target.name,
                    "instance": target.name,
                    "target": target.name,
                    "kind": target.source.kind,
                },
            }
            for target in self._fleet
        ]
        return Response(200, json.dumps(groups).encode(), "application/json")

    async def _targets(self, _request: Request) -> Response:
        return Response(200, json.dumps(as_json(overview(self._fleet))).encode(), "application/json")

    async def _fine(self, _request: Request) -> Response:
        return Response(200, b"OK\n")

    async def _reloaded(self, _request: Request) -> Response:
        try:
            await self._own.reload()
        except ConfigError as error:
            return Response(400, f"the old configuration stays:\n{error}\n".encode())
        names = [target.name for target in self._fleet]
        for name in self._renderers.keys() - set(names):
            del self._renderers[name]
        return Response(200, f"watching {len(names)} target{'s' if len(names) != 1 else ''}\n".encode())


def _exposition(renderer: Renderer, scrapes: Sequence[Scrape], request: Request) -> Response:
    _, content_type = choose_encoder(request.headers.get("accept", ""))
    openmetrics = content_type.startswith("application/openmetrics-text")
    parts = [TargetFamilies(scrape.target, scrape.families) for scrape in scrapes]
    return Response(200, renderer.render(parts, openmetrics=openmetrics), content_type)


def _compressed(response: Response, headers: Mapping[str, str]) -> Response:
    if len(response.body) < _GZIP_FROM or not _accepts_gzip(headers.get("accept-encoding", "")):
        return response
    # Level 1: a third of level 6's time for a page that is a tenth larger, on a network of one machine or rack.
    extra = ((b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding"))
    body = gzip.compress(response.body, 1, mtime=0)
    return Response(response.status, body, response.content_type, response.headers + extra)


def _accepts_gzip(header: str) -> bool:
    for item in header.split(","):
        coding, _, parameters = item.strip().partition(";")
        if coding.strip().lower() in {"gzip", "*"}:
            return parameters.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _looks_like_address(value: str) -> bool:
    return not value or any(mark in value for mark in (":", "/", "@", ".", "%", "\\"))


def _address(headers: Mapping[str, str], listen: str) -> str:
    """Return how the asker reached us: that is where Prometheus can reach us too."""
    for header in ("x-forwarded-host", "host"):
        value = headers.get(header, "").split(",")[0].strip()
        if _HOST.fullmatch(value):
            return value
    return listen


def _state(last: Scrape | None) -> str:
    if last is None:
        return "not read yet"
    return "up" if last.error is None else f"down: {last.error.reason}"
