"""The latency shorthand: from a histogram's name and a threshold to the two queries."""

from __future__ import annotations

import re
from decimal import Decimal

from alert_rules.slo import promql
from alert_rules.slo.objective import Indicator
from alert_rules.slo.spec import Latency
from alert_rules.slo.windows import plain

_WHOLE_BOUND = re.compile(r'\ble\s*=\s*"(\d+)(?:\.0)?"')


def both_bounds(query: str) -> str:
    """Match ``le="1"`` in either spelling: Prometheus 3 stores whole bounds as ``1.0``."""
    return _WHOLE_BOUND.sub(r'le=~"\1(?:\\\\.0)?"', query)


def latency_indicator(latency: Latency, group_by: tuple[str, ...]) -> tuple[Indicator | None, str | None]:
    """Return the indicator, or why its matchers cannot be used."""
    matchers = latency.matchers.strip().strip("{}").rstrip(", ")
    if problem := promql.parse_problem(f"up{{{matchers}}}"):
        return None, f"are not label matchers: {problem}"
    by = f"by ({', '.join(group_by)}) " if group_by else ""
    error, total, watched = (_native if latency.native else _classic)(latency, matchers, by)
    return Indicator("events", error, total, "rate", watched, unborn_is_zero=False, group_by=group_by), None


def _classic(latency: Latency, matchers: str, by: str) -> tuple[str, str, str]:
    bound = _bound(latency.threshold)
    joined = f"{matchers},{bound}" if matchers else bound
    total = f"sum {by}(rate({latency.metric}_count{_braces(matchers)}[{{{{.window}}}}]))"
    fast = f"sum {by}(rate({latency.metric}_bucket{{{joined}}}[{{{{.window}}}}]))"
    return f"{total}\n- {fast}", total, f"{latency.metric}_count{_braces(matchers)}"


def _native(latency: Latency, matchers: str, by: str) -> tuple[str, str, str]:
    rates = f"sum {by}(rate({latency.metric}{_braces(matchers)}[{{{{.window}}}}]))"
    total = f"histogram_count({rates})"
    error = f"{total}\n* (1 - histogram_fraction(0, {plain(latency.threshold)}, {rates}))"
    return error, total, f"{latency.metric}{_braces(matchers)}"


def _braces(matchers: str) -> str:
    return f"{{{matchers}}}" if matchers else ""


def _bound(threshold: Decimal) -> str:
    text = plain(threshold)
    return f'le=~"{text}(?:\\\\.0)?"' if "." not in text else f'le="{text}"'
