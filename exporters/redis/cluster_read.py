"""Redis Cluster: where the nodes are, then one INFO of every node at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from exporters.clients.resp import Connection, Reply, ReplyError, failed, info_fields, pack
from exporters.guard import translate
from exporters.model import Part
from exporters.redis.cluster_settings import RedisClusterSettings
from exporters.redis.sums import RoleSums, Sums
from exporters.redis.topology import Member, members, serves_all, slots
from tocsin.errors import TargetError

__all__ = ["ClusterSnapshot", "NodeView", "RedisClusterReader", "RedisClusterSettings"]

_NODES: Final = pack("CLUSTER", "NODES")
_NODE: Final = pack("INFO") + pack("CLUSTER", "INFO")


@dataclass(frozen=True)
class NodeView:
    """One node of the cluster. Memory is None when it was not read; the limit also when there is none."""

    name: str
    up: bool
    primary: bool
    memory: int | None = None
    memory_max: int | None = None


@dataclass(frozen=True)
class ClusterSnapshot:
    """The whole cluster at one moment."""

    system: str
    nodes: tuple[NodeView, ...]
    roles: tuple[RoleSums, ...]
    ok: bool | None
    slots: Mapping[str, int] | None
    parts: tuple[Part, ...] = ()
    version: str = ""


@dataclass(frozen=True)
class _Told:
    """What one node answered."""

    info: Mapping[str, str]
    cluster: Mapping[str, str]


class RedisClusterReader:
    """Reads one cluster. Connections are kept per node and follow the cluster's own list."""

    def __init__(self, settings: RedisClusterSettings) -> None:
        self._settings = settings
        self._seeds = [Connection(settings, url=url) for url in (settings.url, *settings.seeds)]
        self._nodes: dict[str, Connection] = {}
        self._sums = Sums()

    async def read(self) -> ClusterSnapshot:
        """Read every node. Raises TargetError when nobody says who belongs to the cluster, or no node answers."""
        started = time.perf_counter()
        known = await self._members()
        topology = Part("topology", ok=True, duration=time.perf_counter() - started)
        self._follow(known)
        answers = await asyncio.gather(*(self._node(member) for member in known), return_exceptions=True)
        told = {m.name: a for m, a in zip(known, answers, strict=True) if isinstance(a, _Told)}
        errors = [(m, a) for m, a in zip(known, answers, strict=True) if isinstance(a, BaseException)]
        if not told:
            raise translate(errors[0][1]) if errors else TargetError("parse", "the cluster names no node")
        duration = time.perf_counter() - started - topology.duration
        return self._snapshot(known, told, (topology, _part(duration, errors)))

    def close(self) -> None:
        """Drop all connections."""
        for connection in (*self._seeds, *self._nodes.values()):
            connection.close()

    async def _members(self) -> tuple[Member, ...]:
        """Ask whoever answered last, then the others in turn."""
        first: BaseException | None = None
        for connection in [*self._seeds, *self._nodes.values()]:
            try:
                reply = (await self._ask(connection, _NODES, 1))[0]
            except (TargetError, OSError, TimeoutError) as error:
                first = first or error
                continue
            if connection in self._seeds:
                self._seeds.sort(key=lambda seed: seed is not connection)
            return members(_text(reply))
        assert first is not None
        raise translate(first)

    async def _node(self, member: Member) -> _Told:
        info, cluster = await self._ask(self._nodes[member.name], _NODE, 2)
        return _Told(info_fields(info), info_fields(cluster))

    async def _ask(self, connection: Connection, request: bytes, replies: int) -> list[Reply]:
        return await asyncio.wait_for(connection.request(request, replies), self._settings.patience.total_seconds())

    def _follow(self, known: Sequence[Member]) -> None:
        scheme = self._settings.url.partition("://")[0]
        for member in known:
            if member.name not in self._nodes:
                host = f"[{member.host}]" if ":" in member.host else member.host
                self._nodes[member.name] = Connection(self._settings, url=f"{scheme}://{host}:{member.port}")
        for name in self._nodes.keys() - {member.name for member in known}:
            self._nodes.pop(name).close()

    def _snapshot(self, known: Sequence[Member], told: Mapping[str, _Told], parts: tuple[Part, ...]) -> ClusterSnapshot:
        # What a node says of itself is newer than what another one says of it.
        primary = {m.name: told[m.name].info.get("role") == "master" if m.name in told else m.primary for m in known}
        missing = {primary[m.name] for m in known if m.name not in told and not m.failed}
        views = [t.cluster for name, t in told.items() if primary[name]]
        infos = {name: t.info for name, t in told.items()}
        some = next(iter(infos.values()))
        return ClusterSnapshot(
            system="valkey" if some.get("server_name") == "valkey" else "redis",
            nodes=tuple(_view(m.name, primary[m.name], infos.get(m.name)) for m in known),
            roles=self._sums.add(infos, primary, incomplete=missing),
            ok=serves_all(views),
            slots=slots(views),
            parts=parts,
            version=some.get("valkey_version") or some.get("redis_version", ""),
        )


def _view(name: str, primary: bool, info: Mapping[str, str] | None) -> NodeView:  # noqa: FBT001  # plain data
    if info is None:
        return NodeView(name, up=False, primary=primary)
    used, limit = info.get("used_memory", ""), info.get("maxmemory", "")
    view = NodeView(name, up=True, primary=primary, memory=int(used) if used.isdecimal() else None)
    return replace(view, memory_max=int(limit)) if limit.isdecimal() and int(limit) else view


def _part(duration: float, errors: Sequence[tuple[Member, BaseException]]) -> Part:
    if not errors:
        return Part("nodes", ok=True, duration=duration)
    member, error = errors[0]
    why = translate(error)
    return Part("nodes", ok=False, duration=duration, reason=why.reason, detail=f"{member.name}: {why}")


def _text(reply: Reply) -> str:
    if isinstance(reply, ReplyError):
        if "cluster support disabled" in str(reply):
            raise TargetError("protocol", "the server is not part of a cluster; write kind: redis")
        raise failed(reply)
    if not isinstance(reply, bytes):
        msg = "the answer to CLUSTER NODES is not text"
        raise TargetError("parse", msg)
    return reply.decode("utf-8", "replace")
