"""From stories and verdicts to promtool test files, one for each evaluation step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from fractions import Fraction
from typing import Any

from alert_rules.slo.burn import absent_alert
from alert_rules.slo.objective import Naming, Objective
from alert_rules.slo.proof.exact import Promise, Window, remaining, verdict
from alert_rules.slo.proof.expect import Expectations
from alert_rules.slo.proof.feed import Feed, feed_of, input_series
from alert_rules.slo.proof.scenarios import Look, Scenario, scenarios
from alert_rules.write import to_yaml

_SUFFIX = {1: "", 4: "-4m", 60: "-1h"}


def proof_files(
    objectives: Sequence[Objective], rule_files: Sequence[str], *, scrape: timedelta, naming: Naming = "tocsin"
) -> dict[str, str]:
    """Return promtool test files by suffix: ``""`` steps a minute, ``-4m`` and ``-1h`` are for days and months."""
    tests: dict[int, list[dict[str, Any]]] = {}
    for objective in objectives:
        for scenario, test in _tests(objective, scrape, naming):
            tests.setdefault(scenario.step, []).append(test)
    # promtool 3 shuffles groups that are not told their order, and these read each other.
    names = [f"slo/{each.service}/{each.name}{pace}" for each in objectives for pace in ("", "/long", "/period")]
    head = {"rule_files": list(rule_files), "group_eval_order": names}
    shown = {1: "1m", 4: "4m", 60: "1h"}
    return {
        _SUFFIX[step]: to_yaml({**head, "evaluation_interval": shown[step], "tests": mine})
        for step, mine in sorted(tests.items())
    }


def promise_of(objective: Objective) -> Promise:
    """Return what an SLO promises, for the judge: facts of the spec only."""
    windows = tuple(
        Window(
            pair.tier,
            _minutes(pair.long),
            _minutes(pair.short),
            Fraction(pair.share),
            objective.least(pair),
        )
        for pair in objective.pairs
    )
    budget = 1 - Fraction(objective.objective) / 100
    return Promise(budget, _minutes(objective.period), windows, 5 if objective.maintenance else 60)


def _minutes(span: timedelta) -> int:
    return round(span / timedelta(minutes=1))


def _tests(objective: Objective, scrape: timedelta, naming: Naming) -> Iterable[tuple[Scenario, dict[str, Any]]]:
    promise = promise_of(objective)
    lengths = {5, 60, *(window.long for window in promise.windows), *(window.short for window in promise.windows)}
    feed = feed_of(objective, sorted(each for each in lengths if each <= promise.raw))
    expect = Expectations(objective, naming, dict(feed.groups))
    hold = -(-round(absent_alert(objective, scrape).hold.total_seconds()) // 60)
    first = True
    for scenario in scenarios(promise, hold):
        if scenario.unborn and not (feed.counters and objective.indicator.unborn_is_zero):
            continue
        if scenario.resets and not feed.counters:
            continue
        checks = _checks(scenario, promise, expect, feed)
        if first:
            checks += expect.constants(promise)
            first = False
        yield scenario, _test(objective, scenario, checks, feed)


def _test(objective: Objective, scenario: Scenario, checks: list[dict[str, Any]], feed: Feed) -> dict[str, Any]:
    series = input_series(feed, scenario, ratio=objective.indicator.mode == "raw")
    return {
        "name": f"{objective.service}/{objective.name}: {scenario.name}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": checks,
    }


def _checks(scenario: Scenario, promise: Promise, expect: Expectations, feed: Feed) -> list[dict[str, Any]]:
    out = []
    for look in scenario.looks:
        # Evaluated once an hour, no alert can be judged: long windows are read from the minute before.
        for window in promise.windows if scenario.step < 60 else ():
            said = verdict(scenario.traffic, promise, window, look.at, scenario.step)
            if said is not None:
                out.append(expect.burn(window, look.at, promise, fires=said))
        out += _budget(look, scenario, promise, expect)
    out += [expect.named("ErrorBudgetExhausted", at, fires=fires) for at, fires in scenario.exhausted]
    if expect.watches and feed.counters:
        out += [expect.named("SLIAbsent", at, fires=fires) for at, fires in scenario.silence]
    return out


def _budget(look: Look, scenario: Scenario, promise: Promise, expect: Expectations) -> Iterable[dict[str, Any]]:
    steady = len(scenario.traffic) == 1 and scenario.traffic[0].total
    # A ratio without totals is a mean over time: only under steady traffic is that what the promise means.
    if look.budget is None or (expect.ratio and not steady):
        return
    left = remaining(scenario.traffic, promise, look.at)
    if left is None:
        return
    yield expect.near(expect.remaining, left, look.budget, look.at)
