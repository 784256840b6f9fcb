"""SLO tools against a real Prometheus of each generation, with a backfilled past."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from alert_rules.slo_tools.live import Known, Place, Role, check_query
from alert_rules.slo_tools.prometheus import connect
from tests.backfill import Past, backfilled
from tests.conftest import Keep
from tests.servers import Generation, Server
from tests.unit.slo_tools.test_commands import run
from tocsin.errors import Problem

HERE = Place("shop.yaml", 7, "slos[0].sli.events.error_query")
BUCKETS = ("0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "+Inf")


def shop(minutes: int = 30) -> Past:
    """Some minutes of a shop until now: requests by method and code, and a histogram of their durations."""
    start = int(time.time()) // 60 * 60 - minutes * 60
    requests = {
        f'job="api",service="shop",method="{method}",code="{code}"': lambda _: 5.0
        for method in ("GET", "POST")
        for code in ("200", "404", "503")
    }
    durations = {f'job="api",service="shop",le="{le}"': lambda _: 5.0 for le in BUCKETS}
    return Past(
        start,
        minutes,
        {
            "http_requests": requests,
            "slo:period_error_budget_remaining:ratio": {
                'service="shop",slo="availability"': lambda step: 0.4 if step == 0 else 0.0,
                'service="shop",slo="spent"': lambda step: -0.2 if step == 0 else 0.0,
            },
            "shop_jobs": {'job="worker",outcome="completed"': lambda _: 1.0},
            "http_request_duration_seconds_bucket": durations,
            "http_request_duration_seconds_count": {'job="api",service="shop"': lambda _: 5.0},
        },
        kinds=dict.fromkeys(
            (
                "http_request_duration_seconds_bucket",
                "http_request_duration_seconds_count",
                "slo:period_error_budget_remaining:ratio",
            ),
            "unknown",
        ),
    )


@pytest.fixture(scope="module")
def server(generation: Generation, keep_module: Keep, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return keep_module(backfilled(generation, tmp_path_factory.mktemp("shop"), shop()))


def found(server: Server, query: str, role: Role = "error") -> list[Problem]:
    return check_query(Known(connect(server.url)), query, role=role, at=HERE)


@pytest.mark.parametrize(
    "query",
    [
        'sum(rate(http_requests_total{job="api",code=~"5.."}[{{.window}}]))',
        'sum(rate(http_requests_total{method=~"GET|POST",code!~"4.."}[{{ .window }}]))',
        'sum(rate(http_request_duration_seconds_bucket{le="0.25"}[{{.window}}]))',
        'sum(rate(http_request_duration_seconds_bucket{le=~"1|1[.]0"}[{{.window}}]))',
        'sum(rate(http_requests_total{job="api"}[{{.window}}])) - sum(rate(http_requests_total{code="200"}[1h]))',
    ],
)
def test_good_queries_have_no_finding(server: Server, query: str) -> None:
    """What exists is not complained about, neither as bad events nor as all events."""
    assert found(server, query) == []
    assert found(server, query, "total") == []


@pytest.mark.parametrize(
    ("query", "level", "message", "fix"),
    [
        (
            "rate(http_request_total[{{.window}}])",
            "error",
            "'http_request_total' does not exist",
            "http_requests_total",
        ),
        ('rate(http_requests_total{cod=~"5.."}[{{.window}}])', "error", "no label 'cod'", "'code'"),
        ('rate(http_requests_total{cod!~"2.."}[{{.window}}])', "error", "no label 'cod'", "'code'"),
        ('rate(http_requests_total{method="PSOT"}[{{.window}}])', "warning", "method='PSOT'", "'POST'"),
        ('rate(http_requests_total{method=~"GET|PUST"}[{{.window}}])', "warning", "method='PUST'", "'POST'"),
        ('rate(http_requests_total{code=~"5."}[{{.window}}])', "warning", "can have none", "503"),
        ('rate(http_request_duration_seconds_bucket{le="0.2"}[{{.window}}])', "error", "le='0.2'", "'0.25'"),
        ('rate(http_request_duration_seconds_bucket{le="1"}[{{.window}}])', "error", "writes it '1.0'", "1|1[.]0"),
        ('rate(http_requests_total{le="1"}[{{.window}}])', "error", "no classic histogram", "_bucket"),
        ('rate(http_requests_total{job="worker"}[{{.window}}])', "warning", "job='worker'", "api"),
    ],
)
def test_misspelt_names_are_told_with_the_nearest(
    server: Server, query: str, level: str, message: str, fix: str
) -> None:
    """Each kind of name has its level, says what does not exist, and what probably was meant."""
    (problem,) = found(server, query, "total" if "worker" in query else "error")
    assert problem.level == level
    assert message in problem.message
    assert fix in problem.fix
    assert (problem.file, problem.line) == ("shop.yaml", 7)


@pytest.mark.parametrize(
    "query",
    [
        'rate(http_requests_total{code=~"501|502"}[{{.window}}])',
        'rate(http_requests_total{code="500"}[{{.window}}])',
        'rate(shop_jobs_total{outcome="failed"}[{{.window}}])',
        'rate(http_requests_total{error_type!=""}[{{.window}}])',
    ],
)
def test_failures_that_never_happened_are_not_yet_born(server: Server, query: str) -> None:
    """The metric exists, the value does not: that is information, not a mistake."""
    problems = found(server, query)
    assert {problem.level for problem in problems} == {"info"}
    assert all("not yet born" in problem.message for problem in problems)


@pytest.mark.parametrize(("flags", "code", "word"), [(["--slo", "availability"], 0, "go"), ([], 1, "STOP")])
def test_the_gate_asks_the_real_thing(
    server: Server, flags: list[str], code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Budget left is exit 0; one spent SLO among all is exit 1, and the line says which."""
    assert run("gate", "--prometheus", server.url, *flags) == code
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(word) for line in lines)


def test_a_first_spec_is_written_checked_and_replayed(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What init writes has no warning, counts what is there, and can be backtested at once."""
    out = tmp_path / "shop.yaml"
    assert run("init", "--prometheus", server.url, "--service", "shop", "--out", out) == 0
    text = out.read_text()
    assert 'http_requests_total{service="shop",code=~"5.."}' in text
    assert "metric: http_request_duration_seconds, threshold: 0.05" in text
    assert "objective: 95" in text
    run("check", out, "--prometheus", server.url, "--retention", "30d", "--format", "json")
    found = json.loads(capsys.readouterr().out)
    assert {each["level"] for each in found} <= {"info", "warning"}
    assert not [each for each in found if "retention" not in each["message"] and each["level"] == "warning"], found
    assert run("backtest", out, "--prometheus", server.url, "--past", "1h", "--format", "json") == 0
    replays = {each["slo"]: each for each in json.loads(capsys.readouterr().out)}
    # Two of six series fail, all in a service that promised one in twenty.
    assert replays["availability"]["bad_events"] / replays["availability"]["total_events"] == pytest.approx(
        1 / 3, abs=0.01
    )
    assert replays["availability"]["alerts"]
    assert replays["latency-50ms"]["bad_events"] == pytest.approx(0, abs=1)
