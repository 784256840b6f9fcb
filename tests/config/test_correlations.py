"""Seven ways from one telemetry type to another use the same names in every file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.rendering import rendered, team_settings
from tocsin.paths import HOUSE

FILES = rendered(team_settings(), "native 3", data=Path("/data"))
SOURCES: dict[str, dict[str, Any]] = {
    source["uid"]: source
    for source in yaml.safe_load(FILES["grafana/provisioning/datasources/tocsin.yaml"])["datasources"]
}
TEMPO = yaml.safe_load(FILES["tempo/tempo.yaml"])
TRACE_LABEL = TEMPO["overrides"]["defaults"]["metrics_generator"]["trace_id_label_name"]


def _unescaped(text: str) -> str:
    """Return what Grafana makes of a text, after its own look for environment variables."""
    return text.replace("$$", "$")


def test_datasources_are_fixed_and_pruned() -> None:
    """Each has its own uid, cannot be edited in the browser, and goes when it leaves the file."""
    tree = yaml.safe_load(FILES["grafana/provisioning/datasources/tocsin.yaml"])
    assert tree["prune"] is True
    assert set(SOURCES) == {"prometheus", "loki", "tempo", "alertmanager"}
    assert all(source["editable"] is False for source in SOURCES.values())
    assert [uid for uid, source in SOURCES.items() if source.get("isDefault")] == ["prometheus"]


def test_every_named_datasource_exists() -> None:
    """No correlation leads to a datasource that is not there."""
    named = set(re.findall(r"datasourceUid'?: '?([\w-]+)", str(SOURCES)))
    assert named == {"tempo", "loki", "prometheus"}


def test_metric_to_trace() -> None:
    """Exemplars are read under the label that Tempo's generator and the OTLP receiver write."""
    (destination,) = SOURCES["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert destination["name"] == TRACE_LABEL == "trace_id"
    assert destination["datasourceUid"] == "tempo"


def test_log_to_trace() -> None:
    """The derived field reads structured metadata of the same name, without a regular expression over the line."""
    (field,) = SOURCES["loki"]["jsonData"]["derivedFields"]
    assert (field["matcherType"], field["matcherRegex"], field["datasourceUid"]) == ("label", TRACE_LABEL, "tempo")
    assert _unescaped(field["url"]) == "${__value.raw}"


def test_trace_to_logs() -> None:
    """The query selects by Loki's stream label of the service and by trace_id."""
    hop = SOURCES["tempo"]["jsonData"]["tracesToLogsV2"]
    assert hop["tags"] == [{"key": "service.name", "value": "service_name"}]
    assert _unescaped(hop["query"]) == '{${__tags}} | trace_id = "${__trace.traceId}"'
    labels = yaml.safe_load(FILES["loki/loki.yaml"])["distributor"]["otlp_config"]
    assert "service.name" in labels["default_resource_attributes_as_index_labels"]


def test_trace_to_metrics_and_services_to_metrics() -> None:
    """Queries run over the span metrics that Tempo's generator makes; the service map reads the same Prometheus."""
    hop = SOURCES["tempo"]["jsonData"]["tracesToMetrics"]
    assert hop["tags"] == [{"key": "service.name", "value": "service"}]
    assert all("$__tags" in _unescaped(query["query"]) for query in hop["queries"])
    assert all("traces_spanmetrics_" in query["query"] for query in hop["queries"])
    assert set(TEMPO["overrides"]["defaults"]["metrics_generator"]["processors"]) >= {"span-metrics", "service-graphs"}
    assert SOURCES["tempo"]["jsonData"]["serviceMap"] == {"datasourceUid": "prometheus"}
    assert SOURCES["tempo"]["jsonData"]["nodeGraph"] == {"enabled": True}


def test_rate_interval_is_made_from_the_real_interval() -> None:
    """Grafana is told the scrape interval of the settings, or its rate windows are too short to hold two samples."""
    texts = rendered(team_settings(intervals={"scrape": "7s"}), "native 3", data=Path("/data"))
    tree = yaml.safe_load(texts["grafana/provisioning/datasources/tocsin.yaml"])
    assert tree["datasources"][0]["jsonData"]["timeInterval"] == "7s"


def test_boards_are_read_from_the_rendered_folder() -> None:
    """The provider's path is where `tocsin render` writes the boards."""
    (provider,) = yaml.safe_load(FILES["grafana/provisioning/dashboards/tocsin.yaml"])["providers"]
    assert provider["options"]["path"] == "/data/rendered/dashboards"
    assert provider["allowUiUpdates"] is False


def test_no_python_in_configuration_folders() -> None:
    """A .py file there would make the folder importable from the root."""
    folders = ("prometheus", "alertmanager", "collector", "loki", "tempo", "dashboards/provisioning")
    assert not [path for folder in folders for path in (HOUSE / folder).rglob("*.py")]
