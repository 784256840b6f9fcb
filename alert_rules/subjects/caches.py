"""Caches: whether they help."""

from __future__ import annotations

from datetime import timedelta

from alert_rules import human
from alert_rules.model import Alert, Case, Expected, Term, bound, held, selector, with_cases
from tocsin import facts
from tocsin import signals as s
from tocsin.settings import Settings
from tocsin.thresholds import resolve


def alerts(settings: Settings) -> tuple[Alert, ...]:
    """Return the cache alerts with their cases."""
    return (_hit_ratio_low(settings),)


def _hit_ratio_low(settings: Settings) -> Alert:
    fact, limit = facts.CACHE_HITS, resolve("cache_hit_ratio", settings)
    least = resolve("cache_lookups_minimum", settings)
    alert = Alert(
        name="CacheHitRatioLow",
        severity="warning",
        signals=fact.sources,
        labels=fact.labels,
        expr=held(Term(fact, "<", limit), Term(facts.CACHE_LOOKUPS_5M, ">=", least, slack=0.5)),
        query=selector(fact.name, fact.labels),
        panel=("home", "cache-hits"),
        summary="Cache {{ $labels.target }} answers only {{ $value | humanizePercentage }} of its lookups",
        description="Share of the lookups of the last 5 minutes that hit. What misses goes to the system behind the "
        "cache. A cache with fewer lookups than the minimum is not judged.",
        value="{{ $value | humanizePercentage }}",
        bound=bound(limit),
        hold=timedelta(minutes=2),
        limit=limit,
    )
    at = timedelta(minutes=10)
    cases = []
    for target, most in [("any", limit.default), *sorted(limit.targets.items())]:
        low, right = round(most * 1000) - 1, round(most * 1000) + 1
        few = max(least.targets.get(target, least.default) / 40, 0.025)
        cases += [
            Case(
                f"fires just below {human.percent(most)}",
                _lookups(target, low, 1000 - low),
                at,
                (Expected(_cache(target), human.percent(low / 1000)),),
            ),
            Case(f"quiet just above {human.percent(most)}", _lookups(target, right, max(1000 - right, 0)), at),
            Case("quiet when nothing hits but hardly anyone asks", _lookups(target, 0, few), at),
            Case("quiet without lookups", _lookups(target, 0, 0), at),
        ]
    return with_cases(alert, *cases)


def _cache(target: str) -> dict[str, str]:
    return {"target": target, "cache_system": "redis", "role": "primary"}


def _lookups(target: str, hits: float, misses: float) -> dict[str, str]:
    labels = f'target="{target}",cache_system="redis",role="primary",job="exporter-targets",instance="{target}"'
    return {
        f'{s.CACHE_REQUESTS}{{{labels},result="hit"}}': f"0+{hits:g}x9999",
        f'{s.CACHE_REQUESTS}{{{labels},result="miss"}}': f"0+{misses:g}x9999",
    }
