"""Asking Prometheus for the series behind an alert."""

from __future__ import annotations

from typing import Any

from alert_router.graph import MOST_SERIES, Series
from alert_router.outbound import HttpClient
from tocsin.errors import StackError, Transient

POINTS = 240
"""Samples per line: one for three pixels."""


async def query_range(http: HttpClient, base: str, query: str, *, start: float, end: float) -> tuple[Series, ...]:
    """Return the series of a query between two moments (unix seconds). Raises StackError with Prometheus' words."""
    fix = "see `tocsin status`"
    step = max(1.0, round((end - start) / POINTS))
    params: dict[str, str | float] = {
        "query": query,
        "start": round(start, 3),
        "end": round(end, 3),
        "step": step,
        "timeout": "8s",
    }
    try:
        answer = await http.request("GET", f"{base}/api/v1/query_range", params=params)
    except Transient as error:
        msg = f"Prometheus does not answer: {error}"
        raise StackError(msg, fix=fix) from None
    data = answer.json if isinstance(answer.json, dict) else {}
    if answer.status != 200 or data.get("status") != "success":
        msg = f"Prometheus refuses the query ({answer.status}): {str(data.get('error', 'no reason given'))[:300]}"
        raise StackError(msg, fix=fix)
    found = [_series(raw) for raw in data["data"]["result"]]
    found.sort(key=lambda series: -max((value for _, value in series.points), default=0.0))
    return tuple(found[:MOST_SERIES])


def _series(raw: dict[str, Any]) -> Series:
    labels = {name: value for name, value in raw["metric"].items() if name != "__name__"}
    return Series(labels, tuple((float(at), float(value)) for at, value in raw["values"]))
