"""Redis Sentinel: the primaries that it watches, whether enough sentinels could fail one over, and when one was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporters.clients.resp import Connection, Reply, ReplyError, failed, pack
from exporters.guard import translate
from exporters.model import Part
from exporters.redis.cluster_settings import RedisSentinelSettings
from tocsin.errors import TargetError

__all__ = ["Master", "RedisSentinelReader", "RedisSentinelSettings", "SentinelSnapshot"]

_MASTERS: Final = pack("SENTINEL", "MASTERS")
_DOWN: Final = frozenset({"s_down", "o_down", "disconnected"})


@dataclass(frozen=True)
class Master:
    """One watched primary. ``quorum_ok`` None: the sentinel did not say."""

    name: str
    up: bool
    quorum_ok: bool | None
    changes: int
    replicas: int
    sentinels: int
    """Sentinels that watch it, the asked one included."""


@dataclass(frozen=True)
class SentinelSnapshot:
    """What one sentinel knows."""

    masters: tuple[Master, ...]
    parts: tuple[Part, ...] = ()
    version: str = ""


@dataclass
class _Memory:
    """The newest known failover of one primary."""

    epoch: int
    address: tuple[str, str]
    changes: int = 0


class RedisSentinelReader:
    """Asks the first sentinel that answers."""

    def __init__(self, settings: RedisSentinelSettings) -> None:
        self._patience = settings.patience.total_seconds()
        self._sentinels = [Connection(settings, url=url) for url in (settings.url, *settings.seeds)]
        self._memory: dict[str, _Memory] = {}

    async def read(self) -> SentinelSnapshot:
        """Ask for the primaries, then for the quorum of each. Raises TargetError when no sentinel answers."""
        started = time.perf_counter()
        first: BaseException | None = None
        errors = 0
        for sentinel in list(self._sentinels):
            try:
                masters = await asyncio.wait_for(self._masters(sentinel), self._patience)
            except (TargetError, OSError, TimeoutError) as error:
                first, errors = first or error, errors + 1
                continue
            # The one that answered is asked first from now on; a frozen one costs its patience once.
            self._sentinels.sort(key=lambda other: other is not sentinel)
            return SentinelSnapshot(masters, (_part(time.perf_counter() - started, first),), sentinel.version)
        assert first is not None
        raise translate(first)

    def close(self) -> None:
        """Drop all connections."""
        for sentinel in self._sentinels:
            sentinel.close()

    async def _masters(self, sentinel: Connection) -> tuple[Master, ...]:
        fields = [_fields(reply) for reply in _list((await sentinel.request(_MASTERS, 1))[0])]
        names = [each["name"] for each in fields]
        asked = b"".join(pack("SENTINEL", "CKQUORUM", name) for name in names)
        quorums = await sentinel.request(asked, len(names)) if names else []
        self._memory = {name: memory for name, memory in self._memory.items() if name in names}
        return tuple(self._master(each, quorum) for each, quorum in zip(fields, quorums, strict=True))

    def _master(self, fields: Mapping[str, str], quorum: Reply) -> Master:
        return Master(
            fields["name"],
            up=not _DOWN & set(fields["flags"].split(",")),
            quorum_ok=_quorum(quorum),
            changes=self._changes(fields),
            replicas=int(fields["num-slaves"]),
            sentinels=int(fields["num-other-sentinels"]) + 1,
        )

    def _changes(self, fields: Mapping[str, str]) -> int:
        """Count failovers: each raises the epoch by one, so that none between two scrapes is missed."""
        epoch, address = int(fields["config-epoch"]), (fields["ip"], fields["port"])
        memory = self._memory.setdefault(fields["name"], _Memory(epoch, address))
        # A sentinel that lags behind tells an old epoch with its old address: no news.
        if epoch > memory.epoch:
            memory.changes += epoch - memory.epoch
            memory.epoch, memory.address = epoch, address
        elif address != memory.address and epoch == memory.epoch:
            memory.changes += 1
            memory.address = address
        return memory.changes


def _part(duration: float, error: BaseException | None) -> Part:
    if error is None:
        return Part("sentinels", ok=True, duration=duration)
    why = translate(error)
    detail = f"a sentinel did not answer, another did: {why}"
    return Part("sentinels", ok=False, duration=duration, reason=why.reason, detail=detail)


def _quorum(reply: Reply) -> bool | None:
    if isinstance(reply, ReplyError):
        return False if str(reply).startswith("NOQUORUM") else None
    return isinstance(reply, bytes) and reply.startswith(b"OK")


def _list(reply: Reply) -> Sequence[Reply]:
    if isinstance(reply, ReplyError):
        if str(reply).startswith("ERR unknown command"):
            raise TargetError("protocol", "the server is not a sentinel; sentinels usually listen on port 26379")
        raise failed(reply)
    if not isinstance(reply, list):
        msg = "the answer to SENTINEL MASTERS is not a list"
        raise TargetError("parse", msg)
    return reply


def _fields(reply: Sequence[bytes]) -> dict[str, str]:
    texts = [item.decode("utf-8", "replace") for item in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))
