"""Everything that follows from the settings, as files: rules, dashboards, server configuration, schema."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import alert_rules
import dashboards
from exporters.table import SOURCES
from tocsin.settings import Settings
from tocsin.stack.service import Layout


def produced_signals(settings: Settings) -> frozenset[str]:
    """Return the names of the signals that this configuration's targets produce."""
    return frozenset(signal.name for target in settings.targets for signal in SOURCES[target.kind].signals)


def render_rules(settings: Settings) -> dict[str, str]:
    """Return rule files and their promtool tests by name. Raises ConfigError for a wrong SLO file."""
    return alert_rules.render(settings, produced_signals(settings))


def render_shared(settings: Settings) -> dict[str, str]:
    """Return what does not depend on where the stack runs: rules and dashboards, by path under ``rendered/``."""
    rules = {f"rules/{name}": text for name, text in render_rules(settings).items()}
    boards = {f"dashboards/{name}": text for name, text in dashboards.render(settings).items()}
    return rules | boards


def render_running(settings: Settings) -> dict[str, str]:
    """Return what the servers of a running stack load: the same without the rules' promtool tests."""
    return {path: text for path, text in render_shared(settings).items() if not path.endswith(".tests.yml")}


def accepted_copy(settings: Settings) -> dict[str, str]:
    """Return the settings file as it was accepted, and what router and exporter each read of it.

    The processes of a running stack read the copy, so a file that was broken later cannot stop a restart. The two
    summaries change only when that process has something to reload; secrets are stars in them.
    """
    whole = settings.model_dump(mode="json", by_alias=True, exclude={"targets", "destinations"})
    router = {key: whole[key] for key in ("external_url", "grafana_url", "routes", "retention", "ports")}
    router["destinations"] = {name: d.model_dump(mode="json") for name, d in settings.destinations.items()}
    exporter = {"targets": [t.model_dump(mode="json") for t in settings.targets], "ports": whole["ports"]}
    return {
        "tocsin.yaml": settings.source.read_text(encoding="utf-8"),
        "router.json": json.dumps(router, indent=1, sort_keys=True),
        "exporter.json": json.dumps(exporter, indent=1, sort_keys=True),
    }


def changed_files(files: Mapping[str, str], root: Path) -> set[str]:
    """Return the paths whose content differs from what lies under ``root``, gone ones included."""
    here = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} if root.exists() else set()
    changed = {path for path, text in files.items() if path not in here or (root / path).read_text("utf-8") != text}
    return changed | (here - set(files))


def write_files(files: Mapping[str, str], root: Path) -> None:
    """Write a set of files under ``root``, each in one step, and remove what is no longer among them."""
    for path in changed_files(files, root):
        target = root / path
        if path not in files:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        part.write_text(files[path], encoding="utf-8")
        part.replace(target)


def stage_files(files: Mapping[str, str], layout: Layout) -> Path:
    """Write a set of files beside the running ones, for the servers' own checkers to judge before anything changes."""
    stage = layout.data / "staged"
    shutil.rmtree(stage, ignore_errors=True)
    write_files(files, stage)
    return stage
