"""pyrra's ServiceLevelObjective in our format: four indicators, each with the queries that pyrra would make of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from alert_rules.slo.promql import parse_problem
from alert_rules.slo.spec import decimal_of
from alert_rules.slo.windows import BUILT_IN_PERIODS, plain, window_name
from tocsin.errors import Problem
from tocsin.settings import parse_duration
from tocsin.settings.document import Document, KeyPath

_LABEL_PREFIX = "pyrra.dev/"
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NATIVE = re.compile(r"([a-zA-Z_:][\w:]*)\s*(?:\{(.*)\})?\s*", re.DOTALL)
_GO_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|s|m|h)")
_SECONDS = {"h": "3600", "m": "60", "s": "1", "ms": "0.001", "us": "0.000001", "µs": "0.000001", "ns": "0.000000001"}
_WINDOW = "[{{.window}}]"


class _Refused(Exception):  # noqa: N818  # a signal inside this module
    def __init__(self, path: KeyPath, message: str, fix: str) -> None:
        super().__init__(message)
        self.path, self.message, self.fix = path, message, fix


def native(document: Document) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Return the native document of one pyrra object and what is different in it."""
    try:
        return _native(document.data), list(_notes(document))
    except _Refused as refused:
        return None, [document.problem(refused.path, refused.message, refused.fix)]


def number(value: Decimal) -> int | float | str:
    """Return a number that YAML writes with exactly these digits; its text where a float cannot."""
    text = plain(value)
    if "." not in text:
        return int(text)
    return float(text) if repr(float(text)) == text else text


def _native(data: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(data.get("kind"))
    if kind != "ServiceLevelObjective":
        raise _Refused(("kind",), f"is {kind}, not a ServiceLevelObjective", "give the SLO object itself")
    metadata, spec = _mapping(data, ("metadata",)), _mapping(data, ("spec",))
    name = str(metadata.get("name") or "")
    if not name:
        raise _Refused(("metadata", "name"), "is missing", "name the SLO")
    labels = {str(key): str(value) for key, value in (metadata.get("labels") or {}).items()}
    carried = {key.removeprefix(_LABEL_PREFIX): value for key, value in labels.items() if key.startswith(_LABEL_PREFIX)}
    service = carried.pop("service", None) or labels.get("app.kubernetes.io/name") or labels.get("app") or name
    slo: dict[str, Any] = {"name": name, "objective": _target(spec)}
    if spec.get("description"):
        slo["description"] = " ".join(str(spec["description"]).split())
    owners = {key: value for key, value in carried.items() if _LABEL_NAME.fullmatch(key) and value}
    if owners:
        slo["labels"] = owners
    slo |= _indicator(spec)
    slo["tocsin"] = {"period": window_name(_period(spec)), **slo.get("tocsin", {})}
    slo |= _alerting(spec, slo["tocsin"])
    return {"version": "prometheus/v1", "service": service, "slos": [slo]}


def _notes(document: Document) -> Iterator[Problem]:
    spec = document.data["spec"]
    written, taken = str(spec.get("window", "")), _period(spec)
    if parse_duration(written) != taken:
        message = f"a window of {written} has no burn-rate windows here; {window_name(taken)} was written"
        problem = document.problem(("spec", "window"), message, "check that this period is what was promised")
        yield Problem(problem.file, problem.line, problem.path, message, problem.fix, "warning")


def _mapping(data: Mapping[str, Any], path: KeyPath) -> Mapping[str, Any]:
    value = data.get(str(path[-1]))
    if not isinstance(value, dict):
        raise _Refused(path, "is missing or no mapping", "give the whole ServiceLevelObjective")
    return value


def _target(spec: Mapping[str, Any]) -> int | float | str:
    try:
        return number(decimal_of(spec.get("target")))
    except ValueError as error:
        what, _, fix = str(error).partition("; ")
        raise _Refused(("spec", "target"), what, fix) from None


def _period(spec: Mapping[str, Any]) -> timedelta:
    try:
        asked = parse_duration(str(spec.get("window", "")))
    except ValueError:
        raise _Refused(("spec", "window"), "is not a duration", "write for example 4w") from None
    return min(BUILT_IN_PERIODS, key=lambda known: abs(known - asked))


def _alerting(spec: Mapping[str, Any], extras: dict[str, Any]) -> dict[str, Any]:
    alerting = spec.get("alerting") or {}
    out: dict[str, Any] = {}
    if alerting.get("name"):
        out["name"] = str(alerting["name"])
    if alerting.get("disabled") or alerting.get("burnrates") is False:
        out |= {"page_alert": {"disable": True}, "ticket_alert": {"disable": True}}
    if alerting.get("disabled") or alerting.get("absent") is False:
        extras["absent"] = {"disable": True}
    return {"alerting": out} if out else {}


def _indicator(spec: Mapping[str, Any]) -> dict[str, Any]:
    indicator = _mapping(spec, ("spec", "indicator"))
    kinds = {"ratio": _ratio, "latency": _latency, "latencyNative": _latency_native, "bool_gauge": _bool_gauge}
    present = [key for key in (*kinds, "boolGauge") if indicator.get(key)]
    if len(present) != 1:
        raise _Refused(("spec", "indicator"), f"has {len(present)} indicators", f"keep one of {', '.join(kinds)}")
    (key,) = present
    body = indicator[key]
    if not isinstance(body, dict):
        raise _Refused(("spec", "indicator", key), "is no mapping", "write its metrics")
    return kinds["bool_gauge" if key == "boolGauge" else key](body, ("spec", "indicator", key))


def _ratio(body: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
    bad, total = _metric(body, (*path, "errors")), _metric(body, (*path, "total"))
    return _events(_rate(bad, body), _rate(total, body), body)


def _latency(body: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
    fast, total = _metric(body, (*path, "success")), _metric(body, (*path, "total"))
    return _events(f"{_rate(total, body)} - {_rate(fast, body)}", _rate(total, body), body)


def _latency_native(body: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
    selector = _metric(body, (*path, "total"))
    found = _NATIVE.fullmatch(selector)
    parts = _GO_DURATION.findall(str(body.get("latency", "")))
    if not parts:
        raise _Refused((*path, "latency"), "is not a duration", "write for example 200ms")
    if not found:
        raise _Refused((*path, "total", "metric"), "is not a plain selector", "write metric{label=value, ...}")
    seconds = sum((Decimal(size) * Decimal(_SECONDS[unit]) for size, unit in parts), Decimal(0))
    latency = {"metric": found[1], "threshold": number(seconds), "matchers": found[2] or "", "native": True}
    extras: dict[str, Any] = {"latency": {key: value for key, value in latency.items() if value != ""}}
    return {"tocsin": extras | _group_by(body)}


def _bool_gauge(body: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
    metric = body.get("metric")
    if not isinstance(metric, str):
        raise _Refused((*path, "metric"), "is missing", "name the gauge that is 1 when all is well")
    by = _by(body)
    total = f"sum{by}(count_over_time({metric}{_WINDOW}))"
    up = f"sum{by}(sum_over_time({metric}{_WINDOW}))"
    # Each probe is an event: the counts are per window, whatever function made them.
    out = _events(f"{total} - {up}", total, body)
    return out | {"tocsin": {"unit": "increase", **out.get("tocsin", {})}}


def _events(error: str, total: str, body: Mapping[str, Any]) -> dict[str, Any]:
    extras = _group_by(body)
    out: dict[str, Any] = {"sli": {"events": {"error_query": error, "total_query": total}}}
    return out | ({"tocsin": extras} if extras else {})


def _metric(body: Mapping[str, Any], path: KeyPath) -> str:
    metric = (body.get(str(path[-1])) or {}).get("metric")
    if not isinstance(metric, str) or parse_problem(metric):
        raise _Refused((*path, "metric"), "is not a series selector", "write metric{label=value, ...}")
    return metric.strip()


def _rate(metric: str, body: Mapping[str, Any]) -> str:
    return f"sum{_by(body)}(rate({metric}{_WINDOW}))"


def _by(body: Mapping[str, Any]) -> str:
    grouping = body.get("grouping") or []
    return f" by ({', '.join(map(str, grouping))}) " if grouping else ""


def _group_by(body: Mapping[str, Any]) -> dict[str, Any]:
    grouping = body.get("grouping") or []
    return {"group_by": [str(name) for name in grouping]} if grouping else {}
