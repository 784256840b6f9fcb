"""One SLO on one page, in plain words: what is promised, what may go wrong, who is told when."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from alert_rules.slo.objective import Objective
from alert_rules.slo.windows import Pair, plain, shown, window_name
from alert_rules.slo_tools import chart
from alert_rules.slo_tools.gate import Budget, span, verdict

_WIDTH = 78
_COLUMNS = 57
_DECADES = 3


def page(objective: Objective, budget: Budget | None = None) -> str:
    """Write the page; ``budget`` is what Prometheus knows now, None leaves it out."""
    parts = [_title(objective), _promise(objective), _counted(objective)]
    if budget is not None:
        parts.append("NOW\n" + _wrapped(verdict(budget, 0.0)))
    parts += [_alerts(objective), _drawing(objective), _silence(objective)]
    return "\n\n".join(parts) + "\n"


def _title(objective: Objective) -> str:
    title = f"{objective.service} / {objective.name}"
    about = f"\n{_wrapped(objective.description)}" if objective.description else ""
    return f"{title}\n{'=' * len(title)}{about}"


def _promise(objective: Objective) -> str:
    budget, days = objective.budget, Decimal(objective.period.days)
    minutes = float(budget * days * 1440)
    events = 1 / budget
    text = (
        f"{plain(objective.objective)}% of events are good over {window_name(objective.period)}, at any time looking "
        f"back. So {shown(budget * 100)}% may be bad, about one in {events:,.0f}: the error budget. As a total outage "
        f"under steady traffic it lasts {_minutes(minutes)}; at ten times the allowed rate, {span(float(days) / 10)}."
    )
    return "THE PROMISE\n" + _wrapped(text)


def _counted(objective: Objective) -> str:
    indicator = objective.indicator
    lines = ["WHAT IS COUNTED"]
    if indicator.mode == "events":
        lines += [f"  bad    {_one_line(indicator.error)}", f"  all    {_one_line(indicator.total or '')}"]
        note = "Bad and all events are added up apart and divided last, so a busy hour weighs more than a quiet one."
    elif indicator.mode == "weighted":
        lines += [f"  ratio  {_one_line(indicator.error)}", f"  all    {_one_line(indicator.total or '')}"]
        note = "The ratio is weighed by the traffic of its moment."
    else:
        lines += [f"  ratio  {_one_line(indicator.error)}"]
        note = (
            "A ratio has no totals: its budget is a mean over time, in which a quiet hour weighs as much as a busy one."
        )
    if indicator.group_by:
        note += f" Each {' and '.join(indicator.group_by)} is judged for itself."
    if objective.maintenance:
        note += f" What happens while `{_one_line(objective.maintenance)}` is above 0 counts for nothing."
    return "\n".join([*lines, _wrapped(note)])


def _alerts(objective: Objective) -> str:
    lines = ["WHO IS TOLD WHEN"]
    if not objective.pairs:
        return "\n".join([*lines, _wrapped("Nobody: every pair is switched off, or can never fire.")])
    rows = [("tier", "windows", "more bad than", "that is", "spent by then", "total outage: after")]
    rows += [_row(objective, pair) for pair in objective.pairs]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines += ["  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    note = (
        "Both windows must be above: the long one shows that it matters, the short one that it still goes on, so an "
        f"alert ends about {window_name(objective.pairs[0].short)} after the trouble does."
    )
    return "\n".join([*lines, _wrapped(note)])


def _row(objective: Objective, pair: Pair) -> tuple[str, str, str, str, str, str]:
    threshold = pair.threshold(objective.period, objective.budget)
    return (
        pair.tier,
        f"{window_name(pair.long)} and {window_name(pair.short)}",
        f"{shown(threshold * 100)}%",
        f"{shown(pair.factor(objective.period))}x allowed",
        f"{shown(pair.share * 100)}% of budget",
        _minutes(float(threshold) * pair.long.total_seconds() / 60),
    )


def first_told(objective: Objective, ratio: float) -> tuple[float, Pair] | None:
    """Return after how many minutes at a steady error ratio (0 to 1) which pair fires first; None when none does."""
    found = []
    for pair in objective.pairs:
        threshold = float(pair.threshold(objective.period, objective.budget))
        if ratio > threshold:
            # Each window has to fill up with errors to its threshold; the long one takes longer.
            found.append((threshold / ratio * pair.long.total_seconds() / 60, pair))
    return min(found, key=lambda each: each[0], default=None)


def _drawing(objective: Objective) -> str:
    """Minutes to the first alert over the error ratio, both on scales of powers of ten."""
    ratios = [10 ** (-_DECADES * (1 - column / (_COLUMNS - 1))) for column in range(_COLUMNS)]
    told = [first_told(objective, ratio) for ratio in ratios]
    heights = [math.nan if each is None else math.log10(max(each[0], 0.1)) for each in told]
    known = [height for height in heights if not math.isnan(height)]
    if not known:
        return "HOW SOON\n" + _wrapped("No rate of failures from 0.1% up raises an alert.")
    low, high = math.floor(min(known)), math.ceil(max(known))
    drawn = chart.area(
        heights, low=low, high=max(high, low + 1), rows=6, write=lambda height: _minutes(float(f"{10**height:.2g}"))
    )
    left = " " * chart.margin(drawn)
    tiers = "".join(" " if each is None else "P" if each[1].tier == "page" else "t" for each in told)
    scale = "".join(f"{label:<{_COLUMNS // _DECADES}}" for label in ("0.1%", "1%", "10%")) + "100%"
    return "\n".join(
        [
            "HOW SOON (from a steady share of bad events, to the first alert)",
            *drawn,
            f"{left}{tiers}   P page, t ticket",
            f"{left}{scale} bad",
        ]
    )


def _silence(objective: Objective) -> str:
    lines = list(_silences(objective))
    return "WHAT STAYS QUIET, AND WHAT DOES NOT\n" + "\n".join(_wrapped(line, bullet="- ") for line in lines)


def _silences(objective: Objective) -> Iterator[str]:
    tiers: dict[int, list[str]] = {}
    for pair in objective.pairs:
        named = tiers.setdefault(objective.least(pair), [])
        if pair.tier not in named:
            named.append(pair.tier)
    for least, named in tiers.items():
        if least:
            yield (
                f"No {' or '.join(named)} before {least} bad events stand in its long window, so one failure at night "
                "wakes nobody. A total outage at low traffic is told later, not never: when every event of a day "
                "is bad, the guard steps aside."
            )
    yield "No traffic spends nothing. A missing indicator is not silence: SLIAbsent says so within 10 minutes."
    yield "When all of the budget is spent, ErrorBudgetExhausted says so, and `tocsin slo gate` stops releases."
    for pair in objective.windows.pairs:
        if not objective.is_off(pair) and not objective.can_fire(pair):
            yield f"The pair {window_name(pair.long)}/{window_name(pair.short)} is left out: it could never fire."


def _minutes(minutes: float) -> str:
    if minutes < 2:
        return f"{minutes * 60:.3g} s"
    if minutes < 120:
        return f"{minutes:.3g} min"
    length = timedelta(minutes=minutes)
    return f"{minutes / 60:.3g} h" if length < timedelta(days=2) else f"{minutes / 1440:.3g} d"


def _one_line(query: str) -> str:
    return " ".join(query.split())


def _wrapped(text: str, *, bullet: str = "") -> str:
    return textwrap.fill(
        " ".join(text.split()), _WIDTH, initial_indent=f"  {bullet}", subsequent_indent="  " + " " * len(bullet)
    )
