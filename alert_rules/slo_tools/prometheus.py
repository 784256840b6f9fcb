"""Asking a Prometheus by its HTTP API: the one place of these tools that opens a connection.

An address may carry ``user:password@`` for basic authentication; it is sent as a header and never printed.
"""

from __future__ import annotations

import base64
import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit

from tocsin.errors import StackError

Labels = tuple[tuple[str, str], ...]
"""One label set, sorted by name: what tells series apart."""

Fetch = Callable[[str, bytes | None, Mapping[str, str]], bytes]
"""Takes an address, a form to post (None: GET) and headers; returns the body. Raises OSError with what was said."""

MOST_POINTS = 10_000
"""Prometheus refuses more than 11,000 points per series and answer."""

_FIX = "look at the address given with --prometheus, and whether that server is ready"


def fetch(url: str, form: bytes | None, headers: Mapping[str, str]) -> bytes:
    """Ask over HTTP, without any proxy on loopback. Raises OSError with Prometheus' own words."""
    local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))
    request = urllib.request.Request(url, data=form, headers=dict(headers))  # noqa: S310  # the scheme was checked
    try:
        with opener.open(request, timeout=120) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(2000)
        raise OSError(error.code, _reason(said) or f"HTTP status {error.code}") from None
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from None


def _reason(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        return ""
    return str(answer.get("error", "")) if isinstance(answer, dict) else ""


@dataclass(frozen=True)
class Prometheus:
    """One server. ``base`` is its address without credentials; make it with ``connect``."""

    base: str
    headers: Mapping[str, str]
    fetch: Fetch

    def ask(self, path: str, form: Mapping[str, str | Sequence[str]] | None = None, *, post: bool = True) -> Any:  # noqa: ANN401  # JSON
        """Return the ``data`` of an answer. Raises StackError with Prometheus' own words."""
        encoded = urlencode(form or {}, doseq=True)
        url = f"{self.base}/api/v1/{path}" + (f"?{encoded}" if encoded and not post else "")
        try:
            body = self.fetch(url, encoded.encode() if post else None, self.headers)
            answer = json.loads(body)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            msg = f"Prometheus at {self.base} does not answer /api/v1/{path}: {said}"
            raise StackError(msg, fix=_FIX) from None
        if not isinstance(answer, dict) or answer.get("status") != "success":
            msg = f"{self.base} does not speak like Prometheus"
            raise StackError(msg, fix=_FIX)
        return answer["data"]

    def instant(self, query: str, at: float | None = None) -> dict[Labels, float]:
        """Return the value of each series of an instant vector, or of a scalar under no labels."""
        data = self.ask("query", {"query": query} | ({"time": f"{at:.3f}"} if at is not None else {}))
        if data["resultType"] == "scalar":
            return {(): float(data["result"][1])}
        return {_labels(raw): float(raw["value"][1]) for raw in data["result"] if "value" in raw}

    def count(self, query: str) -> int:
        """How many series a query returns now."""
        return round(sum(self.instant(f"count({query})").values()))

    def over(self, query: str, *, start: float, end: float, step: float) -> dict[Labels, list[float]]:
        """Return each series of a query from ``start`` to ``end`` every ``step`` (seconds): NaN where it has no sample.

        Long ranges are asked in pieces, and in smaller ones when Prometheus says that a piece loads too much.
        """
        points = int((end - start) / step + 1e-9) + 1
        out: dict[Labels, list[float]] = {}
        for first, last in _pieces(points):
            for labels, values in self._piece(query, start, step, (first, last)):
                line = out.setdefault(labels, [math.nan] * points)
                for at, value in values:
                    line[round((float(at) - start) / step)] = float(value)
        return out

    def _piece(
        self, query: str, start: float, step: float, span: tuple[int, int]
    ) -> Iterator[tuple[Labels, list[tuple[float, str]]]]:
        first, last = span
        form = {
            "query": query,
            "start": f"{start + first * step:.3f}",
            "end": f"{start + last * step:.3f}",
            "step": f"{step:.3f}",
        }
        try:
            data = self.ask("query_range", form)
        except StackError as error:
            if "too many samples" not in str(error) or last - first < 100:
                raise
            middle = (first + last) // 2
            yield from self._piece(query, start, step, (first, middle))
            yield from self._piece(query, start, step, (middle + 1, last))
            return
        for raw in data["result"]:
            yield _labels(raw), raw["values"]

    def label_names(self, selector: str) -> list[str]:
        """Names of the labels that the series of a selector have, or have had within the retention."""
        return list(self.ask("labels", {"match[]": selector}))

    def label_values(self, label: str, selector: str | None = None) -> list[str]:
        """Values of a label, of all series or of those that a selector chooses."""
        form = {"match[]": selector} if selector else {}
        return list(self.ask(f"label/{quote(label, safe='')}/values", form, post=False))

    def runtime(self) -> dict[str, Any]:
        """What Prometheus says of itself; ``storageRetention`` is the one we read."""
        return dict(self.ask("status/runtimeinfo", post=False))


def connect(url: str, get: Fetch = fetch) -> Prometheus:
    """Take an address apart. Raises ValueError when it is none; nothing is sent yet."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        msg = "is not an http or https address; write for example http://127.0.0.1:9090"
        raise ValueError(msg)
    headers = {}
    host = parts.netloc
    if "@" in host:
        credentials, _, host = host.rpartition("@")
        coded = base64.b64encode(unquote(credentials).encode()).decode()
        headers["Authorization"] = f"Basic {coded}"
    return Prometheus(urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", "")), headers, get)


def _labels(raw: Mapping[str, Any]) -> Labels:
    return tuple(sorted((str(name), str(value)) for name, value in raw["metric"].items() if name != "__name__"))


def _pieces(points: int) -> Iterator[tuple[int, int]]:
    for first in range(0, points, MOST_POINTS):
        yield first, min(first + MOST_POINTS, points) - 1
