"""One look at everything dear: the management API's lists, and the nodes' large pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

import orjson

from exporters.clients.http import HttpClient, Login
from exporters.rabbitmq import cluster as api
from exporters.rabbitmq.cluster import Cluster, Dear, Policies
from exporters.rabbitmq.page import DETAILS, WHOLE, Key, Labels, NodeDetails, node_details
from exporters.rabbitmq.settings import RabbitmqSettings
from tocsin.errors import TargetError

_PAGE_LIMIT: Final = 256 * 2**20
_EXCHANGES: Final = 50
"""Dead-letter exchanges whose bindings are asked for, at most."""


async def look(settings: RabbitmqSettings, labels: Labels) -> Dear:
    """Read everything once over connections of its own. Raises TargetError or OSError from the management API."""
    login = Login(settings.user, settings.password) if settings.password is not None else None
    client = HttpClient(settings.url, login=login, limit=_PAGE_LIMIT)
    try:
        cluster = await _cluster(client, statistics=settings.statistics)
    finally:
        client.close()
    tls = settings.url.startswith("https:")
    details = {}
    for node in settings.nodes:  # one after the other: nobody waits, and the brokers' load stays flat
        sent = login if node.startswith("https:") or not tls else None
        found = await _details(HttpClient(node, login=sent, limit=_PAGE_LIMIT), labels)
        if found is not None:
            details[node] = found
    return Dear(cluster, details)


async def _cluster(client: HttpClient, *, statistics: bool) -> Cluster:
    async def ask(path: str) -> Sequence[api.Row]:
        return api.rows(orjson.loads(await client.get(path)))

    queues = await ask(api.QUEUES)
    policies = Policies(await ask(api.POLICIES), await ask(api.OPERATOR_POLICIES))
    bound = await _bound(client, sorted(api.dead_letter_exchanges(queues, policies)))
    running = api.running(await ask(api.NODES))
    totals = api.totals(await ask(api.STATISTICS)) if statistics else None
    facts = await asyncio.to_thread(api.facts, queues, policies, bound)
    return Cluster(facts, running, totals, policies.problem)


async def _bound(client: HttpClient, exchanges: Sequence[Key]) -> Iterable[Key]:
    """Return the queues behind the exchanges; one that was deleted has none."""
    out: set[Key] = set()
    for vhost, exchange in exchanges[:_EXCHANGES]:
        path = f"/api/exchanges/{quote(vhost, safe='')}/{quote(exchange, safe='')}/bindings/source"
        answer = orjson.loads(await client.get(path, accept_statuses=(200, 404)))
        bindings = api.rows(answer) if isinstance(answer, list) else ()
        out |= {(vhost, binding["destination"]) for binding in bindings if binding["destination_type"] == "queue"}
    return out


async def _details(client: HttpClient, labels: Labels) -> NodeDetails | None:
    """Return a node's dear facts; None when the node cannot be read, which the scrape itself tells."""
    try:
        return node_details(await client.get(DETAILS), await client.get(WHOLE), labels)
    except (TargetError, OSError):
        return None
    finally:
        client.close()
