"""The metric catalogue: every signal is defined once, here.

Exporters, rules, panels, docs and tests read these definitions; renaming a metric is one edit. Names follow
OpenTelemetry attribute names as labels, base units, ``_total`` on counters only, and timestamps rather than ages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True)
class Signal:
    """One metric family: its name, type, unit, labels (beside ``target``) and help text.

    ``labels`` are in the order in which they are written. ``foreign`` marks families that Tocsin reads but does
    not produce (other programs' own metrics).
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    foreign: bool = False

    def __str__(self) -> str:
        return self.name


_QUEUE = ("messaging_system", "messaging_destination_name")
_CACHE = ("cache_system", "role")
_DATABASE = ("db_system_name", "db_namespace")
_BREAKER = ("breaker", "service")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

# Queue. Backlog = ready + in_flight + scheduled; never sum all states.
QUEUE_MESSAGES = Signal(
    "messaging_queue_messages",
    "gauge",
    "messages",
    (*_QUEUE, "state"),
    "Messages by state: ready, in_flight, scheduled, blocked, retained_completed, retained_failed.",
)
QUEUE_CAPACITY = Signal(
    "messaging_queue_capacity_messages",
    "gauge",
    "messages",
    _QUEUE,
    "Most messages the queue may hold, by the broker or by settings; absent when unbounded.",
)
QUEUE_CAPACITY_BYTES = Signal(
    "messaging_queue_capacity_bytes",
    "gauge",
    "bytes",
    _QUEUE,
    "Most bytes the queue may hold, by the broker; absent when unbounded.",
)
QUEUE_SIZE_BYTES = Signal("messaging_queue_size_bytes", "gauge", "bytes", _QUEUE, "Bytes of the messages held.")
QUEUE_OLDEST_READY = Signal(
    "messaging_queue_oldest_ready_timestamp_seconds",
    "gauge",
    "unix seconds",
    _QUEUE,
    "When the oldest ready message was enqueued; absent when the queue is empty.",
)
QUEUE_ENQUEUED = Signal("messaging_queue_enqueued_total", "counter", "messages", _QUEUE, "Messages put into the queue.")
QUEUE_FINISHED = Signal(
    "messaging_queue_finished_total",
    "counter",
    "messages",
    (*_QUEUE, "outcome"),
    "Messages finished since the exporter first saw the queue, by outcome: success, failure.",
)
QUEUE_REDELIVERED = Signal(
    "messaging_queue_redelivered_total",
    "counter",
    "messages",
    _QUEUE,
    "Messages handed out again after a consumer did not acknowledge them.",
)
QUEUE_WAIT = Signal(
    "messaging_queue_wait_seconds", "histogram", "seconds", _QUEUE, "Time from enqueue to start.", _SECONDS
)
PROCESS_DURATION = Signal(
    "messaging_process_duration_seconds", "histogram", "seconds", _QUEUE, "Time from start to finish.", _SECONDS
)
QUEUE_CONSUMERS = Signal("messaging_queue_consumers", "gauge", "consumers", _QUEUE, "Connected consumers (workers).")
QUEUE_WORKER_SLOTS = Signal(
    "messaging_queue_worker_slots", "gauge", "slots", _QUEUE, "Messages that may be worked on at once."
)
QUEUE_WORKER_SLOTS_BUSY = Signal(
    "messaging_queue_worker_slots_busy", "gauge", "slots", _QUEUE, "Messages being worked on now."
)
QUEUE_PAUSED = Signal("messaging_queue_paused", "gauge", "boolean", _QUEUE, "1 while the queue is paused by a person.")
QUEUE_LAST_FINISHED = Signal(
    "messaging_queue_last_finished_timestamp_seconds",
    "gauge",
    "unix seconds",
    _QUEUE,
    "When a message was last finished, either way; absent when none is known.",
)

# Broker.
BROKER_ALARM = Signal(
    "messaging_broker_alarm",
    "gauge",
    "boolean",
    ("messaging_system", "resource"),
    "1 while the broker stops its publishers for lack of this resource: memory, disk, fd.",
)
BROKER_DEAD_LETTERED = Signal(
    "messaging_broker_dead_lettered_total",
    "counter",
    "messages",
    ("messaging_system", "reason", "outcome"),
    "Messages taken out of their queue unfinished, by reason: expired, rejected, maxlen, delivery_limit; "
    "outcome: routed to a dead-letter exchange, or dropped because there is none.",
)

# Cache.
CACHE_REQUESTS = Signal(
    "cache_requests_total", "counter", "requests", (*_CACHE, "result"), "Lookups by result: hit, miss."
)
CACHE_MEMORY = Signal("cache_memory_bytes", "gauge", "bytes", _CACHE, "Memory used for data.")
CACHE_MEMORY_MAX = Signal("cache_memory_max_bytes", "gauge", "bytes", _CACHE, "Memory limit; absent when unlimited.")
CACHE_EVICTIONS = Signal("cache_evictions_total", "counter", "items", _CACHE, "Items evicted for lack of memory.")
CACHE_EXPIRATIONS = Signal("cache_expirations_total", "counter", "items", _CACHE, "Items whose time to live ended.")
CACHE_ITEMS = Signal("cache_items", "gauge", "items", _CACHE, "Items stored.")
CACHE_CONNECTIONS = Signal("cache_connections", "gauge", "connections", _CACHE, "Client connections open.")
CACHE_CONNECTIONS_MAX = Signal("cache_connections_max", "gauge", "connections", _CACHE, "Client connections allowed.")
CACHE_REJECTED = Signal(
    "cache_rejected_connections_total", "counter", "connections", _CACHE, "Connections refused at the limit."
)
CACHE_REPLICA_LINK_UP = Signal(
    "cache_replica_link_up",
    "gauge",
    "boolean",
    _CACHE,
    "1 while a replica's link to its primary is up; absent on a primary.",
)
CACHE_CLUSTER_OK = Signal(
    "cache_cluster_ok", "gauge", "boolean", ("cache_system",), "1 while the cluster serves every slot."
)
CACHE_CLUSTER_SLOTS = Signal(
    "cache_cluster_slots",
    "gauge",
    "slots",
    ("cache_system", "state"),
    "Hash slots by state: ok, pfail, fail, unassigned.",
)
_NODE = ("cache_system", "node")
CACHE_NODE_UP = Signal(
    "cache_cluster_node_up", "gauge", "boolean", _NODE, "1 when this node of the cluster answered; 0 when it did not."
)
CACHE_NODE_PRIMARY = Signal(
    "cache_cluster_node_primary", "gauge", "boolean", _NODE, "1 while this node is a primary, 0 while it is a replica."
)
CACHE_NODE_MEMORY = Signal("cache_cluster_node_memory_bytes", "gauge", "bytes", _NODE, "Memory used by this node.")
CACHE_NODE_MEMORY_MAX = Signal(
    "cache_cluster_node_memory_max_bytes",
    "gauge",
    "bytes",
    _NODE,
    "Memory limit of this node; absent when unlimited.",
)
_MASTER = ("cache_system", "master")
CACHE_SENTINEL_MASTER_UP = Signal(
    "cache_sentinel_master_up", "gauge", "boolean", _MASTER, "1 while the sentinel finds the primary alive."
)
CACHE_SENTINEL_REPLICAS = Signal(
    "cache_sentinel_replicas", "gauge", "replicas", _MASTER, "Replicas of the primary that the sentinel knows."
)
CACHE_SENTINEL_SENTINELS = Signal(
    "cache_sentinel_sentinels", "gauge", "sentinels", _MASTER, "Sentinels that watch the primary."
)
CACHE_SENTINEL_QUORUM_OK = Signal(
    "cache_sentinel_quorum_ok",
    "gauge",
    "boolean",
    _MASTER,
    "1 while enough sentinels are reachable to agree on a failover and to carry it out.",
)
CACHE_SENTINEL_MASTER_CHANGES = Signal(
    "cache_sentinel_master_changes_total",
    "counter",
    "failovers",
    _MASTER,
    "Changes of the primary's address since the exporter first asked.",
)

# Database. ``db_namespace`` is the database; it is empty where a fact belongs to the server as a whole.
DB_CONNECTIONS = Signal(
    "db_server_connections",
    "gauge",
    "connections",
    (*_DATABASE, "state"),
    "Client connections by state: active, idle, idle_in_transaction, waiting, other.",
)
DB_CONNECTIONS_MAX = Signal(
    "db_server_connections_max", "gauge", "connections", _DATABASE, "Client connections allowed."
)
DB_QUERIES = Signal(
    "db_server_queries_total", "counter", "queries", _DATABASE, "Queries finished since the exporter first looked."
)
DB_QUERY_SECONDS = Signal(
    "db_server_query_seconds_total",
    "counter",
    "seconds",
    _DATABASE,
    "Time that these queries took; mean = rate / rate.",
)
DB_SLOW_QUERIES = Signal(
    "db_server_slow_queries_total",
    "counter",
    "queries",
    _DATABASE,
    "Slow queries. PostgreSQL does not count them: a lower bound, the calls of statements that were slow on average.",
)
DB_TRANSACTIONS = Signal(
    "db_server_transactions_total",
    "counter",
    "transactions",
    (*_DATABASE, "outcome"),
    "Transactions ended, by outcome: commit, rollback.",
)
DB_DEADLOCKS = Signal(
    "db_server_deadlocks_total", "counter", "deadlocks", _DATABASE, "Deadlocks that the server broke."
)
DB_LOCK_WAITERS = Signal(
    "db_server_lock_waiters", "gauge", "connections", _DATABASE, "Client connections that wait for a lock now."
)
DB_LONGEST_TRANSACTION = Signal(
    "db_server_longest_transaction_seconds",
    "gauge",
    "seconds",
    _DATABASE,
    "Age of the oldest open transaction, by the server's clock; absent when none is open.",
)
DB_LONGEST_QUERY = Signal(
    "db_server_longest_query_seconds",
    "gauge",
    "seconds",
    _DATABASE,
    "How long the longest running query runs, by the server's clock; absent when none runs.",
)
DB_REPLICATION_LAG = Signal(
    "db_server_replication_lag_seconds",
    "gauge",
    "seconds",
    _DATABASE,
    "How far a replica is behind its primary; absent on a primary.",
)
DB_SIZE = Signal("db_server_size_bytes", "gauge", "bytes", _DATABASE, "Size on disk; read on a slow timer.")
DB_BLOCK_READS = Signal(
    "db_server_block_reads_total",
    "counter",
    "blocks",
    (*_DATABASE, "result"),
    "Blocks asked for, by result: hit (in the server's memory), miss (from the operating system).",
)
DB_STATEMENT_CALLS = Signal(
    "db_server_statement_calls_total",
    "counter",
    "queries",
    (*_DATABASE, "statement"),
    "Calls of the statements that take most time; `statement` is the server's query id, _other all the rest.",
)
DB_STATEMENT_SECONDS = Signal(
    "db_server_statement_seconds_total",
    "counter",
    "seconds",
    (*_DATABASE, "statement"),
    "Time of the statements that take most time; `statement` is the server's query id, _other all the rest.",
)

# Pools of database connections. ``pool`` is DATABASE/USER, or DATABASE/* where a fact is known for all users at once.
POOL_CONNECTIONS = Signal(
    "db_client_connections",
    "gauge",
    "connections",
    ("pool", "state"),
    "Connections of the pool to the server by state: idle, used.",
)
POOL_CONNECTIONS_MAX = Signal(
    "db_client_connections_max",
    "gauge",
    "connections",
    ("pool",),
    "Connections that the pool may open, reserve included.",
)
POOL_PENDING = Signal(
    "db_client_connections_pending_requests",
    "gauge",
    "requests",
    ("pool",),
    "Clients that wait for a connection of the pool.",
)
POOL_LONGEST_WAIT = Signal(
    "db_pool_longest_wait_seconds",
    "gauge",
    "seconds",
    ("pool",),
    "How long the first client in line has waited; 0: none.",
)
POOL_WAIT_SECONDS = Signal(
    "db_pool_wait_seconds_total",
    "counter",
    "seconds",
    ("pool",),
    "Time that clients waited for a connection, added up.",
)

# Breaker. All states are always present, so that "closed" is data rather than "no data".
BREAKER_STATES = ("closed", "open", "half_open", "forced_open", "disabled")
BREAKER_STATE = Signal(
    "circuit_breaker_state",
    "gauge",
    "boolean",
    (*_BREAKER, "state"),
    "1 for the state the breaker is in, 0 for every other.",
)
BREAKER_OPENED = Signal(
    "circuit_breaker_opened_timestamp_seconds",
    "gauge",
    "unix seconds",
    _BREAKER,
    "Since when the breaker has not been closed; absent while it is closed.",
)
BREAKER_TRANSITIONS = Signal(
    "circuit_breaker_transitions_total",
    "counter",
    "transitions",
    (*_BREAKER, "to"),
    "State changes seen, by the state entered.",
)
BREAKER_FAILURE_RATIO = Signal(
    "circuit_breaker_failure_ratio",
    "gauge",
    "ratio",
    _BREAKER,
    "Failure ratio that the breaker itself measures, 0 to 1.",
)
BREAKER_OBSERVED = Signal(
    "circuit_breaker_observed_info",
    "gauge",
    "boolean",
    (*_BREAKER, "method"),
    "How the state is known: poll can miss a trip between two scrapes, counter and event cannot.",
)

# The exporter itself.
TARGET_UP = Signal("tocsin_target_up", "gauge", "boolean", (), "1 when the target answered the last read in time.")
COLLECTOR_SUCCESS = Signal(
    "tocsin_collector_success", "gauge", "boolean", ("collector",), "1 when this part of the read succeeded."
)
COLLECTOR_DURATION = Signal(
    "tocsin_collector_duration_seconds", "gauge", "seconds", ("collector",), "Duration of the last read."
)
SCRAPE_ERRORS = Signal(
    "tocsin_scrape_errors_total",
    "counter",
    "errors",
    ("reason",),
    "Failed reads by reason: refused, timeout, auth, tls, protocol, parse.",
)
DATA_TIMESTAMP = Signal(
    "tocsin_data_timestamp_seconds", "gauge", "unix seconds", ("collector",), "When slow facts were last read."
)
SERIES_FOLDED = Signal(
    "tocsin_series_folded", "gauge", "series", ("family",), "Members folded into the label value _other."
)
TARGET_INFO = Signal(
    "tocsin_target_info", "gauge", "boolean", ("kind", "version"), "Version of the watched system; always 1."
)
EVENTS_MISSED = Signal(
    "tocsin_events_missed_total",
    "counter",
    "gaps",
    _QUEUE,
    "Gaps in the event stream: counters are low by what was trimmed.",
)
EXPORTER_TARGETS = Signal("tocsin_exporter_targets", "gauge", "targets", (), "Targets that this exporter watches.")
EXPORTER_CONFIG_OK = Signal(
    "tocsin_exporter_config_ok",
    "gauge",
    "boolean",
    (),
    "1 when the last (re)load of the settings was taken; 0 while an older configuration runs on.",
)
EXPORTER_CONFIG_TIMESTAMP = Signal(
    "tocsin_exporter_config_timestamp_seconds",
    "gauge",
    "unix seconds",
    (),
    "When the running configuration was loaded.",
)

# The router itself: no ``target`` label.
ROUTER_ACCEPTED = Signal(
    "tocsin_router_accepted_total",
    "counter",
    "webhooks",
    ("result",),
    "Webhooks answered, by result: stored, duplicate, quarantined, refused, unavailable.",
)
ROUTER_DELIVERIES = Signal(
    "tocsin_router_deliveries_total",
    "counter",
    "messages",
    ("destination", "outcome"),
    "Delivery attempts by outcome: delivered, transient, rate_limited, permanent, superseded.",
)
ROUTER_DEAD_LETTERS = Signal(
    "tocsin_router_dead_letters", "gauge", "messages", (), "Messages that could not be delivered, kept."
)
ROUTER_OLDEST_UNDELIVERED = Signal(
    "tocsin_router_oldest_undelivered_timestamp_seconds",
    "gauge",
    "unix seconds",
    (),
    "When the oldest undelivered message was accepted; absent when there is none.",
)
ROUTER_DELIVERY_SECONDS = Signal(
    "tocsin_router_delivery_seconds",
    "histogram",
    "seconds",
    ("destination",),
    "Time from the alert's start to the destination's answer.",
    (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0),
)
ROUTER_HEARTBEAT = Signal(
    "tocsin_router_heartbeat_timestamp_seconds",
    "gauge",
    "unix seconds",
    ("source",),
    "When the watchdog alert was last received.",
)
DISK_FREE = Signal("tocsin_data_disk_free_bytes", "gauge", "bytes", (), "Free space where the stack keeps its data.")
DISK_SIZE = Signal(
    "tocsin_data_disk_size_bytes", "gauge", "bytes", (), "Size of the disk where the stack keeps its data."
)

# Other programs' families that rules and panels read.
UP = Signal("up", "gauge", "boolean", ("job", "instance"), "1 when Prometheus could scrape the endpoint.", foreign=True)
ALERTS = Signal(
    "ALERTS",
    "gauge",
    "boolean",
    ("alertname", "alertstate", "severity"),
    "Alerts that are pending or firing.",
    foreign=True,
)
HTTP_SERVER_DURATION = Signal(
    "http_server_request_duration_seconds",
    "histogram",
    "seconds",
    ("service", "http_request_method", "http_route", "http_response_status_code"),
    "Duration of HTTP server requests, by OpenTelemetry's stable names.",
    foreign=True,
)


def all_signals() -> dict[str, Signal]:
    """Return every signal of the catalogue by name."""
    return {value.name: value for value in globals().values() if isinstance(value, Signal)}
