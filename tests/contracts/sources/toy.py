"""The fourth source, as a newcomer would write it: settings, read, families, one line. It speaks one line of text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from exporters.model import Family, Part, Source
from tocsin import signals
from tocsin.errors import TargetError
from tocsin.settings import Secret, TargetSettings


class ToySettings(TargetSettings):
    """A server that says ``items N`` to whoever connects."""

    kind: Literal["toy"] = "toy"
    address: str
    password: Secret | None = None


@dataclass(frozen=True)
class ToySnapshot:
    """What the server said."""

    items: int
    parts: tuple[Part, ...] = ()
    version: str = ""


class ToyReader:
    """Reads one line over a new connection."""

    def __init__(self, settings: ToySettings) -> None:
        self._host, _, port = settings.address.rpartition(":")
        self._port = int(port)
        self._writer: asyncio.StreamWriter | None = None

    async def read(self) -> ToySnapshot:
        """Connect and read. Raises TargetError when the line is cut or of another kind."""
        reader, self._writer = await asyncio.open_connection(self._host, self._port)
        line = await reader.readline()
        self.close()
        if not line.endswith(b"\n"):
            raise TargetError("protocol", "the line was cut")
        return ToySnapshot(int(line.removeprefix(b"items ")))

    def close(self) -> None:
        """Drop the connection."""
        if self._writer is not None:
            self._writer.transport.abort()


def families(snapshot: ToySnapshot) -> Sequence[Family]:
    """Shape the number."""
    return [Family(signals.CACHE_ITEMS, [(("toy", "primary"), snapshot.items)])]


SOURCE = Source("toy", ToySettings, (signals.CACHE_ITEMS,), ToyReader, families)
