"""The servers of the native stack as services: loopback only, data in one place, parts that fit together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.rendering import team_settings
from tocsin.settings import Settings
from tocsin.stack.otlp import otlp_environment
from tocsin.stack.private import grafana_password, write_secrets
from tocsin.stack.programs import OTLP_RECEIVER, Program
from tocsin.stack.servers import parts_of, pipelines_of, server_services
from tocsin.stack.service import Layout
from tocsin.stack.way_out import way_out

ALL = (
    *("prometheus", "alertmanager", "redis-server", "prometheus-node-exporter"),
    *("otelcol-contrib", "loki", "tempo", "grafana"),
)
DATA = Path("/stack")


def having(*names: str, otlp: bool = True) -> dict[str, Program]:
    """Return programs of these names, as if they had been found."""
    features = frozenset({OTLP_RECEIVER}) if otlp else frozenset[str]()
    return {name: Program(name, Path("/bin", name), "1.0.0", "other", features) for name in names}


def settings(profile: str = "demo") -> Settings:
    return Settings.model_validate({"schema": 1, "profile": profile})


def test_every_program_has_its_service() -> None:
    """Each program that was found is started once, Redis twice: for the demo's queue and its cache."""
    names = [service.name for service in server_services(settings(), Layout(DATA), having(*ALL))]
    expected = {"prometheus", "alertmanager", "node-exporter", "loki", "tempo", "collector", "grafana"}
    assert sorted(names) == sorted(expected | {"demo-redis", "demo-cache"})


def test_redis_is_only_for_the_demo() -> None:
    """A stack that watches the user's own platform starts no Redis."""
    names = {service.name for service in server_services(settings("standard"), Layout(DATA), having(*ALL))}
    assert not names & {"demo-redis", "demo-cache"}


def test_the_smallest_stack() -> None:
    """Prometheus and Alertmanager alone are a stack; nothing else is assumed."""
    names = {s.name for s in server_services(settings("standard"), Layout(DATA), having("prometheus", "alertmanager"))}
    assert names == {"prometheus", "alertmanager"}


def test_a_collector_without_backends_is_left_out() -> None:
    """With neither Loki nor Tempo nor an OTLP receiver the Collector has nothing to do and is not started."""
    programs = having("prometheus", "alertmanager", "otelcol-contrib", otlp=False)
    assert parts_of(programs) == frozenset()
    assert pipelines_of(programs) == frozenset()
    assert "collector" not in {service.name for service in server_services(settings(), Layout(DATA), programs)}


def test_everything_is_on_loopback() -> None:
    """No command line binds anything but 127.0.0.1, and every server that takes an address is told one."""
    for service in server_services(settings(), Layout(DATA), having(*ALL)):
        line = " ".join(service.argv)
        assert "0.0.0.0" not in line
        assert all(host == "127.0.0.1" for host in re.findall(r"listen-address=([^:\s]+):", line))
        assert service.ready_url is None or service.ready_url.startswith("http://127.0.0.1:")


def test_ports_differ() -> None:
    """No two services listen on the same port, their further ports included."""
    services = server_services(settings(), Layout(DATA), having(*ALL))
    ports = [port for service in services for port in (service.port, *service.more_ports)]
    assert len(set(ports)) == len(ports)


def test_all_that_is_written_lies_in_the_data_directory() -> None:
    """Every path on a command line or in an environment is the program's own or under the stack's directory."""
    for service in server_services(settings(), Layout(DATA), having(*ALL)):
        words = [*service.argv[1:], *service.env.values()]
        for path in re.findall(r"(?:^|=|\{)(/[\w./-]+)", "\n".join(words), re.MULTILINE):
            assert path.startswith("/stack"), path


def test_retention_is_by_time_and_by_size() -> None:
    """Prometheus gets both knobs of the settings, in units that 2.42 understands too."""
    kept = Settings.model_validate({"schema": 1, "retention": {"metrics": {"days": 3, "size": "1500MB"}}})
    (prometheus,) = server_services(kept, Layout(DATA), having("prometheus"))
    assert {"--storage.tsdb.retention.time=3d", "--storage.tsdb.retention.size=1500000000B"} <= set(prometheus.argv)


@pytest.mark.parametrize("otlp", [True, False])
def test_the_otlp_flag_is_given_to_whom_has_it(*, otlp: bool) -> None:
    """A Prometheus without an OTLP receiver would not start with its flag."""
    (prometheus,) = server_services(settings(), Layout(DATA), having("prometheus", otlp=otlp))
    assert ("--web.enable-otlp-receiver" in prometheus.argv) == otlp


def test_what_reloads_and_what_restarts() -> None:
    """Prometheus and Alertmanager read their files again when told; the others are restarted by a change."""
    services = {service.name: service for service in server_services(settings(), Layout(DATA), having(*ALL))}
    assert {name for name, service in services.items() if service.reload_url} == {"prometheus", "alertmanager"}
    assert services["prometheus"].watches == ("prometheus/", "rules/")
    assert services["loki"].watches == ("loki/",)


def test_telemetry_without_a_backend_is_not_exported() -> None:
    """On Prometheus 2.42 metrics stay at home; logs and traces leave."""
    environment = otlp_environment("router", "http://127.0.0.1:1", frozenset({"logs", "traces"}))
    exporters = {key: value for key, value in environment.items() if key.endswith("S_EXPORTER")}
    assert exporters == {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "none"}
    assert environment["OTEL_SEMCONV_STABILITY_OPT_IN"] == "http"


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    """Random secrets are made when missing and kept; those from the environment are written; all of mode 600."""
    layout = Layout(tmp_path)
    write_secrets(team_settings(), layout)
    files = {path for path in layout.secrets.rglob("*") if path.is_file()}
    assert {layout.router_token, grafana_password(layout)} < files
    assert len(files) == 5, "the two random ones, and those of chat, mail and pager"
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert layout.secrets.stat().st_mode & 0o777 == 0o700
    before = layout.router_token.read_text()
    write_secrets(team_settings(), layout)
    assert layout.router_token.read_text() == before


def test_the_way_out_goes_where_critical_pages_go() -> None:
    """With a route for critical pages only its destinations are told; without, all that Alertmanager can speak to."""
    routes = [{"match": {"severity": "warning"}, "to": ["mail"]}, {"match": {"severity": "critical"}, "to": ["pager"]}]
    assert set(way_out(team_settings())) == {"chat", "mail", "pager"}
    assert set(way_out(team_settings(routes=routes))) == {"pager"}
    assert set(way_out(team_settings(routes=[{"match": {}, "to": ["inbox"]}]))) == {"chat", "mail", "pager"}
