"""Circuit breakers: open for a moment is their work, open for long is a dependency that is away."""

from __future__ import annotations

import math
from datetime import timedelta

from alert_rules import human
from alert_rules.model import Alert, Case, Expected, Term, bound, held, selector, with_cases
from tocsin import facts
from tocsin import signals as s
from tocsin.settings import Settings
from tocsin.thresholds import resolve


def alerts(settings: Settings) -> tuple[Alert, ...]:
    """Return the breaker alerts with their cases."""
    return (_open_too_long(settings),)


def _open_too_long(settings: Settings) -> Alert:
    fact, limit = facts.BREAKER_OPEN, resolve("breaker_open_seconds", settings)
    alert = Alert(
        name="BreakerOpenTooLong",
        severity="critical",
        signals=fact.sources,
        labels=fact.labels,
        expr=held(Term(fact, ">", limit)),
        query=selector(fact.name, fact.labels),
        panel=("home", "breakers"),
        summary="Breaker {{ $labels.breaker }} of {{ $labels.service }} has been open "
        "for {{ $value | humanizeDuration }}",
        description="The breaker has not been closed since then: calls to what it protects are refused or only probed. "
        "The dependency has not come back by itself.",
        value="{{ $value | humanizeDuration }}",
        bound=bound(limit),
        limit=limit,
    )
    cases = []
    for target, most in [("any", limit.default), *sorted(limit.targets.items())]:
        now = math.ceil((most + 60) / 15) * 15
        at = timedelta(seconds=now)
        fires = (Expected(_breaker(target), human.duration(most + 1)),)
        cases += [
            Case("fires one second too late", _opened(target, "open", now - most - 1), at, fires),
            Case("fires through half-open probes", _opened(target, "half_open", now - most - 1), at, fires),
            Case("quiet at exactly the limit", _opened(target, "open", now - most), at),
            Case("quiet while closed", _opened(target, "closed", None), at),
            Case("quiet when somebody disabled the breaker", _opened(target, "disabled", now - most - 1), at),
        ]
    return with_cases(alert, *cases)


def _breaker(target: str) -> dict[str, str]:
    return {"target": target, "breaker": "payments", "service": "shop"}


def _opened(target: str, state: str, since: float | None) -> dict[str, str]:
    labels = f'target="{target}",breaker="payments",service="shop",job="exporter-targets",instance="{target}"'
    series = {
        f'{s.BREAKER_STATE}{{{labels},state="{each}"}}': f"{int(each == state)}x9999" for each in s.BREAKER_STATES
    }
    if since is not None:
        series[f"{s.BREAKER_OPENED}{{{labels}}}"] = f"{since:g}x9999"
    return series
