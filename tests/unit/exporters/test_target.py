"""One target at run time: guard, deadline, single flight, recovery."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl

import pytest

from exporters.guard import translate
from exporters.model import Part
from exporters.runtime.target import Scrape, Target
from tests.unit.exporters.toy import Toy, settings_of
from tocsin import signals
from tocsin.errors import TargetError, TargetReason
from tocsin.signals import Signal


def _target(toy: Toy) -> Target:
    return Target(settings_of("orders")[0], toy.source())


def _values(scrape: Scrape, signal: Signal) -> dict[tuple[str, ...], object]:
    return {labels: value for family in scrape.families if family.signal is signal for labels, value in family.rows}


async def test_a_target_that_answers_is_up() -> None:
    """The source's families come with the target's own state beside them."""
    scrape = await _target(Toy(value=7)).scrape(1.0)
    assert scrape.up
    assert _values(scrape, signals.TARGET_UP) == {(): 1}
    assert _values(scrape, signals.CACHE_ITEMS) == {("toy", "primary"): 7}
    assert _values(scrape, signals.TARGET_INFO) == {("toy", "1.0"): 1}
    assert set(_values(scrape, signals.SCRAPE_ERRORS).values()) == {0}


async def test_a_hung_target_is_down_at_the_deadline_and_comes_back() -> None:
    """A read that does not end gives up with reason timeout, drops its connection, and the next one is served."""
    toy = Toy(seconds=60)
    target = _target(toy)
    scrape = await target.scrape(0.05)
    assert scrape.error is not None
    assert scrape.error.reason == "timeout"
    assert _values(scrape, signals.TARGET_UP) == {(): 0}
    assert not _values(scrape, signals.CACHE_ITEMS)
    assert _values(scrape, signals.SCRAPE_ERRORS)["timeout",] == 1
    assert target.missed_deadline
    assert toy.closed == 1
    toy.seconds = 0
    assert (await target.scrape(1.0)).up
    assert not target.missed_deadline


async def test_overlapping_scrapes_share_one_read() -> None:
    """However many ask at once, the watched system is asked once."""
    toy = Toy(gate=asyncio.Event())
    target = _target(toy)
    asking = [asyncio.create_task(target.scrape(5.0)) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert toy.gate is not None
    toy.gate.set()
    scrapes = await asyncio.gather(*asking)
    assert toy.reads == 1
    assert all(scrape.up for scrape in scrapes)
    await target.scrape(1.0)
    assert toy.reads == 2


async def test_a_scraper_with_less_time_does_not_end_the_read_of_another() -> None:
    """The impatient one is told timeout in its own time, the patient one gets the answer."""
    toy = Toy(gate=asyncio.Event())
    target = _target(toy)
    patient = asyncio.create_task(target.scrape(5.0))
    await asyncio.sleep(0)
    impatient = await target.scrape(0.01)
    assert impatient.error is not None
    assert impatient.error.reason == "timeout"
    assert toy.gate is not None
    toy.gate.set()
    assert (await patient).up


async def test_a_scraper_that_hangs_up_leaves_the_read_running() -> None:
    """A cancelled request neither cancels the shared read nor blocks the next one."""
    toy = Toy(gate=asyncio.Event())
    target = _target(toy)
    first = asyncio.create_task(target.scrape(5.0))
    await asyncio.sleep(0.01)
    first.cancel()
    second = asyncio.create_task(target.scrape(5.0))
    await asyncio.sleep(0.01)
    assert toy.gate is not None
    toy.gate.set()
    assert (await second).up
    assert toy.reads == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TargetError("auth", "no"), "auth"),
        (TimeoutError(), "timeout"),
        (ConnectionRefusedError(), "refused"),
        (ConnectionResetError(), "protocol"),
        (socket.gaierror(-2, "Name or service not known"), "refused"),
        (ssl.SSLCertVerificationError(1, "x"), "tls"),
        (ssl.SSLError(1, "x"), "tls"),
        (FileNotFoundError(2, "No such file"), "auth"),
        (OSError(113, "No route to host"), "refused"),
        (KeyError("hunter2"), "parse"),
        (ZeroDivisionError(), "parse"),
    ],
)
async def test_whatever_a_read_raises_becomes_a_bounded_reason(error: Exception, reason: TargetReason) -> None:
    """No exception leaves a scrape, and no foreign text comes along."""
    scrape = await _target(Toy(error=error)).scrape(1.0)
    assert scrape.error is not None
    assert scrape.error.reason == reason
    assert "hunter2" not in str(scrape.error)
    assert _values(scrape, signals.SCRAPE_ERRORS)[reason,] == 1


def test_own_errors_pass_through_the_edge() -> None:
    """An error that is ours already keeps its reason and its text."""
    error = TargetError("protocol", "the answer is not HTTP")
    assert translate(error) is error


async def test_a_part_that_failed_is_told_while_the_target_is_up() -> None:
    """Families that were read are served, the failed part is 0 and its reason counted."""
    parts = (Part("info", ok=True, duration=0.1), Part("workers", ok=False, duration=0.0, reason="auth", detail="x"))
    scrape = await _target(Toy(parts=parts)).scrape(1.0)
    assert scrape.up
    assert _values(scrape, signals.COLLECTOR_SUCCESS) == {("read",): 1, ("info",): 1, ("workers",): 0}
    assert _values(scrape, signals.SCRAPE_ERRORS)["auth",] == 1


async def test_an_outage_is_logged_when_it_begins_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    """A target that stays down does not fill the log."""
    caplog.set_level(logging.INFO)
    toy = Toy(error=ConnectionRefusedError())
    target = _target(toy)
    for _ in range(3):
        await target.scrape(1.0)
    toy.error = None
    for _ in range(2):
        await target.scrape(1.0)
    assert [record.message for record in caplog.records] == ["exporter.target.down", "exporter.target.recovered"]


async def test_a_surprise_is_logged_by_place_and_not_by_text(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error names its type and where it happened; its text may quote an answer."""
    await _target(Toy(error=KeyError("hunter2"))).scrape(1.0)
    assert any("KeyError in read:" in str(vars(record).get("where")) for record in caplog.records)
    assert "hunter2" not in str([vars(record) for record in caplog.records])
