"""The webhook's door: bad input is refused or kept, told apart, and disturbs nothing else."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from alert_router.web.intake import MAX_BODY
from tests.doubles.router import Bench, router_here, router_process
from tests.doubles.webhooks import alert, body, webhook


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with router_here(tmp_path) as bench:
        yield bench


@pytest.mark.parametrize("shown", ["", "Bearer ", "Bearer wrong", "Basic dXNlcjpwYXNz", "Bearer ünïcode"])
async def test_without_the_token_nothing_is_taken(bench: Bench, shown: str) -> None:
    """401, nothing stored, and the answer does not tell the token."""
    headers = {"Authorization": shown.encode()} if shown else {}
    answer = await bench.client.post("/webhook/alertmanager", content=body(alert(starts=1.0)), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert bench.router.token.get() not in answer.text
    assert await bench.groups() == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b'{"version": "4"}',
        b'{"version": "3", "alerts": []}',
        json.dumps(webhook([alert(starts=1.0)], version="5")).encode(),
        json.dumps(webhook([alert(starts=1.0)]) | {"alerts": []}).encode(),
        json.dumps(webhook([alert(starts=1.0)]) | {"alerts": [{"status": "odd"}]}).encode(),
        json.dumps(webhook([alert(starts=1.0)]) | {"groupLabels": None}).encode(),
        b"[" * 100_000,
    ],
)
async def test_what_cannot_be_read_is_kept_and_announced(bench: Bench, content: bytes) -> None:
    """A 4xx would be lost quietly: 200, kept as it came, and a page says so."""
    answer = await bench.raw(content)
    assert answer.status_code == 200
    assert "quarantine" in answer.text
    (group,) = await bench.groups()
    assert (group["alertname"], group["status"]) == ("WebhookUnreadable", "firing")
    rows = bench.router.ledger.reader.execute("SELECT size FROM quarantine").fetchall()
    assert [row[0] for row in rows] == [len(content)]


async def test_a_hundred_unreadable_bodies_are_one_page(bench: Bench) -> None:
    """A broken sender does not flood anybody, and the quarantine stays bounded."""
    for _ in range(10):
        await bench.raw(b"nonsense")
    assert len(await bench.groups()) == 1


async def test_unknown_keys_of_newer_alertmanagers_are_fine(bench: Bench) -> None:
    """Version 4 grows; what we do not know does not hurt."""
    new = {"notification_reason": "first notification", "routeLabels": {"team": "a"}, "somethingNew": [1]}
    assert (await bench.post(alert(starts=time.time()), **new)).json()["result"] == "stored"


async def test_a_declared_length_over_the_cap_is_refused(bench: Bench) -> None:
    """Before a byte of it is read."""
    answer = await bench.raw(b"", {"Content-Length": str(MAX_BODY + 1)})
    assert answer.status_code == 413


async def test_a_body_without_a_length_is_counted(bench: Bench) -> None:
    """A chunked body cannot hide its size."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b"x" * 2**20

    assert (await bench.raw(endless())).status_code == 413
    assert await bench.groups() == []


async def test_gzip_is_taken_and_capped_after_unpacking(bench: Bench) -> None:
    """A small body that unpacks to more than the cap is as large as what it unpacks to."""
    packed = gzip.compress(body(alert(starts=time.time())))
    assert (await bench.raw(packed, {"Content-Encoding": "gzip"})).json()["result"] == "stored"
    bomb = gzip.compress(b" " * (MAX_BODY + 2**20))
    assert len(bomb) < 100_000
    assert (await bench.raw(bomb, {"Content-Encoding": "gzip"})).status_code == 413


async def test_a_body_that_only_claims_to_be_gzip_is_quarantined(bench: Bench) -> None:
    """It is kept, not lost."""
    answer = await bench.raw(b"plain text", {"Content-Encoding": "gzip"})
    assert answer.status_code == 200
    assert "quarantine" in answer.text


async def test_a_ledger_that_cannot_be_written_answers_503(bench: Bench) -> None:
    """Alertmanager tries 5xx again; nothing is promised that is not on disk. Then the same process takes it."""
    limit = "PRAGMA max_page_count = {}"
    pages = bench.router.ledger.reader.execute("PRAGMA page_count").fetchone()[0]
    await bench.router.ledger.run(lambda connection: connection.execute(limit.format(pages)).fetchone())
    page = alert(starts=time.time(), annotations={"description": "x" * 200_000})
    assert (await bench.post(page)).status_code == 503
    assert (await bench.client.get("/-/healthy")).status_code == 200
    await bench.router.ledger.run(lambda connection: connection.execute(limit.format(2**30)).fetchone())
    assert (await bench.post(page)).status_code == 200


async def test_the_watchdog_is_a_heartbeat_and_no_page(bench: Bench) -> None:
    """It proves the way from Prometheus to here; nobody is told of it."""
    assert (await bench.post(alert("Watchdog", starts=1.0, severity="info"))).status_code == 200
    assert await bench.groups() == []
    metrics = (await bench.client.get("/metrics")).text
    assert 'tocsin_router_heartbeat_timestamp_seconds{source="alertmanager"}' in metrics


async def test_answers_are_counted_by_result(bench: Bench) -> None:
    """All results are there from the start, so that a rise from nothing is seen."""
    page = alert(starts=time.time())
    await bench.post(page)
    await bench.post(page)
    await bench.raw(b"nonsense")
    await bench.client.post("/webhook/alertmanager")
    text = (await bench.client.get("/metrics")).text
    for result, count in {"stored": 1, "duplicate": 1, "quarantined": 1, "refused": 1, "unavailable": 0}.items():
        assert f'tocsin_router_accepted_total{{result="{result}"}} {count}.0' in text


def test_70_mb_is_refused_and_60_mb_is_taken(tmp_path: Path) -> None:
    """Over a real socket: 413 for the one, 200 for the other, and the router goes on as before."""
    with router_process(tmp_path) as router:
        headers = {"Authorization": f"Bearer {router.token}"}
        url = f"{router.url}/webhook/alertmanager"
        assert httpx.post(url, content=b"x" * 70_000_000, headers=headers, timeout=60).status_code == 413
        large = _valid_body(60_000_000)
        answer = httpx.post(url, content=large, headers=headers, timeout=120)
        assert (answer.status_code, answer.json()["result"]) == (200, "stored")
        (group,) = httpx.get(f"{router.url}/api/v1/groups").json()
        assert group["alertname"] == "QueueNearCapacity"
        assert httpx.get(f"{router.url}/").status_code == 200


def _valid_body(size: int) -> bytes:
    """A webhook of about so many bytes: tens of thousands of alerts."""
    one = json.dumps(alert(starts=time.time()))
    count = size // (len(one) + 2)
    whole = webhook([alert(starts=time.time())])
    head, tail = json.dumps(whole | {"alerts": "HERE"}).split('"HERE"')
    return f"{head}[{', '.join([one] * count)}]{tail}".encode()
