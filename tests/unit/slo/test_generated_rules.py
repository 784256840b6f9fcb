"""SLO files: read strictly, computed exactly, and refused with every problem and its fix."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from alert_rules.slo import load_settings, objectives
from alert_rules.slo.burn import absent_alert, burn_alerts
from alert_rules.slo.windows import window_set
from tests.house import house_settings, other_settings, rendered_rules
from tocsin.cli.tables import tables
from tocsin.errors import ConfigError
from tocsin.settings import Settings, load

GOOD = """\
version: prometheus/v1
service: shop
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(hits{code="500"}[{{.window}}]))
        total_query: sum(rate(hits[{{.window}}]))
"""


def settings_with(folder: Path, text: str, *, name: str = "slo.yaml") -> Settings:
    (folder / name).write_text(text)
    (folder / "tocsin.yaml").write_text(f"schema: 1\nslos: ['{name}']\n")
    return load(folder / "tocsin.yaml", tables(), {})


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(settings_with(folder, text))
    return str(caught.value)


def test_factors_are_exact() -> None:
    """The factors of 30 days are the known ones; those of 7 days come from shares of their own."""
    month = [pair.factor(timedelta(days=30)) for pair in window_set(timedelta(days=30)).pairs]
    assert month == [Decimal("14.4"), Decimal(6), Decimal(3), Decimal(1)]
    week = [pair.factor(timedelta(days=7)) for pair in window_set(timedelta(days=7)).pairs]
    assert week == [Decimal("13.44"), Decimal("3.5"), Decimal("1.4"), Decimal("0.98")]


@pytest.mark.parametrize(
    ("objective", "budget", "thresholds"),
    [
        ("99.9", "0.001", ["0.0144", "0.006", "0.003", "0.001"]),
        ("99.99", "0.0001", ["0.00144", "0.0006", "0.0003", "0.0001"]),
        ("99", "0.01", ["0.144", "0.06", "0.03", "0.01"]),
        ("93", "0.07", ["0.42", "0.21", "0.07"]),
        ("80", "0.2", ["0.6", "0.2"]),
    ],
)
def test_budgets_and_thresholds_are_decimal(objective: str, budget: str, thresholds: list[str], tmp_path: Path) -> None:
    """No float noise in a written threshold, and a pair that can never fire is not written."""
    (only,) = objectives(settings_with(tmp_path, GOOD.replace("99.9", objective)))
    assert only.budget == Decimal(budget)
    assert [alert.bound for alert in burn_alerts(only)] == thresholds


def test_the_demo_promises_three_nines() -> None:
    """The committed SLO is the demo API at 99.9 %, paging by two pairs; silence is judged in 52 s."""
    (only,) = objectives(house_settings())
    assert (only.service, only.name, only.objective) == ("demo-api", "availability", Decimal("99.9"))
    assert [alert.extra["window_long"] for alert in burn_alerts(only)] == ["1h", "6h"]
    assert absent_alert(only, timedelta(seconds=1)).hold == timedelta(seconds=52)


def test_silence_is_judged_within_ten_minutes(tmp_path: Path) -> None:
    """However long an outage needs to trip the fast pair, an absent indicator is told within 10 minutes."""
    loose, slow = GOOD.replace("99.9", "80"), timedelta(minutes=1)
    (only,) = objectives(settings_with(tmp_path, loose))
    assert absent_alert(only, slow).hold <= timedelta(minutes=10)
    (strict,) = objectives(settings_with(tmp_path, GOOD.replace("99.9", "99.99")))
    assert absent_alert(strict, slow).hold == 2 * slow


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    """A camelCase slip, which sloth drops with all its routing labels, names its line and the right spelling."""
    text = refused(tmp_path, GOOD + "    alerting:\n      pageAlert: {disable: true}\n")
    assert "slo.yaml:11: slos[0].alerting.pageAlert: unknown key 'pageAlert'" in text
    assert "did you mean 'page_alert'?" in text


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    """An objective of 100, a query without a window and a wrong version are three problems with three fixes."""
    bad = GOOD.replace("99.9", "100").replace("prometheus/v1", "v2").replace("hits[{{.window}}]", "hits[5m]")
    text = refused(tmp_path, bad)
    assert "leaves no budget" in text
    assert "has no window" in text
    assert "version: is not one of the allowed values" in text


def test_queries_of_unknown_unit_are_refused_until_told(tmp_path: Path) -> None:
    """Counting bad events needs to know rate from increase; neither in sight is refused, and `unit` settles it."""
    odd = GOOD.replace("sum(rate(hits", "sum(avg_over_time(hits")
    assert "cannot tell whether the queries count per second" in refused(tmp_path, odd)
    (told,) = objectives(settings_with(tmp_path, odd + "    tocsin: {unit: increase}\n"))
    assert told.indicator.unit == "increase"


def test_two_slos_of_one_name_are_refused(tmp_path: Path) -> None:
    """Identity is service and name; a second one would overwrite the first one's series."""
    twice = GOOD + GOOD.partition("slos:\n")[2]
    assert "stands in" in refused(tmp_path, twice)


def test_a_pattern_that_matches_nothing_is_told(tmp_path: Path) -> None:
    """A glob without a file is an error, since its author believes to be paged."""
    (tmp_path / "tocsin.yaml").write_text("schema: 1\nslos: [nowhere/*.yaml]\n")
    with pytest.raises(ConfigError, match="matches no file"):
        load_settings(load(tmp_path / "tocsin.yaml", tables(), {}))


def test_labels_and_annotations_of_the_owner_are_kept(tmp_path: Path) -> None:
    """The owner's labels are on series and alerts, a page's severity may be renamed, its tier may not."""
    files = rendered_rules(other_settings(tmp_path))
    rules = yaml.safe_load(files["slo-availability@shop.rules.yml"])["groups"][0]["rules"]
    alerts = [rule for rule in rules if rule.get("alert") == "ShopBurns"]
    page = next(rule for rule in alerts if rule["labels"]["tier"] == "page")
    ticket = next(rule for rule in alerts if rule["labels"]["tier"] == "ticket")
    assert page["labels"] | {"routing": "shop", "severity": "info"} == page["labels"]
    assert ticket["labels"]["severity"] == "warning"
    assert page["annotations"]["chat"] == "#shop"
    assert page["annotations"]["runbook_url"].endswith("/runbooks/ErrorBudgetBurn")
    assert rules[0]["labels"] == {
        "owner": "team-shop",
        "tier_of_service": "gold",
        "slo": "availability",
        "service": "shop",
        "window": "5m",
    }


def test_the_promised_series_are_one_per_slo(tmp_path: Path) -> None:
    """Other programs read these five names with labels slo and service: once per SLO."""
    files = rendered_rules(other_settings(tmp_path))
    texts = [text for name, text in files.items() if name.startswith("slo-") and name.endswith(".rules.yml")]
    rules = [rule for text in texts for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    for name in (
        "slo:objective:ratio",
        "slo:error_budget:ratio",
        "slo:time_period:days",
        "slo:period_error_budget_remaining:ratio",
        "slo:current_burn_rate:ratio",
    ):
        found = [(rule["labels"]["slo"], rule["labels"]["service"]) for rule in rules if rule.get("record") == name]
        assert found == [("availability", "shop"), ("strict", "shop"), ("loose", "shop")], name


def test_burn_alerts_do_not_wait() -> None:
    """The two windows debounce already: a `for` would only delay the page."""
    (only,) = objectives(house_settings())
    assert all(not alert.hold for alert in burn_alerts(only))


def test_the_guard_can_be_switched_off(tmp_path: Path) -> None:
    """Zero bad events needed means no guard in the expression; otherwise half an event is forgiven."""
    settings = other_settings(tmp_path)
    by_name = {each.name: burn_alerts(each) for each in objectives(settings)}
    strict = {alert.extra["tier"]: alert.expr for alert in by_name["strict"]}
    assert "bad_events" not in strict["page"]
    assert ">= 2.5" in strict["ticket"]
    assert replace(by_name["availability"][0], cases=()).expr.count(">= 9.5") == 1
