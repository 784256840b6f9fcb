"""The running router: settings, ledger, dispatcher and the few things that happen by the clock."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from alert_router.alertmanager import Alertmanager
from alert_router.dispatch import Dispatcher, Seams
from alert_router.ledger import Accepted, Arrival, Ledger, accept, orphans
from alert_router.metrics import Meters
from alert_router.notifiers.base import NotifierKind, Tools
from alert_router.notifiers.table import NOTIFIERS
from alert_router.outbound import HttpClient
from alert_router.page import site
from alert_router.render import Renderer
from alert_router.routing import plan
from alert_router.snapshot import Announcement, Snapshot
from tocsin.endpoints import endpoints
from tocsin.errors import ConfigError
from tocsin.settings import Secret, Settings
from tocsin.telemetry import carrier

_log = logging.getLogger(__name__)

QUARANTINE_ALERT = "WebhookUnreadable"
WATCHDOG = "Watchdog"


class Router:
    """Everything between the webhook and the destinations; the web pages look at it and act through it."""

    def __init__(
        self,
        load: Callable[[], Settings],
        *,
        data: Path,
        token: Secret,
        seams: Seams | None = None,
        kinds: Mapping[str, NotifierKind] = NOTIFIERS,
    ) -> None:
        self._load = load
        self.settings = load()
        self.token = token
        self.data = data
        self.seams = seams or Seams()
        self.meters = Meters()
        self.ledger = Ledger(data / "ledger.sqlite", now=self.seams.clock())
        self.meters.watch(self.ledger.reader, data)
        self.http = HttpClient()
        self._tools = Tools(Renderer(), self.seams.clock, self.seams.sleep)
        self.dispatcher = Dispatcher(self.ledger, self.meters, kinds, self.seams)
        self.site = site(self.settings)
        self.listen_host = "127.0.0.1"

    @property
    def alertmanager(self) -> Alertmanager:
        """The Alertmanager of these settings."""
        return Alertmanager(endpoints(self.settings).alertmanager, self.http)

    @property
    def prometheus_url(self) -> str:
        """Base address of the Prometheus of these settings."""
        return endpoints(self.settings).prometheus

    async def start(self) -> None:
        """Start a lane for each destination; what was left undone by the last run goes first."""
        await self._configure()
        _log.info(
            "router.started", extra={"sent_again": self.ledger.recovered, "destinations": list(self._book.remote)}
        )

    async def stop(self) -> None:
        """Let messages under way end, then close everything."""
        await self.dispatcher.stop()
        await self.http.aclose()
        self.ledger.close()

    async def reload(self) -> None:
        """Read the settings again. Raises ConfigError, and then nothing has changed."""
        try:
            settings = self._load()
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
            _log.warning("router.reload.refused", extra={"problems": problems})
            raise
        self.settings = settings
        self.site = site(settings)
        await self._configure()
        _log.info("router.reloaded", extra={"destinations": list(self._book.remote)})

    async def _configure(self) -> None:
        self._book = await self.dispatcher.configure(self.settings.destinations, self.site, self._tools)
        now, book = self.seams.clock(), self._book
        self.dispatcher.wake(await self.ledger.run(lambda connection: orphans(connection, now, book)))

    async def take(self, snapshot: Snapshot, *, body: bytes | None = None, inferred: bool = False) -> Accepted:
        """Put a snapshot into the ledger and wake who must tell it. Raises LedgerError."""
        arrival = Arrival(
            snapshot,
            plan(self.settings, snapshot.routing_labels()),
            self.seams.clock(),
            body=body,
            trace=carrier().get("traceparent"),
            inferred=inferred,
        )
        book = self._book
        accepted = await self.ledger.run(lambda connection: accept(connection, arrival, book))
        self.dispatcher.wake(accepted.wake)
        if accepted.result == "stored":
            self._count_local(snapshot, accepted)
        about = {"group": accepted.group_id, "alertname": snapshot.alertname, "generation": accepted.generation}
        _log.info("router.accepted", extra={**about, "result": accepted.result, "kind": accepted.kind})
        return accepted

    def _count_local(self, snapshot: Snapshot, accepted: Accepted) -> None:
        """The commit was the delivery to the inbox and its like."""
        for name in self._book.local:
            self.meters.delivery(name, "delivered")
            if accepted.kind == "fired":
                self.meters.took(name, self.seams.clock() - snapshot.since)

    async def heartbeat(self, source: str) -> None:
        """Note that the watchdog alert came: the whole way from Prometheus to here works."""
        now = self.seams.clock()

        def beat(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO heartbeat (source, seen) VALUES (?, ?)"
                " ON CONFLICT (source) DO UPDATE SET gap = excluded.seen - seen, seen = excluded.seen",
                (source, now),
            )

        await self.ledger.run(beat)

    async def quarantine(self, body: bytes, reason: str) -> None:
        """Keep a body that cannot be read, and say so: a refusal would lose it quietly. Raises LedgerError."""
        now = self.seams.clock()
        packed = await asyncio.to_thread(zlib.compress, body, 1)
        size = len(body)

        def keep(connection: sqlite3.Connection) -> int:
            connection.execute(
                "INSERT INTO quarantine (received, reason, size, body) VALUES (?,?,?,?)", (now, reason, size, packed)
            )
            return int(connection.execute("SELECT count(*) FROM quarantine").fetchone()[0])

        count = await self.ledger.run(keep)
        _log.warning("router.quarantined", extra={"reason": reason, "bytes": size})
        await self.take(unreadable(reason, count, now).snapshot())

    async def act(self, group: str, kind: str, who: str, detail: object) -> None:
        """Write down what a person did about a group."""
        now = self.seams.clock()
        text = json.dumps(detail, ensure_ascii=False)

        def note(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO action (grp, at, kind, who, detail) VALUES (?,?,?,?,?)", (group, now, kind, who, text)
            )

        await self.ledger.run(note)


def unreadable(reason: str, count: int, since: float, ended: float | None = None) -> Announcement:
    """The router's own page about bodies that it could not read."""
    return Announcement(
        QUARANTINE_ALERT,
        {},
        {
            "summary": "A webhook came that cannot be read",
            "description": f"It may have been a page: {reason}. The body is kept in quarantine, which the page of dead"
            " letters lists. Look who posts to /webhook/alertmanager: only Alertmanager should.",
            "value": f"{count} in quarantine",
        },
        "warning",
        since,
        ended,
        news=reason,
    )
