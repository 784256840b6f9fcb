"""A first spec from what a live Prometheus has: which metrics count requests, how they tell failures, how they did."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from alert_rules.slo_tools.prometheus import Prometheus

_HTTP_LABELS = ("http_response_status_code", "http_status_code", "status_code", "response_code", "code", "status")
_OUTCOME_LABELS = (*_HTTP_LABELS, "grpc_code", "rpc_grpc_status_code", "outcome", "result", "state")
_SERVICE_LABELS = ("service", "service_name", "app", "job")
_COUNTS_REQUESTS = re.compile(r"request|http|rpc|handled|finished|jobs|messages|deliver|calls|queries|operations")
_FAILED = re.compile(r"(?i)fail|error|dead|reject|timeout|exception|abort|unavailable")
_GRPC_FAILURES = "Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss"
_OWN = re.compile(r"^(go|process|promhttp|prometheus|net_conntrack|alertmanager|python|scrape|tocsin_router)_|:")
_STEPS = ("99.99", "99.95", "99.9", "99.5", "99", "98", "95")
"""Below 93 % the fast page could never fire."""
_PAST = "7d"
_MONTH = 30 * 86400
_FEWEST_FAILURES = 20


@dataclass(frozen=True)
class Candidate:
    """A counter of events of one service, with the matcher that chooses its failures."""

    metric: str
    service_label: str
    service: str
    failed: str
    per_second: float
    """Mean rate of the last hour."""

    @property
    def selector(self) -> str:
        """What all events are counted from."""
        return f"{self.metric}{{{self.service_label}={_quoted(self.service)}}}"

    @property
    def failures(self) -> str:
        """What bad events are counted from."""
        return f"{self.metric}{{{self.service_label}={_quoted(self.service)},{self.failed}}}"


@dataclass(frozen=True)
class Latency:
    """A histogram of the same service, with the bucket to promise and the ratio that was faster."""

    metric: str
    bound: str
    good: float


def candidates(prometheus: Prometheus) -> list[Candidate]:
    """Return every counter whose failures can be told by a label, the busiest first. Raises StackError."""
    found = []
    for metric in prometheus.label_values("__name__"):
        if _counter(metric):
            found += list(_of_metric(prometheus, metric))
    return sorted(found, key=lambda each: (-each.per_second, each.metric, each.service))


def _counter(metric: str) -> bool:
    counts = metric.endswith(("_total", "_count")) and not _OWN.search(metric)
    return counts and _COUNTS_REQUESTS.search(metric) is not None


def _of_metric(prometheus: Prometheus, metric: str) -> Iterator[Candidate]:
    labels = set(prometheus.label_names(metric))
    outcome = next((name for name in _OUTCOME_LABELS if name in labels), None)
    service = next((name for name in _SERVICE_LABELS if name in labels), None)
    if outcome is None or service is None:
        return
    failed = _failing(outcome, prometheus.label_values(outcome, metric))
    rates = prometheus.instant(f"sum by ({service}) (rate({metric}[1h]))") if failed else {}
    for of, rate in rates.items():
        name = dict(of).get(service, "")
        if name and failed:
            yield Candidate(metric, service, name, failed, 0.0 if math.isnan(rate) else rate)


def _failing(label: str, values: Iterable[str]) -> str | None:
    """Write the matcher of failures from the values that exist, so that it also takes those still to come."""
    known = sorted(set(values) - {""})
    if known and all(re.fullmatch(r"\d{3}", value) for value in known):
        return f'{label}=~"5.."'
    if known and all(re.fullmatch(r"\dxx", value) for value in known):
        return f'{label}="5xx"'
    if "grpc" in label:
        return f'{label}=~"{_GRPC_FAILURES}"'
    bad = [value for value in known if _FAILED.search(value)]
    if bad:
        return f"{label}={_quoted(bad[0])}" if len(bad) == 1 else f'{label}=~"{"|".join(map(re.escape, bad))}"'
    return f'{label}=~"failed|failure|error"' if label in ("outcome", "result") and known else None


def latency_of(prometheus: Prometheus, candidate: Candidate) -> Latency | None:
    """Return the latency to promise for a service: the smallest bucket that held 99 % lately; None without any."""
    base = candidate.metric.removesuffix("_count").removesuffix("_total")
    of = f"{candidate.service_label}={_quoted(candidate.service)}"
    names = [name for name in prometheus.label_values("__name__", f"{{{of}}}") if name.endswith("_bucket")]
    chosen = next((name for name in sorted(names) if name == f"{base}_bucket"), None)
    chosen = chosen or next((name for name in sorted(names) if re.search(r"request.*(duration|latency)", name)), None)
    if chosen is None:
        return None
    metric = chosen.removesuffix("_bucket")
    selected = f"{{{of}}}[{_PAST}]"
    ratios = prometheus.instant(
        f"sum by (le) (increase({metric}_bucket{selected})) / scalar(sum(increase({metric}_count{selected})) > 0)"
    )
    held = sorted((float(dict(labels)["le"]), dict(labels)["le"], ratio) for labels, ratio in ratios.items())
    for bound, written, ratio in held:
        if ratio >= 0.99 and not math.isinf(bound):
            return Latency(metric, written, ratio)
    return None


def kept(prometheus: Prometheus, candidate: Candidate) -> float:
    """Return the share of good events over the last days; 1 when none failed, NaN without events."""
    bad, total = f"sum(increase({candidate.failures}[{_PAST}]))", f"sum(increase({candidate.selector}[{_PAST}]))"
    found = prometheus.instant(f"1 - ({bad} or vector(0)) / ({total} > 0)")
    return next(iter(found.values()), math.nan)


def objective_for(good: float, events: float) -> str:
    """Return the strictest usual objective that a share of good events has kept with room to spare.

    ``events`` of a month: a budget of a handful of failures would be spent by chance.
    """
    for step in _STEPS:
        budget = float(100 - Decimal(step)) / 100
        if 1 - good <= budget * 0.8 and events * budget >= _FEWEST_FAILURES:
            return step
    return _STEPS[-1]


def spec(prometheus: Prometheus, chosen: Sequence[Candidate], others: Sequence[Candidate] = ()) -> str:
    """Write a commented spec for candidates of one service; ``others`` are named as what could be chosen instead."""
    service = _name(chosen[0].service)
    lines = [
        "# A first SLO spec, from what this Prometheus has. Read it through: it knows what was measured,",
        "# you know what was promised. Then:",
        "#   tocsin slo check THIS_FILE --prometheus URL      is every name right?",
        "#   tocsin slo backtest THIS_FILE --prometheus URL   how often would it have paged?",
        "version: prometheus/v1",
        f"service: {service}",
        "slos:",
    ]
    for candidate in chosen:
        lines += _availability(prometheus, candidate, many=len(chosen) > 1)
    latency = latency_of(prometheus, chosen[0])
    lines += _fast_enough(chosen[0], latency) if latency else ["  # No histogram of durations was found."]
    if others:
        lines += ["", "# Also found, with --service and --metric:"]
        lines += [f"#   --service {each.service} --metric {each.metric}" for each in others[:20]]
    return "\n".join(lines) + "\n"


def _availability(prometheus: Prometheus, candidate: Candidate, *, many: bool) -> list[str]:
    good = kept(prometheus, candidate)
    seen = "no events yet" if math.isnan(good) else f"{good:.4%} were good"
    if not math.isnan(good) and good < float(Decimal(_STEPS[-1])) / 100:
        seen += f", which is less than even {_STEPS[-1]}%"
    name = f"availability-{_name(candidate.metric.removesuffix('_total'))}" if many else "availability"
    return [
        f"  - name: {name}",
        f"    # Lately ({_PAST}): {seen}, at {candidate.per_second:.3g} events a second in the last hour.",
        f"    objective: {'99.9' if math.isnan(good) else objective_for(good, candidate.per_second * _MONTH)}",
        f"    description: Events of {_name(candidate.service)} that did not fail.",
        "    sli:",
        "      events:",
        f"        error_query: {_yaml(f'sum(rate({candidate.failures}[{{{{.window}}}}]))')}",
        f"        total_query: {_yaml(f'sum(rate({candidate.selector}[{{{{.window}}}}]))')}",
    ]


def _fast_enough(candidate: Candidate, latency: Latency) -> list[str]:
    matchers, seconds = _yaml(f"{candidate.service_label}={_quoted(candidate.service)}"), float(latency.bound)
    return [
        f"  - name: latency-{_milliseconds(latency.bound)}",
        f"    # Lately ({_PAST}): {latency.good:.4%} took at most {seconds:g} s.",
        f"    objective: {objective_for(latency.good, candidate.per_second * _MONTH)}",
        f"    description: Events of {_name(candidate.service)} that took at most {seconds:g} s.",
        "    tocsin:",
        f"      latency: {{metric: {latency.metric}, threshold: {seconds:g}, matchers: {matchers}}}",
    ]


def _milliseconds(bound: str) -> str:
    return f"{float(bound) * 1000:g}ms".replace(".", "-").replace("+", "")


def _name(text: str) -> str:
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._") or "service"
    return cleaned if len(cleaned) > 1 else f"{cleaned}{cleaned}"


def _yaml(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
