"""CLUSTER NODES and CLUSTER INFO → who belongs to the cluster, and which slots it serves. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tocsin.errors import TargetError

SLOTS: Final = 16384
_GONE: Final = frozenset({"noaddr", "handshake"})


@dataclass(frozen=True)
class Member:
    """One node as the cluster names it."""

    name: str
    """``host:port``: a name that stays when leadership moves."""
    host: str
    port: int
    primary: bool
    failed: bool
    """The cluster has agreed that it is dead."""


def members(text: str) -> tuple[Member, ...]:
    """Read CLUSTER NODES, sorted by name. Raises TargetError (parse) when it is something else."""
    out = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 8:
            msg = "the answer to CLUSTER NODES has an unexpected shape"
            raise TargetError("parse", msg)
        flags = set(words[2].split(","))
        address, _, hostname = words[1].partition(",")
        host, _, port = address.partition("@")[0].rpartition(":")
        if flags & _GONE or not port.isdecimal():
            continue
        # Fields behind the host name are key=value since 7.2; an empty host is a node that nobody has met yet.
        shown = hostname.partition(",")[0]
        shown = host if not shown or "=" in shown else shown
        if shown:
            out.append(Member(f"{shown}:{port}", shown, int(port), "master" in flags, "fail" in flags))
    return tuple(sorted(out, key=lambda member: member.name))


def slots(views: Sequence[Mapping[str, str]]) -> dict[str, int] | None:
    """Return slots by state out of several nodes' CLUSTER INFO, the darkest view; None when there is none."""
    found = [view for view in views if view.get("cluster_slots_ok", "").isdecimal()]
    if not found:
        return None
    worst = min(found, key=lambda view: int(view["cluster_slots_ok"]))
    counts = {state: int(worst.get(f"cluster_slots_{state}", "0")) for state in ("ok", "pfail", "fail")}
    return {**counts, "unassigned": SLOTS - int(worst.get("cluster_slots_assigned", "0"))}


def serves_all(views: Sequence[Mapping[str, str]]) -> bool | None:
    """Say whether every primary that answered finds the cluster in order; None when none answered."""
    states = [view["cluster_state"] for view in views if "cluster_state" in view]
    return all(state == "ok" for state in states) if states else None
