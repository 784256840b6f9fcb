"""What only the management API knows: limits from arguments and policies, leaders, dead-letter queues. All pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from exporters.rabbitmq.page import Key, NodeDetails
from tocsin.errors import TargetError

QUEUES: Final = (
    "/api/queues?disable_stats=true&enable_queue_totals=true"
    "&columns=vhost,name,type,exclusive,node,leader,policy,arguments"
)
STATISTICS: Final = (
    "/api/queues?columns=vhost,name,message_stats.publish,message_stats.ack,message_stats.redeliver,"
    "message_stats.deliver_no_ack,message_stats.get_no_ack"
)
POLICIES: Final = "/api/policies"
OPERATOR_POLICIES: Final = "/api/operator-policies"
NODES: Final = "/api/nodes?columns=name,running"

_SERVER_NAMED: Final = "amq.gen-"
_APPLIES: Final = {"classic": "classic_queues", "quorum": "quorum_queues", "stream": "streams"}

Row = Mapping[str, Any]
"""One object of the API's JSON."""


@dataclass(frozen=True)
class QueueFacts:
    """What the whole cluster knows of one queue. None means no limit."""

    capacity: int | None = None
    capacity_bytes: int | None = None
    leader: str = ""
    stream: bool = False
    ephemeral: bool = False
    dead_letter: bool = False
    """It takes other queues' dead letters and passes none on: what stands there waits for a person."""


@dataclass(frozen=True)
class Totals:
    """Messages of one queue since its node started."""

    enqueued: int
    finished: int
    redelivered: int


@dataclass(frozen=True)
class Cluster:
    """One look at the management API."""

    queues: Mapping[Key, QueueFacts]
    nodes: frozenset[str] = frozenset()
    """Names of the running nodes."""
    totals: Mapping[Key, Totals] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Dear:
    """What one look on the slow timer brought."""

    cluster: Cluster
    details: Mapping[str, NodeDetails]
    """By the node's configured address."""


def rows(answer: object) -> Sequence[Row]:
    """Check that an answer is a list of objects. Raises TargetError (parse)."""
    if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
        msg = "the management API answered something else than a list"
        raise TargetError("parse", msg)
    return answer


class Policies:
    """Which definitions hold for a queue: its named policy, and the operator policy that matches best."""

    def __init__(self, policies: Sequence[Row], operator: Sequence[Row]) -> None:
        self._named = {(row["vhost"], row["name"]): row["definition"] for row in policies}
        self._operator: list[tuple[Row, re.Pattern[str]]] = []
        self.problem = ""
        for row in sorted(operator, key=lambda row: -row["priority"]):
            try:
                self._operator.append((row, re.compile(row["pattern"])))
            except re.error:
                self.problem = f"the pattern of operator policy {row['name']} cannot be read; its limits are left out"

    def of(self, queue: Row) -> tuple[Row, Row]:
        """Return the definitions of a queue's policy and of its operator policy; empty ones where there is none."""
        named = self._named.get((queue["vhost"], queue.get("policy")), {})
        kinds = {"all", "queues", _APPLIES.get(queue.get("type", ""), "")}
        for row, pattern in self._operator:
            if row["vhost"] == queue["vhost"] and row["apply-to"] in kinds and pattern.search(queue["name"]):
                return named, row["definition"]
        return named, {}


def _limit(name: str, queue: Row, definitions: tuple[Row, Row]) -> int | None:
    """Return the lowest of argument and policies: that is what the broker enforces."""
    found = [queue["arguments"].get(f"x-{name}"), *(definition.get(name) for definition in definitions)]
    known = [value for value in found if isinstance(value, int)]
    return min(known) if known else None


def dead_letter_route(queue: Row, policies: Policies) -> tuple[str, str] | None:
    """Return the exchange and routing key of a queue's dead letters; None when it drops them."""
    merged: dict[str, Any] = {}
    for definition in reversed(policies.of(queue)):
        merged |= definition
    # An argument wins over a policy here: a name has no lower of two.
    exchange = queue["arguments"].get("x-dead-letter-exchange", merged.get("dead-letter-exchange"))
    if not isinstance(exchange, str):
        return None
    key = queue["arguments"].get("x-dead-letter-routing-key", merged.get("dead-letter-routing-key"))
    return exchange, key if isinstance(key, str) else queue["name"]


def dead_letter_exchanges(queues: Iterable[Row], policies: Policies) -> set[Key]:
    """Return the exchanges (virtual host, name) whose bindings say which queues take dead letters."""
    routes = ((queue["vhost"], dead_letter_route(queue, policies)) for queue in queues)
    return {(vhost, route[0]) for vhost, route in routes if route is not None and route[0]}


def facts(queues: Sequence[Row], policies: Policies, bound: Iterable[Key]) -> dict[Key, QueueFacts]:
    """Put together what is known of each queue; ``bound`` are the queues behind dead-letter exchanges."""
    takers = set(bound)
    routes = {(queue["vhost"], queue["name"]): dead_letter_route(queue, policies) for queue in queues}
    takers |= {(vhost, route[1]) for (vhost, _), route in routes.items() if route is not None and not route[0]}
    out = {}
    for queue in queues:
        key = (queue["vhost"], queue["name"])
        definitions = policies.of(queue)
        out[key] = QueueFacts(
            capacity=_limit("max-length", queue, definitions),
            capacity_bytes=_limit("max-length-bytes", queue, definitions),
            leader=str(queue.get("leader") or queue.get("node") or ""),
            stream=queue.get("type") == "stream",
            ephemeral=queue.get("exclusive") is True or queue["name"].startswith(_SERVER_NAMED),
            # A queue that passes on what it took is one step of a retry, not the end of the road.
            dead_letter=key in takers and routes[key] is None,
        )
    return out


def totals(queues: Sequence[Row]) -> dict[Key, Totals]:
    """Read the statistics of each queue; a queue that never had a message has none."""
    out = {}
    for queue in queues:
        stats = queue.get("message_stats") or {}
        gone = stats.get("ack", 0) + stats.get("deliver_no_ack", 0) + stats.get("get_no_ack", 0)
        out[queue["vhost"], queue["name"]] = Totals(stats.get("publish", 0), gone, stats.get("redeliver", 0))
    return out


def running(nodes: Sequence[Row]) -> frozenset[str]:
    """Return the names of the nodes that run."""
    return frozenset(str(node["name"]) for node in nodes if node.get("running"))
