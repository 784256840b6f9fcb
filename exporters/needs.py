"""What each source needs on the watched system, what reading it costs, and what its users trip over: for the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Needs:
    """Texts of one kind, in Markdown. ``setup`` are commands for the watched system."""

    about: str
    setup: str
    cost: str
    traps: tuple[str, ...] = ()


_REDIS_ACL = "ACL SETUSER tocsin on >PASSWORD ~* "

NEEDS: Mapping[str, Needs] = MappingProxyType(
    {
        "bullmq": Needs(
            "A Redis user that may read; nothing is ever written. Versions 5 and 6 of the library, Node and Python.",
            _REDIS_ACL + "+@read +@connection +info +client|list",
            "200 queues: about 8 ms of CPU per scrape and 6 ms of Redis', with the events stream up to 30 ms.",
            (
                "BullMQ has no limit of its own: give `capacity`, or the fill ratio is absent.",
                (
                    "The events stream keeps about 10,000 entries. What was trimmed between two scrapes is counted in "
                    "`tocsin_events_missed_total`; scrape more often, or raise the library's `maxLenEvents`."
                ),
                "The oldest job is that of the waiting list: a queue with prioritised jobs only tells none.",
            ),
        ),
        "rabbitmq": Needs(
            "The plugins `rabbitmq_management` and `rabbitmq_prometheus`, and a user with the tag `monitoring` and "
            "permissions (empty ones are enough) in every virtual host: without them its limits are not shown. "
            "Name the metrics page of **every** node under `nodes:`; a queue is told by the node that leads it.",
            "rabbitmq-plugins enable rabbitmq_management rabbitmq_prometheus\n"
            "rabbitmqctl add_user tocsin PASSWORD\n"
            "rabbitmqctl set_user_tags tocsin monitoring\n"
            "rabbitmqctl set_permissions -p / tocsin '^$' '^$' '^$'",
            "1000 queues: about 15 ms of the broker's CPU per scrape and as much of ours; limits, policies, sizes and "
            "oldest messages about 0.1 s of its CPU once per `slow`.",
            (
                "RabbitMQ's own statistics lag up to 5 s behind.",
                "The oldest message is known for classic queues whose publishers stamp their messages.",
                (
                    "Published, acknowledged and redelivered messages are told by the nodes from 4.0 on (not tried on "
                    "a real 4.x yet); before that, `statistics: true` reads them on the slow timer."
                ),
                "The label is the queue's name; outside the virtual host `/` it is `VHOST/QUEUE`.",
                "Messages that stand in a dead-letter queue nobody consumes are `retained_failed`, not `ready`.",
                (
                    "Exclusive and server-named queues add up in `_other`, and so does a new queue until the next slow "
                    "look has seen it."
                ),
                "A stream has no backlog: what was read stays in it, so it has no `ready`.",
            ),
        ),
        "redis": Needs(
            "A Redis (or Valkey) user that may ask for INFO.",
            _REDIS_ACL.replace("~* ", "") + "+info +ping +client|setname",
            "One INFO per scrape: about 1 ms of either side.",
            (
                "The hit ratio counts every read of the server: keep queues and caches in servers of their own.",
                "`cache_memory_max_bytes` is absent when `maxmemory` is 0.",
            ),
        ),
        "redis-cluster": Needs(
            "The same user on every node. The addresses are those that the cluster announces: the exporter must be "
            "able to reach them, and it logs in to each.",
            _REDIS_ACL.replace("~* ", "") + "+info +ping +client|setname +cluster|nodes +cluster|info",
            "One CLUSTER NODES of one node, one INFO and CLUSTER INFO of each: about 1 ms of each node.",
            (
                "Series by role add up all nodes of that role; counters go on through a failover, and none is born.",
                "While a node is alive but unread, the sums that it belongs to are absent rather than too low.",
                "Give `seeds`: further nodes to ask when the first is gone.",
            ),
        ),
        "redis-sentinel": Needs(
            "A user on the sentinels, where they have one; several sentinels under `seeds`.",
            _REDIS_ACL.replace("~* ", "") + "+info +ping +client|setname +sentinel|masters +sentinel|ckquorum",
            "Two commands of one sentinel per scrape.",
            (
                "The series tell one sentinel's view: the first that answers.",
                "Failovers are counted by their epoch, so none between two scrapes is missed.",
            ),
        ),
        "breaker-json": Needs(
            "A health page that names each breaker's state; a 503 with a body is read too.",
            "",
            "One GET per scrape.",
            (
                "A word that is not known gives no state at all, never `closed`; say what it means under `values`.",
                "A trip that opens and closes between two scrapes is missed.",
            ),
        ),
        "postgresql": Needs(
            "PostgreSQL 10 or later, a role in `pg_monitor`, and the extension `pg_stat_statements` for query times.",
            "CREATE ROLE tocsin LOGIN PASSWORD 'PASSWORD' IN ROLE pg_monitor;\n"
            "CREATE EXTENSION IF NOT EXISTS pg_stat_statements;  -- with shared_preload_libraries",
            "A few milliseconds of either side per scrape; sizes on a slow timer.",
        ),
        "pgbouncer": Needs(
            "A user among `stats_users`; the target is PgBouncer's own console.",
            "stats_users = tocsin",
            "A handful of SHOW commands per scrape.",
        ),
    }
)
"""By kind. A test holds that every source has an entry."""
