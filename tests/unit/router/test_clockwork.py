"""What happens by the clock: forgotten resolves, a silent pipeline, and history that has had its time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alert_router.clockwork import Clockwork
from tests.doubles.alertmanager import AlertmanagerDouble
from tests.doubles.router import Bench, FakeClock, router_here
from tests.doubles.webhooks import alert

Parts = tuple[Bench, AlertmanagerDouble, FakeClock, Clockwork]


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    double, clock = AlertmanagerDouble(), FakeClock()
    double.started = clock.now - 86_400
    with double.running():
        text = f"ports: {{alertmanager: {double.port}}}\nintervals: {{group_interval: 60s}}\n"
        async with router_here(tmp_path, text, clock=clock) as bench:
            yield bench, double, clock, Clockwork(bench.router)


async def statuses(bench: Bench) -> dict[str, str]:
    """Alertname → status."""
    return {str(group["alertname"]): str(group["status"]) for group in await bench.groups()}


async def test_a_resolve_that_never_came_is_inferred(parts: Parts) -> None:
    """Alertmanager forgot, or a silence swallowed the end: after two group intervals the page ends, and says how."""
    bench, double, clock, clockwork = parts
    page = alert(starts=clock.now)
    await bench.post(page)
    double.fingerprints = {page["fingerprint"]}
    await clockwork.reconcile()
    double.fingerprints = set()
    gone = clock.now
    while await statuses(bench) == {"QueueNearCapacity": "firing"}:
        clock.now += 10
        assert clock.now < gone + 200
        await clockwork.reconcile()
    assert clock.now >= gone + 120
    (group,) = await bench.groups()
    assert "inferred" in (await bench.client.get(f"/groups/{group['id']}")).text


async def test_a_fresh_alertmanager_is_given_time(parts: Parts) -> None:
    """Right after its start it knows nothing: that proves nothing."""
    bench, double, clock, clockwork = parts
    await bench.post(alert(starts=clock.now))
    for _ in range(30):
        double.started = clock.now - 60
        await clockwork.reconcile()
        clock.now += 10
    assert await statuses(bench) == {"QueueNearCapacity": "firing"}


async def test_our_own_announcements_are_not_alertmanagers(parts: Parts) -> None:
    """It never had them, so it cannot have forgotten them."""
    bench, _, clock, clockwork = parts
    await bench.raw(b"nonsense")
    for _ in range(30):
        await clockwork.reconcile()
        clock.now += 10
    assert await statuses(bench) == {"WebhookUnreadable": "firing"}


async def test_a_missing_heartbeat_is_a_page_and_its_return_the_end(parts: Parts) -> None:
    """Two missed beats of one a minute; a single beat alone has no rhythm to judge by."""
    bench, _, clock, clockwork = parts
    await bench.post(alert("Watchdog", starts=1.0))
    clock.now += 3600
    await clockwork.listen()
    assert await statuses(bench) == {}
    for _ in range(3):
        await bench.post(alert("Watchdog", starts=1.0))
        clock.now += 60
    await clockwork.listen()
    assert await statuses(bench) == {}
    clock.now += 100
    await clockwork.listen()
    assert await statuses(bench) == {"HeartbeatMissing": "firing"}
    await bench.post(alert("Watchdog", starts=1.0))
    await clockwork.listen()
    assert await statuses(bench) == {"HeartbeatMissing": "resolved"}


async def test_a_slow_watchdog_gets_its_own_rhythm(parts: Parts) -> None:
    """One beat in four hours is not silent after two minutes."""
    bench, _, clock, clockwork = parts
    for _ in range(3):
        await bench.post(alert("Watchdog", starts=1.0))
        clock.now += 4 * 3600
    await clockwork.listen()
    assert await statuses(bench) == {}


async def test_old_history_is_pruned_and_the_quarantine_falls_quiet(parts: Parts) -> None:
    """By the retention of the settings; an hour after the last unreadable body its page ends."""
    bench, _, clock, clockwork = parts
    await bench.post(alert(starts=clock.now))
    await bench.post(alert(starts=clock.now, ends=clock.now + 60))
    await bench.raw(b"nonsense")
    clock.now += 3601
    await clockwork.prune()
    assert (await statuses(bench))["WebhookUnreadable"] == "resolved"
    clock.now += 91 * 86_400
    await clockwork.prune()
    assert await statuses(bench) == {}
    assert bench.router.ledger.reader.execute("SELECT count(*) FROM event").fetchone()[0] == 0
