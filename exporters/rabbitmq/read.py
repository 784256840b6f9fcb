"""RabbitMQ → one snapshot: a cheap page of every node per scrape, everything dear on a slow timer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from exporters.clients.http import HttpClient, Login
from exporters.guard import translate
from exporters.model import Part
from exporters.rabbitmq.cluster import Cluster, Dear
from exporters.rabbitmq.look import look
from exporters.rabbitmq.page import PER_SCRAPE, Labels, NodePage, node_page
from exporters.rabbitmq.settings import RabbitmqSettings
from exporters.rabbitmq.shape import Counted, Queue, Shaper
from exporters.slow import Looked, Slow
from tocsin.errors import TargetError

__all__ = ["RabbitmqReader", "RabbitmqSettings", "RabbitmqSnapshot"]

PAGE_LIMIT = 64 * 2**20
"""Bytes of one answer: ten thousand queues and more."""

_ALARMS = "/api/health/checks/alarms"
_RESOURCES = {"memory": "memory", "disk": "disk", "file": "fd"}
"""How the broker's words for what it may run out of begin (``disk space``), and ours."""


@dataclass(frozen=True)
class RabbitmqSnapshot:
    """All watched queues of the cluster, and when the slow facts were read (unix seconds by collector)."""

    queues: tuple[Queue, ...]
    other: Queue | None
    """Queues without a lasting name, added up."""
    alarms: Mapping[str, bool] | None
    """Alarms by resource; None when the broker did not tell."""
    dead_lettered: tuple[tuple[str, str, int], ...]
    """Reason, outcome, messages."""
    slow: Mapping[str, float]
    parts: tuple[Part, ...] = ()
    version: str = ""


class RabbitmqReader:
    """Reads one cluster."""

    def __init__(self, settings: RabbitmqSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        login = Login(settings.user, settings.password) if settings.password is not None else None
        # The password is never sent over a weaker connection than the one that it was given for.
        tls = settings.url.startswith("https:")
        self._nodes = [
            HttpClient(node, login=login if node.startswith("https:") or not tls else None, limit=PAGE_LIMIT)
            for node in settings.nodes
        ]
        self._api = HttpClient(settings.url, login=login)
        self._labels = Labels()
        self._shaper = Shaper(settings)
        interval = settings.slow.total_seconds()
        self._slow: Slow[Dear] = Slow("cluster", lambda: look(settings, self._labels), interval=interval, clock=clock)

    async def read(self) -> RabbitmqSnapshot:
        """Read every node. Raises TargetError when none can be read; fewer cost their own queues only."""
        started = time.perf_counter()
        *answers, alarms = await asyncio.gather(*map(self._node, self._nodes), self._alarms(), return_exceptions=True)
        pages = [answer for answer in answers if isinstance(answer, NodePage)]
        failed = [
            (node, translate(answer))
            for node, answer in zip(self._settings.nodes, answers, strict=True)
            if isinstance(answer, BaseException)
        ]
        if not pages:
            raise failed[0][1]
        nodes = Part("nodes", ok=True, duration=time.perf_counter() - started)
        looked = await self._slow.current()
        cluster = looked.value.cluster if looked.value is not None else None
        shaped = self._shaper.shape(pages, cluster, looked.value, whole=not failed)
        if shaped.unknown:
            self._slow.hurry()
        return RabbitmqSnapshot(
            shaped.queues,
            shaped.other,
            alarms if isinstance(alarms, dict) else None,
            shaped.dead_lettered,
            {"cluster": looked.at} if looked.value is not None else {},
            (
                _nodes_part(nodes, failed, _unread(pages, cluster)),
                _alarms_part(alarms),
                _cluster_part(looked, shaped),
            ),
            next((page.version for page in pages), ""),
        )

    def close(self) -> None:
        """Drop all connections."""
        self._slow.close()
        for client in (*self._nodes, self._api):
            client.close()

    async def _node(self, client: HttpClient) -> NodePage:
        return node_page(await client.get(PER_SCRAPE), self._labels)

    async def _alarms(self) -> dict[str, bool]:
        # The check answers 503 while an alarm is on: that is the answer we came for.
        answer = orjson.loads(await self._api.get(_ALARMS, accept_statuses=(200, 503)))
        on = {_resource(alarm["resource"]) for alarm in answer.get("alarms", ())}
        if answer.get("status") not in {"ok", "failed"} or (answer["status"] == "failed" and not on):
            msg = "the check for alarms answered something unknown"
            raise TargetError("parse", msg)
        return {ours: ours in on for ours in _RESOURCES.values()}


def _resource(words: str) -> str:
    """Translate a resource. Raises TargetError for an unknown one: silence about an alarm would be a lie."""
    for begins, ours in _RESOURCES.items():
        if words.startswith(begins):
            return ours
    msg = "an alarm is on for a resource of an unknown name"
    raise TargetError("parse", msg)


def _unread(pages: Sequence[NodePage], cluster: Cluster | None) -> list[str]:
    """Running nodes that no configured page speaks for: their queues would be missing without a word."""
    return sorted(cluster.nodes - {page.node for page in pages}) if cluster is not None else []


def _nodes_part(part: Part, failed: Sequence[tuple[str, TargetError]], unread: Sequence[str]) -> Part:
    if failed:
        node, why = failed[0]
        return replace(part, ok=False, reason=why.reason, detail=f"{node}: {why}")
    if unread:
        detail = f"the queues of {', '.join(unread)} are not read; add the node's metrics page to nodes:"
        return replace(part, ok=False, reason="refused", detail=detail)
    return part


def _alarms_part(answer: object) -> Part:
    if not isinstance(answer, BaseException):
        return Part("alarms", ok=True, duration=0.0)
    why = translate(answer)
    return Part("alarms", ok=False, duration=0.0, reason=why.reason, detail=str(why))


def _cluster_part(looked: Looked[Dear], shaped: Counted) -> Part:
    part = looked.part
    if part.ok and shaped.invisible:
        detail = (
            f"{shaped.invisible} queues are in virtual hosts that the user may not see, so their limits are unknown; "
            "give it permissions there (empty patterns are enough)"
        )
        return replace(part, ok=False, reason="auth", detail=detail)
    if part.ok and looked.value is not None and looked.value.cluster.problem:
        return replace(part, ok=False, reason="parse", detail=looked.value.cluster.problem)
    return part
