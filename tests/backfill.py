"""A Prometheus with a past: counters written as OpenMetrics, made into blocks by promtool, and served for real."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Generation, Server, start_prometheus

Events = Callable[[int], float]
"""Events that a series gains at a step."""


@dataclass(frozen=True)
class Past:
    """Series over time: family → label text → what each step adds. A series begins with its first event, as in life."""

    start: int
    """Unix seconds of the first sample."""
    steps: int
    families: Mapping[str, Mapping[str, Events]]
    step: int = 60
    kinds: Mapping[str, str] | None = None

    @property
    def end(self) -> int:
        """Unix seconds of the last sample."""
        return self.start + (self.steps - 1) * self.step

    def lines(self) -> Iterator[str]:
        """Write the samples as OpenMetrics text."""
        for family, series in self.families.items():
            kind = (self.kinds or {}).get(family, "counter")
            yield f"# TYPE {family} {kind}\n"
            for labels, events in series.items():
                yield from self._samples(family if kind != "counter" else f"{family}_total", labels, events)
        yield "# EOF\n"

    def _samples(self, name: str, labels: str, events: Events) -> Iterator[str]:
        value, born = 0.0, False
        for step in range(self.steps):
            gained = events(step)
            born = born or gained != 0 or events is nothing
            value += gained
            if born:
                yield f"{name}{{{labels}}} {value:g} {self.start + step * self.step}\n"


def nothing(_: int) -> float:
    """A counter that was born at 0 and stays there."""
    return 0.0


def add_blocks(generation: Generation, folder: Path, lines: Iterable[str]) -> None:
    """Turn OpenMetrics text into blocks of the store in ``folder``, whose Prometheus is not running."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "past.om"
    with text.open("w") as out:
        out.writelines(lines)
    argv = [generation.promtool.path, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=768h"]
    done = subprocess.run([*argv, "--quiet", text, folder / "data"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def backfilled(generation: Generation, folder: Path, past: Past | None, *, rules: Sequence[str] = ()) -> Server:
    """Start a Prometheus that has the past in its store, or what is there already; the caller stops it.

    ``rules`` are paths of rule files.
    """
    if past is not None:
        add_blocks(generation, folder, past.lines())
    files = "".join(f"  - {rule}\n" for rule in rules)
    config = "global: {scrape_interval: 1m, evaluation_interval: 1m}\n" + (f"rule_files:\n{files}" if files else "")
    return start_prometheus(generation.prometheus, folder, config, "--storage.tsdb.retention.time=10y")
