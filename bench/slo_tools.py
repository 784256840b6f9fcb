"""SLO tools on a real Prometheus: misspelt names found, false alarms, the time of a 30-day backtest, samples read."""

from __future__ import annotations

import random
import re
import string
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from alert_rules.slo import load
from alert_rules.slo.promql import fill, parse_problem
from alert_rules.slo_tools.check import Against, check
from alert_rules.slo_tools.cost import estimate, selectors_read
from alert_rules.slo_tools.live import Known, Place, Role, check_query
from alert_rules.slo_tools.prometheus import connect
from alert_rules.slo_tools.replay import Span, replay
from tests.backfill import backfilled
from tests.servers import Generation, need_generation
from tests.services.test_slo_backtest import SPEC, month
from tests.services.test_slo_live import BUCKETS, shop
from tocsin.errors import Problem

SEED = 20_260_101
PER_NAME = 40
HERE = Place("bench", 1, "")
SELECTORS: tuple[tuple[str, Role], ...] = (
    ('http_requests_total{job="api",service="shop",code=~"5.."}', "error"),
    ('http_requests_total{job="api",method=~"GET|POST",code!~"4.."}', "total"),
    ('shop_jobs_total{job="worker",outcome="completed"}', "total"),
    ('shop_jobs_total{job="worker",outcome="failed"}', "error"),
    ('http_request_duration_seconds_count{service="shop"}', "total"),
    *((f'http_request_duration_seconds_bucket{{service="shop",le="{le}"}}', "error") for le in BUCKETS),
)
"""What good specs select: each must be free of complaints, and each name in it is misspelt."""

GOOD_SPEC = """\
version: prometheus/v1
service: shop
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="api",code=~"501|502"}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="api"}[{{.window}}]))
  - name: jobs
    objective: 99
    sli:
      events:
        error_query: sum(increase(shop_jobs_total{job="worker",outcome="failed"}[{{.window}}]))
        total_query: sum(increase(shop_jobs_total{job="worker"}[{{.window}}]))
  - name: typed
    objective: 99
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="api",error_type!=""}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="api"}[{{.window}}]))
  - name: fast
    objective: 99
    tocsin: {latency: {metric: http_request_duration_seconds, threshold: 0.25, matchers: 'service="shop"'}}
  - name: within-a-second
    objective: 99
    tocsin: {latency: {metric: http_request_duration_seconds, threshold: 1, matchers: 'service="shop"'}}
"""


def main() -> int:
    """Measure with the newest generation that is found; 1 when a goal is missed."""
    generation = need_generation("pinned")
    print(f"generation: {generation.name}")
    with tempfile.TemporaryDirectory() as folder:
        missed = [_names(generation, Path(folder) / "names"), _month(generation, Path(folder) / "month")]
    return 1 if any(missed) else 0


def _names(generation: Generation, folder: Path) -> bool:
    with ExitStack() as stack:
        server = backfilled(generation, folder, shop())
        stack.callback(server.stop)
        known = Known(connect(server.url))
        spec = folder / "good.yaml"
        spec.write_text(GOOD_SPEC)
        against = Against(connect(server.url), retention=timedelta(days=90))
        alarms = [each for each in check([spec], against) if each.level != "info"]
        alarms += [each for s, role in SELECTORS for each in _findings(known, s, role) if each.level != "info"]
        rows: dict[str, list[bool]] = {}
        for kind, selector, role in _misspelt():
            rows.setdefault(kind, []).append(_noticed(known, selector, role))
    found, tried = sum(map(sum, rows.values())), sum(map(len, rows.values()))
    for kind, each in sorted(rows.items()):
        print(f"typos in a {kind:<7} {sum(each):>5} of {len(each):>5} found  {sum(each) / len(each):.1%}")
    print(f"typos in all       {found:>5} of {tried:>5} found  {found / tried:.1%}   goal >= 95 %")
    print(f"false alarms on good specs: {len(alarms)}   goal 0")
    print("\n".join(map(str, alarms)), end="\n" if alarms else "")
    return found / tried < 0.95 or bool(alarms)


def _findings(known: Known, selector: str, role: Role) -> list[Problem]:
    return check_query(known, f"rate({selector}[{{{{.window}}}}])", role=role, at=HERE)


def _noticed(known: Known, selector: str, role: Role) -> bool:
    query = f"rate({selector}[{{{{.window}}}}])"
    if parse_problem(fill(query, "5m")):
        return True
    return any(each.level != "info" for each in check_query(known, query, role=role, at=HERE))


def _misspelt() -> Iterator[tuple[str, str, Role]]:
    chance = random.Random(SEED)
    for selector, role in SELECTORS:
        for kind, begin, end in _names_in(selector):
            for _ in range(PER_NAME):
                slip = _slip(selector[begin:end], chance, bound=kind == "le")
                yield kind, selector[:begin] + slip + selector[end:], role


def _names_in(selector: str) -> Iterator[tuple[str, int, int]]:
    yield "metric", 0, selector.index("{")
    for match in re.finditer(r"(\w+)(=~|!~|!=|=)\"", selector):
        yield "label", match.start(1), match.end(1)
    for match in re.finditer(r"\ble=\"([^\"]+)\"", selector):
        yield "le", match.start(1), match.end(1)


def _slip(word: str, chance: random.Random, *, bound: bool) -> str:
    """One letter dropped, added, changed or swapped with its neighbour; in a bound mostly digits."""
    letters = string.digits + "." if bound else string.ascii_lowercase + "_"
    while True:
        at, letter = chance.randrange(len(word)), chance.choice(letters)
        slip = chance.choice(
            (
                word[:at] + word[at + 1 :],
                word[:at] + letter + word[at:],
                word[:at] + letter + word[at + 1 :],
                word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :],
            )
        )
        if slip not in (word, ""):
            return slip


def _month(generation: Generation, folder: Path) -> bool:
    past = month()
    with ExitStack() as stack:
        server = backfilled(generation, folder, past)
        stack.callback(server.stop)
        spec = folder / "shop.yaml"
        spec.write_text(SPEC)
        (objective,) = load([spec]).objectives
        began = time.perf_counter()
        (done,) = replay(connect(server.url), objective, Span(past.start, past.end, 60.0))
        took = time.perf_counter() - began
    told = sum(firing.joins is None for firing in done.firings)
    print(f"backtest of 30 days, one SLO: {took:.2f} s for {told} messages   goal < 60 s")
    pace = timedelta(seconds=15)
    cost = estimate(objective, 100 * len(selectors_read(objective)), scrape=pace, evaluate=pace)
    print(f"samples read per evaluation at 100 series: {cost.ratio:.1f} times fewer than raw   goal >= 20")
    return took >= 60 or cost.ratio < 20


if __name__ == "__main__":
    sys.exit(main())
