"""compose.yaml started for real, as far as that goes without an engine and without images: see tests/namespaces.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.namespaces import Engine, engine
from tests.servers import eventually
from tocsin.paths import HOUSE

ABSENT = {"grafana", "node-exporter"}  # no program of theirs to run here; what they are told is checked in tests/config
_FETCH = """
import sys, urllib.request as u
print(u.urlopen(u.Request(sys.argv[2], method=sys.argv[1]), timeout=5).read().decode())
"""


def _services() -> dict[str, dict[str, Any]]:
    services = yaml.safe_load((HOUSE / "compose.yaml").read_text())["services"]
    here = {name: service for name, service in services.items() if name not in ABSENT}
    del here["gate"]["environment"]["TOCSIN_GRAFANA_URL"]
    return here


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Run init to its end, then start everything else at once, as compose does."""
    with engine(_services(), tmp_path_factory.mktemp("compose")) as made:
        status, said = made.run("init", made.services["init"]["command"])
        assert status == 0, said
        for name in made.services:
            if name not in ("init", "gate"):
                made.start(name)
        yield made


def _fetch(stack: Engine, method: str, url: str) -> Any:
    status, said = stack.run("gate", ["python", "-c", _FETCH, method, url])
    if status:
        raise OSError(said[-300:])
    return json.loads(said)


def test_gate_finds_everything_healthy(stack: Engine) -> None:
    """`tocsin status`, asked from gate's place, finds every part, target and rule well within a minute."""
    status, said = stack.run("gate", ["tocsin", "status", "--wait", "60"])
    dead = {name: stack.log(name) for name, process in stack.running.items() if process.poll() is not None}
    assert status == 0, (said, dead)


@pytest.mark.parametrize("name", sorted(name for name, one in _services().items() if "healthcheck" in one))
def test_probes_pass_and_can_fail(stack: Engine, name: str) -> None:
    """Each healthcheck says healthy beside its server, and the same command fails where that server is not."""
    command = stack.services[name]["healthcheck"]["test"][1:]
    eventually(lambda: stack.run(name, command)[0] == 0, timeout=60, every=0.5)
    if name != "gate":  # it asks others over the network, from wherever it runs
        status, _ = stack.run("init", command)
        assert status != 0


def test_nobody_may_write_outside_their_volumes(stack: Engine) -> None:
    """A service's root is read-only and its user has no capability, or this test proves less than it says."""
    status, said = stack.run("prometheus", ["sh", "-c", "id -u; grep CapEff /proc/self/status; touch /data/x /app/x"])
    assert status != 0
    assert said.split()[0] == "10001"
    assert "CapEff:\t0000000000000000" in said
    assert said.count("Read-only file system") == 2


def test_a_fault_of_the_demo_becomes_a_page(stack: Engine) -> None:
    """The demo's queue fills up and the page is in the router's inbox, all over compose's own host names."""
    _fetch(stack, "POST", "http://demo-api:8080/-/faults/worker-stopped")
    groups = eventually(
        lambda: [
            g for g in _fetch(stack, "GET", "http://router:8088/api/v1/groups") if g["alertname"] == "QueueNearCapacity"
        ],
        timeout=60,
        every=0.5,
    )
    assert groups[0]["status"] == "firing"
    assert "inbox" in {delivery["destination"] for delivery in groups[0]["deliveries"]}


def test_telemetry_of_every_python_service_arrives(stack: Engine) -> None:
    """Logs of the demo and the router are in Loki under their service names, sent through the Collector."""
    url = "http://loki:3100/loki/api/v1/label/service_name/values"
    names = {"demo-api", "demo-worker", "router"}
    eventually(lambda: names <= set(_fetch(stack, "GET", url)["data"]), timeout=60, every=0.5)
