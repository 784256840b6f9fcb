"""The release gate: whether an SLO has budget left to spend on a risk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alert_rules.slo_tools.prometheus import Labels, Prometheus
from tocsin import facts

_IDENTITY = ("slo", "service")


@dataclass(frozen=True)
class Budget:
    """What Prometheus knows of one SLO's budget; ``remaining`` is NaN when it knows nothing."""

    service: str
    slo: str
    remaining: float
    """1 is all of it, 0 nothing, below 0 overspent. The lowest, where an SLO is kept by group."""
    burn: float = math.nan
    """How many times faster than allowed it is being spent now."""
    days: float = math.nan
    """Days of the period."""

    @property
    def days_left(self) -> float:
        """Days until nothing is left at the rate of now: 0 when spent, infinite when nothing burns, NaN if unknown."""
        if math.isnan(self.remaining) or self.remaining <= 0:
            return self.remaining if math.isnan(self.remaining) else 0.0
        if not self.burn > 0:
            return math.nan if math.isnan(self.burn) else math.inf
        return self.remaining * self.days / self.burn

    def allows(self, least: float) -> bool:
        """Say whether more than ``least`` of the budget is left; not knowing is no."""
        return self.remaining > least


def budgets(prometheus: Prometheus, wanted: Iterable[tuple[str, str]] | None = None) -> list[Budget]:
    """Return the budget of each wanted (service, slo), or of all that Prometheus has. Raises StackError."""
    found = {
        name: _by_slo(prometheus.instant(name))
        for name in (str(facts.SLO_REMAINING), str(facts.SLO_BURN), str(facts.SLO_PERIOD))
    }
    remaining, burn, days = found.values()
    keys = sorted(remaining) if wanted is None else list(dict.fromkeys(wanted))
    return [
        Budget(
            service,
            slo,
            min(remaining.get((service, slo), [math.nan])),
            max(burn.get((service, slo), [math.nan])),
            max(days.get((service, slo), [math.nan])),
        )
        for service, slo in keys
    ]


def _by_slo(values: dict[Labels, float]) -> dict[tuple[str, str], list[float]]:
    out: dict[tuple[str, str], list[float]] = {}
    for labels, value in values.items():
        of = dict(labels)
        if all(name in of for name in _IDENTITY) and not math.isnan(value):
            out.setdefault((of["service"], of["slo"]), []).append(value)
    return out


def verdict(budget: Budget, least: float) -> str:
    """Write one line about one SLO: what is left, how fast it goes, and what that means for a release."""
    name = f"{budget.service} / {budget.slo}"
    if math.isnan(budget.remaining):
        return f"STOP  {name}: nothing is known of its budget; are its rules loaded, and is its indicator there?"
    word = "go  " if budget.allows(least) else "STOP"
    parts = [f"{budget.remaining:.1%} of the budget left"]
    if not math.isnan(budget.burn):
        parts.append(f"burning at {budget.burn:.3g} times the allowed rate")
    if 0 < budget.days_left < math.inf:
        parts.append(f"gone in {span(budget.days_left)} at that rate")
    return f"{word}  {name}: {', '.join(parts)}"


def span(days: float) -> str:
    """Write a time given in days as people say it."""
    for size, unit in ((1.0, "days"), (1 / 24, "hours"), (1 / 1440, "minutes")):
        if days >= 2 * size:
            return f"{days / size:.3g} {unit}"
    return f"{days * 1440:.2g} minutes"


def spent(found: Sequence[Budget], least: float) -> list[Budget]:
    """Return those that stop a release."""
    return [budget for budget in found if not budget.allows(least)]
