"""What happens by the clock: pruning, resolves that never came, a pipeline that went silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from alert_router.core import QUARANTINE_ALERT, Router, unreadable
from alert_router.ledger import LedgerError
from alert_router.ledger.reads import GroupView, firing, newest_with, quarantined, totals
from alert_router.snapshot import Announcement, Sender, build
from tocsin.errors import StackError
from tocsin.telemetry import untraced

_log = logging.getLogger(__name__)

FIRST_SECONDS = 60.0
PRUNE_SECONDS = 3600.0
RECONCILE_SECONDS = 10.0
"""Shortest time between two looks at Alertmanager's alerts; with a long group interval, half of that."""
HEARTBEAT_SECONDS = 15.0
QUIET_SECONDS = 3600.0
"""A quarantine into which nothing came for this long is news no more."""
MISSING_SECONDS = 120.0
"""Two missed heartbeats of one a minute; slower watchdogs get two and a half of their own gaps."""
SETTLING_SECONDS = 120.0
"""Prometheus sends every firing alert again within a minute: before that a fresh Alertmanager knows nothing."""

HEARTBEAT_ALERT = "HeartbeatMissing"


class Clockwork:
    """The router's periodic tasks. One that fails is logged and comes again."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._absent: dict[str, float] = {}
        self._looked = 0.0
        self._started = router.seams.clock()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start all tasks."""
        for work, pause in (
            (self.prune, PRUNE_SECONDS),
            (self.reconcile, RECONCILE_SECONDS),
            (self.listen, HEARTBEAT_SECONDS),
        ):
            self._tasks.append(asyncio.create_task(self._repeat(work, pause), name=f"clock-{work.__name__}"))

    async def stop(self) -> None:
        """Stop all tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, work: Callable[[], Awaitable[None]], pause: float) -> None:
        done = False
        while True:
            # The first round comes soon, or a router that is restarted every hour would never prune.
            await self._router.seams.sleep(pause if done else min(pause, FIRST_SECONDS))
            done = True
            try:
                with untraced():
                    await work()
            except (StackError, LedgerError) as error:
                _log.warning("router.clock.failed", extra={"work": work.__name__, "error": str(error)})
            except Exception:  # noqa: BLE001  # the next round may work; the others must go on
                _log.exception("router.clock.bug", extra={"work": work.__name__})

    async def prune(self) -> None:
        """Delete what is older than the ledger's retention."""
        router = self._router
        now = router.seams.clock()
        count = await router.ledger.prune(now - router.settings.retention.ledger.days * 86_400)
        if count:
            await asyncio.to_thread(router.ledger.shrink)
            _log.info("router.ledger.pruned", extra={"states": count})
        held = quarantined(router.ledger.reader, 1)
        group = newest_with(router.ledger.reader, QUARANTINE_ALERT, {})
        if group and group.status == "firing" and (not held or now - held[0].received > QUIET_SECONDS):
            reason = held[0].reason if held else "nothing"
            await router.take(unreadable(reason, len(held), group.since, now).snapshot())

    async def reconcile(self) -> None:
        """Resolve groups that Alertmanager does not have any more: it forgot, or a silence swallowed their end."""
        router = self._router
        groups = [one for one in firing(router.ledger.reader, 1000) if one.origin == "alertmanager"]
        if not groups:
            self._absent.clear()
            return
        now = router.seams.clock()
        interval = router.settings.intervals.group_interval.total_seconds()
        if now - self._looked < interval / 2:
            return
        self._looked = now
        alertmanager = router.alertmanager
        if now - await alertmanager.started() < SETTLING_SECONDS:
            self._absent.clear()
            return
        known = await alertmanager.fingerprints()
        gone = {one.id: one for one in groups if not _prints(one) & known}
        self._absent = {ident: self._absent.get(ident, now) for ident in gone}
        # Its own resolve may still wait for the next flush of the group.
        patience = 2 * interval + RECONCILE_SECONDS
        for ident, since in self._absent.items():
            if now - since >= patience:
                _log.warning("router.resolve.inferred", extra={"group": ident, "alertname": gone[ident].alertname})
                await router.take(_ended(gone[ident], since).snapshot, inferred=True)

    async def listen(self) -> None:
        """Say so when the watchdog's heartbeat is missing, and when it is back."""
        router = self._router
        now = router.seams.clock()
        for source, (seen, gap) in totals(router.ledger.reader).heartbeats.items():
            if gap is None:
                continue  # one beat alone has no rhythm to judge by
            silent = now - max(seen, self._started)
            group = newest_with(router.ledger.reader, HEARTBEAT_ALERT, {"source": source})
            standing = group is not None and group.status == "firing"
            if silent > max(MISSING_SECONDS, 2.5 * gap) and not standing:
                await router.take(_missing(source, seen).snapshot())
            elif silent <= max(MISSING_SECONDS, 2.5 * gap) and standing and group and seen > group.since:
                await router.take(_missing(source, group.since, seen).snapshot())


def _prints(group: GroupView) -> set[str]:
    return {alert.fingerprint for alert in group.snapshot.alerts if alert.status == "firing"}


def _ended(group: GroupView, at: float) -> GroupView:
    """The same group with every alert resolved."""
    old = group.snapshot
    alerts = [replace(alert, status="resolved", ends=alert.ends or max(at, alert.starts)) for alert in old.alerts]
    sender = Sender(old.receiver, old.labels, group_key=old.group_key, origin=old.origin)
    return replace(group, snapshot=build(alerts, sender))


def _missing(source: str, since: float, ended: float | None = None) -> Announcement:
    return Announcement(
        HEARTBEAT_ALERT,
        {"source": source},
        {
            "summary": f"No heartbeat from {source}: pages may not arrive",
            "description": "The watchdog alert always fires. When it stops coming, Prometheus or Alertmanager is down, "
            "or cannot reach the router: other alerts would not come either.",
            "value": "the watchdog alert stopped coming",
            "runbook": "WatchdogMissing",
        },
        "critical",
        since,
        ended,
    )
