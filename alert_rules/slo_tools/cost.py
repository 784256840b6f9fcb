"""What an SLO's rules read: samples per evaluation, beside reading every window from the source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from alert_rules.slo.objective import Objective
from alert_rules.slo.recording import LONG_INTERVAL, PERIOD_INTERVAL, from_source, windows_of
from alert_rules.slo_tools.queries import selectors


@dataclass(frozen=True)
class Cost:
    """Samples that one evaluation reads on average. ``series`` are source series, of both queries together."""

    series: int
    samples: float
    raw: float
    """If every window but the period were read from the source at every evaluation."""

    @property
    def ratio(self) -> float:
        """How many times less is read."""
        return self.raw / self.samples


def selectors_read(objective: Objective) -> list[str]:
    """Return the source selectors that one evaluation reads, one for each time it is read."""
    indicator = objective.indicator
    queries = [indicator.error] + ([indicator.total] if indicator.total else [])
    # The unborn error series is 0 times the total: that reads the total twice.
    if indicator.mode == "events" and indicator.unborn_is_zero and indicator.total:
        queries.append(indicator.total)
    return [str(each) for query in queries for each in selectors(query)]


def estimate(objective: Objective, series: int, *, scrape: timedelta, evaluate: timedelta) -> Cost:
    """Estimate from the number of source series that the queries read, each counted as often as it is read."""
    windows = windows_of(objective)
    source = [window for window in windows if from_source(objective, window)]
    summed = [window for window in windows if not from_source(objective, window)]
    raw = series * sum(window / scrape for window in windows)
    direct = series * sum(window / scrape for window in source)
    # Two recorded series, copied once a minute; the slower groups run less often than every evaluation.
    minute = max(LONG_INTERVAL, evaluate)
    long = 2 * sum(window / LONG_INTERVAL for window in summed) * (evaluate / minute)
    period = 2 * (objective.period / LONG_INTERVAL) * (evaluate / max(PERIOD_INTERVAL, evaluate))
    return Cost(series, direct + long + period, raw)


def told(cost: Cost, *, measured: bool) -> str:
    """Write the estimate as one sentence."""
    of = f"{cost.series:,} source series" if measured else f"{cost.series} source series (each more adds its share)"
    return (
        f"with {of}, one evaluation reads about {cost.samples:,.0f} samples; with every window read from the source "
        f"it would be {cost.raw:,.0f}, {cost.ratio:.3g} times as many"
    )
