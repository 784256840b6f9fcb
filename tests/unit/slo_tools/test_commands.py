"""What `tocsin slo` prints and returns for files alone: check, gate, explain, convert."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from alert_rules.slo import load
from alert_rules.slo_tools.backtest import as_json, report
from alert_rules.slo_tools.check import Against, check
from alert_rules.slo_tools.cost import estimate, selectors_read
from alert_rules.slo_tools.explain import first_told, page
from alert_rules.slo_tools.gate import Budget, budgets, verdict
from alert_rules.slo_tools.prometheus import connect
from alert_rules.slo_tools.replay import Span, replay
from tests.unit.slo_tools.prometheus import FakePrometheus
from tocsin import facts
from tocsin.cli.slo_commands import add_tools
from tocsin.errors import StackError
from tocsin.settings import parse_duration

GOOD = """\
version: prometheus/v1
service: shop
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(hits{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(hits[{{.window}}]))
"""


def run(*words: str | Path) -> int:
    """Parse and run a command as the command line does; wrong usage leaves by SystemExit(2)."""
    whole = argparse.ArgumentParser()
    commands = whole.add_subparsers(required=True)

    def add(name: str, where: str, about: str, more: str = "") -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=more)
        module, _, function = where.partition(":")
        command.set_defaults(module=module, function=function, config=Path("nowhere.yaml"))
        return command

    add_tools(add)
    arguments = whole.parse_args([str(word) for word in words])
    done: int = getattr(importlib.import_module(f"tocsin.cli.{arguments.module}"), arguments.function)(arguments)
    return done


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(GOOD)
    return path


def findings(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_a_good_file_is_information_only(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cost, runbook and description are worth a word and no failure: exit 0, every finding of level info."""
    assert run("check", spec, "--format", "json") == 0
    found = findings(capsys)
    assert {each["level"] for each in found} == {"info"}
    assert any("samples" in each["message"] for each in found)
    assert all(list(each) == ["level", "file", "line", "path", "message", "fix"] for each in found)


@pytest.mark.parametrize("text", ["", "slos: [", "- one\n- two\n", "just words\n"])
def test_what_is_no_spec_is_a_finding(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that can be opened is judged: empty, not YAML and not a mapping are errors with exit 1."""
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    assert run("check", path, "--format", "json") == 1
    assert [each["level"] for each in findings(capsys)] == ["error"]


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, with the reason on stderr and nothing that looks like findings on stdout."""
    assert run("check", tmp_path / "none.yaml", "--format", "json") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "none.yaml cannot be opened" in err


@pytest.mark.parametrize(
    "flags",
    [
        ("--prometheus", "u:hunter2@nowhere"),
        ("--retention", "long"),
        ("--format", "xml"),
        ("--step", "1m"),
    ],
)
def test_wrong_flags_are_wrong_usage(flags: tuple[str, str], spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 before anything is read; a password in a bad address is not repeated."""
    with pytest.raises(SystemExit) as caught:
        run("check", spec, *flags)
    assert caught.value.code == 2
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize(("retention", "code"), [("15d", 1), ("30d", 0), ("1y", 0), ("4w", 1)])
def test_retention_is_judged_when_told(retention: str, code: int, spec: Path) -> None:
    """Less than the period forgets failures too early; without the flag and a Prometheus nothing is said."""
    assert run("check", spec, "--retention", retention) == code


@pytest.mark.parametrize(
    ("told", "warned"), [("15d", True), ("15d or 10GiB", True), ("90d", False), ("10GiB", False), ("0s", True)]
)
def test_retention_is_asked_from_prometheus(told: str, warned: bool, spec: Path) -> None:
    """Days with or without a size are understood; a size alone says nothing about time."""
    fake = FakePrometheus(**{"status/runtimeinfo": {"storageRetention": told}, "label/__name__/values": ["hits"]})
    fake.paths["labels"] = ["__name__", "code"]
    fake.paths["label/code/values"] = ["200", "503"]
    found = check([spec], Against(fake.connected()))
    assert any("keeps" in each.message for each in found) == warned


def test_a_prometheus_that_does_not_answer_is_a_finding(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file's own findings still come, and one more says that nothing could be asked."""
    assert run("check", spec, "--prometheus", "http://127.0.0.1:9", "--format", "json") == 1
    (error,) = [each for each in findings(capsys) if each["level"] == "error"]
    assert "does not answer" in error["message"]


def test_a_live_finding_points_at_its_query(spec: Path) -> None:
    """File, line and key path are those of the query that has the slip."""
    fake = FakePrometheus(**{"label/__name__/values": ["hit"], "status/runtimeinfo": {"storageRetention": "90d"}})
    found = [each for each in check([spec], Against(fake.connected())) if each.level == "error"]
    assert [(each.line, each.path) for each in found] == [
        (8, "slos[0].sli.events.error_query"),
        (9, "slos[0].sli.events.total_query"),
    ]
    assert {each.fix for each in found} == {"did you mean 'hit'?"}


def test_more_bad_events_than_events_is_an_error(spec: Path) -> None:
    """Two queries that count different things show when they are asked."""
    error, total = 'sum(rate(hits{code=~"5.."}[1h]))', "sum(rate(hits[1h]))"
    fake = FakePrometheus(
        {
            f"sum({error}) / (sum({total}) > 0)": [({}, 3.0)],
            'count(hits{code=~"5.."})': [({}, 1)],
            "count(hits)": [({}, 2)],
        },
        **{
            "label/__name__/values": ["hits"],
            "labels": ["code"],
            "label/code/values": ["503"],
            "status/runtimeinfo": {"storageRetention": "90d"},
        },
    )
    (problem,) = [each for each in check([spec], Against(fake.connected())) if each.level == "error"]
    assert "3 times as many bad events" in problem.message


def test_the_cost_at_a_hundred_series_is_a_twentieth(spec: Path) -> None:
    """Adding long windows up from the 5m counts reads at least 20 times fewer samples at 100 series."""
    (only,) = load([spec]).objectives
    pace = parse_duration("15s")
    reads = len(selectors_read(only))
    assert estimate(only, 100 * reads, scrape=pace, evaluate=pace).ratio >= 20


def remaining(value: float) -> FakePrometheus:
    labels = {"service": "shop", "slo": "availability"}
    vectors = {facts.SLO_REMAINING: value, facts.SLO_BURN: 2.0, facts.SLO_PERIOD: 30.0}
    return FakePrometheus({str(name): [(labels, number)] for name, number in vectors.items()})


@pytest.mark.parametrize(("left", "least", "go"), [(0.5, 0, True), (0.0, 0, False), (-1, 0, False), (0.2, 0.25, False)])
def test_the_gate_opens_for_budget_left(left: float, least: float, go: bool) -> None:
    """More than the least must be left."""
    (budget,) = budgets(remaining(left).connected())
    assert budget.allows(least) == go
    assert verdict(budget, least).startswith("go" if go else "STOP")


def test_the_gate_stops_for_what_is_unknown() -> None:
    """An SLO without a sample is no reason to go on."""
    (budget,) = budgets(remaining(1.0).connected(), [("shop", "other")])
    assert not budget.allows(0)
    assert "nothing is known" in verdict(budget, 0)


def test_the_gate_says_how_long_the_budget_lasts() -> None:
    """Half of a 30-day budget at twice the allowed rate is 7.5 days."""
    assert Budget("shop", "a", 0.5, 2.0, 30.0).days_left == pytest.approx(7.5)
    assert "gone in 7.5 days" in verdict(Budget("shop", "a", 0.5, 2.0, 30.0), 0)


def test_the_gate_is_closed_when_nobody_answers(spec: Path) -> None:
    """A Prometheus that cannot be asked is an error, and an error is exit 1 at the command line."""
    with pytest.raises(StackError):
        run("gate", spec, "--prometheus", "http://127.0.0.1:9")


def test_a_page_explains_one_slo(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One page in plain words: promise, what is counted, who is told when, and a chart."""
    assert run("explain", spec) == 0
    text = capsys.readouterr().out
    for words in ("99.9% of events are good over 30d", "43.2 min", "1.44%", "HOW SOON", "No page or ticket before 10"):
        assert words in " ".join(text.split()), words
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize(
    ("ratio", "minutes", "window"), [(1.0, 0.864, "1h"), (0.01, 216, "6h"), (0.002, 2160, "3d"), (0.001, None, None)]
)
def test_the_first_alert_is_the_fastest_pair_that_fires(
    ratio: float, minutes: float | None, window: str | None, spec: Path
) -> None:
    """By arithmetic: threshold / ratio of the long window must be full of errors."""
    (only,) = load([spec]).objectives
    told = first_told(only, ratio)
    if minutes is None or window is None:
        assert told is None
        return
    assert told is not None
    assert told[0] == pytest.approx(minutes)
    assert told[1].long == parse_duration(window)


def test_a_page_for_an_slo_that_tells_nobody(tmp_path: Path) -> None:
    """With every tier off the page says so instead of drawing nothing."""
    path = tmp_path / "quiet.yaml"
    path.write_text(GOOD + "    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}\n")
    (only,) = load([path]).objectives
    assert "Nobody" in page(only)
    assert "raises an alert" in page(only)


PYRRA = """\
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata:
  name: shop-requests
  labels: {pyrra.dev/team: checkout, prometheus: k8s}
spec:
  target: "99.5"
  window: 4w
  description: Requests that do not fail.
  indicator:
    ratio:
      errors: {metric: 'hits{job="shop",code=~"5.."}'}
      total: {metric: 'hits{job="shop"}'}
      grouping: [route]
"""


def converted(text: str, folder: Path) -> dict[str, Any]:
    source, target = folder / "theirs.yaml", folder / "ours.yaml"
    source.write_text(text)
    assert run("convert", source, "--out", target) == 0
    assert not load([target]).errors
    document: dict[str, Any] = yaml.safe_load(target.read_text())
    return document


def test_pyrra_is_converted_with_its_grouping(tmp_path: Path) -> None:
    """Target, window, label and both queries are taken over, each by the group."""
    slo = converted(PYRRA, tmp_path)["slos"][0]
    assert slo["objective"] == 99.5
    assert slo["labels"] == {"team": "checkout"}
    assert slo["tocsin"] == {"period": "28d", "group_by": ["route"]}
    assert slo["sli"]["events"]["error_query"] == 'sum by (route) (rate(hits{job="shop",code=~"5.."}[{{.window}}]))'


@pytest.mark.parametrize(
    ("indicator", "expected"),
    [
        (
            "latency: {success: {metric: 'd_bucket{le=\"0.2\"}'}, total: {metric: d_count}}",
            'sum(rate(d_count[{{.window}}])) - sum(rate(d_bucket{le="0.2"}[{{.window}}]))',
        ),
        (
            "bool_gauge: {metric: 'up{job=\"web\"}'}",
            'sum(count_over_time(up{job="web"}[{{.window}}])) - sum(sum_over_time(up{job="web"}[{{.window}}]))',
        ),
    ],
)
def test_other_indicators_of_pyrra(indicator: str, expected: str, tmp_path: Path) -> None:
    """Latency is all less the fast ones; a gauge counts its probes."""
    text = PYRRA.partition("    ratio:")[0] + f"    {indicator}\n"
    assert converted(text, tmp_path)["slos"][0]["sli"]["events"]["error_query"] == expected


def test_a_native_histogram_of_pyrra_is_our_shorthand(tmp_path: Path) -> None:
    """The latency of a native histogram needs no bucket."""
    text = PYRRA.partition("    ratio:")[0] + "    latencyNative: {latency: 200ms, total: {metric: 'd{job=\"a\"}'}}\n"
    slo = converted(text, tmp_path)["slos"][0]
    assert slo["tocsin"]["latency"] == {"metric": "d", "threshold": 0.2, "matchers": 'job="a"', "native": True}


def test_a_window_without_pairs_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A period that we do not know becomes the nearest one, with a warning."""
    slo = converted(PYRRA.replace("4w", "2w"), tmp_path)["slos"][0]
    assert slo["tocsin"]["period"] == "7d"
    assert "warning" in capsys.readouterr().err


def test_a_kubernetes_object_of_sloth_is_converted(tmp_path: Path) -> None:
    """CamelCase keys become ours; the owner's label names stay as they are."""
    text = """\
apiVersion: sloth.slok.dev/v1
kind: PrometheusServiceLevel
metadata: {name: shop}
spec:
  service: shop
  labels: {costCenter: "7"}
  slos:
    - name: availability
      objective: 99.9
      sli: {events: {errorQuery: 'sum(rate(bad[{{.window}}]))', totalQuery: 'sum(rate(all[{{.window}}]))'}}
      alerting: {name: ShopBurns, pageAlert: {labels: {routeTo: a}}, ticketAlert: {disable: true}}
"""
    document = converted(text, tmp_path)
    assert document["labels"] == {"costCenter": "7"}
    assert document["slos"][0]["alerting"]["page_alert"] == {"labels": {"routeTo": "a"}}


def test_openslo_is_converted_to_the_same_objective(tmp_path: Path) -> None:
    """What the reader makes of an OpenSLO file is what it makes of the converted one."""
    text = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: availability}
spec:
  service: shop
  indicator:
    metadata: {name: requests}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: 'hits{code=~"5.."}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: hits}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.999}]
"""
    slo = converted(text, tmp_path)["slos"][0]
    (theirs,), (ours,) = load([tmp_path / "theirs.yaml"]).objectives, load([tmp_path / "ours.yaml"]).objectives
    assert (ours.service, ours.name, ours.objective, ours.period) == (
        theirs.service,
        theirs.name,
        theirs.objective,
        theirs.period,
    )
    assert (ours.indicator.error, ours.indicator.total) == (theirs.indicator.error, theirs.indicator.total)
    assert slo["tocsin"]["period"] == "28d"


def test_what_cannot_be_converted_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown format is refused with the formats that are known, and nothing is written."""
    source = tmp_path / "odd.yaml"
    source.write_text("kind: Something\n")
    assert run("convert", source, "--out", tmp_path / "out.yaml") == 1
    assert "apiVersion: openslo/v1" in capsys.readouterr().err
    assert not (tmp_path / "out.yaml").exists()


def test_an_existing_file_is_not_replaced_unasked(spec: Path) -> None:
    """The output of convert and init may have been edited: --force says that it may go."""
    out = spec.with_name("out.yaml")
    out.write_text("mine")
    assert run("convert", spec, "--out", out) == 2
    assert out.read_text() == "mine"
    assert run("convert", spec, "--out", out, "--force") == 0


def test_windows_of_ones_own_are_taken(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A windows file gives its period to what names none, and its pairs are the ones explained."""
    pair = "{errorBudgetPercent: %s, shortWindow: %s, longWindow: %s}"
    page = f"page: {{quick: {pair % (2, '5m', '2h')}, slow: {pair % (5, '30m', '6h')}}}"
    ticket = f"ticket: {{quick: {pair % (10, '2h', '1d')}, slow: {pair % (20, '6h', '3d')}}}"
    windows = spec.with_name("windows.yaml")
    windows.write_text(
        f"apiVersion: sloth.slok.dev/v1\nkind: AlertWindows\nspec:\n  sloPeriod: 14d\n  {page}\n  {ticket}\n"
    )
    assert run("explain", spec, "--windows", windows) == 0
    text = capsys.readouterr().out
    assert "over 14d" in text
    assert "2h and 5m" in text


def test_connect_is_lazy() -> None:
    """Nothing is asked before a question is: wrong files are told without waiting for a server."""
    fake = FakePrometheus()
    connect("http://prometheus.example", fake.fetch)
    assert fake.asked == []


def test_a_backtest_without_events_says_so(spec: Path) -> None:
    """Where nothing is known there is one answer per SLO, and it names the next command."""
    (objective,) = load([spec]).objectives
    (only,) = replay(FakePrometheus().connected(), objective, Span(0, 3600, 60))
    assert only.known_from is None
    assert "no events are known" in report(only)
    assert as_json(only)["budget_remaining"] is None
