"""SLO tools against a real Prometheus of each generation, with a backfilled past."""

from __future__ import annotations

import time

import pytest

from alert_rules.slo_tools.live import Known, Place, Role, check_query
from alert_rules.slo_tools.prometheus import connect
from tests.backfill import Past, backfilled
from tests.conftest import Keep
from tests.servers import Generation, Server
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
            "shop_jobs": {'job="worker",outcome="completed"': lambda _: 1.0},
            "http_request_duration_seconds_bucket": durations,
            "http_request_duration_seconds_count": {'job="api",service="shop"': lambda _: 5.0},
        },
        kinds=dict.fromkeys(("http_request_duration_seconds_bucket", "http_request_duration_seconds_count"), "unknown"),
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
