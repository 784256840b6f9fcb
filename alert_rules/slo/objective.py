"""One SLO, checked and complete: all that rules, tests and commands need, whatever file format it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from alert_rules.slo.promql import Unit
from alert_rules.slo.spec import Absent, Alerting, Guard, TierTuning
from alert_rules.slo.windows import Pair, WindowSet, window_name

Mode = Literal["events", "raw", "weighted"]
Naming = Literal["tocsin", "sloth"]


@dataclass(frozen=True)
class Source:
    """Where an SLO was written: the file as it was named, the line, and the key path of the SLO in it."""

    file: str
    line: int
    path: str


@dataclass(frozen=True)
class Indicator:
    """What is counted. ``error`` and ``total`` hold ``{{.window}}``.

    ``events``: bad and all events. ``raw``: ``error`` is a ratio and there is no total. ``weighted``: a ratio and a
    total. ``watched`` is the plain selector that all events are counted from, None where the query is not that
    simple. ``unborn_is_zero`` is False where a missing error series is a fault, such as a missing bucket.
    """

    mode: Mode
    error: str
    total: str | None
    unit: Unit
    watched: str | None
    unborn_is_zero: bool = True
    group_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Objective:
    """One SLO. ``objective`` is in percent; ``budget`` is the share of events that may be bad."""

    service: str
    name: str
    objective: Decimal
    indicator: Indicator
    windows: WindowSet
    source: Source
    description: str = ""
    owner_labels: Mapping[str, str] = field(default_factory=dict)
    alerting: Alerting = field(default_factory=Alerting)
    guard: Guard = field(default_factory=Guard)
    absent: Absent = field(default_factory=Absent)
    maintenance: str | None = None
    tiers: Mapping[str, TierTuning] = field(default_factory=dict)

    @property
    def budget(self) -> Decimal:
        """The share of events that may be bad, exactly: 0.001 for an objective of 99.9 %."""
        # From the decimal text: in binary floats 100 - 99.9 is too small, and a burn on the threshold would page.
        return (100 - self.objective) / 100

    @property
    def period(self) -> timedelta:
        """The time the budget is for."""
        return self.windows.period

    @property
    def labels(self) -> dict[str, str]:
        """Identity first and fixed; the owner's labels beside it never replace it."""
        return {**self.owner_labels, "slo": self.name, "service": self.service}

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs that alert: those that can fire and are not switched off."""
        return tuple(pair for pair in self.windows.pairs if self.can_fire(pair) and not self.is_off(pair))

    def can_fire(self, pair: Pair) -> bool:
        """Say whether a total outage exceeds the pair's threshold; at 1 or more nothing ever does."""
        return pair.threshold(self.period, self.budget) < 1

    def is_off(self, pair: Pair) -> bool:
        """Say whether the spec switched the pair or its tier off."""
        alert = self.alerting.page_alert if pair.tier == "page" else self.alerting.ticket_alert
        tuning = self.tiers.get(pair.tier, TierTuning())
        quick = pair == next(each for each in self.windows.pairs if each.tier == pair.tier)
        return alert.disable or not (tuning.quick if quick else tuning.slow)

    def least(self, pair: Pair) -> int:
        """Return the fewest bad events in the pair's long window that may alert; 0 without a guard."""
        if self.indicator.mode == "raw":
            return 0
        return self.guard.page if pair.tier == "page" else self.guard.ticket

    def series(self, name: str, window: timedelta | None = None) -> str:
        """Select one recorded series of this SLO."""
        chosen = f',window="{window_name(window)}"' if window else ""
        return f'{name}{{slo="{self.name}",service="{self.service}"{chosen}}}'
