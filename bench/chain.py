"""From a queue that fills up to the page at the provider: 20 faults, all intervals 1 s, beside the floor.

The floor is what Prometheus and Alertmanager need alone: from the fault to the webhook that Alertmanager sends. It is
read from the same faults (the ledger writes when each webhook came), so the ratio holds whatever the machine does.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import pytest
import redis

from tests.doubles.pagerduty import PagerDutyDouble
from tests.e2e.native import Native, prepare
from tests.servers import GENERATIONS, Generation, eventually, need_generation

RUNS = 20
GOAL_SECONDS = 1.8


def main(runs: int = RUNS) -> None:
    """Print the figures of each generation that is here."""
    for name in GENERATIONS:
        try:
            generation = need_generation(name)
        except pytest.skip.Exception as absent:
            print(f"{name}: not run: {absent}")
            continue
        with tempfile.TemporaryDirectory() as folder, PagerDutyDouble().running() as pagerduty:
            _one_generation(generation, Path(folder), pagerduty, runs)


def _one_generation(generation: Generation, folder: Path, pagerduty: PagerDutyDouble, runs: int) -> None:
    key = folder / "routing_key"
    key.write_text(pagerduty.routing_key)
    pager = {"kind": "pagerduty", "routing_key_file": str(key), "events_url": pagerduty.events_url}
    changes = {
        "destinations": {"pager": pager},
        "routes": [{"match": {}, "to": ["pager"]}],
        "intervals": {"scrape": "1s", "evaluate": "1s", "group_wait": "1s", "group_interval": "1s"},
    }
    stack = prepare(folder / "stack", generation, changes)
    _watch_own_queue(stack)
    stack.run("up", "--mode", "native")
    try:
        _report(generation.name, *_measure(stack, runs))
    finally:
        stack.run("down")


def _watch_own_queue(stack: Native) -> None:
    text = stack.config.read_text()
    target = (
        f"- {{name: bench, kind: bullmq, url: 'redis://127.0.0.1:{stack.ports['demo_redis']}/3', "
        "queues: {include: [bench]}, capacity: {default: 100}}\n"
    )
    stack.config.write_text(text.replace("targets:\n", f"targets:\n{target}", 1))


def _measure(stack: Native, runs: int) -> tuple[list[float], list[float]]:
    queue = redis.Redis(port=stack.ports["demo_redis"], db=3)
    queue.hset("bull:bench:meta", mapping={"opts.maxLenEvents": "10000"})
    seen = 'messaging_queue_capacity_messages{target="bench"}'
    eventually(lambda: stack.query(seen), timeout=90)
    floor, whole = [], []
    for _ in range(runs):
        time.sleep(random.random())  # the phase against scrape and evaluation must not repeat
        started = time.time()
        queue.rpush("bull:bench:wait", *range(100))
        accepted, delivered = eventually(lambda started=started: _delivered(stack, started), timeout=30, every=0.01)
        floor.append(accepted - started)
        whole.append(delivered - started)
        queue.delete("bull:bench:wait")
        eventually(lambda: not [g for g in stack.groups() if _is_ours(g) and g["status"] == "firing"], timeout=30)
        time.sleep(1.5)
    return floor, whole


def _is_ours(group: dict[str, object]) -> bool:
    labels = group["labels"]
    return isinstance(labels, dict) and labels.get("target") == "bench" and group["alertname"] == "QueueNearCapacity"


def _delivered(stack: Native, started: float) -> tuple[float, float] | None:
    """When the webhook of this fault was accepted and when the pager took the page; unix seconds."""
    with sqlite3.connect(f"file:{stack.data / 'ledger.sqlite'}?mode=ro", uri=True) as ledger:
        row = ledger.execute(
            "SELECT e.received, d.finished FROM event e JOIN grp g ON g.id = e.grp"
            " JOIN delivery d ON d.grp = e.grp AND d.generation = e.generation AND d.dest = 'pager'"
            " WHERE g.alertname = 'QueueNearCapacity' AND e.kind = 'fired' AND e.received > ?"
            " AND d.state = 'delivered'",
            (started,),
        ).fetchone()
    return (row[0], row[1]) if row else None


def _report(generation: str, floor: list[float], whole: list[float]) -> None:
    for name, values in (("Prometheus + Alertmanager alone", floor), ("to the page delivered", whole)):
        low, middle, high = min(values), statistics.median(values), max(values)
        figures = f"min {low:5.2f}  median {middle:5.2f}  max {high:5.2f} s"
        print(f"{generation}: fault → {name:<32} {figures}  ({len(values)} runs)")
    own = statistics.median(b - a for a, b in zip(floor, whole, strict=True))
    ratio = statistics.median(whole) / statistics.median(floor)
    print(
        f"the router's own share: median {own * 1000:.0f} ms; ratio to the floor {ratio:.2f}; goal ≤ {GOAL_SECONDS} s"
    )


if __name__ == "__main__":
    main()
