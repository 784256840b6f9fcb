"""The breaker source: words, paths, and what it remembers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from exporters.breaker_json.read import BreakerField, BreakerReader, BreakerSettings, read_state
from exporters.runtime.target import Target
from exporters.table import SOURCES
from tocsin.errors import TargetError
from tocsin.settings import Secret


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("closed", "closed"),
        ("CLOSED", "closed"),
        ("open", "open"),
        ("halfOpen", "half_open"),
        ("half-open", "half_open"),
        ("HALF_OPEN", "half_open"),
        ("forced_open", "forced_open"),
        ("DISABLED", "disabled"),
    ],
)
def test_common_words_are_understood(word: str, state: str) -> None:
    """The spellings of the usual libraries need no configuration."""
    assert read_state({"s": word}, BreakerField(path="s")) == (state, "")


@pytest.mark.parametrize(
    "page", [{"s": "ok"}, {"s": None}, {}, {"s": {"deeper": 1}}, [], "closed", {"s": ""}, {"s": 1}]
)
def test_what_is_not_a_known_word_is_unknown(page: Any) -> None:
    """Never closed by default, and the reason repeats nothing of the page."""
    state, problem = read_state(page, BreakerField(path="s"))
    assert state is None
    assert problem
    assert "ok" not in problem


def test_a_page_may_use_its_own_words() -> None:
    """With a value map only its words count; true, false and numbers are written as JSON writes them."""
    where = BreakerField(path="p.0.up", values={"true": "closed", "false": "open", "2": "half_open"})
    assert read_state({"p": [{"up": True}]}, where)[0] == "closed"
    assert read_state({"p": [{"up": False}]}, where)[0] == "open"
    assert read_state({"p": [{"up": 2}]}, where)[0] == "half_open"
    assert read_state({"p": [{"up": "closed"}]}, where)[0] is None


class _Page:
    """An HTTP server with one page that the test rewrites."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.body = b""
        self.headers = ""
        self.requests: list[str] = []
        self.port = 0

    def state(self, state: object, **more: object) -> None:
        self.body = json.dumps({"breakers": {"payments": {"state": state, **more}}}).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await _head(reader, writer)
                self.requests.append(head.decode())
                length = "" if "Connection: close" in self.headers else f"Content-Length: {len(self.body)}\r\n"
                writer.write(f"HTTP/1.1 {self.status}\r\n{length}{self.headers}\r\n".encode() + self.body)
                await writer.drain()
                if not length:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    start = await reader.readexactly(1)
    if start == b"\x16":  # a TLS handshake, which this server cannot read
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        raise ConnectionError
    return start + await reader.readuntil(b"\r\n\r\n")


@asynccontextmanager
async def _serving() -> AsyncIterator[_Page]:
    page = _Page()
    server = await asyncio.start_server(page.serve, "127.0.0.1", 0)
    page.port = server.sockets[0].getsockname()[1]
    try:
        yield page
    finally:
        server.close()


def _settings(page: _Page, **more: object) -> BreakerSettings:
    plain: dict[str, object] = {
        "name": "b",
        "url": f"http://127.0.0.1:{page.port}/health",
        "service": "api",
        "breakers": {"payments": {"path": "breakers.payments.state"}},
    }
    return BreakerSettings.model_validate(plain | more)


async def test_the_first_moment_of_not_being_closed_is_remembered() -> None:
    """Open, half-open, open again is one trouble: its time is when it began; closing ends it."""
    clock = [100.0]
    async with _serving() as page:
        reader = BreakerReader(_settings(page), clock=lambda: clock[0])
        told = []
        for state in ("closed", "open", "halfOpen", "open", "closed"):
            page.state(state)
            clock[0] += 1
            told.append((await reader.read()).breakers[0])
        reader.close()
    assert [breaker.since for breaker in told] == [None, 102.0, 102.0, 102.0, None]
    last = dict(told[-1].transitions)
    assert (last["open"], last["half_open"], last["closed"]) == (2, 1, 1)


async def test_an_unknown_word_neither_opens_nor_closes() -> None:
    """What cannot be read is a failed part with a reason; the memory of the trouble stays."""
    now = 100.0
    async with _serving() as page:
        reader = BreakerReader(_settings(page), clock=lambda: now)
        page.state("open")
        await reader.read()
        page.state("banana")
        now = 101.0
        unknown = await reader.read()
        page.state("open")
        now = 102.0
        known = await reader.read()
        reader.close()
    assert unknown.breakers[0].state is None
    assert not unknown.parts[0].ok
    assert unknown.parts[0].reason == "parse"
    assert "payments" in unknown.parts[0].detail
    assert "banana" not in unknown.parts[0].detail
    assert known.breakers[0].since == 100.0


async def test_a_page_that_says_503_is_read() -> None:
    """Health pages answer 503 when something is open: that is when they matter most."""
    async with _serving() as page:
        page.status = "503 Service Unavailable"
        page.state("open")
        reader = BreakerReader(_settings(page))
        assert (await reader.read()).breakers[0].state == "open"
        reader.close()


async def test_a_failure_ratio_is_read_where_there_is_one() -> None:
    """A ratio out of bounds is no ratio."""
    breakers = {"payments": {"path": "breakers.payments.state", "failure_ratio": "breakers.payments.ratio"}}
    async with _serving() as page:
        reader = BreakerReader(_settings(page, breakers=breakers))
        ratios = []
        for ratio in (0.25, 7, "x", True):
            page.state("closed", ratio=ratio)
            ratios.append((await reader.read()).breakers[0].failure_ratio)
        reader.close()
    assert ratios == [0.25, None, None, None]


@pytest.mark.parametrize(
    ("status", "reason"), [("401 No", "auth"), ("403 No", "auth"), ("302 Found", "protocol"), ("500 No", "protocol")]
)
async def test_other_answers_have_their_reasons(status: str, reason: str) -> None:
    """A redirect is not followed, a refusal is an authentication problem."""
    async with _serving() as page:
        page.status = status
        page.headers = "Location: http://127.0.0.1:1/\r\n"
        reader = BreakerReader(_settings(page))
        with pytest.raises(TargetError) as raised:
            await reader.read()
        reader.close()
    assert raised.value.reason == reason
    assert len(page.requests) == 1


async def test_a_page_of_another_kind_is_a_parse_error() -> None:
    """HTML instead of JSON is told as what it is."""
    async with _serving() as page:
        page.body = b"<html>"
        reader = BreakerReader(_settings(page))
        with pytest.raises(TargetError, match="not JSON"):
            await reader.read()
        reader.close()


async def test_a_page_without_tls_is_a_tls_problem() -> None:
    """https:// to a port that speaks plain HTTP is told as what it is."""
    async with _serving() as page:
        settings = _settings(page, url=f"https://127.0.0.1:{page.port}/health")
        result = await Target(settings, SOURCES["breaker-json"]).scrape(5.0)
    assert result.error is not None
    assert result.error.reason == "tls"


async def test_a_token_is_sent_and_never_told() -> None:
    """The bearer token goes to the page and nowhere else."""
    async with _serving() as page:
        page.status = "403 Forbidden"
        reader = BreakerReader(_settings(page, token=Secret("hunter2-token")))
        with pytest.raises(TargetError) as raised:
            await reader.read()
        reader.close()
    assert "Authorization: Bearer hunter2-token\r\n" in page.requests[0]
    assert "hunter2" not in str(raised.value)


async def test_a_kept_connection_that_the_server_closed_is_opened_again() -> None:
    """A server that closes after each answer, or while we are away, is no failure."""
    async with _serving() as page:
        page.headers = "Connection: close\r\n"
        page.state("closed")
        reader = BreakerReader(_settings(page))
        for _ in range(3):
            assert (await reader.read()).breakers[0].state == "closed"
            await asyncio.sleep(0.01)
        reader.close()


async def test_a_huge_page_is_refused() -> None:
    """A page that does not end costs bounded memory."""
    async with _serving() as page:
        page.body = b" " * (3 * 2**20)
        reader = BreakerReader(_settings(page))
        with pytest.raises(TargetError, match="larger than"):
            await reader.read()
        reader.close()
