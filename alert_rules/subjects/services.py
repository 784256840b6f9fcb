"""Applications that speak Prometheus themselves: whether they answer, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from alert_rules import human
from alert_rules.model import Alert, Case, Expected, selector, with_cases
from tocsin import facts
from tocsin import signals as s
from tocsin.settings import Settings
from tocsin.thresholds import resolve

_MINUTE = timedelta(minutes=1)


def alerts(settings: Settings) -> tuple[Alert, ...]:
    """Return the service alerts with their cases."""
    return (_service_down(settings), _latency_high(settings))


def _service_down(settings: Settings) -> Alert:
    limit = resolve("target_down_seconds", settings)
    hold = timedelta(seconds=limit.default)
    alert = Alert(
        name="ServiceDown",
        severity="critical",
        signals=(),
        labels=("service",),
        expr=f"{facts.SERVICE_UP} == 0",
        query=selector(facts.SERVICE_UP.name, ("service",)),
        panel=("home", "services"),
        summary="Service {{ $labels.service }} does not answer its metrics page",
        description="Prometheus cannot read the service's metrics page: the process is gone, hangs, or its address "
        "changed. Its error ratio and latency are unknown since then.",
        value="no answer",
        bound="1",
        hold=hold,
        limit=limit,
    )
    at = timedelta(minutes=3) + hold
    series = f'{s.UP}{{job="apps",instance="127.0.0.1:8000",service="shop"}}'
    early = max(round(hold.total_seconds() / 15) - 1, 0)
    return with_cases(
        alert,
        Case("fires when the page has not answered", {series: "1x8 0x9999"}, at, (Expected(_shop(), "no answer"),)),
        Case("quiet after a short restart", {series: f"1x8 0x{early} 1x9999"}, at),
    )


def _latency_high(settings: Settings) -> Alert:
    fact, limit = facts.HTTP_P95, resolve("http_p95_seconds", settings)
    least = resolve("http_requests_minimum", settings).default
    alert = Alert(
        name="HttpLatencyHigh",
        severity="warning",
        signals=fact.sources,
        labels=("service",),
        expr=f"{fact} > {facts.number(limit.default)}\nand {facts.HTTP_REQUESTS_5M} >= {facts.number(least - 0.5)}",
        query=selector(fact.name, ("service",)),
        panel=("home", "latency"),
        summary="Service {{ $labels.service }} is slow: 5 of 100 requests take longer than "
        "{{ $value | humanizeDuration }}",
        description="95th percentile of the request duration over the last 5 minutes. "
        "A service with fewer requests than the minimum is not judged.",
        value="{{ $value | humanizeDuration }}",
        bound=facts.number(limit.default),
        hold=_MINUTE,
        limit=limit,
    )
    return with_cases(alert, *_latency_cases(limit.default, least))


def _latency_cases(limit: float, least: float) -> list[Case]:
    at = timedelta(minutes=10)
    over, slow = _around(limit, 1.02)
    under, _ = _around(limit, 0.98)
    few = {le: count / 1000 * max(least - 2, 0.5) / 20 for le, count in over.items()}
    fires = (Expected(_shop(), human.duration(slow) if slow >= 1 else f"{slow * 1000:.4g}ms"),)
    return [
        Case("fires when the percentile is above the limit", _requests(over), at, fires),
        Case("quiet when it is just below", _requests(under), at),
        Case("quiet when hardly anyone asks", _requests(few), at),
        Case("quiet without requests", _requests(dict.fromkeys(over, 0)), at),
    ]


def _around(limit: float, share: float) -> tuple[dict[str, float], float]:
    """Buckets with every request in the one that puts the percentile at this share of the limit, and where it is."""
    low, high = limit / 2, round(limit / 2 + limit * (share - 0.5) / 0.95, 6)
    return {f"{low:g}": 0, f"{high:g}": 1000, "+Inf": 1000}, low + 0.95 * (high - low)


def _shop() -> dict[str, str]:
    return {"service": "shop"}


def _requests(buckets: Mapping[str, float]) -> dict[str, str]:
    name, labels = s.HTTP_SERVER_DURATION.name, 'service="shop",job="apps",http_route="/"'
    series = {f'{name}_bucket{{{labels},le="{le}"}}': f"0+{count:g}x9999" for le, count in buckets.items()}
    return {**series, f"{name}_count{{{labels}}}": f"0+{buckets['+Inf']:g}x9999"}
