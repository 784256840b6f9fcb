"""HTTP GETs over one kept connection: no redirects, a capped body, TLS verified, no library of 20 MB."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httptools

from tocsin.errors import TargetError
from tocsin.settings import Secret

BODY_LIMIT: Final = 2**20
"""Bytes that a page may have unless its reader expects more."""
_HEAD_LIMIT: Final = 2**16


@dataclass
class _Answer:
    """Collects one response as httptools parses it."""

    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    headers_complete: bool = False
    open_ended: bool = False
    parser: httptools.HttpResponseParser | None = None

    def on_message_begin(self) -> None:
        self.body.clear()
        self.complete = False
        self.open_ended = True

    def on_header(self, name: bytes, _value: bytes) -> None:
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self.open_ended = False

    def on_headers_complete(self) -> None:
        self.headers_complete = True

    def on_body(self, chunk: bytes) -> None:
        self.body += chunk

    def on_message_complete(self) -> None:
        # 100 Continue and its kind come before the answer, they are not it.
        self.complete = self.parser is not None and self.parser.get_status_code() >= 200


@dataclass(frozen=True)
class Login:
    """Who asks: a user with a password (basic authentication). The password is read anew for every request."""

    user: str
    password: Secret

    def header(self) -> str:
        """Return the header's value. Raises OSError when the password's file is gone."""
        pair = f"{self.user}:{self.password.get()}".encode()
        return f"Basic {b64encode(pair).decode()}"


class HttpClient:
    """GETs one address, or pages below it, again and again."""

    def __init__(
        self, url: str, *, token: Secret | None = None, login: Login | None = None, limit: int = BODY_LIMIT
    ) -> None:
        parts = urlsplit(url)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._authority = parts.netloc
        self._path = parts.path or "/"
        self._token = token
        self._login = login
        self._limit = limit
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, below: str = "", *, accept_statuses: Collection[int] = (200,)) -> bytes:
        """Return the body of the address, or of ``below`` (a path with its query) under it.

        Raises TargetError (auth, protocol) or OSError; the connection is dropped then.
        """
        fresh = self._streams is None or self._streams[0].at_eof()
        try:
            try:
                return await self._get(below, accept_statuses, fresh=fresh)
            except (ConnectionError, EOFError):
                if fresh:
                    raise
                # The server closed the kept connection while we were away: that says nothing about the server.
                return await self._get(below, accept_statuses, fresh=True)
        except EOFError:
            self.close()
            msg = "the server closed the connection in the middle of an answer"
            raise TargetError("protocol", msg) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection at once."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()

    async def _get(self, below: str, accept_statuses: Collection[int], *, fresh: bool) -> bytes:
        if fresh:
            self.close()
            self._streams = await asyncio.open_connection(
                self._host, self._port, ssl=self._tls, server_hostname=self._host if self._tls else None
            )
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(self._request(below))
        status, body, keep = await _response(reader, self._limit)
        if not keep:
            self.close()
        if status in (401, 403):
            msg = f"the server answered {status}: check the {'password' if self._login else 'token'}"
            raise TargetError("auth", msg)
        if status not in accept_statuses:
            hint = " (redirects are not followed)" if 300 <= status < 400 else ""
            msg = f"the server answered {status}{hint}"
            raise TargetError("protocol", msg)
        return body

    def _request(self, below: str) -> bytes:
        who = f"Bearer {self._token.get()}" if self._token else self._login.header() if self._login else ""
        login = f"Authorization: {who}\r\n" if who else ""
        path = f"{self._path.rstrip('/')}{below}" if below else self._path
        return (
            f"GET {path} HTTP/1.1\r\nHost: {self._authority}\r\nAccept: application/json, text/plain;q=0.9\r\n"
            f"User-Agent: tocsin-exporter\r\n{login}\r\n"
        ).encode()


async def _response(reader: asyncio.StreamReader, limit: int) -> tuple[int, bytes, bool]:
    """Read one response: status, body, and whether the connection may be kept. Raises EOFError when it is cut."""
    answer = _Answer()
    parser = answer.parser = httptools.HttpResponseParser(answer)
    size = 0
    while not answer.complete:
        chunk = await reader.read(_HEAD_LIMIT)
        size += len(chunk)
        if not chunk:
            # A body without a length ends with the connection; any other end here is a cut.
            if answer.headers_complete and answer.open_ended:
                return parser.get_status_code(), bytes(answer.body), False
            raise EOFError
        if size > limit + _HEAD_LIMIT:
            msg = f"the page is larger than {limit} bytes"
            raise TargetError("protocol", msg)
        try:
            parser.feed_data(chunk)
        except httptools.HttpParserError:
            msg = "the answer is not HTTP"
            raise TargetError("protocol", msg) from None
    return parser.get_status_code(), bytes(answer.body), parser.should_keep_alive()
