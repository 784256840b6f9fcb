"""From rule groups to the YAML text that Prometheus loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from alert_rules.annotate import annotate
from alert_rules.model import Alert, Group, Recording
from tocsin.settings import format_duration

HEADER = "# Made by `tocsin render` from alert_rules/. Do not edit: change the catalogue and render again.\n"


class _Text(str):
    """A string of several lines, written as a block so that people can read it."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Blocks for expressions, and lists indented under their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002  # PyYAML's own signature
        """Indent lists too; PyYAML would not."""
        del indentless
        super().increase_indent(flow, False)  # noqa: FBT003  # PyYAML's own signature


def _text(dumper: yaml.SafeDumper, text: _Text) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


_Dumper.add_representer(_Text, _text)


def to_yaml(data: object) -> str:
    """Write plain data as YAML, in its own order, behind the header."""
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return HEADER + text


def block(text: str) -> str:
    """Mark a text of several lines for block style; PyYAML would fold it into one quoted line."""
    return _Text(text) if "\n" in text else text


def rule_file(groups: Sequence[Group], external_url: str) -> str:
    """Write one Prometheus rule file."""
    return to_yaml({"groups": [_group(group, external_url) for group in groups]})


def _group(group: Group, external_url: str) -> dict[str, Any]:
    out: dict[str, Any] = {"name": group.name}
    if group.interval is not None:
        out["interval"] = format_duration(group.interval)
    rules = [_recording(rule) for rule in group.recordings]
    rules += [_alert(alert, external_url) for alert in group.alerts]
    return {**out, "rules": rules}


def _recording(rule: Recording) -> dict[str, Any]:
    out: dict[str, Any] = {"record": rule.record, "expr": block(rule.expr)}
    return {**out, "labels": dict(rule.labels)} if rule.labels else out


def _alert(alert: Alert, external_url: str) -> dict[str, Any]:
    out: dict[str, Any] = {"alert": alert.name, "expr": block(alert.expr)}
    if alert.hold:
        out["for"] = format_duration(alert.hold)
    out["labels"] = {"severity": alert.severity, **alert.extra}
    out["annotations"] = annotate(alert, external_url)
    return out
