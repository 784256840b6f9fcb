"""The exporter's pages: configured names only, never a 5xx for a target, formats as asked."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporters.runtime.fleet import Fleet, Shard, parse_shard
from exporters.runtime.http import DEFAULT_BUDGET, App, Message, Own, budget
from exporters.runtime.serve import bind
from tests.unit.exporters.toy import Toy, ToySettings, settings_of
from tocsin.errors import ConfigError, Problem
from tocsin.settings import Secret, Settings


@dataclass
class _Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode()


def _settings(*targets: ToySettings) -> Settings:
    return Settings.model_validate({"schema": 1}).model_copy(update={"targets": targets})


def _fleet(toy: Toy, *names: str, shard: Shard | None = None) -> Fleet:
    fleet = Fleet({"toy": toy.source()}, shard or Shard())
    fleet.adopt(_settings(*settings_of(*(names or ("orders",)))))
    return fleet


async def _nothing() -> None:
    pass


def _app(fleet: Fleet, reload: Any = _nothing, *, token: Secret | None = None) -> App:
    return App(fleet, Own(CollectorRegistry(), reload, token), listen="127.0.0.1:8089")


async def _ask(app: App, path: str, *, method: str = "GET", **headers: str) -> _Answer:
    answer = _Answer()

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message["body"]

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    path, _, query = path.partition("?")
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
    await app(scope, receive, send)
    return answer


async def test_a_configured_name_is_read() -> None:
    """A probe of a configured target returns its series with the target's name."""
    answer = await _ask(_app(_fleet(Toy())), "/probe?target=orders")
    assert answer.status == 200
    assert 'tocsin_target_up{target="orders"} 1.0' in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")


@pytest.mark.parametrize("error", [ConnectionRefusedError(), KeyError("x"), TimeoutError()])
async def test_a_target_that_fails_is_no_server_error(error: Exception) -> None:
    """The page is 200 and says that the target is down."""
    answer = await _ask(_app(_fleet(Toy(error=error))), "/probe?target=orders")
    assert answer.status == 200
    assert 'tocsin_target_up{target="orders"} 0.0' in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "",
        "target=",
        "target=redis://10.0.0.1:6379",
        "target=10.0.0.1",
        "target=user:hunter2@host",
        "target=http%3A%2F%2Fevil",
        "url=http://evil/hunter2",
        "target=orders&target=orders",
        "target=orders&password=hunter2",
        "target=orders&module=x",
    ],
)
async def test_anything_but_one_name_is_refused(query: str) -> None:
    """An address, a credential or a second parameter is a 400 that repeats nothing of it, and nothing is read."""
    toy = Toy()
    answer = await _ask(_app(_fleet(toy)), f"/probe?{query}")
    assert answer.status == 400
    assert "hunter2" not in answer.text
    assert toy.reads == 0


async def test_an_unknown_name_is_not_found() -> None:
    """Another name is a 404 with a plain message."""
    answer = await _ask(_app(_fleet(Toy())), "/probe?target=nope")
    assert answer.status == 404
    assert answer.text == "no target nope in this exporter; /discover lists the names\n"
    assert answer.headers["content-type"].startswith("text/plain")


async def test_a_name_of_another_shard_is_told_apart() -> None:
    """A target that belongs to another process says to which."""
    names = [f"t{i}" for i in range(20)]
    fleet = _fleet(Toy(), *names, shard=parse_shard("0/2"))
    elsewhere = next(iter(fleet.elsewhere))
    answer = await _ask(_app(fleet), f"/probe?target={elsewhere}")
    assert answer.status == 404
    assert answer.text == f"target {elsewhere} belongs to shard 1/2\n"


def test_shards_split_all_targets_between_them() -> None:
    """Every target belongs to exactly one shard, and to the same one in every process."""
    names = [f"target-{i}" for i in range(200)]
    shards = [Shard(i, 3) for i in range(3)]
    owners = [[shard.index for shard in shards if shard.owns(name)] for name in names]
    assert all(len(owner) == 1 for owner in owners)
    assert {owner[0] for owner in owners} == {0, 1, 2}


@pytest.mark.parametrize("text", ["2/2", "x", "1", "-1/2", "0/0", "0/2/3"])
def test_a_shard_that_makes_no_sense_is_refused(text: str) -> None:
    """The error says what to write."""
    with pytest.raises(ValueError, match="write I/N"):
        parse_shard(text)


async def test_the_whole_page_holds_every_target() -> None:
    """All targets on one page, each family once."""
    answer = await _ask(_app(_fleet(Toy(), "a", "b")), "/metrics")
    assert answer.text.count("# TYPE tocsin_target_up gauge") == 1
    assert 'tocsin_target_up{target="a"} 1.0' in answer.text
    assert 'tocsin_target_up{target="b"} 1.0' in answer.text


async def test_a_hung_target_does_not_hold_the_whole_page() -> None:
    """A target that missed its last deadline gets little time on the page of all targets until it answers again."""
    hung, fine = Toy(seconds=60), Toy()
    fleet = Fleet({"toy": hung.source()})
    fleet.adopt(_settings(*settings_of("hung")))
    fleet.sources = {"toy": fine.source()}
    fleet.adopt(_settings(*settings_of("hung", "fine")))
    await fleet.targets["hung"].scrape(0.01)
    scrapes = await fleet.scrape_all(600.0, suspect_budget=0.01)
    assert [scrape.up for scrape in scrapes] == [False, True]


async def test_discovery_lists_names_and_how_to_reach_them() -> None:
    """Each target is a group of http_sd with the address by which we were asked."""
    answer = await _ask(_app(_fleet(Toy())), "/discover", host="exporter:8089")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body) == [
        {
            "targets": ["exporter:8089"],
            "labels": {
                "__metrics_path__": "/probe",
                "__param_target": "orders",
                "instance": "orders",
                "target": "orders",
                "kind": "toy",
            },
        }
    ]


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"x_forwarded_host": "outside:1", "host": "inside:2"}, "outside:1"),
        ({"x_forwarded_host": "a:1, b:2", "host": "inside:2"}, "a:1"),
        ({"host": "bad host/<x>"}, "127.0.0.1:8089"),
        ({}, "127.0.0.1:8089"),
    ],
)
async def test_discovery_trusts_only_what_looks_like_an_address(headers: dict[str, str], address: str) -> None:
    """A forwarded host wins, nonsense falls back to where we listen."""
    answer = await _ask(_app(_fleet(Toy())), "/discover", **headers)
    assert json.loads(answer.body)[0]["targets"] == [address]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("10", 9.5), ("1", 0.5), ("0.6", 0.3), ("", DEFAULT_BUDGET), ("x", DEFAULT_BUDGET), ("-3", DEFAULT_BUDGET)],
)
def test_the_deadline_follows_the_scraper(header: str, seconds: float) -> None:
    """Half a second less than Prometheus waits, but at least half of it; nonsense falls back to the default."""
    headers = {"x-prometheus-scrape-timeout-seconds": header} if header else {}
    assert budget(headers) == pytest.approx(seconds)


async def test_openmetrics_is_served_when_asked_for() -> None:
    """The format follows the Accept header and ends as it must."""
    answer = await _ask(
        _app(_fleet(Toy())), "/probe?target=orders", accept="application/openmetrics-text;version=1.0.0"
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")


@pytest.mark.parametrize(("accepts", "zipped"), [("gzip, deflate", True), ("gzip;q=0", False), ("br", False)])
async def test_long_pages_are_compressed_when_asked_for(accepts: str, zipped: bool) -> None:
    """Gzip comes only to those who take it, and unpacks to the same page."""
    app = _app(_fleet(Toy(), "a", "b", "c"))
    answer = await _ask(app, "/metrics", accept_encoding=accepts)
    assert (answer.headers.get("content-encoding") == "gzip") is zipped
    body = gzip.decompress(answer.body) if zipped else answer.body
    assert b'tocsin_target_up{target="c"} 1.0' in body


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
async def test_health_does_not_depend_on_targets(path: str) -> None:
    """The exporter is ready with every target down."""
    answer = await _ask(_app(_fleet(Toy(error=OSError()))), path)
    assert answer.status == 200


async def test_wrong_methods_and_pages_are_told_apart() -> None:
    """405 with what is allowed, 404 for what is not there, HEAD without a body."""
    app = _app(_fleet(Toy()))
    refused = await _ask(app, "/metrics", method="POST")
    assert (refused.status, refused.headers["allow"]) == (405, "GET")
    assert (await _ask(app, "/nope")).status == 404
    head = await _ask(app, "/-/healthy", method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "3")


async def test_a_reload_keeps_what_did_not_change() -> None:
    """An unchanged target keeps its counters, a changed one starts anew, a removed one is gone."""
    toy = Toy(error=ConnectionRefusedError())
    fleet = _fleet(toy, "same", "changed", "removed")
    await asyncio.gather(*(target.scrape(1.0) for target in fleet))

    async def reload() -> None:
        fleet.adopt(_settings(*settings_of("same", "new"), *settings_of("changed", level=9)))

    app = _app(fleet, reload)
    answer = await _ask(app, "/-/reload", method="POST")
    assert (answer.status, answer.text) == (200, "watching 3 targets\n")
    page = (await _ask(app, "/metrics")).text
    assert 'tocsin_scrape_errors_total{reason="refused",target="same"} 2.0' in page
    assert 'tocsin_scrape_errors_total{reason="refused",target="changed"} 1.0' in page
    assert 'target="removed"' not in page
    assert (await _ask(app, "/probe?target=removed")).status == 404


async def test_a_bad_reload_keeps_the_old_configuration() -> None:
    """A file that cannot be used is told with its problems, and nothing changes."""
    fleet = _fleet(Toy())

    async def reload() -> None:
        raise ConfigError([Problem("tocsin.yaml", 3, "targets", "is wrong", "make it right")])

    answer = await _ask(_app(fleet, reload), "/-/reload", method="POST")
    assert answer.status == 400
    assert "tocsin.yaml:3" in answer.text
    assert list(fleet.targets) == ["orders"]


async def test_the_index_says_how_each_target_is() -> None:
    """A person who opens the exporter's address sees pages and targets."""
    app = _app(_fleet(Toy(error=ConnectionRefusedError())))
    assert "not read yet" in (await _ask(app, "/")).text
    await _ask(app, "/metrics")
    assert "down: refused" in (await _ask(app, "/")).text


async def test_with_a_token_only_its_bearer_gets_in(tmp_path: Path) -> None:
    """Every page but the health ones asks for the token, which is read again when its file changes or goes."""
    file = tmp_path / "token"
    file.write_text("hunter2-first\n")
    app = _app(_fleet(Toy()), token=Secret(path=file))
    for path in ("/", "/metrics", "/probe?target=orders", "/-/metrics", "/-/targets", "/discover", "/nothing"):
        for wrong in ("", "Bearer ", "Bearer hunter2", "Basic aHVudGVyMi1maXJzdA==", "Bearer hunter2-first\u00e9"):
            answer = await _ask(app, path, authorization=wrong)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "hunter2" not in answer.text
    assert (await _ask(app, "/-/reload", method="POST")).status == 401
    assert (await _ask(app, "/-/ready")).status == 200
    assert (await _ask(app, "/metrics", authorization="Bearer hunter2-first")).status == 200
    file.write_text("hunter2-second")
    os.utime(file, (1, 1))
    assert (await _ask(app, "/metrics", authorization="Bearer hunter2-first")).status == 401
    assert (await _ask(app, "/metrics", authorization="Bearer hunter2-second")).status == 200
    file.unlink()
    assert (await _ask(app, "/metrics", authorization="Bearer hunter2-second")).status == 401


async def test_the_overview_reads_nothing_and_forgets_no_error() -> None:
    """Before a read a target is neither up nor down; after a failure and a recovery the last error still stands."""
    toy = Toy()
    app = _app(_fleet(toy))
    (state,) = json.loads((await _ask(app, "/-/targets")).body)
    assert (state["up"], state["read_at"], state["last_error"], toy.reads) == (None, None, "", 0)
    toy.error = ConnectionRefusedError()
    await _ask(app, "/metrics")
    (state,) = json.loads((await _ask(app, "/-/targets")).body)
    assert (state["up"], state["reason"], state["last_error"]) == (False, "refused", "refused")
    toy.error = None
    await _ask(app, "/metrics")
    (state,) = json.loads((await _ask(app, "/-/targets")).body)
    assert (state["up"], state["reason"], state["last_error"]) == (True, "", "refused")
    assert state["samples"] > 0
    assert state["last_error_at"] <= state["read_at"]


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """An accepted connection sends head and body at once: with Nagle's algorithm every scrape would last 40 ms more."""
    with bind("127.0.0.1:0") as bound, socket.create_connection(bound.getsockname()), bound.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
