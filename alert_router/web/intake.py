"""The webhook's door: who may speak, how much, and an answer only when the page is on disk."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import zlib
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from alert_router.core import WATCHDOG, Router
from alert_router.ledger import LedgerError
from alert_router.snapshot import Snapshot, WebhookError, parse_webhook

MAX_BODY = 64 * 2**20
"""Largest body in bytes, counted after gzip."""
BIG_BODY = 256 * 1024
"""Bodies over this are parsed one at a time: ten of 60 MB at once would not fit into the memory."""

_log = logging.getLogger(__name__)
_big_bodies = asyncio.Semaphore(1)


class _TooBigError(Exception):
    """The body is over the cap."""


async def alertmanager(request: Request) -> Response:
    """Take a webhook: 200 on disk, 401 without the token, 413 over the cap, 503 when the ledger cannot be written."""
    router: Router = request.app.state.router
    if not allowed(request, router):
        router.meters.accepted("refused")
        _log.warning("router.webhook.refused", extra={"client": request.client.host if request.client else ""})
        return _answer(401, "the bearer token is missing or wrong", headers={"WWW-Authenticate": "Bearer"})
    try:
        body = await _body(request)
        return await _take(router, body)
    except _TooBigError:
        router.meters.accepted("refused")
        _log.warning("router.webhook.too_big", extra={"limit": MAX_BODY})
        return _answer(413, f"the body is over {MAX_BODY} bytes")
    except LedgerError as error:
        router.meters.accepted("unavailable")
        return _answer(503, str(error))
    except ClientDisconnect:
        return _answer(400, "the body ended early")


def allowed(request: Request, router: Router) -> bool:
    """Whether the request carries the bearer token; compared in constant time."""
    shown = request.headers.get("authorization", "")
    try:
        wanted = f"Bearer {router.token.get()}"
    except OSError:
        _log.error("router.token.unreadable")  # the path is in the stack's layout; no trace needed
        return False
    return hmac.compare_digest(shown.encode(), wanted.encode())


async def _take(router: Router, body: bytes) -> Response:
    try:
        snapshot, packed = await _read(body)
    except WebhookError as error:
        await router.quarantine(body, str(error))
        router.meters.accepted("quarantined")
        return _answer(200, f"kept in quarantine: {error}")
    if snapshot.alertname == WATCHDOG:
        if snapshot.status == "firing":
            await router.heartbeat("alertmanager")
        router.meters.accepted("stored")
        return _answer(200, "heartbeat")
    accepted = await router.take(snapshot, body=packed)
    router.meters.accepted(accepted.result)
    return JSONResponse(
        {"result": accepted.result, "group": accepted.group_id, "generation": accepted.generation}, status_code=200
    )


async def _read(body: bytes) -> tuple[Snapshot, bytes]:
    if len(body) <= BIG_BODY:
        return parse_webhook(body), zlib.compress(body, 1)
    async with _big_bodies:
        snapshot = await asyncio.to_thread(parse_webhook, body)
        return snapshot, await asyncio.to_thread(zlib.compress, body, 1)


async def _body(request: Request) -> bytes:
    """Read the body, counting while it comes: neither its declared length nor its packed size can be believed."""
    if int(request.headers.get("content-length") or 0) > MAX_BODY:
        raise _TooBigError
    chunks: AsyncIterator[bytes] = request.stream()
    if request.headers.get("content-encoding", "").strip().lower() == "gzip":
        chunks = _inflated(chunks)
    parts, size = [], 0
    async for chunk in chunks:
        size += len(chunk)
        if size > MAX_BODY:
            raise _TooBigError
        parts.append(chunk)
    return b"".join(parts)


async def _inflated(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Unpack gzip in small steps: a small body may unpack to gigabytes."""
    unpacker = zlib.decompressobj(wbits=31)
    async for chunk in chunks:
        left = chunk
        while left and not unpacker.eof:
            try:
                yield unpacker.decompress(left, 2**20)
            except zlib.error:
                # Not gzip after all: what came is not lost, it goes to quarantine as it is.
                yield chunk
                return
            left = unpacker.unconsumed_tail


def _answer(status: int, message: str, *, headers: dict[str, str] | None = None) -> Response:
    return Response(
        json.dumps({"message": message}), status_code=status, media_type="application/json", headers=headers
    )
