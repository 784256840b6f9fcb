"""Redis as a cache: one INFO per scrape, no rights beyond it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from exporters.clients.resp import Connection, RedisTarget, info_fields, pack
from exporters.model import Part
from tocsin.errors import TargetError

_INFO: Final = pack("INFO")
_NEEDED: Final = ("keyspace_hits", "keyspace_misses", "used_memory")


class RedisSettings(RedisTarget):
    """A Redis (or Valkey) server that is used as a cache."""

    kind: Literal["redis"] = "redis"


@dataclass(frozen=True)
class RedisSnapshot:
    """The fields of one INFO."""

    info: Mapping[str, str]
    parts: tuple[Part, ...] = ()

    @property
    def version(self) -> str:
        """Version of the server."""
        return self.info.get("valkey_version") or self.info.get("redis_version", "")


class RedisReader:
    """Reads one Redis server."""

    def __init__(self, settings: RedisSettings) -> None:
        self._connection = Connection(settings)

    async def read(self) -> RedisSnapshot:
        """Ask for INFO once. Raises TargetError when the answer is not one."""
        started = time.perf_counter()
        reply: Any = (await self._connection.request(_INFO, 1))[0]
        info = info_fields(reply)
        missing = [name for name in _NEEDED if name not in info]
        if missing:
            msg = f"the answer to INFO lacks {', '.join(missing)}: is this a Redis server?"
            raise TargetError("parse", msg)
        return RedisSnapshot(info, (Part("info", ok=True, duration=time.perf_counter() - started),))

    def close(self) -> None:
        """Drop the connection."""
        self._connection.close()
