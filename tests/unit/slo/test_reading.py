"""SLO files of both formats: what is refused, what is warned about, and that every finding names its fix."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from alert_rules.slo import Loaded, load
from alert_rules.slo.alert_windows import read_windows
from alert_rules.slo.write import generate
from tocsin.paths import HOUSE

NATIVE = """\
version: prometheus/v1
service: shop
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(hits{code="500"}[{{.window}}]))
        total_query: sum(rate(hits[{{.window}}]))
    alerting: {labels: {team: shop}, annotations: {note: x}}
"""

OPEN = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: answers}
spec:
  service: shop
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{target: 0.999}]
  indicator:
    metadata: {name: answered}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: 'hits{code="200"}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: hits}}}
"""


def read(folder: Path, text: str) -> Loaded:
    path = folder / "slo.yaml"
    path.write_text(text)
    return load([path])


def messages(loaded: Loaded, level: str) -> str:
    assert all(problem.fix and problem.message for problem in loaded.problems)
    return "\n".join(str(problem) for problem in loaded.problems if problem.level == level)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("99.9", "100", "leaves no budget"),
        ("99.9", "0", "between 0 and 100"),
        ("team: shop", "team: ''", "is empty"),
        ("note: x", "note: ''", "is empty"),
        ("team: shop", "te-am: shop", "not a label name"),
        ("team: shop", "__name__: shop", "Prometheus' own"),
        ('{code="500"}', "", "are the same"),
        ("hits[{{.window}}]))\n    alerting", "hits[{{.window}}])\n    alerting", "not a query"),
        ("service: shop", "service: _shop", "not a name"),
        ("name: availability", "name: a", "not a name"),
        ("alerting:", "alertng:", "did you mean 'alerting'"),
    ],
)
def test_a_wrong_native_file_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    """Each slip is an error with its reason and a fix, as sloth's own validator would have it or stricter."""
    assert old in NATIVE
    assert said in messages(read(tmp_path, NATIVE.replace(old, new)), "error")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("target: 0.999", "target: 0.999, op: lte", "means nothing for a ratio"),
        ("target: 0.999", "target: 0.999, value: 3", "means nothing for a ratio"),
        ("target: 0.999", "target: 0.999, compositeWeight: 0", "more than 0"),
        ("target: 0.999", "target: 1", "between 0 and 1"),
        ("28d", "1M", "no fixed length"),
        ("28d", "1m", "a slip for 1M"),
        ("Occurrences", "Timeslices", "not computed here"),
        ("openslo/v1\n", "openslo/v1alpha\n", "not read here"),
        ("kind: SLO", "kind: SLOO", "unknown kind"),
        ("type: Prometheus, spec: {query: hits}", "metricSourceRef: nowhere, spec: {query: hits}", "no DataSource"),
        ("service: shop", "service: shop\n  descripton: x", "did you mean 'description'"),
        ("service: shop", f"service: shop\n  description: {'x' * 1051}", "1050"),
    ],
)
def test_a_wrong_openslo_file_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    """What OpenSLO's own validator refuses is refused, and what is not computed here says so."""
    assert old in OPEN
    assert said in messages(read(tmp_path, OPEN.replace(old, new)), "error")


def test_openslo_becomes_the_same_objective(tmp_path: Path) -> None:
    """Target, period and plain counters turn into a percentage, days, and rates of bad and all events."""
    (only,) = read(tmp_path, OPEN).objectives
    assert (only.name, only.service, only.objective) == ("answers", "shop", Decimal("99.9"))
    assert only.period == timedelta(days=28)
    assert only.indicator.total == "sum(rate(hits[{{.window}}]))"


def test_duplicates_across_documents_are_refused(tmp_path: Path) -> None:
    """Several documents are one set, in which service and name stand once."""
    assert "already" in messages(read(tmp_path, f"{NATIVE}---\n{NATIVE}"), "error")


def test_grouped_queries_without_group_by_are_a_warning(tmp_path: Path) -> None:
    """One series per label value is what sloth would alert on as well; it should be said."""
    loaded = read(tmp_path, NATIVE.replace("sum(rate(", "sum by (zone) (rate("))
    assert "one series for each zone" in messages(loaded, "warning")
    assert loaded.objectives[0].indicator.group_by == ("zone",)


def test_a_windows_file_gives_its_pairs(tmp_path: Path) -> None:
    """Sloth's AlertWindows are taken with their own shares; a short window longer than the long one is refused."""
    pair = "{errorBudgetPercent: 2, shortWindow: 5m, longWindow: 1h}"
    slow = pair.replace("5m", "30m").replace("1h", "6h")
    text = "apiVersion: sloth.slok.dev/v1\nkind: AlertWindows\nspec:\n  sloPeriod: 30d\n"
    text += "".join(f"  {tier}:\n    quick: {pair}\n    slow: {slow}\n" for tier in ("page", "ticket"))
    path = tmp_path / "windows.yaml"
    path.write_text(text)
    windows, problems = read_windows(path)
    assert windows is not None
    assert not problems
    assert windows.pairs[0].factor(windows.period) == Decimal("14.4")
    path.write_text(text.replace("5m", "2h"))
    assert "not shorter" in str(read_windows(path)[1][0])


@pytest.mark.parametrize("naming", ["tocsin", "sloth"])
def test_the_examples_are_generated_with_enough_proof(naming: str) -> None:
    """Every committed example has at least 25 assertions, and no file has an error."""
    loaded = load(sorted((HOUSE / "alert_rules" / "examples").glob("*.yaml")))
    assert not loaded.errors
    files = generate(loaded.objectives, "sloth" if naming == "sloth" else "tocsin")
    for objective in loaded.objectives:
        tests = yaml.load(files[f"{objective.service}.tests.yml"], Loader=yaml.CSafeLoader)["tests"]
        mine = [test for test in tests if test["name"].startswith(f"{objective.service}/{objective.name}:")]
        assert sum(len(test["promql_expr_test"]) for test in mine) >= 25
