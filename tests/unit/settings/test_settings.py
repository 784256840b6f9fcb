"""``tocsin.yaml``: what is accepted, and that everything else gets file, line, key, reason and fix, all at once."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from tocsin.cli.tables import tables
from tocsin.errors import ConfigError, Problem
from tocsin.paths import HOUSE
from tocsin.settings import STARS, Report, Secret, Settings, format_duration, inspect, json_schema, load, parse_duration

GOOD = """\
schema: 1
targets:
  - {name: orders, kind: bullmq, url: "redis://127.0.0.1:6379/0", capacity: {default: 1000, emails: 200}}
destinations:
  oncall-slack: {kind: slack, channel: "#oncall", token_file: slack.token}
routes:
  - {match: {severity: critical}, to: [oncall-slack], fallback: [{after: 60s, to: [inbox]}]}
thresholds:
  queue_fill_ratio: {default: 0.7, targets: {orders: 0.9}}
"""


def written(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Report:
    (tmp_path / "slack.token").write_text("xoxb-canary\n")
    path = tmp_path / "tocsin.yaml"
    path.write_text(text)
    return inspect(path, tables(), environ or {})


def only(report: Report) -> Problem:
    assert report.settings is None
    assert len(report.problems) == 1, [str(p) for p in report.problems]
    return report.problems[0]


def accepted(report: Report) -> Settings:
    assert report.settings is not None, [str(p) for p in report.problems]
    return report.settings


def test_the_committed_settings_are_right() -> None:
    """The file that a fresh clone starts with has no error and no warning."""
    assert inspect(HOUSE / "tocsin.yaml", tables(), os.environ).problems == []


def test_the_starter_file_is_right(tmp_path: Path) -> None:
    """What `tocsin init` writes passes `tocsin check` as it is, and with every comment taken off its examples."""
    starter = (HOUSE / "tocsin/cli/starter.yaml").read_text()
    assert written(tmp_path, starter).problems == []


def test_values_arrive_typed(tmp_path: Path) -> None:
    """Durations, thresholds and secrets come out as their own types."""
    settings = accepted(written(tmp_path, GOOD))
    assert settings.routes[0].fallback[0].after == timedelta(seconds=60)
    assert settings.thresholds["queue_fill_ratio"].targets == {"orders": 0.9}
    assert settings.destinations["oncall-slack"].token.get() == "xoxb-canary"  # type: ignore[attr-defined]


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    """Seven unrelated mistakes give seven problems in one run, in the order of the lines."""
    report = written(
        tmp_path,
        """\
schema: 1
externalurl: http://x
targets:
  - {name: a, kind: bulmq}
  - {name: b, kind: redis, url: "redis://u:canary-pw@h/0"}
thresholds:
  queue_fil_ratio: {default: 0.5}
  queue_fill_ratio: {default: 2}
intervals: {scrape: 15}
routes:
  - {match: {sevrity: critical}, to: [slak]}
""",
    )
    assert report.settings is None
    assert [(p.line, p.path) for p in report.problems] == [
        (2, "externalurl"),
        (4, "targets[0].kind"),
        (5, "targets[1].url"),
        (7, "thresholds.queue_fil_ratio"),
        (8, "thresholds.queue_fill_ratio.default"),
        (9, "intervals.scrape"),
        (11, "routes[0].match.sevrity"),
        (11, "routes[0].to[0]"),
    ]
    assert all(p.file.endswith("tocsin.yaml") and p.message and p.fix for p in report.problems)
    assert "canary-pw" not in "".join(map(str, report.problems))


@pytest.mark.parametrize(
    ("wrong", "path", "fix"),
    [
        ("externalurl: http://x", "externalurl", "external_url"),
        ("intervals: {scrap: 1s}", "intervals.scrap", "scrape"),
        ("retention: {metrics: {sise: 1GB}}", "retention.metrics.sise", "size"),
        ("targets: [{name: a, kind: redis, url: 'redis://h', pasword: x}]", "targets[0].pasword", "password"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(tmp_path: Path, wrong: str, path: str, fix: str) -> None:
    """A slip of the pen is refused at every depth, with the key that was probably meant."""
    problem = only(written(tmp_path, f"schema: 1\n{wrong}\n"))
    assert (problem.path, problem.fix) == (path, f"did you mean {fix!r}?")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("schema: 1\n  bad: [", "is not valid YAML"),
        ("- a\n- b\n", "must be a mapping"),
        ("schema: 2\n", "is not one of the allowed values"),
        ("external_url: http://x\n", "the key 'schema' is missing"),
        ("schema: 1\nschema: 1\n", "stands here twice"),
        ("schema: 1\ntargets: 5\n", "must be a list"),
        ("schema: 1\nretention: {metrics: {days: zero}}\n", "valid integer"),
        ("schema: 1\nports: {router: 8089}\n", "belongs to exporter already"),
        ("schema: 1\nexternal_url: ftp://x\n", "is not an http address"),
        ("schema: 1\nexternal_url: http://me:canary-pw@x\n", "must not hold credentials"),
        ("schema: 1\nsource: x\n", "unknown key"),
    ],
)
def test_a_broken_file_gets_one_clear_error(tmp_path: Path, text: str, what: str) -> None:
    """Every way to break the file ends in one sentence that says so, without any secret."""
    problem = only(written(tmp_path, text))
    assert what in problem.message
    assert "canary-pw" not in str(problem)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    """Without a settings file the error names `tocsin init`."""
    with pytest.raises(ConfigError, match="tocsin init"):
        load(tmp_path / "none.yaml", tables(), {})


def test_a_secret_comes_from_the_environment(tmp_path: Path) -> None:
    """``${NAME}`` fills in a secret; without the variable the error names it."""
    text = GOOD.replace("token_file: slack.token", 'token: "${SLACK_TOKEN}"')
    settings = accepted(written(tmp_path, text, {"SLACK_TOKEN": "xoxb-from-env"}))
    assert settings.destinations["oncall-slack"].token.get() == "xoxb-from-env"  # type: ignore[attr-defined]
    assert "SLACK_TOKEN is not set" in only(written(tmp_path, text)).message


def test_a_secret_in_the_file_itself_is_a_warning(tmp_path: Path) -> None:
    """It works, since people try things out, and the warning says where it belongs."""
    report = written(tmp_path, GOOD.replace("token_file: slack.token", "token: xoxb-inline"))
    accepted(report)
    assert [p.level for p in report.problems] == ["warning"]
    assert "xoxb-inline" not in str(report.problems)


def test_an_unreadable_secret_file_is_named(tmp_path: Path) -> None:
    """The path of the file is in the message, and how to make it."""
    problem = only(written(tmp_path, GOOD.replace("slack.token", "nowhere.token")))
    assert problem.path == "destinations.oncall-slack.token_file"
    assert "nowhere.token" in problem.message


def test_secrets_print_as_stars_everywhere(tmp_path: Path) -> None:
    """No view of the settings but Secret.get() shows the value."""
    settings = accepted(written(tmp_path, GOOD))
    slack = settings.destinations["oncall-slack"]
    dumps = [slack.model_dump_json(), str(slack.model_dump()), str(settings.model_dump())]
    assert all("xoxb-canary" not in view for view in [repr(settings), str(settings), *dumps])
    assert STARS in slack.model_dump_json()


def test_a_rotated_secret_file_is_read_again(tmp_path: Path) -> None:
    """A new file content is seen without a restart."""
    path = tmp_path / "s"
    path.write_text("one")
    secret = Secret(path=path)
    assert secret.get() == "one"
    path.write_text("two\n")
    os.utime(path, ns=(1, 1))
    assert secret.get() == "two"


def test_defaults_and_escapes_in_variables(tmp_path: Path) -> None:
    """``${NAME:-default}`` has a default, and ``$${`` writes a plain ``${``."""
    text = "schema: 1\nscrape:\n  - {name: a, url: 'http://${HOST:-127.0.0.1:1}/m'}\nslos: ['$${x}.yaml']\n"
    settings = accepted(written(tmp_path, text))
    assert settings.scrape[0].url == "http://127.0.0.1:1/m"
    assert settings.slos == ("${x}.yaml",)


def test_a_duplicate_target_name_is_refused(tmp_path: Path) -> None:
    """Two targets of one name would write into one another's series."""
    item = "{name: a, kind: redis, url: 'redis://h'}"
    problem = only(written(tmp_path, f"schema: 1\ntargets:\n  - {item}\n  - {item}\n"))
    assert (problem.line, problem.path) == (4, "targets[1].name")


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("1h30m", 5400), ("250ms", 0.25), ("0s", 0), ("1w", 604800)]
)
def test_durations_round_trip(text: str, seconds: float) -> None:
    """What is written is what is meant, and it is written again in a form that Prometheus takes."""
    value = parse_duration(text)
    assert value.total_seconds() == seconds
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize("wrong", ["", "15", 15, "s", "1.5h", "-1s", "1y", None])
def test_a_duration_without_a_known_unit_is_refused(wrong: object) -> None:
    """A bare number is a guess."""
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(wrong)


@pytest.mark.parametrize(
    "text", [GOOD, (HOUSE / "tocsin.yaml").read_text(), (HOUSE / "tocsin/cli/starter.yaml").read_text()]
)
def test_the_editors_schema_takes_what_the_parser_takes(text: str) -> None:
    """The generated JSON schema accepts good files."""
    jsonschema.validate(yaml.safe_load(text), json_schema(tables()))


def test_the_editors_schema_refuses_what_the_parser_refuses() -> None:
    """The generated JSON schema finds an unknown key, a wrong kind and a missing field."""
    schema = json_schema(tables())
    for wrong in (
        {"schema": 1, "externalurl": "x"},
        {"schema": 1, "targets": [{"name": "a", "kind": "nothing"}]},
        {"schema": 1, "targets": [{"name": "a", "kind": "redis"}]},
        {"schema": 1, "thresholds": {"queue_fil_ratio": {}}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_committed_schema_is_the_generated_one() -> None:
    """Editors get the schema of this very code."""
    committed = json.loads((HOUSE / "docs/reference/tocsin.schema.json").read_text())
    assert committed == json_schema(tables())
