"""How many workers are connected, per queue, out of CLIENT LIST: BullMQ names its workers' connections."""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from exporters.clients.resp import Reply, ReplyError, failed, pack, reason_of
from exporters.model import Part

CLIENT_LIST: Final = pack("CLIENT", "LIST", "TYPE", "normal")

_EVERY_SECONDS: Final = 5.0
"""The answer grows with the number of clients, so it is not asked at every scrape of a short interval."""
_LINE = re.compile(rb" name=(\S+) .* cmd=(\S+)")
_OWN_COMMANDS: Final = frozenset({b"bzpopmin", b"brpoplpush", b"client", b"client|setname"})


class WorkerCount:
    """The last answer, and how it went."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._counts: Mapping[str, int] | None = None
        self.at = 0.0
        self.part = Part("workers", ok=True, duration=0.0)

    def due(self, now: float) -> bool:
        """Say whether it is time to ask again (``now`` in unix seconds)."""
        return now - self.at >= _EVERY_SECONDS or self._counts is None

    def take(self, reply: Reply, now: float, queues: Sequence[str]) -> None:
        """Keep an answer to CLIENT LIST. A refusal makes the number unknown; it is no reason to lose the rest."""
        if isinstance(reply, ReplyError):
            self._counts = None
            detail = f"CLIENT LIST: {failed(reply)}; allow it, or set workers: false"
            self.part = Part("workers", ok=False, duration=0.0, reason=reason_of(reply), detail=detail)
            return
        self.part = Part("workers", ok=True, duration=0.0)
        self._counts = count_workers(reply, self._prefix, queues)
        self.at = now

    def of(self, queue: str) -> int | None:
        """Return the workers of a queue; None when unknown."""
        return None if self._counts is None else self._counts.get(queue, 0)


def count_workers(listing: bytes, prefix: str, queues: Sequence[str]) -> Counter[str]:
    """Count worker connections per queue.

    The Node library names one connection per worker ``prefix:base64(queue)``, the Python library names both of its
    connections ``prefix:queue``: there, only the one that waits for jobs counts. Both may append ``:w:NAME``.
    """
    by_name: dict[bytes, tuple[str, bool]] = {}
    for queue in queues:
        raw = queue.encode("utf-8", "surrogateescape")
        by_name[f"{prefix}:{b64encode(raw).decode()}".encode()] = (queue, False)
        by_name[prefix.encode() + b":" + raw] = (queue, True)
    counts: Counter[str] = Counter()
    for line in listing.splitlines():
        match = _LINE.search(line)
        if match is None:
            continue
        name, command = match.groups()
        queue, both_named = by_name.get(name.partition(b":w:")[0], ("", False))
        if queue and (not both_named or command in _OWN_COMMANDS):
            counts[queue] += 1
    return counts
