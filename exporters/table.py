"""The sources that Tocsin can watch: one line each in ``SOURCES``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import exporters.breaker_json.families as cb_families
import exporters.breaker_json.read as cb
import exporters.bullmq.families as bq_families
import exporters.bullmq.read as bq
import exporters.pgbouncer.families as pb_families
import exporters.pgbouncer.read as pb
import exporters.postgresql.families as pg_families
import exporters.postgresql.read as pg
import exporters.rabbitmq.families as rq_families
import exporters.rabbitmq.read as rq
import exporters.redis.cluster_families as rc_families
import exporters.redis.cluster_read as rc
import exporters.redis.families as rd_families
import exporters.redis.read as rd
import exporters.redis.sentinel_families as rs_families
import exporters.redis.sentinel_read as rs
from exporters.model import Source

_ALL = (
    Source(
        "bullmq", bq.BullmqSettings, bq_families.SIGNALS, bq.BullmqReader, bq_families.families, bq_families.FOLDING
    ),
    Source(
        "rabbitmq",
        rq.RabbitmqSettings,
        rq_families.SIGNALS,
        rq.RabbitmqReader,
        rq_families.families,
        rq_families.FOLDING,
    ),
    Source(
        "pgbouncer",
        pb.PgbouncerSettings,
        pb_families.SIGNALS,
        pb.PgbouncerReader,
        pb_families.families,
        pb_families.FOLDING,
    ),
    Source(
        "postgresql",
        pg.PostgresqlSettings,
        pg_families.SIGNALS,
        pg.PostgresqlReader,
        pg_families.families,
        pg_families.FOLDING,
    ),
    Source("redis", rd.RedisSettings, rd_families.SIGNALS, rd.RedisReader, rd_families.families),
    Source(
        "redis-cluster",
        rc.RedisClusterSettings,
        rc_families.SIGNALS,
        rc.RedisClusterReader,
        rc_families.families,
        rc_families.FOLDING,
    ),
    Source(
        "redis-sentinel",
        rs.RedisSentinelSettings,
        rs_families.SIGNALS,
        rs.RedisSentinelReader,
        rs_families.families,
        rs_families.FOLDING,
    ),
    Source("breaker-json", cb.BreakerSettings, cb_families.SIGNALS, cb.BreakerReader, cb_families.families),
)

SOURCES: Mapping[str, Source] = MappingProxyType({source.kind: source for source in _ALL})
"""Sources by the ``kind`` of tocsin.yaml."""
