"""Queries of an OpenSLO indicator, made to count events over a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alert_rules.slo import openslo_types as o
from alert_rules.slo.promql import WINDOW, fill, parse_problem
from tocsin.errors import TocsinError


class QueryRefused(TocsinError):  # noqa: N818  # says what is the case, as the whole tree does
    """A query cannot be used: where, why, and what to write."""

    def __init__(self, path: tuple[str, ...], message: str, fix: str) -> None:
        self.path, self.message, self.fix = path, message, fix
        super().__init__(message)


def sli_of(sli: o.SliSpec, known: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    """Return an indicator's native keys ``sli`` and ``tocsin``. Raises QueryRefused."""
    ratio = sli.ratio_metric
    if ratio is None:
        fix = "count good and all events in a `ratioMetric`"
        raise QueryRefused(("thresholdMetric",), "thresholdMetric is not computed here", fix)
    if ratio.raw is not None:
        query = _query(ratio.raw, "raw", known, counter=False)
        error = f"1 - ({query})" if ratio.raw_type == "success" else query
        return {"sli": {"raw": {"error_ratio_query": error}}}
    if ratio.total is None or (ratio.good is None) == (ratio.bad is None):
        raise QueryRefused(("ratioMetric",), "needs `total` and one of `good` and `bad`", "write both")
    total = _query(ratio.total, "total", known, counter=ratio.counter)
    if ratio.bad is not None:
        error = _query(ratio.bad, "bad", known, counter=ratio.counter)
    else:
        assert ratio.good is not None
        good = _query(ratio.good, "good", known, counter=ratio.counter)
        # Good events that never happened have no series: then every event was bad, and nothing is missing.
        error = f"({total}) - (({good}) or 0 * ({total}))"
    return {"sli": {"events": {"error_query": error, "total_query": total}}}


def _query(metric: o.Metric, key: str, known: Mapping[tuple[str, str], Any], *, counter: bool) -> str:
    source, path = metric.metric_source, ("ratioMetric", key, "metricSource")
    named = known.get(("DataSource", source.metric_source_ref or ""))
    kind = source.type or (named.spec.type if named else "")
    if kind and kind.lower() not in ("prometheus", "thanos", "cortex", "mimir", "victoriametrics"):
        raise QueryRefused(path, f"{kind} is not asked here", "write a Prometheus query and `type: Prometheus`")
    query = source.spec.get("query", source.spec.get("promql"))
    if not isinstance(query, str) or not query.strip():
        raise QueryRefused((*path, "spec"), "has no `query`", "write `query: sum(rate(metric[{{.window}}]))`")
    return _windowed(query.strip(), (*path, "spec"), counter=counter)


def _windowed(query: str, path: tuple[str, ...], *, counter: bool) -> str:
    if WINDOW.search(query):
        text = query
    else:
        import promql_parser  # noqa: PLC0415  # a compiled module that only SLO files need

        try:
            plain = isinstance(promql_parser.parse(query), promql_parser.VectorSelector)
        except ValueError as error:
            raise QueryRefused(path, f"is not a query: {error}", "try it in Prometheus' own query page") from None
        if not plain or not counter:
            fix = "write the range as [{{.window}}], or a plain selector with `counter: true`"
            raise QueryRefused(path, "has no window", fix)
        text = f"sum(rate({query}[{{{{.window}}}}]))"
    if problem := parse_problem(fill(text, "5m")):
        raise QueryRefused(path, f"is not a query that Prometheus takes: {problem}", "try it in Prometheus")
    return text
