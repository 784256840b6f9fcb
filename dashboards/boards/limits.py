"""What tiles and lines take from the alerts' thresholds."""

from __future__ import annotations

from dashboards.kit import Query
from dashboards.kit.panels import Scale, Unit, limited
from tocsin import facts
from tocsin.facts import Fact
from tocsin.settings import Settings
from tocsin.thresholds import Resolved, resolve


def worst(fact: Fact, name: str, settings: Settings, *, unit: Unit, where: str) -> tuple[Query, Scale]:
    """The worst value of a fact and its colours by the alert's threshold.

    Where a target has a threshold of its own, one colour step cannot be right for all: the tile then shows the value
    as a share of its limit, and turns red at 100 %.
    """
    limit = resolve(name, settings)
    if not limit.targets:
        return Query(f"max({fact}{{{where}}})", "worst"), limited(unit, limit.default)
    shares = facts.against(fact, "/", limit, where=where)
    return Query(f"max(\n{shares}\n)", "worst, share of its limit"), limited("percentunit", 1)


def crossed(fact: Fact, operator: facts.Operator, limit: Resolved, *, where: str, all_of: Fact) -> str:
    """Count what is beyond its limit: 0 when all is well, nothing when nothing is known."""
    return f"count(\n{facts.against(fact, operator, limit, where=where)}\n)\nor 0 * count({all_of}{{{where}}})"


def line(name: str) -> Query:
    """The threshold as its own series, so that each target's line is where its alert is."""
    matchers = f'threshold="{name}",target=~"$target|"'
    return Query(f"{facts.THRESHOLD_SERIES}{{{matchers}}}", "limit {{target}}")


def single_line(name: str) -> Query:
    """The threshold of something that is no target: one line."""
    return Query(f'{facts.THRESHOLD_SERIES}{{threshold="{name}",target=""}}', "limit")
