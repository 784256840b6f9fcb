"""All configured targets of this process, kept through reloads: an unchanged target keeps its counters."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporters.model import Source
from exporters.runtime.target import Scrape, Target
from tocsin.settings import Settings, TargetSettings


@dataclass(frozen=True)
class Shard:
    """This process' part of the targets: number ``index`` (from 0) of ``count``."""

    index: int = 0
    count: int = 1

    def of(self, name: str) -> int:
        """Return the shard that owns a target: stable between processes and restarts."""
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % self.count

    def owns(self, name: str) -> bool:
        """Say whether a target belongs to this process."""
        return self.of(name) == self.index


def parse_shard(text: str | None) -> Shard:
    """Read ``I/N`` (I from 0). Raises ValueError that says what to write."""
    if text is None:
        return Shard()
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        msg = f"{text!r} is not a shard; write I/N with I from 0 to N-1, for example 0/2"
        raise ValueError(msg)
    return Shard(int(index), int(count))


@dataclass
class Fleet:
    """The targets by name. ``elsewhere`` are configured too but belong to other shards."""

    sources: Mapping[str, Source]
    shard: Shard = field(default_factory=Shard)
    targets: dict[str, Target] = field(default_factory=dict)
    elsewhere: dict[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Target]:
        return iter(self.targets.values())

    def adopt(self, settings: Settings) -> None:
        """Take over a new configuration; a target whose settings are the same goes on as it is."""
        old = self.targets
        mine = [target for target in settings.targets if self.shard.owns(target.name)]
        self.targets = {target.name: self._target(target, old.get(target.name)) for target in mine}
        self.elsewhere = {
            target.name: self.shard.of(target.name) for target in settings.targets if not self.shard.owns(target.name)
        }
        for name, target in old.items():
            if self.targets.get(name) is not target:
                target.close()

    async def scrape_all(self, budget: float, *, suspect_budget: float) -> Sequence[Scrape]:
        """Read every target at once; one that missed its last deadline gets ``suspect_budget`` seconds only."""
        return await asyncio.gather(
            *(t.scrape(min(budget, suspect_budget) if t.missed_deadline else budget) for t in self)
        )

    def close(self) -> None:
        """Drop all connections."""
        for target in self:
            target.close()

    def _target(self, settings: TargetSettings, old: Target | None) -> Target:
        if old is not None and old.settings == settings:
            return old
        return Target(settings, self.sources[settings.kind])
