"""A backfilled month on a real Prometheus: a backtest finds the very alerts that evaluating the rules finds."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alert_rules.model import Alert, Recording
from alert_rules.slo import Objective, Pace, load, rule_groups
from alert_rules.slo_tools.backtest import as_json, report
from alert_rules.slo_tools.prometheus import Labels, Prometheus, connect
from alert_rules.slo_tools.queries import selectors
from alert_rules.slo_tools.replay import Replay, Span, pair_name, replay
from tests.backfill import Past, add_blocks, backfilled
from tests.conftest import Keep
from tests.servers import Generation, Server
from tocsin import facts
from tocsin.settings import parse_duration

SPEC = """\
version: prometheus/v1
service: shop
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{service="shop",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total{service="shop"}[{{.window}}]))
"""
DAY = 1440
MINUTE = 60.0
TROUBLES = (
    # day, length in minutes, share of requests that fail
    (5.5, 15, 1.0),
    (12.25, 90, 0.03),
    (18.0, 480, 0.008),
    (24.0, 1800, 0.0035),
)


def requests(step: int) -> int:
    """A day has four busy quarters out of six; a night has a tenth of the traffic."""
    return 6000 if 360 <= step % DAY < 1320 else 600


def failures(step: int) -> int:
    """The first two days nothing ever fails: the series of failures is not born yet, and is born with one failure."""
    share = next((share for day, length, share in TROUBLES if day * DAY <= step < day * DAY + length), 0.0)
    usual = 0.0002 if step > 2 * DAY and step % 60 == 0 else 0.0
    return round(requests(step) * max(share, usual))


def month(days: int = 30) -> Past:
    """The month until now."""
    steps = days * DAY
    start = int(time.time()) // 60 * 60 - steps * 60
    series = {
        'service="shop",code="200"': lambda step: requests(step) - failures(step),
        'service="shop",code="503"': failures,
    }
    return Past(start, steps, {"http_requests": series})


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory) -> Objective:
    path = tmp_path_factory.mktemp("spec") / "shop.yaml"
    path.write_text(SPEC)
    (only,) = load([path]).objectives
    return only


@pytest.fixture(scope="module")
def past() -> Past:
    return month()


@pytest.fixture(scope="module")
def server(generation: Generation, past: Past, keep_module: Keep, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return keep_module(backfilled(generation, tmp_path_factory.mktemp("month"), past))


@pytest.fixture(scope="module")
def replayed(server: Server, objective: Objective, past: Past) -> Replay:
    (only,) = replay(connect(server.url), objective, Span(past.start, past.end, MINUTE))
    return only


def test_each_trouble_is_told_once(replayed: Replay) -> None:
    """Three of the troubles page once each, the slow one is a ticket, and nothing is told out of the blue."""
    first = [firing for firing in replayed.firings if firing.joins is None]
    told = [((firing.start - replayed.span.start) / 86400, firing.pair.tier) for firing in first]
    pages = [at for at, tier in told if tier == "page"]
    tickets = [at for at, tier in told if tier == "ticket"]
    for at, (day, minutes, _) in zip([*pages, tickets[-1]], TROUBLES, strict=True):
        assert day <= at < day + minutes / DAY
    # After a page has ended, a ticket may say that its failures still weigh: within its windows, and never before.
    assert all(any(day <= at < day + 3.3 for day, _, _ in TROUBLES) for at in tickets)


def test_the_budget_is_what_was_counted(replayed: Replay, past: Past) -> None:
    """What is left after the month is 1 less the failures of the month over what was allowed, within two points.

    The counter of failures was near zero when the outage began, and there Prometheus extrapolates less.
    """
    bad, total = (sum(map(count, range(past.steps))) for count in (failures, requests))
    assert replayed.remaining[-1] == pytest.approx(1 - bad / total / 0.001, abs=0.02)
    assert replayed.bad == pytest.approx(bad, rel=0.03)
    assert replayed.total == pytest.approx(total, rel=0.01)


def test_the_page_of_text_has_alerts_and_budget(replayed: Replay) -> None:
    """People see the counts, each alert with windows, length and burn, and the budget as a chart."""
    text = report(replayed)
    assert re.search(r"\d+ pages and \d+ tickets? would have been sent", text)
    assert "1h/5m" in text
    assert "budget left" in text
    assert max(map(len, text.splitlines())) <= 100
    rows = as_json(replayed)["alerts"]
    assert {"tier", "windows", "start", "seconds", "burn_rate", "budget_before"} <= set(rows[0])


def test_the_rules_themselves_fire_at_the_same_times(
    replayed: Replay, objective: Objective, past: Past, generation: Generation, keep: Keep, tmp_path: Path
) -> None:
    """Each generated rule evaluated by Prometheus over the month, on what the earlier ones recorded: same alerts."""
    alerts, prometheus = evaluate(objective, past, generation, keep, tmp_path)
    step = 2 * MINUTE
    for alert in alerts:
        windows = f"{alert.extra['window_long']}/{alert.extra['window_short']}"
        real = list(runs(prometheus, alert.expr, past))
        mine = [(each.start, each.end or past.end) for each in replayed.firings if pair_name(each.pair) == windows]
        assert len(real) == len(mine), (windows, real, mine)
        for (start, end), (my_start, my_end) in zip(real, mine, strict=True):
            assert abs(start - my_start) <= step, windows
            assert abs(end - my_end) <= step, windows
    left = next(iter(prometheus.instant(objective.series(facts.SLO_REMAINING), past.end).values()))
    assert replayed.remaining[-1] == pytest.approx(left, abs=1e-3)


def evaluate(
    objective: Objective, past: Past, generation: Generation, keep: Keep, folder: Path
) -> tuple[list[Alert], Prometheus]:
    """Let Prometheus evaluate the recording rules level by level, backfilling what each level records."""
    groups = rule_groups(objective, Pace())
    recordings = [rule for group in groups for rule in group.recordings]
    server = backfilled(generation, folder, past)
    for level in levels(recordings):
        prometheus = connect(server.url)
        samples = [line for rule in level for line in recorded(prometheus, rule, past)]
        server.stop()
        add_blocks(generation, folder, [*samples, "# EOF\n"])
        server = backfilled(generation, folder, None)
    keep(server)
    burn = [alert for group in groups for alert in group.alerts if "window_long" in alert.extra]
    return burn, connect(server.url)


def levels(rules: list[Recording]) -> Iterator[list[Recording]]:
    """Group rules so that each reads only what earlier levels recorded."""
    left, names = list(rules), {rule.record for rule in rules}
    done: set[tuple[str, str]] = set()
    while left:
        ready = [rule for rule in left if {key for key in reads(rule) if key[0] in names} <= done]
        assert ready, [rule.record for rule in left]
        yield ready
        left = [rule for rule in left if rule not in ready]
        done |= {(rule.record, rule.labels.get("window", "")) for rule in ready}


def reads(rule: Recording) -> set[tuple[str, str]]:
    found = selectors(rule.expr)
    return {(s.metric, next((m.value for m in s.matchers if m.label == "window"), "")) for s in found}


def recorded(prometheus: Prometheus, rule: Recording, past: Past) -> Iterator[str]:
    """Evaluate one rule over the whole past and write its samples."""
    # The period changes slowly: an hour's pace is enough to compare budgets.
    slow = parse_duration(rule.labels.get("window", "5m")).days > 3 or "period" in rule.record
    step = 3600.0 if slow else MINUTE
    yield f"# TYPE {rule.record} unknown\n"
    start = past.end - (past.end - past.start) // step * step
    for labels, values in prometheus.over(rule.expr, start=start, end=past.end, step=step).items():
        written = ",".join(f'{name}="{value}"' for name, value in {**dict(labels), **rule.labels}.items())
        for index, value in enumerate(values):
            if not math.isnan(value):
                yield f"{rule.record}{{{written}}} {value!r} {start + index * step:.0f}\n"


def runs(prometheus: Prometheus, expr: str, past: Past) -> Iterator[tuple[float, float]]:
    """Return each time during which an alert's expression has a result."""
    found: dict[Labels, list[float]] = prometheus.over(expr, start=past.start, end=past.end, step=MINUTE)
    (values,) = found.values() if found else ([math.nan],)
    since: float | None = None
    for index, value in enumerate([*values, math.nan]):
        at = past.start + index * MINUTE
        if since is None and not math.isnan(value):
            since = at
        elif since is not None and math.isnan(value):
            yield since, at
            since = None
