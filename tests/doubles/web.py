"""A little HTTP server on loopback that plays a provider, with faults that a test puts in its way."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


@dataclass(frozen=True)
class Reply:
    """One answer of the provider."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut:
    """A connection that ends without an answer; ``after`` the provider has taken the message, or before."""

    after: bool


@dataclass(frozen=True)
class Hang:
    """No answer for so many seconds."""

    seconds: float


class WebDouble:
    """Base of the HTTP doubles. ``faults`` are used up one per request; ``down`` refuses every request."""

    def __init__(self) -> None:
        self.faults: deque[Reply | Cut | Hang] = deque()
        self.down = False
        self.requests = 0
        self.lock = threading.RLock()
        self.clock: Callable[[], float] = time.monotonic
        self.port = 0

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """What the provider itself would say."""
        raise NotImplementedError

    @property
    def base(self) -> str:
        """Address of the server, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    def handle(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """What a client gets: the provider's answer, or the next fault, or nothing at all."""
        with self.lock:
            self.requests += 1
            fault = self.faults.popleft() if self.faults else None
            if self.down:
                fault = Cut(after=False)
            if isinstance(fault, Reply):
                return fault
            if isinstance(fault, Cut) and not fault.after:
                return None
            reply = self.answer(path, headers, body)
        if isinstance(fault, Hang):
            time.sleep(fault.seconds)
        return None if isinstance(fault, Cut) else reply

    @contextlib.contextmanager
    def running(self, port: int = 0) -> Iterator[Any]:
        """Serve until the block ends."""
        server = _Server(("127.0.0.1", port), _Handler)
        server.double = self
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    double: WebDouble

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float] = 30.0
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.server.double.handle(self.path, self.headers, body)
        if reply is None:
            self.close_connection = True
            return
        text = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST  # noqa: N815  # the base class looks for this name
    do_DELETE = do_POST  # noqa: N815  # the base class looks for this name

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Tests look at the double's books instead."""
