"""What every source must hold, whoever wrote it: enrolled from the table, never copied."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, get_args, get_type_hints

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import TypeAdapter

from exporters.model import Family, Histogram, Source
from exporters.probe import try_target
from exporters.runtime.render import FamilyCollector, Renderer, TargetFamilies
from exporters.runtime.target import Scrape, Target
from tests.contracts.sources.enrolled import ENROLLED, fixture, settings_for
from tests.servers import eventually, free_port, need
from tocsin import signals
from tocsin.errors import TargetReason

_CANARY = "hunter2-canary"
_DEADLINE = 0.4

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

every_source = pytest.mark.parametrize("kind", sorted(ENROLLED))


@asynccontextmanager
async def _listening(peer: Peer) -> AsyncIterator[str]:
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(ConnectionError):
            await peer(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


async def _mute(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take everything and say nothing: a frozen process looks like this, since the kernel still accepts."""
    while await reader.read(65536):
        pass


def _trickle(answer: bytes) -> Peer:
    async def peer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in answer * 100:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    return peer


def _half(answer: bytes) -> Peer:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.close()
        del reader

    return peer


async def _garbage(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff\xfe garbage \r\n" * 100)
    await writer.drain()
    writer.close()


async def _slam(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _scrape(kind: str, address: str) -> tuple[Scrape, Target]:
    target = Target(settings_for(kind, address), ENROLLED[kind])
    return await target.scrape(_DEADLINE), target


def _check_down(scrape: Scrape) -> TargetReason:
    assert scrape.error is not None
    assert scrape.error.reason in get_args(TargetReason)
    assert scrape.duration < _DEADLINE + 0.5, "the deadline does not bind this source"
    names = {family.signal.name for family in scrape.families}
    assert names == {
        signals.TARGET_UP.name,
        signals.COLLECTOR_SUCCESS.name,
        signals.COLLECTOR_DURATION.name,
        signals.SCRAPE_ERRORS.name,
    }, "a target that is down says nothing about itself"
    return scrape.error.reason


@every_source
async def test_a_refused_target_is_down_at_once(kind: str) -> None:
    """Nothing listens: reason refused, without waiting for the deadline."""
    scrape, _ = await _scrape(kind, f"127.0.0.1:{free_port()}")
    assert _check_down(scrape) == "refused"


@every_source
async def test_a_mute_target_is_down_at_the_deadline(kind: str) -> None:
    """A target that accepts and never answers: reason timeout."""
    async with _listening(_mute) as address:
        scrape, target = await _scrape(kind, address)
        target.close()
    assert _check_down(scrape) == "timeout"


@every_source
async def test_a_trickling_target_is_down_at_the_deadline(kind: str) -> None:
    """A byte now and then does not stretch the deadline."""
    async with _listening(_trickle(fixture(kind)["cut"].encode())) as address:
        scrape, target = await _scrape(kind, address)
        target.close()
    assert _check_down(scrape) == "timeout"


@every_source
async def test_half_an_answer_is_no_answer(kind: str) -> None:
    """An answer that is cut midway: reason protocol, and nothing of the half is served."""
    async with _listening(_half(fixture(kind)["cut"].encode())) as address:
        scrape, target = await _scrape(kind, address)
        target.close()
    assert _check_down(scrape) == "protocol"


@every_source
@pytest.mark.parametrize("peer", [_garbage, _slam])
async def test_nonsense_is_a_bounded_reason(kind: str, peer: Peer) -> None:
    """Bytes of no protocol, or a slammed door: down with one of the reasons, never an exception."""
    async with _listening(peer) as address:
        scrape, target = await _scrape(kind, address)
        target.close()
    assert _check_down(scrape) in {"protocol", "parse", "refused"}


@every_source
def test_trying_a_target_never_raises_and_says_why(kind: str) -> None:
    """`tocsin check --connect` gets a result with a reason and a sentence."""
    result = try_target(settings_for(kind, f"127.0.0.1:{free_port()}"), timeout=2.0, sources=ENROLLED)
    assert (result.up, result.reason) == (False, "refused")
    assert result.detail


@every_source
async def test_no_secret_leaves(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A canary in every secret key of the settings is in no series, no error and no log line."""
    plain = settings_for(kind, "127.0.0.1:1")
    secrets = {name: _CANARY for name in ("password", "token") if name in type(plain).model_fields}
    assert secrets, "a source without any secret needs a line here"
    for peer in (_mute, _garbage, _half(f"-ERR {_CANARY} wrong\r\n".encode())):
        async with _listening(peer) as address:
            settings = settings_for(kind, address, **secrets)
            target = Target(settings, ENROLLED[kind])
            scrape = await target.scrape(0.2)
            target.close()
        page = Renderer().render([TargetFamilies(scrape.target, scrape.families)])
        assert _CANARY.encode() not in page
        assert _CANARY not in f"{scrape!r} {scrape.error} {settings!r}"
    assert _CANARY not in str([vars(record) for record in caplog.records])


def _recorded(source: Source) -> Any:
    snapshot_type = get_type_hints(source.open.read)["return"]  # type: ignore[attr-defined]  # each open is a class
    return TypeAdapter(snapshot_type).validate_python(fixture(source.kind)["snapshot"])


def _shaped(source: Source) -> Sequence[Family]:
    return source.families(_recorded(source))


@every_source
def test_a_recorded_snapshot_becomes_declared_families(kind: str) -> None:
    """Families come only from the source's own line, each is in the catalogue, each at most once, labels fit."""
    source = ENROLLED[kind]
    families = _shaped(source)
    catalogue = signals.all_signals()
    names = [family.signal.name for family in families]
    assert len(names) == len(set(names))
    for family in families:
        assert family.signal in source.signals
        assert catalogue[family.signal.name] is family.signal
        seen = [labels for labels, _ in family.rows]
        assert len(seen) == len(set(seen)), f"{family.signal} has the same series twice"
        for labels, value in family.rows:
            assert len(labels) == len(family.signal.labels)
            assert isinstance(value, Histogram) is (family.signal.kind == "histogram")


@every_source
def test_the_fixture_shows_every_signal(kind: str) -> None:
    """The recorded snapshot holds at least one sample of everything that the source says it can produce."""
    source = ENROLLED[kind]
    shown = {family.signal.name for family in _shaped(source) if family.rows}
    assert shown == {signal.name for signal in source.signals}


@every_source
def test_the_page_is_the_one_that_prometheus_client_writes(kind: str) -> None:
    """Our bytes equal generate_latest on the recorded snapshot."""
    parts = [TargetFamilies("under-test", _shaped(ENROLLED[kind]))]
    registry = CollectorRegistry()
    registry.register(FamilyCollector(parts))
    assert Renderer().render(parts) == generate_latest(registry)


@every_source
def test_promtool_finds_no_fault(kind: str) -> None:
    """`promtool check metrics` has nothing to say about the recorded snapshot."""
    promtool = need("promtool")
    page = Renderer().render([TargetFamilies("under-test", _shaped(ENROLLED[kind]))])
    done = subprocess.run([promtool.path, "check", "metrics"], input=page, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@every_source
async def test_reads_that_fail_leave_nothing_behind(kind: str) -> None:
    """A target that is down for long costs no sockets: each failed read closes what it opened."""
    async with _listening(_mute) as address:
        target = Target(settings_for(kind, address), ENROLLED[kind])
        for _ in range(3):
            await target.scrape(0.05)
        target.close()
        await asyncio.to_thread(eventually, lambda: not _sockets_to(address))


def _sockets_to(address: str) -> int:
    """Connections of this process to an address that are still open on our side."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:  # noqa: PTH123  # a pseudo file
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(1 for row in rows if row[2].endswith(port) and row[3] == "01")
