"""What a backtest tells: the alerts that would have been sent, and the budget over time as a chart of characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from alert_rules.slo.windows import plain
from alert_rules.slo_tools import chart
from alert_rules.slo_tools.replay import Firing, Replay, pair_name
from tocsin.settings import format_duration

_WIDTH = 72


def report(replay: Replay, *, width: int = _WIDTH) -> str:
    """Write one replay as a page of text, at most about ``width`` + 10 characters wide."""
    lines = [_title(replay), _seen(replay), ""]
    if replay.known_from is None:
        return "\n".join(lines)
    lines += [_verdict(replay.firings), *_table(replay.firings), ""]
    return "\n".join([*lines, *_budget(replay, width)])


def as_json(replay: Replay) -> dict[str, Any]:
    """Return one replay for programs: times are RFC 3339 in UTC, lengths are seconds, budgets are ratios."""
    return {
        "service": replay.objective.service,
        "slo": replay.objective.name,
        "labels": dict(replay.labels),
        "start": _moment(replay.span.start),
        "end": _moment(replay.span.end),
        "total_events": None if math.isnan(replay.total) else round(replay.total, 3),
        "bad_events": None if math.isnan(replay.bad) else round(replay.bad, 3),
        "budget_remaining": _or_none(replay.remaining[-1]),
        "alerts": [_alert(firing, replay.span.end) for firing in replay.firings],
    }


def _alert(firing: Firing, end: float) -> dict[str, Any]:
    return {
        "tier": firing.pair.tier,
        "windows": pair_name(firing.pair),
        "start": _moment(firing.start),
        "end": None if firing.end is None else _moment(firing.end),
        "seconds": round((firing.end or end) - firing.start),
        "burn_rate": round(firing.burn, 3),
        "budget_before": _or_none(firing.budget_before),
        "budget_after": _or_none(firing.budget_after),
        "joins": pair_name(firing.joins) if firing.joins else None,
    }


def _title(replay: Replay) -> str:
    objective = replay.objective
    of = "".join(f" {name}={value}" for name, value in replay.labels)
    percent = plain(objective.objective)
    return f"{objective.service} / {objective.name}{of}: {percent}% over {format_duration(objective.period)}"


def _seen(replay: Replay) -> str:
    span = f"from {_day(replay.span.start)} to {_day(replay.span.end)} UTC, every {replay.span.step:g} s"
    if replay.known_from is None:
        return f"{span}: no events are known; check the queries with `tocsin slo check`"
    late = f" (first seen {_day(replay.known_from)})" if replay.known_from > replay.span.start else ""
    share = f", {replay.bad / replay.total:.4%} bad" if replay.total > 0 else ""
    # A raw ratio has no events to count, only moments.
    counted = "" if replay.objective.indicator.mode == "raw" else f"{replay.total:,.0f} events"
    return f"{span}{late}\n{(counted + share).removeprefix(', ')}"


def _verdict(firings: Sequence[Firing]) -> str:
    told = [firing for firing in firings if firing.joins is None]
    pages = sum(firing.pair.tier == "page" for firing in told)
    more = (
        f"; {_counted(len(firings) - len(told), 'slower alert')} in the same messages"
        if len(told) < len(firings)
        else ""
    )
    return f"{_counted(pages, 'page')} and {_counted(len(told) - pages, 'ticket')} would have been sent{more}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _table(firings: Sequence[Firing]) -> list[str]:
    if not firings:
        return []
    head: tuple[str, ...] = ("", "tier", "windows", "started (UTC)", "lasted", "burn", "budget left", "")
    rows = [head, *(_row(number, firing) for number, firing in enumerate(firings, 1))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(number: int, firing: Firing) -> tuple[str, ...]:
    return (
        str(number),
        firing.pair.tier,
        pair_name(firing.pair),
        f"{_day(firing.start)}",
        "still firing" if firing.end is None else _length(firing.end - firing.start),
        f"{firing.burn:.3g}x",
        f"{_percent(firing.budget_before)} → {_percent(firing.budget_after)}",
        f"joins {pair_name(firing.joins)}" if firing.joins else "",
    )


def _budget(replay: Replay, width: int) -> list[str]:
    """Draw the budget from the first moment that anything is known of it."""
    first = next((i for i, value in enumerate(replay.remaining) if not math.isnan(value)), None)
    if first is None:
        return ["no budget is known"]
    begin = replay.span.at(first)
    columns = chart.squeeze(replay.remaining[first:], width)
    known = [value for value in columns if not math.isnan(value)]
    # A catastrophe must not flatten the rest of the month to a line.
    low = max(min(0.0, math.floor(min(known) * 4) / 4), -1.0)
    drawn = chart.area(columns, low=low, high=1.0, write=_percent)
    left = " " * chart.margin(drawn)
    marks = [left + _marks(replay, begin, len(columns))] if replay.firings else []
    return [
        "budget left over time" + (" (below: P a page, t a ticket)" if marks else ""),
        *drawn,
        *marks,
        left + _ends(begin, replay.span.end, len(columns)),
        f"budget left at the end: {_percent(replay.remaining[-1])}; lowest: {_percent(min(known))}",
    ]


def _marks(replay: Replay, begin: float, columns: int) -> str:
    marks = [" "] * columns
    whole = max(replay.span.end - begin, 1.0)
    for firing in sorted(replay.firings, key=lambda each: each.pair.tier == "page"):
        column = max(0, min(columns - 1, int((firing.start - begin) / whole * columns)))
        marks[column] = "P" if firing.pair.tier == "page" else "t"
    return "".join(marks).rstrip()


def _ends(begin: float, end: float, columns: int) -> str:
    first, last = _day(begin), _day(end)
    return f"{first}{last:>{max(columns - len(first), len(last) + 1)}}"


def _percent(ratio: float) -> str:
    return "unknown" if math.isnan(ratio) else f"{ratio:.1%}" if abs(ratio) < 10 else f"{ratio:.0%}"


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _length(seconds: float) -> str:
    minutes = round(seconds / 60)
    days, rest = divmod(minutes, 1440)
    parts = [(days, "d"), (rest // 60, "h"), (rest % 60, "min")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or f"{seconds:.0f} s"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
