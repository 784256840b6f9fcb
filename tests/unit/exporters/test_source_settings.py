"""What tocsin.yaml may say about targets: every mistake is told with its line and its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.bullmq.settings import BullmqSettings, QueueFilter
from exporters.needs import NEEDS
from exporters.table import SOURCES
from tocsin.settings import Report, Tables, inspect


def _read(tmp_path: Path, target: str) -> Report:
    path = tmp_path / "tocsin.yaml"
    path.write_text(f"schema: 1\ntargets:\n  - {target}\n")
    tables = Tables({kind: source.settings for kind, source in SOURCES.items()}, {}, {})
    return inspect(path, tables, {})


_BREAKER = "name: b, kind: breaker-json, url: 'http://h/health', service: s"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{name: q, kind: bullmq, url: 'redis://h', queues: {include: ['(']}}", "is not a regular expression"),
        ("{name: q, kind: bullmq, url: 'redis://h', queues: {exclude: ['*x']}}", "is not a regular expression"),
        ("{name: q, kind: bullmq, url: 'http://h'}", "is not the address of a Redis server"),
        ("{name: q, kind: bullmq, url: 'redis://'}", "names no host"),
        ("{name: q, kind: bullmq, url: 'redis://h:99999'}", "port"),
        ("{name: q, kind: bullmq, url: 'redis://h/zero'}", "database number"),
        ("{name: q, kind: bullmq, url: 'redis://u:hunter2@h/0'}", "must not hold a password"),
        ("{name: q, kind: bullmq, url: 'redis://h', capacity: {default: 0}}", "greater than or equal to 1"),
        ("{name: c, kind: redis, url: 'redis://h', capacity: {default: 1}}", "unknown key 'capacity'"),
        (f"{{{_BREAKER}, breakers: {{}}}}", "at least 1"),
        (f"{{{_BREAKER}, breakers: {{p: {{path: 'a..b'}}}}}}", "empty key in its path"),
        (f"{{{_BREAKER}, breakers: {{p: {{path: a, values: {{x: shut}}}}}}}}", "not one of the allowed values"),
    ],
)
def test_a_mistake_is_told_where_it_stands(tmp_path: Path, target: str, message: str) -> None:
    """Each problem has its line and says what is wrong; a password in an address is not repeated."""
    report = _read(tmp_path, target)
    assert report.settings is None
    problem = next(p for p in report.problems if message in p.message)
    assert problem.line == 3
    assert problem.fix
    assert "hunter2" not in str(problem)


def test_defaults_are_those_of_bullmq(tmp_path: Path) -> None:
    """A target needs a name, a kind and an address."""
    settings = _read(tmp_path, "{name: q, kind: bullmq, url: 'redis://h/0'}").settings
    assert settings is not None
    (target,) = settings.targets
    assert isinstance(target, BullmqSettings)
    assert target.prefix == "bull"
    assert target.capacity_of("any") is None


def test_capacity_is_looked_up_by_name() -> None:
    """A queue has its own capacity, or the default, or none when it is written as null."""
    plain = {"name": "q", "url": "redis://h", "capacity": {"default": 1000, "emails": 200, "free": None}}
    settings = BullmqSettings.model_validate(plain)
    assert [settings.capacity_of(name) for name in ("orders", "emails", "free")] == [1000, 200, None]


def test_filters_match_whole_names() -> None:
    """An expression must match all of a name, and an exclusion wins."""
    wanted = QueueFilter(include=("mail", "order.*"), exclude=("orders-test",))
    names = ["mail", "mails", "orders", "orders-test"]
    assert [wanted.wants(name) for name in names] == [True, False, True, False]


def test_every_source_says_what_it_needs() -> None:
    """A source's page in the reference has words for what it needs on the server, and there are no words too many."""
    assert set(NEEDS) >= set(SOURCES)
