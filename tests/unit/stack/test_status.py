"""The health check: what counts as healthy, judged on answers of a made-up stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tocsin.stack.status import Fetch, Part, Probe, inspect_stack

PROMETHEUS = "http://prometheus"
UP = {"labels": {"job": "router", "instance": "r"}, "health": "up"}
RULE = {"name": "A", "health": "ok"}
HEALTHY: dict[str, Any] = {
    "/api/v1/targets?state=active": {"activeTargets": [UP]},
    "/api/v1/rules": {"groups": [{"name": "g", "rules": [RULE]}]},
    "/api/v1/alertmanagers": {"activeAlertmanagers": [{"url": "x"}]},
}


def stack(changed: Mapping[str, Any]) -> Fetch:
    answers = HEALTHY | dict(changed)

    def get(url: str) -> tuple[int, bytes]:
        path = url.removeprefix(PROMETHEUS)
        if path == "/-/ready":
            return 200, b""
        return 200, json.dumps({"data": answers[path]}).encode()

    return get


def judged(changed: Mapping[str, Any]) -> dict[str, Part]:
    parts = inspect_stack([Probe("prometheus", f"{PROMETHEUS}/-/ready")], PROMETHEUS, stack(changed))
    return {part.name: part for part in parts}


def test_a_healthy_stack_is_healthy() -> None:
    """Ready parts, targets up, rules healthy and an Alertmanager found."""
    assert all(part.healthy for part in judged({}).values())


@pytest.mark.parametrize(
    ("path", "data", "part", "state"),
    [
        ("/api/v1/targets?state=active", {"activeTargets": []}, "targets", "starting"),
        ("/api/v1/targets?state=active", {"activeTargets": [UP | {"health": "down"}]}, "targets", "starting"),
        ("/api/v1/rules", {"groups": []}, "rules", "down"),
        ("/api/v1/rules", {"groups": [{"name": "g", "rules": [RULE | {"health": "err"}]}]}, "rules", "down"),
        ("/api/v1/rules", {"groups": [{"name": "g", "rules": [RULE | {"health": "unknown"}]}]}, "rules", "starting"),
        ("/api/v1/alertmanagers", {"activeAlertmanagers": []}, "alertmanagers", "starting"),
    ],
)
def test_each_fault_makes_its_part_unhealthy(path: str, data: Any, part: str, state: str) -> None:
    """A missing or failing piece is never reported as healthy."""
    found = judged({path: data})[part]
    assert found.state == state
    assert not found.healthy


def test_a_watched_application_that_is_down_is_only_a_warning() -> None:
    """The stack is well when what it watches is not: that is what it is for."""
    down = {"labels": {"job": "apps", "instance": "api"}, "health": "down", "lastError": "refused"}
    found = judged({"/api/v1/targets?state=active": {"activeTargets": [UP, down]}})["targets"]
    assert (found.state, found.healthy) == ("warning", True)


def test_a_part_that_does_not_answer_is_down() -> None:
    """Connection refused is down, with the address in the sentence."""

    def refuse(url: str) -> tuple[int, bytes]:
        raise ConnectionRefusedError(111, "Connection refused")

    part = inspect_stack([Probe("router", "http://r/-/ready")], None, refuse)[0]
    assert (part.state, "http://r/-/ready" in part.detail) == ("down", True)


def test_a_part_that_is_not_ready_is_starting() -> None:
    """503 with a reason is told with the reason."""
    part = inspect_stack([Probe("loki", "http://l/ready")], None, lambda _: (503, b"Ingester not ready"))[0]
    assert (part.state, "Ingester not ready" in part.detail) == ("starting", True)
