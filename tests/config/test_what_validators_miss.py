"""What the servers' validators let through although it is wrong, and keys that their new versions dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from alert_rules.table import catalogue
from tests.rendering import CANARY, STACKS, place, rendered, rendered_folder, team_settings
from tocsin.paths import HOUSE
from tocsin.settings import Settings
from tocsin.stack.configs import COMPOSE_PARTS, PARTS, compose_parts

stacks = pytest.mark.parametrize("stack", STACKS)

# Keys and names that loaded once and no longer do what they say, or are gone; by the file's place and full path.
STALE = {
    "tempo/tempo.yaml": {"ingester", "ingester_client", "compactor", "metrics_generator_client"},
    "collector/collector.yaml": {
        "processors.batch",
        "exporters.otlphttp",
        "exporters.otlp",
        "receivers.filelog",
        "receivers.hostmetrics",
        "connectors.spanmetrics",
        "connectors.servicegraph",
        "service.telemetry.metrics.address",
    },
    "loki/loki.yaml": {
        "table_manager",
        "chunk_store_config",
        "storage_config.boltdb_shipper",
        "ingester.max_transfer_retries",
    },
}
GENERATOR_PROCESSORS = {"service-graphs", "span-metrics"}


def _files(stack: str, **more: Any) -> dict[str, Any]:
    texts = rendered(team_settings(**more), stack, data=Path("/data"))
    return {path: yaml.safe_load(text) for path, text in texts.items()}


def _paths(tree: Any, prefix: str = "") -> Iterator[str]:
    """Every key path of a tree; the name after a slash (``otlp_http/logs``) is not part of a component's kind."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            path = f"{prefix}.{str(key).partition('/')[0]}" if prefix else str(key).partition("/")[0]
            yield path
            yield from _paths(value, path)
    elif isinstance(tree, list):
        for value in tree:
            yield from _paths(value, prefix)


@stacks
def test_no_variable_is_left(stack: str) -> None:
    """Every variable was filled in; only Grafana's own, which begin with $$, stay."""
    for path, text in rendered(team_settings(), stack, data=Path("/data")).items():
        assert not re.search(r"(?<!\$)\$\{", text), path


@stacks
def test_no_stale_key(stack: str) -> None:
    """No key that the pinned version has dropped, renamed or will drop, by its full path."""
    files = _files(stack)
    for path, stale in STALE.items():
        assert not stale & set(_paths(files[path])), path
    assert "local_blocks" not in str(files["tempo/tempo.yaml"])
    assert "tracesToLogs:" not in (HOUSE / "dashboards/provisioning/datasources/tocsin.yaml").read_text()


@stacks
def test_hosts_are_known(stack: str) -> None:
    """Every address in every file is one of this stack, or was written in the settings."""
    settings = team_settings()
    where, _ = place(settings, stack)
    known = set(where.reach.values()) | {f"{where.listen}:{where.port(name)}" for name in where.reach}
    known |= {"shop.example.com:8443", "10.0.0.7:9000", "smtp.example.com:587"}
    for path, text in rendered(settings, stack, data=Path("/data")).items():
        lines = [line.partition(" #")[0] for line in text.splitlines() if not line.lstrip().startswith("#")]
        found = set(
            re.findall(r"(?<![\w.-])((?:[a-z][\w-]*(?:\.[\w-]+)*|\d+\.\d+\.\d+\.\d+):\d{2,5})\b", "\n".join(lines))
        )
        assert found <= known, (path, found - known)


@stacks
def test_no_secret_is_written(stack: str, tmp_path: Path) -> None:
    """Secrets are named by their files; none of their values stands in a configuration."""
    for path, text in rendered(team_settings(), stack, data=tmp_path).items():
        assert CANARY not in text, path


# ---- Prometheus -----------------------------------------------------------------------------------------------------


@stacks
def test_the_rule_glob_finds_the_rules(stack: str, tmp_path: Path) -> None:
    """The pattern of rule_files, which promtool accepts without a match, leads to where rules are written."""
    folder = rendered_folder(team_settings(), stack, tmp_path)
    (pattern,) = yaml.safe_load((folder / "prometheus" / "prometheus.yml").read_text())["rule_files"]
    assert [path.name for path in (folder / "prometheus").glob(pattern)] == ["a.rules.yml"]


@stacks
def test_no_job_is_without_a_target(stack: str) -> None:
    """Every job has targets or a discovery, and no name stands twice."""
    jobs = _files(stack)["prometheus/prometheus.yml"]["scrape_configs"]
    names = [job["job_name"] for job in jobs]
    assert len(set(names)) == len(names)
    for job in jobs:
        assert job.get("http_sd_configs") or all(group["targets"] for group in job["static_configs"]), job


def test_no_applications_is_no_broken_job() -> None:
    """Without `scrape:` the job for applications is there and empty, so that nothing else depends on the list."""
    text = rendered(Settings.model_validate({"schema": 1}), "native 3", data=Path("/data"))["prometheus/prometheus.yml"]
    (job,) = [job for job in yaml.safe_load(text)["scrape_configs"] if job["job_name"] == "apps"]
    assert job["static_configs"] == []


# ---- Alertmanager ---------------------------------------------------------------------------------------------------


@stacks
def test_every_receiver_is_used_and_every_file_named(stack: str) -> None:
    """No receiver without a route, no route without a receiver, and every credential comes from an absolute path."""
    tree = _files(stack)["alertmanager/alertmanager.yml"]
    routed = {tree["route"]["receiver"]} | {route["receiver"] for route in tree["route"]["routes"]}
    assert routed == {receiver["name"] for receiver in tree["receivers"]}
    files = re.findall(r"'(?:credentials|routing_key|auth_password)_file': '([^']+)'", str(tree))
    assert len(files) == 5
    assert all(file.startswith("/data/secrets/") for file in files)


@stacks
def test_alertmanager_file_has_nothing_that_the_older_one_refuses(stack: str) -> None:
    """No named inhibit rules, no webhook timeout, no url_file: Debian's 0.25 refuses a file with one of them."""
    tree = _files(stack)["alertmanager/alertmanager.yml"]
    assert not [rule for rule in tree["inhibit_rules"] if "name" in rule]
    banned = {"timeout", "url_file", "payload", "http_headers", "tracing", "threading", "app_token"}
    assert not banned & {path.rpartition(".")[2] for path in _paths(tree)}


def test_routes_name_alerts_that_exist() -> None:
    """The special routes match alerts of the catalogue: a renamed alert would silently lose its way out."""
    known = {alert.name for alert in catalogue(team_settings())}
    text = (HOUSE / "alertmanager" / "alertmanager.yml").read_text()
    named = {name for match in re.findall(r'alertname=~?"([^"]+)"', text) for name in match.split("|")}
    assert named == {"Watchdog", "RouterDown", "RouterDeliveryStuck", "WatchdogMissing"}
    assert named <= known


# ---- Collector ------------------------------------------------------------------------------------------------------


@stacks
def test_every_pipeline_is_guarded_and_durable(stack: str) -> None:
    """Each pipeline limits memory first; each exporter never gives up, queues on disk, and pushes back when full."""
    tree = _files(stack)["collector/collector.yaml"]
    for pipeline in tree["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
    used = {name for pipeline in tree["service"]["pipelines"].values() for name in pipeline["exporters"]}
    assert used == set(tree["exporters"]), "an exporter in no pipeline, or the other way round"
    for exporter in tree["exporters"].values():
        assert exporter["retry_on_failure"]["max_elapsed_time"] == 0
        assert exporter["sending_queue"]["block_on_overflow"] is True
        assert exporter["sending_queue"]["storage"] in tree["service"]["extensions"]
    assert set(tree["extensions"]) == set(tree["service"]["extensions"])
    assert tree["extensions"]["file_storage/queue"]["fsync"] is True


@stacks
def test_no_port_is_used_twice(stack: str) -> None:
    """Two listeners on one port stop the Collector's start, and its validator says nothing."""
    tree = _files(stack)["collector/collector.yaml"]
    telemetry = tree["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
    protocols = tree["receivers"]["otlp"]["protocols"]
    ports = [
        protocols["grpc"]["endpoint"],
        protocols["http"]["endpoint"],
        tree["extensions"]["health_check"]["endpoint"],
    ]
    numbers = [endpoint.rpartition(":")[2] for endpoint in ports] + [str(telemetry["port"])]
    assert len(set(numbers)) == 4


def test_pipelines_have_a_backend() -> None:
    """A telemetry type without a backend has no pipeline: metrics on Prometheus 2.42, logs without Loki."""

    def pipelines(stack: str, parts: frozenset[str]) -> set[str]:
        files = rendered(team_settings(), stack, data=Path("/data"), parts=parts)
        if "collector/collector.yaml" not in files:
            return set()
        return set(yaml.safe_load(files["collector/collector.yaml"])["service"]["pipelines"])

    assert pipelines("native 3", PARTS) == {"logs", "traces", "metrics"}
    assert pipelines("native 2.42", PARTS) == {"logs", "traces"}
    assert pipelines("native 2.42", PARTS - {"loki"}) == {"traces"}
    assert pipelines("native 2.42", frozenset({"collector"})) == set()


# ---- Loki and Tempo: what is said in several places is said alike ---------------------------------------------------


@pytest.mark.parametrize("days", [1, 30])
@stacks
def test_each_retention_has_one_knob(stack: str, days: int) -> None:
    """The settings' days arrive in every place that must agree, and Loki's deleting is switched on."""
    kept = {"retention": {"logs": {"days": days}, "traces": {"days": days}, "metrics": {"days": days, "size": "2GB"}}}
    files = _files(stack, **kept)
    loki, tempo = files["loki/loki.yaml"], files["tempo/tempo.yaml"]
    assert loki["limits_config"]["retention_period"] == f"{days * 24}h"
    assert loki["compactor"]["retention_enabled"] is True
    assert loki["compactor"]["delete_request_store"] == "filesystem"
    assert tempo["backend_worker"]["compaction"]["block_retention"] == f"{days * 24}h"
    assert tempo["backend_scheduler"]["provider"]["compaction"]["compaction"]["block_retention"] == f"{days * 24}h"
    tsdb = files["prometheus/prometheus.yml"]["storage"]["tsdb"]
    expected = {"time": f"{days}d", "size": "2000000000B"} if stack == "containers" else None
    assert tsdb.get("retention") == expected


@stacks
def test_tempo_generator_is_what_it_says(stack: str) -> None:
    """Processors are of the two that exist, exemplars carry trace_id, and it has a place to write to."""
    tree = _files(stack)["tempo/tempo.yaml"]
    generator = tree["metrics_generator"]
    defaults = tree["overrides"]["defaults"]["metrics_generator"]
    assert set(defaults["processors"]) == GENERATOR_PROCESSORS
    assert defaults["trace_id_label_name"] == "trace_id"
    assert generator["storage"]["path"].startswith("/")
    assert [write["send_exemplars"] for write in generator["storage"]["remote_write"]] == [True]
    assert tree["storage"]["trace"]["backend"] == "local"


@stacks
def test_paths_lie_under_the_data_folder(stack: str) -> None:
    """Every folder that a server writes to is under its own data folder: the rest of a container is read-only."""
    for part in ("loki", "tempo", "collector"):
        (text,) = [
            text for path, text in rendered(team_settings(), stack, data=Path("/data")).items() if path.startswith(part)
        ]
        folders = set(re.findall(r"(?<![\w:/.])(/[\w./-]+)", re.sub(r"(?m)#.*$", "", text)))
        folders -= {"/api", "/otlp"}
        assert folders, part
        assert all(folder.startswith(f"/data/data/{part}") for folder in folders), folders


@stacks
def test_loki_labels_are_few(stack: str) -> None:
    """Stream labels are three stable resource attributes: Loki's own list makes one stream per process."""
    labels = _files(stack)["loki/loki.yaml"]["distributor"]["otlp_config"][
        "default_resource_attributes_as_index_labels"
    ]
    assert labels == ["service.name", "service.namespace", "deployment.environment.name"]


def test_ring_members_never_leave_the_process() -> None:
    """Loki's ruler rule files and its scratch folder differ, or the ruler eats its own rules."""
    ruler = _files("native 3")["loki/loki.yaml"]["ruler"]
    folders = sorted([ruler["storage"]["local"]["directory"], ruler["rule_path"]])
    assert all(not later.startswith(f"{earlier}/") and later != earlier for earlier, later in pairwise(folders))


# ---- parts ----------------------------------------------------------------------------------------------------------


def test_absent_parts_have_no_job_and_no_datasource() -> None:
    """A part that this stack has not is nowhere asked for, or it would be down for ever."""
    files = rendered(team_settings(), "native 3", data=Path("/data"), parts=frozenset({"grafana", "loki"}))
    jobs = {job["job_name"] for job in yaml.safe_load(files["prometheus/prometheus.yml"])["scrape_configs"]}
    assert jobs == {"exporter-targets", "exporter", "router", "apps", "prometheus", "alertmanager", "loki"}
    sources = yaml.safe_load(files["grafana/provisioning/datasources/tocsin.yaml"])["datasources"]
    assert [source["uid"] for source in sources] == ["prometheus", "loki", "alertmanager"]
    assert not [path for path in files if path.startswith(("tempo", "collector"))]


def test_compose_profile_adds_host_metrics() -> None:
    """The node exporter is a part when its profile is on, alone or among others."""
    assert compose_parts({}) == COMPOSE_PARTS
    assert compose_parts({"COMPOSE_PROFILES": "drill,host"}) == PARTS
