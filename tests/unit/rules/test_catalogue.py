"""The catalogue is whole: every alert has what the woken person needs, and everything it names exists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import dashboards
from alert_rules import Alert, catalogue
from alert_rules.annotate import annotate
from alert_rules.table import SUBJECTS, context, groups
from dashboards.kit.check import panels
from tests.house import house_settings, other_settings, rendered_rules
from tests.promql import known_series, metrics, parse_error
from tocsin.links import BOARDS, panel_id
from tocsin.paths import HOUSE
from tocsin.thresholds import THRESHOLDS

ALERTS = catalogue(house_settings())
KEYS = {"summary", "description", "value", "threshold", "runbook_url", "panel", "panel_url", "query"}
HEADINGS = ("# ", "## What it means", "## First look", "## Usual causes", "## How to end it")


@pytest.fixture(params=ALERTS, ids=lambda alert: alert.name)
def alert(request: pytest.FixtureRequest) -> Alert:
    """Each alert of the committed configuration."""
    found: Alert = request.param
    return found


def test_the_promised_alerts_are_there() -> None:
    """What the project promises to watch has its rule."""
    names = {alert.name for alert in ALERTS}
    promised = {"QueueNearCapacity", "QueueWaitTooLong", "QueueStalled", "QueueFailureRatioHigh", "CacheHitRatioLow"}
    promised |= {"BreakerOpenTooLong", "TargetDown", "Watchdog", "RouterDown", "ErrorBudgetBurn", "StackDiskFull"}
    assert promised <= names


def test_an_alert_has_a_runbook_of_the_agreed_shape(alert: Alert) -> None:
    """The page that the link leads to exists and has its four parts in order."""
    text = (HOUSE / "docs" / "runbooks" / f"{alert.runbook}.md").read_text()
    lines = text.splitlines()
    assert lines[0] == f"# {alert.runbook}"
    found = [next((i for i, line in enumerate(lines) if line.startswith(heading)), -1) for heading in HEADINGS]
    assert found == sorted(found)
    assert -1 not in found


def test_a_runbook_belongs_to_an_alert() -> None:
    """No runbook is left over from an alert that is gone."""
    pages = {path.stem for path in (HOUSE / "docs" / "runbooks").glob("*.md")}
    assert pages == {alert.runbook for alert in ALERTS}


def test_an_alert_has_a_firing_and_a_quiet_case(alert: Alert) -> None:
    """Each rule is proven both ways; the watchdog has no quiet. SLOs write their proof per objective, not per alert."""
    if "slo" in alert.labels:
        files = rendered_rules(house_settings())
        tests = "".join(text for name, text in files.items() if name.startswith("slo-") and name.endswith(".tests.yml"))
        assert alert.name in tests
        return
    fires = [case for case in alert.cases if case.expected or case.samples]
    quiet = [case for case in alert.cases if case.expected == ()]
    assert fires
    assert quiet or alert.name == "Watchdog"


def test_an_alert_points_at_a_panel_that_is_there(alert: Alert) -> None:
    """The panel in the annotation exists on its board, by the id that links carry."""
    boards = [json.loads(text) for text in dashboards.render(house_settings()).values()]
    ids = {(board["uid"], panel["id"]) for board in boards for panel in panels(board)}
    board, key = alert.panel
    assert (BOARDS[board], panel_id(board, key)) in ids


def test_an_alert_carries_every_annotation(alert: Alert) -> None:
    """Summary, value, panel and runbook are on every alert, none empty, no sentence without its value's unit."""
    notes = annotate(alert, "http://host")
    assert set(notes) - {"budget_left", "budget_gone_in", "windows"} == KEYS
    assert all(notes.values())
    assert notes["runbook_url"] == f"http://host/runbooks/{alert.runbook}"
    assert alert.severity in ("critical", "warning", "info")


def test_queue_alerts_are_named_queue() -> None:
    """Routes may match on the beginning of the name."""
    group = groups(context(house_settings(), frozenset()))
    assert "queues" not in group or not group["queues"].alerts
    names = [alert.name for alert in SUBJECTS["queues"](house_settings())]
    assert all(name.startswith("Queue") for name in names)


def test_every_threshold_is_used() -> None:
    """A number that no alert compares with would be a lie in the settings' documentation."""
    guards = {"queue_failure_minimum", "cache_lookups_minimum", "http_requests_minimum"}
    used = {alert.limit.threshold.name for alert in ALERTS if alert.limit is not None}
    assert used | guards == set(THRESHOLDS)


@pytest.mark.parametrize("which", ["committed", "overrides"])
def test_every_expression_parses_and_reads_what_exists(which: str, tmp_path: Path) -> None:
    """The second parser agrees with promtool, and every series read is a signal or recorded by a rule."""
    settings = house_settings() if which == "committed" else other_settings(tmp_path)
    rules = [
        rule
        for name, text in rendered_rules(settings).items()
        if name.endswith(".rules.yml")
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
    ]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    known = {*known_series(), *recorded, "shop_requests_total", "shop_orders_total"}
    for rule in rules:
        assert parse_error(rule["expr"]) is None
        assert metrics(rule["expr"]) <= known, rule


def test_a_rule_without_a_producer_is_left_out(tmp_path: Path) -> None:
    """With nothing produced, only the stack's own rules and those of its targets are loaded."""
    settings = other_settings(tmp_path)
    loaded = groups(context(settings, frozenset()))
    assert set(loaded) == {"targets", "services", "delivery", "stack"}


def test_demo_takes_the_wait_off_one_rule_only(tmp_path: Path) -> None:
    """QueueNearCapacity waits a minute in the standard profile and not in the demo; every other wait is the same."""
    demo = {alert.name: alert.hold for alert in catalogue(house_settings()) if alert.name != "SLIAbsent"}
    standard = {alert.name: alert.hold for alert in catalogue(other_settings(tmp_path))}
    assert {name for name, hold in demo.items() if standard.get(name, hold) != hold} == {"QueueNearCapacity"}
    assert not demo["QueueNearCapacity"]


def test_a_threshold_of_one_target_is_in_rule_line_and_series(tmp_path: Path) -> None:
    """The same number stands in the expression, on the graph's line and in the published series."""
    files = rendered_rules(other_settings(tmp_path))
    near = next(
        rule
        for rule in yaml.safe_load(files["queues.rules.yml"])["groups"][0]["rules"]
        if rule.get("alert") == "QueueNearCapacity"
    )
    assert 'queue:messaging_queue_fill:ratio{target!~"a|b|c"} > 0.7' in near["expr"]
    assert 'queue:messaging_queue_fill:ratio{target=~"a|c"} > 0.9' in near["expr"]
    assert '{{ if eq $labels.target "b" }}0.93333' in near["annotations"]["threshold"]
    published = yaml.safe_load(files["thresholds.rules.yml"])["groups"][0]["rules"]
    fill = {
        rule["labels"].get("target", ""): rule["expr"]
        for rule in published
        if rule["labels"]["threshold"] == "queue_fill_ratio"
    }
    assert fill == {"": "vector(0.7)", "a": "vector(0.9)", "b": "vector(0.93333)", "c": "vector(0.9)"}
