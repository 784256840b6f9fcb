"""The shared helpers start real servers and end them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Keep
from tests.servers import Generation, Server, eventually, get, get_json, need, start_alertmanager, start_prometheus

_ROUTE = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


def test_prometheus_finds_alertmanager(generation: Generation, keep: Keep, tmp_path: Path) -> None:
    """Prometheus and Alertmanager of each generation start, and the one knows the other."""
    alertmanager = keep(start_alertmanager(generation.alertmanager, tmp_path / "alertmanager", _ROUTE))
    config = f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager.port}']}}]}}]}}\n"
    prometheus = keep(start_prometheus(generation.prometheus, tmp_path / "prometheus", config))
    known = eventually(
        lambda: get_json(f"{prometheus.url}/api/v1/alertmanagers")["data"]["activeAlertmanagers"], timeout=20
    )
    assert known == [{"url": f"http://127.0.0.1:{alertmanager.port}/api/v2/alerts"}]


def test_a_server_that_cannot_start_says_why(keep: Keep, tmp_path: Path) -> None:
    """A server that ends at once fails the test with what it printed, without waiting for the deadline."""
    with pytest.raises(AssertionError, match="not_a_key"):
        keep(start_prometheus(need("prometheus"), tmp_path, "not_a_key: 1\n"))


def test_redis_is_there_and_stops(redis_server: Server) -> None:
    """The shared Redis answers on its port."""
    with pytest.raises(OSError, match=r"."):
        get(redis_server.url)  # Redis answers HTTP with an error of its own, which is an answer all the same
    assert redis_server.process.poll() is None
