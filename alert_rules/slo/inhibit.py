"""Inhibition: a page silences the ticket of its SLO, and a faster pair the slower ones of its tier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from alert_rules.slo.objective import Objective
from alert_rules.slo.windows import Pair, window_name

# Only burn alerts carry all of these: a label `tier` of somebody else's alerts must never be matched.
_BURNS = ('burn_rate!=""', 'slo!=""', 'service!=""')


def inhibit_rules(objectives: Iterable[Objective]) -> list[dict[str, Any]]:
    """Return Alertmanager's ``inhibit_rules`` for a set of SLOs, without names: old Alertmanagers refuse those."""
    each = list(objectives)
    groups = sorted({label for objective in each for label in objective.indicator.group_by})
    # A label that neither alert has counts as equal, so one list serves grouped and plain SLOs alike.
    equal = list(dict.fromkeys(("slo", "service", *groups)))
    rules = [_rule(('tier="page"',), ('tier="ticket"',), equal)]
    seen: dict[tuple[Pair, Pair], None] = {}
    for objective in each:
        for quick, slow in _ordered(objective.pairs):
            seen.setdefault((quick, slow))
    return rules + [_rule(_matchers(quick), _matchers(slow), equal) for quick, slow in seen]


def _ordered(pairs: Sequence[Pair]) -> Iterable[tuple[Pair, Pair]]:
    for i, quick in enumerate(pairs):
        for slow in pairs[i + 1 :]:
            if quick.tier == slow.tier:
                yield quick, slow


def _matchers(pair: Pair) -> tuple[str, ...]:
    return f'tier="{pair.tier}"', f'window_long="{window_name(pair.long)}"', f'window_short="{window_name(pair.short)}"'


def _rule(source: Sequence[str], target: Sequence[str], equal: list[str]) -> dict[str, Any]:
    return {
        "source_matchers": [*source, *_BURNS],
        "target_matchers": [*target, *_BURNS],
        "equal": list(equal),
    }
