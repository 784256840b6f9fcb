"""What tocsin.yaml may say about a Redis Cluster and about sentinels."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from exporters.clients.resp import RedisTarget, check_url
from tocsin.settings import Duration, TargetUrl


class _Several(RedisTarget):
    """A system of several servers that know each other: any of them can say where the others are."""

    seeds: tuple[TargetUrl, ...] = Field(
        default=(), description="Further addresses, asked in turn when the first does not answer."
    )
    patience: Duration = Field(
        default=timedelta(seconds=1), description="How long one server may take; a frozen one costs no more than this."
    )
    cap: int = Field(default=100, ge=1, description="Most members with series of their own; the rest become _other.")

    @field_validator("seeds")
    @classmethod
    def _readable_too(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            check_url(url)
        return value


class RedisClusterSettings(_Several):
    """A Redis (or Valkey) Cluster that is used as a cache; every node that it names is read, with one login."""

    kind: Literal["redis-cluster"] = "redis-cluster"


class RedisSentinelSettings(_Several):
    """Redis Sentinel: whether the watched primaries could be failed over, and when they were."""

    kind: Literal["redis-sentinel"] = "redis-sentinel"
