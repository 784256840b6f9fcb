"""What is allowed and still worth a word: pairs that never fire, windows too short to hold samples, redundant ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Literal

from alert_rules.slo.objective import Objective
from alert_rules.slo.windows import Pair, shown, window_name
from tocsin.errors import Problem

_CLEARLY_BELOW_ONE = Decimal("0.9")


def review(objective: Objective, *, scrape: timedelta, evaluate: timedelta) -> Iterator[Problem]:
    """Return warnings and notes about the windows of one SLO."""
    source = objective.source
    # Built-in window sets are ours to answer for: their notes are information, not the owner's mistake.
    mild: Literal["warning", "info"] = "info" if objective.windows.builtin else "warning"

    def told(level: Literal["warning", "info"], message: str, fix: str) -> Problem:
        return Problem(source.file, source.line, source.path, f"{objective.name}: {message}", fix, level)

    for pair in objective.windows.pairs:
        if objective.is_off(pair):
            continue
        name, factor = _name(pair), pair.factor(objective.period)
        if not objective.can_fire(pair):
            threshold = pair.threshold(objective.period, objective.budget)
            message = (
                f"{name} can never fire and is left out: its threshold is {shown(threshold * 100)} % of all events"
            )
            yield told("warning", message, f"an objective above {_least(factor)} % makes it work")
            continue
        if pair.short < 4 * scrape or pair.short < 2 * evaluate:
            message = f"{name}: {window_name(pair.short)} holds less than four scrapes or two evaluations"
            yield told("warning", message, "write a longer short window, or scrape and evaluate more often")
        if factor < _CLEARLY_BELOW_ONE:
            message = f"{name} fires at {shown(factor)} times the allowed rate, while the budget still lasts"
            yield told(mild, message, "raise its share of the budget")
    yield from (told(mild, message, fix) for message, fix in _redundant(objective))


def _redundant(objective: Objective) -> Iterator[tuple[str, str]]:
    for tier in ("page", "ticket"):
        pairs = [pair for pair in objective.pairs if pair.tier == tier]
        for quick, slow in pairwise(pairs):
            if quick.share >= slow.share:
                message = f"{_name(quick)} fires no earlier than the {window_name(slow.long)} pair under steady traffic"
                yield message, "give the faster pair a smaller share, or switch it off with `tocsin: {tiers: ...}`"


def _name(pair: Pair) -> str:
    return f"the {pair.tier} pair {window_name(pair.long)}/{window_name(pair.short)}"


def _least(factor: Decimal) -> str:
    return shown(100 - 100 / factor)
