"""The generated rules, judged by promtool of each generation that is found: they load, fire and stay quiet."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alert_rules import catalogue
from tests.house import house_settings, other_settings, rendered_rules
from tests.servers import Generation, need, write_tree
from tocsin import facts
from tocsin.stack.programs import Program


@pytest.fixture(scope="module", params=["committed", "overrides"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("rules")
    home = tmp_path_factory.mktemp("home")
    settings = house_settings() if request.param == "committed" else other_settings(home)
    write_tree(rendered_rules(settings), folder)
    return folder


def promtool(program: Program, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program.path, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_every_rule_file_passes_the_strictest_lint(generation: Generation, written: Path) -> None:
    """Promtool finds no syntax error, no bad name and no duplicate, and lint findings are fatal."""
    files = [path.name for path in sorted(written.glob("*.rules.yml"))]
    done = promtool(generation.promtool, written, "check", "rules", "--lint=all", "--lint-fatal", *files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_fires_when_it_must_and_only_then(generation: Generation, written: Path) -> None:
    """Every generated case holds: firing beyond the threshold with exact texts and links, quiet just below."""
    files = [path.name for path in sorted(written.glob("*.tests.yml"))]
    assert files
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda name: promtool(generation.promtool, written, "test", "rules", name), files))
    failed = [result.stdout + result.stderr for result in done if result.returncode]
    assert not failed, "\n".join(failed)[:6000]


def _moved(files: Mapping[str, str], alert: str) -> dict[str, str]:
    """Return the rule files with one alert's threshold a twentieth easier or harder, whichever its cases must see."""
    out = {}
    for name, text in files.items():
        if not name.endswith(".rules.yml"):
            out[name] = text
            continue
        blocks = re.split(r"(?=^      - (?:alert|record):)", text, flags=re.MULTILINE)
        out[name] = "".join(
            _harder(block) if block.startswith(f"      - alert: {alert}\n") else block for block in blocks
        )
    return out


def _harder(block: str) -> str:
    head, marker, tail = block.partition("        labels:")

    def move(match: re.Match[str]) -> str:
        by = 1.05 if match[1].startswith(">") else 0.95
        return f"{match[1]} {facts.number(float(match[2]) * by)}"

    return re.sub(r"([<>]=?) (\d+(?:\.\d+)?)", move, head) + marker + tail


WITH_A_NUMBER = (
    "QueueNearCapacity",
    "QueueWaitTooLong",
    "QueueStalled",
    "QueueFailureRatioHigh",
    "CacheHitRatioLow",
    "BreakerOpenTooLong",
    "HttpLatencyHigh",
    "RouterDeliveryStuck",
    "StackDiskFull",
    "StackDiskLow",
    "WatchdogMissing",
    "ErrorBudgetBurn",
)


@pytest.mark.parametrize("alert", WITH_A_NUMBER)
def test_a_moved_threshold_is_noticed(alert: str, tmp_path: Path) -> None:
    """A rule whose number is 5 % off fails its own generated cases: the cases are worth something."""
    program = need("promtool")
    files = _moved(rendered_rules(house_settings()), alert)
    write_tree(files, tmp_path)
    tests = [
        name
        for name, text in files.items()
        if name.endswith(".tests.yml") and (f"alertname: {alert}" in text or f'alertname="{alert}"' in text)
    ]
    done = [promtool(program, tmp_path, "test", "rules", name) for name in tests]
    assert any(result.returncode for result in done)


def test_the_list_of_alerts_with_a_number_is_whole() -> None:
    """Each alert that compares with a threshold is in the list above, or compares with 0 and 1 for a time."""
    by_time = {"TargetDown", "TargetPartlyRead", "ServiceDown", "ExporterDown", "RouterDown", "StackPartDown"}
    with_limit = {alert.name for alert in catalogue(house_settings()) if alert.limit is not None}
    assert with_limit - by_time == set(WITH_A_NUMBER) - {"ErrorBudgetBurn"}
