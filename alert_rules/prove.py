"""From cases to promtool tests: each rule is loaded with its file, fed series, and judged by Prometheus itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from alert_rules.annotate import annotate
from alert_rules.model import DEFAULT_STEP, Alert, Case, Expected
from alert_rules.write import to_yaml
from tocsin.settings import format_duration

_CHOICE = re.compile(r'\{\{ if eq \$labels\.target "([^"]+)" \}\}([^{}]*)\{\{ else \}\}')
_LABEL = re.compile(r"\{\{ \$labels\.(\w+)(?: \| (urlquery))? \}\}")
_QUOTED = re.compile(r'\{\{ printf "%q" \$labels\.(\w+) \}\}')


def proofs(alerts: Sequence[Alert], rule_files: Sequence[str], external_url: str, *, subject: str) -> dict[str, str]:
    """Return promtool test files for the alerts of one subject, one for each step that its cases take.

    promtool evaluates every rule at every step of a file: days of history want a longer one.
    """
    steps = sorted({case.step for alert in alerts for case in alert.cases})
    out = {}
    for step in steps:
        tests = [_test(alert, case, external_url) for alert in alerts for case in alert.cases if case.step == step]
        every = format_duration(step)
        name = f"{subject}.tests.yml" if step == DEFAULT_STEP else f"{subject}-{every}.tests.yml"
        out[name] = to_yaml({"rule_files": list(rule_files), "evaluation_interval": every, "tests": tests})
    return out


def _test(alert: Alert, case: Case, external_url: str) -> dict[str, Any]:
    steps = int(case.at / case.step) + 2
    when = format_duration(case.at)
    out: dict[str, Any] = {
        "name": f"{alert.name}: {case.name}",
        "interval": format_duration(case.step),
        "input_series": [
            {"series": series, "values": values.replace("x9999", f"x{steps}")} for series, values in case.series.items()
        ],
    }
    if case.expected is not None:
        firing = [_expected(each.alert or alert, each, external_url) for each in case.expected]
        out["alert_rule_test"] = [{"eval_time": when, "alertname": alert.name, "exp_alerts": firing}]
    if case.samples:
        # The comparison stands in the query: promtool 2.42 compares exactly, and quotients round.
        checks = [(f"abs({expr} - ({value!r})) < bool 1e-6", 1) for expr, value in case.samples.items()]
        out["promql_expr_test"] = [
            {"expr": f"sum({expr})", "eval_time": when, "exp_samples": [{"labels": "{}", "value": one}]}
            for expr, one in checks
        ]
    return out


def _expected(alert: Alert, expected: Expected, external_url: str) -> dict[str, Any]:
    labels = {"severity": alert.severity, **alert.extra, **expected.labels}
    whole = Expected(labels, expected.value)
    return {
        "exp_labels": labels,
        "exp_annotations": {
            name: expand(text, alert.value, whole) for name, text in annotate(alert, external_url).items()
        },
    }


def expand(text: str, value: str, expected: Expected) -> str:
    """Fill a template as Prometheus would: the value as the case writes it, then the choices and labels."""
    labels = expected.labels
    return _QUOTED.sub(
        lambda match: _go_quoted(labels.get(match[1], "")),
        _LABEL.sub(lambda match: _label(match, labels), _choose(text.replace(value, expected.value), labels)),
    )


def _choose(text: str, labels: Mapping[str, str]) -> str:
    """Resolve the nested choices that ``model.text_by_target`` writes."""
    while match := _CHOICE.search(text):
        head, tail = text[: match.start()], text[match.end() :]
        other, end, rest = tail.rpartition("{{ end }}")
        assert end, text
        text = head + (match[2] if labels.get("target") == match[1] else other) + rest
    return text


def _label(match: re.Match[str], labels: Mapping[str, str]) -> str:
    value = labels.get(match[1], "")
    return quote_plus(value, safe="~") if match[2] else value


def _go_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
