"""One request to a part of this stack on this machine: without proxies, without a client library."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request


def ask(url: str, *, method: str = "GET", timeout: float = 3.0) -> tuple[int, bytes]:
    """Return status code and body. Raises OSError when nobody answers within ``timeout`` seconds.

    ``tcp://HOST:PORT`` only connects, since Redis has no readiness page.
    """
    if url.startswith("tcp://"):
        host, _, port = url.removeprefix("tcp://").rpartition(":")
        socket.create_connection((host, int(port)), timeout).close()
        return 200, b""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, method=method), timeout=timeout) as answer:  # noqa: S310  # own addresses
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def reason(error: OSError) -> str:
    """Say in a few words why nobody answered."""
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause)
