"""What rules and boards both read: series recorded once from signals, so that an alert and its panel show one number.

A fact is a recording rule with its unit. Rules load it, panels draw it, and neither writes the expression twice.
Every fact sums or picks by its own labels only, so the address of a scrape never becomes part of an alert.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from tocsin import signals as s
from tocsin.signals import Signal
from tocsin.thresholds import Resolved

FactUnit = Literal["ratio", "seconds", "messages", "jobs", "lookups", "requests", "boolean", "per second"]
Operator = Literal[">", ">=", "<", "/"]


@dataclass(frozen=True)
class Fact:
    """A recorded series: name (``level:metric:operation``), labels, unit, and the expression that makes it.

    ``sources`` are the signals it cannot be made without; ``group`` is the rule file that records it.
    """

    name: str
    unit: FactUnit
    labels: tuple[str, ...]
    help: str
    expr: str
    sources: tuple[Signal, ...]
    group: str

    def __str__(self) -> str:
        return self.name


_QUEUE = ("target", "messaging_system", "messaging_destination_name")
_BY_QUEUE = "by (target, messaging_system, messaging_destination_name)"
_CACHE = ("target", "cache_system", "role")
_BY_CACHE = "by (target, cache_system, role)"
_BREAKER = ("target", "breaker", "service")
_BY_BREAKER = "by (target, breaker, service)"

TARGET_READABLE = Fact(
    "target:tocsin_readable:min",
    "boolean",
    ("target",),
    "1 when the target answered the last read, 0 when it or its scrape did not.",
    # The exporter's own word first; when the exporter cannot be scraped, Prometheus' word for the scrape.
    f'min by (target) ({s.TARGET_UP})\nor min by (target) ({s.UP}{{job="exporter-targets"}})',
    (s.TARGET_UP,),
    "targets",
)
"""Rules add one clause per configured target, so that a target without any series counts as not readable."""

QUEUE_READY = Fact(
    "queue:messaging_queue_ready:sum",
    "messages",
    _QUEUE,
    "Messages that wait to be worked on.",
    f'sum {_BY_QUEUE} ({s.QUEUE_MESSAGES}{{state="ready"}})',
    (s.QUEUE_MESSAGES,),
    "queues",
)
QUEUE_BACKLOG = Fact(
    "queue:messaging_queue_backlog:sum",
    "messages",
    _QUEUE,
    "Messages ready, in flight or scheduled: what counts against capacity.",
    f'sum {_BY_QUEUE} ({s.QUEUE_MESSAGES}{{state=~"ready|in_flight|scheduled"}})',
    (s.QUEUE_MESSAGES,),
    "queues",
)
QUEUE_FILL = Fact(
    "queue:messaging_queue_fill:ratio",
    "ratio",
    _QUEUE,
    "Backlog as a share of capacity; absent for a queue without a limit.",
    f"{QUEUE_BACKLOG}\n/ (max {_BY_QUEUE} ({s.QUEUE_CAPACITY}) > 0)",
    (s.QUEUE_MESSAGES, s.QUEUE_CAPACITY),
    "queues",
)
QUEUE_WAIT_AGE = Fact(
    "queue:messaging_queue_oldest_ready:seconds",
    "seconds",
    _QUEUE,
    "How long the oldest ready message has waited; 0 when none waits.",
    # An empty queue has no oldest message, but its emptiness is known: that is 0, not "unknown".
    f"clamp_min(time() - min {_BY_QUEUE} ({s.QUEUE_OLDEST_READY}), 0)\nor ({QUEUE_READY} == 0)",
    (s.QUEUE_OLDEST_READY, s.QUEUE_MESSAGES),
    "queues",
)
QUEUE_STALLED = Fact(
    "queue:messaging_queue_stalled:seconds",
    "seconds",
    _QUEUE,
    "How long nothing has been finished while a message waited; absent while work moves or a person paused the queue.",
    # Idle time starts at the later of "last finished" and "oldest ready": a first job after a quiet night is no stall.
    "(\n"
    "  clamp_min(\n"
    "    time()\n"
    f"    - max {_BY_QUEUE} (\n"
    f'        label_replace({s.QUEUE_LAST_FINISHED}, "since", "finished", "", "")\n'
    f"        or {s.QUEUE_OLDEST_READY}\n"
    "      ),\n"
    "    0\n"
    "  )\n"
    f'  and sum {_BY_QUEUE} (min_over_time({s.QUEUE_MESSAGES}{{state="ready"}}[2m])) > 0\n'
    ")\n"
    f"unless max {_BY_QUEUE} ({s.QUEUE_PAUSED}) == 1",
    (s.QUEUE_MESSAGES, s.QUEUE_OLDEST_READY),
    "queues",
)
QUEUE_FINISHED_5M = Fact(
    "queue:messaging_queue_finished:increase5m",
    "jobs",
    _QUEUE,
    "Messages finished in the last 5 minutes, either way.",
    f"sum {_BY_QUEUE} (increase({s.QUEUE_FINISHED}[5m]))",
    (s.QUEUE_FINISHED,),
    "queues",
)
QUEUE_FAILURES = Fact(
    "queue:messaging_queue_failure:ratio5m",
    "ratio",
    _QUEUE,
    "Share of the messages finished in the last 5 minutes that failed; absent when none was finished.",
    # `or 0 *`: a queue that never failed has no failure series yet.
    "(\n"
    f'  sum {_BY_QUEUE} (increase({s.QUEUE_FINISHED}{{outcome="failure"}}[5m]))\n'
    f"  or 0 * {QUEUE_FINISHED_5M}\n"
    ")\n"
    f"/ ({QUEUE_FINISHED_5M} > 0)",
    (s.QUEUE_FINISHED,),
    "queues",
)
CACHE_LOOKUPS_5M = Fact(
    "cache:cache_requests:increase5m",
    "lookups",
    _CACHE,
    "Lookups in the last 5 minutes.",
    f"sum {_BY_CACHE} (increase({s.CACHE_REQUESTS}[5m]))",
    (s.CACHE_REQUESTS,),
    "caches",
)
CACHE_HITS = Fact(
    "cache:cache_requests_hit:ratio5m",
    "ratio",
    _CACHE,
    "Share of the lookups of the last 5 minutes that hit; absent without lookups.",
    "(\n"
    f'  sum {_BY_CACHE} (increase({s.CACHE_REQUESTS}{{result="hit"}}[5m]))\n'
    f"  or 0 * {CACHE_LOOKUPS_5M}\n"
    ")\n"
    f"/ ({CACHE_LOOKUPS_5M} > 0)",
    (s.CACHE_REQUESTS,),
    "caches",
)
BREAKER_OPEN = Fact(
    "breaker:circuit_breaker_open:seconds",
    "seconds",
    _BREAKER,
    "How long the breaker has not been closed; 0 while it is closed, absent when its state is unknown.",
    # A breaker that somebody disabled lets every call through: it is not open.
    "(\n"
    f"  clamp_min(time() - min {_BY_BREAKER} ({s.BREAKER_OPENED}), 0)\n"
    f'  unless max {_BY_BREAKER} ({s.BREAKER_STATE}{{state="disabled"}}) == 1\n'
    ")\n"
    f'or 0 * (max {_BY_BREAKER} ({s.BREAKER_STATE}{{state=~"closed|disabled"}}) == 1)',
    (s.BREAKER_STATE, s.BREAKER_OPENED),
    "breakers",
)
SERVICE_UP = Fact(
    "service:up:min",
    "boolean",
    ("service",),
    "1 when the application's metrics page answers.",
    f'min by (service) ({s.UP}{{job="apps"}})',
    (s.UP,),
    "services",
)
HTTP_REQUESTS_5M = Fact(
    "service:http_server_requests:increase5m",
    "requests",
    ("service",),
    "HTTP requests answered in the last 5 minutes.",
    f'sum by (service) (increase({s.HTTP_SERVER_DURATION}_count{{service!=""}}[5m]))',
    (s.HTTP_SERVER_DURATION,),
    "services",
)
HTTP_P95 = Fact(
    "service:http_server_request_duration:p95_5m",
    "seconds",
    ("service",),
    "95 of 100 requests of the last 5 minutes were answered within this time; absent without requests.",
    # `>= 0` drops the NaN of a service without requests.
    "histogram_quantile(\n"
    "  0.95,\n"
    f'  sum by (service, le) (rate({s.HTTP_SERVER_DURATION}_bucket{{service!=""}}[5m]))\n'
    ") >= 0",
    (s.HTTP_SERVER_DURATION,),
    "services",
)
PART_UP = Fact(
    "job:up:min",
    "boolean",
    ("job",),
    "1 when every process of this part of the stack answers its scrape.",
    f'min by (job) ({s.UP}{{job=~"exporter|router|prometheus|alertmanager|node|collector|loki|tempo"}})\n'
    f'or (absent({s.UP}{{job="exporter"}}) - 1)\n'
    f'or (absent({s.UP}{{job="router"}}) - 1)',
    (s.UP,),
    "stack",
)
UNDELIVERED_AGE = Fact(
    "router:undelivered:seconds",
    "seconds",
    (),
    "How long the oldest undelivered message has waited in the router; 0 when none waits.",
    f"clamp_min(time() - min({s.ROUTER_OLDEST_UNDELIVERED}), 0)\nor 0 * max({s.ROUTER_DEAD_LETTERS})",
    (s.ROUTER_OLDEST_UNDELIVERED, s.ROUTER_DEAD_LETTERS),
    "delivery",
)
NEW_DEAD_LETTERS = Fact(
    "router:new_dead_letters:increase1h",
    "messages",
    (),
    "Messages that became undeliverable in the last hour.",
    # A gauge that pruning lowers: what was added since its lowest point, not its slope.
    f"clamp_min(sum({s.ROUTER_DEAD_LETTERS}) - sum(min_over_time({s.ROUTER_DEAD_LETTERS}[1h])), 0)",
    (s.ROUTER_DEAD_LETTERS,),
    "delivery",
)
HEARTBEAT_AGE = Fact(
    "router:heartbeat:seconds",
    "seconds",
    ("source",),
    "How long ago the watchdog alert reached the router; infinite when it never did.",
    f"clamp_min(time() - max by (source) ({s.ROUTER_HEARTBEAT}), 0)\nor (absent({s.ROUTER_HEARTBEAT}) * Inf)",
    (s.ROUTER_HEARTBEAT,),
    "delivery",
)
DISK_FREE_RATIO = Fact(
    "stack:disk_free:ratio",
    "ratio",
    (),
    "Share of the stack's disk that is free.",
    f"min({s.DISK_FREE}) / (max({s.DISK_SIZE}) > 0)",
    (s.DISK_FREE, s.DISK_SIZE),
    "stack",
)
DISK_FULL_IN = Fact(
    "stack:disk_full_in:seconds",
    "seconds",
    (),
    "When the stack's disk is full if the last 6 hours go on; absent while it does not fill.",
    # Three hours of history at least: a slope through a few minutes of start-up would cry wolf.
    f"(min({s.DISK_FREE}) / (max(-deriv({s.DISK_FREE}[6h])) > 0))\nand min({s.DISK_FREE} offset 3h)",
    (s.DISK_FREE,),
    "stack",
)

THRESHOLD_SERIES = "tocsin_threshold"
"""Each threshold as a series: label ``threshold``, and ``target`` on the ones that differ for a target."""

# What the SLO rules record; the boards read these.
SLO_OBJECTIVE = "slo:objective:ratio"
SLO_BUDGET = "slo:error_budget:ratio"
SLO_PERIOD = "slo:time_period:days"
SLO_REMAINING = "slo:period_error_budget_remaining:ratio"
SLO_BURN = "slo:current_burn_rate:ratio"
SLO_PERIOD_BURN = "slo:period_burn_rate:ratio"
SLO_BURN_FACTOR = "slo:burn_factor:ratio"
SLO_SERIES = (SLO_OBJECTIVE, SLO_BUDGET, SLO_PERIOD, SLO_REMAINING, SLO_BURN, SLO_PERIOD_BURN, SLO_BURN_FACTOR)


def all_facts() -> dict[str, Fact]:
    """Return every fact by name, in an order in which each comes after those it reads."""
    return {value.name: value for value in globals().values() if isinstance(value, Fact)}


def number(value: float) -> str:
    """Write a number the shortest exact way, without an exponent: ``0.8``, ``300``."""
    text = format(Decimal(repr(float(value))).normalize(), "f")
    return "0" if text == "-0" else text


def by_limit(limit: Resolved) -> list[tuple[str, float]]:
    """Split targets by their limit: ``(matchers, limit)``, the default first; names need no escaping by their type."""
    groups: dict[float, list[str]] = defaultdict(list)
    for target in sorted(limit.targets):
        groups[limit.targets[target]].append(target)
    others = f'target!~"{"|".join(sorted(limit.targets))}"' if groups else ""
    special = [(f'target=~"{"|".join(names)}"', value) for value, names in sorted(groups.items())]
    return [(others, limit.default), *special]


def against(fact: Fact | str, operator: Operator, limit: Resolved, *, where: str = "", slack: float = 0) -> str:
    """Set a fact against its limit, each target against its own: a comparison, or its share of the limit (``/``).

    ``fact`` is a fact or a whole range function with one ``%s`` where the matchers go; ``where`` adds matchers;
    ``slack`` is taken off the limit (half an event where ``increase`` extrapolates).
    """
    shape = str(fact) if "%s" in str(fact) else f"{fact}%s"
    clauses = []
    for matchers, value in by_limit(limit):
        joined = ",".join(part for part in (where, matchers) if part)
        clauses.append(f"{shape % (f'{{{joined}}}' if joined else '')} {operator} {number(value - slack)}")
    return "\nor ".join(clauses)
