"""Series that make a query see known traffic: real counters where the query is simple, recorded counts elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Any, Literal

from alert_rules.slo import promql
from alert_rules.slo.objective import Objective
from alert_rules.slo.proof.exact import Segment, counted, within
from alert_rules.slo.proof.scenarios import Scenario

Kind = Literal["good", "bad", "total"]


@dataclass(frozen=True)
class Feed:
    """Which series stand for which events. Without any, recorded counts are fed instead."""

    counters: tuple[tuple[str, Kind], ...]
    recorded: tuple[tuple[str, str, int], ...] = ()
    groups: tuple[tuple[str, str], ...] = ()


def feed_of(objective: Objective, raw_windows: Sequence[int]) -> Feed:
    """Choose the series for one SLO. ``raw_windows`` are the recorded windows, in minutes, that read the source."""
    groups = tuple((name, f"a-{name}") for name in objective.indicator.group_by)
    counters = _counters(objective, dict(groups)) if objective.indicator.mode == "events" else None
    if counters:
        return Feed(counters, groups=tuple((name, _value(counters[0][0], name) or value) for name, value in groups))
    labels = {"slo": objective.name, "service": objective.service, **objective.owner_labels, **dict(groups)}
    recorded = []
    for window in raw_windows:
        shown = _label_set({**labels, "window": _span(window)})
        recorded += [
            (f"slo:bad_events:increase{shown}", "bad", window),
            (f"slo:total_events:increase{shown}", "total", window),
        ]
    # Not the source as well: rules would then record the same series a second time.
    return Feed((), tuple(recorded), groups)


def input_series(feed: Feed, scenario: Scenario, *, ratio: bool) -> dict[str, str]:
    """Return promtool's input series, one sample a minute. ``ratio``: recorded counts are ratios over 1."""
    out: dict[str, str] = {}
    last = scenario.minutes if scenario.gone is None else scenario.gone
    for series, kind in feed.counters:
        out[series] = _counter(scenario, kind, last)
    for series, what, window in feed.recorded:
        out[series] = _recorded(scenario.traffic, last, window, what, ratio=ratio)
    return {series: f"{values} stale" if scenario.gone is not None else values for series, values in out.items()}


def _edges(traffic: Sequence[Segment]) -> list[int]:
    return list(accumulate((segment.minutes for segment in traffic), initial=0))


def _recorded(traffic: Sequence[Segment], last: int, window: int, what: str, *, ratio: bool) -> str:
    """Write the counts that a rule would have recorded: they bend where the traffic does, and a window later."""

    def value(at: int) -> Fraction | None:
        bad, total = within(traffic, at, window)
        if ratio:
            return None if not total else bad / total if what == "bad" else Fraction(1)
        return bad if what == "bad" else total

    # The first minute has no window yet, and the quotient of two counts bends everywhere within one.
    edges = {edge + late for edge in _edges(traffic) for late in (0, window)} | {1}
    if ratio:
        edges |= {edge + late for edge in _edges(traffic) for late in range(window)}
    return encode(value, sorted(edges), last)


def _counter(scenario: Scenario, kind: Kind, last: int) -> str:
    edges = _edges(scenario.traffic)
    born = next((at for at, each in zip(edges, scenario.traffic, strict=False) if each.bad), last + 1)

    def total_of(at: int) -> Fraction:
        bad, total = counted(scenario.traffic, at)
        return {"good": total - bad, "bad": bad, "total": total}[kind]

    def value(at: int) -> Fraction | None:
        if kind == "bad" and scenario.unborn and at < born:
            return None
        return total_of(at) - total_of(max((reset for reset in scenario.resets if reset <= at), default=0))

    return encode(value, sorted({*edges, *scenario.resets}), last)


def encode(value: Callable[[int], Fraction | None], edges: Sequence[int], last: int) -> str:
    """Write one sample a minute in promtool's notation, for values that grow evenly between the edges."""
    parts: list[str] = []
    starts = [edge for edge in edges if edge <= last]
    for start, following in zip(starts, [*starts[1:], last + 1], strict=True):
        count, first = following - start, value(start)
        if first is None:
            parts.append(f"_x{count}")
            continue
        second = value(start + 1) if count > 1 else first
        grows = (second if second is not None else first) - first
        parts.append(f"{_number(first)}{'-' if grows < 0 else '+'}{_number(abs(grows))}x{count - 1}")
    return " ".join(parts)


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else repr(float(value))


def _counters(objective: Objective, groups: dict[str, str]) -> tuple[tuple[str, Kind], ...] | None:
    """Return the counters that both queries see, where they are simple enough to tell."""
    indicator = objective.indicator
    assert indicator.total is not None
    whole, parts = _simple(_parsed(indicator.total)), _parts(_parsed(indicator.error))
    if whole is None or parts is None:
        return None
    plus, minus = parts
    part = plus if minus is None else minus
    counted: Kind = "bad" if minus is None else "good"
    others: Kind = "good" if minus is None else "bad"
    if minus is not None and str(plus) != str(whole):
        return None
    if part.name != whole.name:
        return _pair((_series(whole, groups, ()), "total"), (_series(part, groups, ()), counted))
    rest = _series(whole, groups, _matchers(part), none_of=True)
    return _pair((rest, others), (_series(whole, groups, _matchers(part)), counted))


def _parsed(query: str) -> Any:  # noqa: ANN401  # the parser's nodes share no base that has fields
    import promql_parser as p  # noqa: PLC0415  # a compiled module that only SLO files need

    return p.parse(promql.fill(query, "5m"))


def _pair(*series: tuple[str | None, Kind]) -> tuple[tuple[str, Kind], ...] | None:
    found = tuple((name, kind) for name, kind in series if name is not None)
    return found if len(found) == len(series) else None


def _simple(node: Any) -> Any:  # noqa: ANN401  # the parser's nodes share no base that has fields
    """Return the selector of ``sum(rate(selector[w]))``; None for anything else."""
    import promql_parser as p  # noqa: PLC0415  # a compiled module that only SLO files need

    node = _inner(node)
    if isinstance(node, p.AggregateExpr) and str(node.op) == "sum":
        node = _inner(node.expr)
    if not isinstance(node, p.Call) or node.func.name not in ("rate", "increase"):
        return None
    matrix = node.args[0]
    if not isinstance(matrix, p.MatrixSelector) or re.search(r"\boffset\b|@", str(matrix)):
        return None
    return matrix.vector_selector


def _inner(node: Any) -> Any:  # noqa: ANN401  # as above
    import promql_parser as p  # noqa: PLC0415  # as above

    while isinstance(node, p.ParenExpr):
        node = node.expr
    return node


def _parts(node: Any) -> tuple[Any, Any] | None:  # noqa: ANN401  # as above
    """Return what an error query adds and what it takes away; None where it is neither."""
    import promql_parser as p  # noqa: PLC0415  # as above

    node = _inner(node)
    if not isinstance(node, p.BinaryExpr):
        simple = _simple(node)
        return (simple, None) if simple is not None else None
    if str(node.op) != "-":
        return None
    right = _inner(node.rhs)
    if isinstance(right, p.BinaryExpr) and str(right.op) == "or":
        right = _inner(right.lhs)
    plus, minus = _simple(node.lhs), _simple(right)
    return (plus, minus) if plus is not None and minus is not None else None


Test = tuple[str, str, str]


def _matchers(selector: Any) -> tuple[Test, ...]:  # noqa: ANN401  # as above
    return promql.matchers(selector)


def _holds(test: Test, value: str) -> bool:
    _, op, wanted = test
    same = value == wanted if op in ("=", "!=") else re.fullmatch(wanted, value) is not None
    return same if op in ("=", "=~") else not same


def _series(selector: Any, groups: dict[str, str], more: tuple[Test, ...], *, none_of: bool = False) -> str | None:  # noqa: ANN401  # as above
    """Write a series that a selector takes, and that all further tests take as well, or with ``none_of`` not all."""
    tests = _matchers(selector)
    extra = [test for test in more if test not in tests]
    choices = [extra] if not none_of else [[(name, _NOT[op], value)] for name, op, value in extra]
    for chosen in choices:
        labels = dict(groups)
        wanted = [*tests, *chosen]
        for name in dict.fromkeys(test[0] for test in wanted):
            mine = [test for test in wanted if test[0] == name]
            value = next((each for each in _candidates(mine) if all(_holds(test, each) for test in mine)), None)
            if value is None:
                break
            labels[name] = value
        else:
            return f"{selector.name}{_label_set({name: value for name, value in labels.items() if value})}"
    return None


_NOT = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}


def _candidates(tests: Sequence[Test]) -> Iterable[str]:
    for _, op, value in tests:
        if op == "=":
            yield value
        if op == "=~":
            for choice in re.split(r"\|", re.sub(r"^\(|\)$", "", value)):
                bare = re.sub(r"\(\?:[^)]*\)\?", "", choice).replace(".+", "x").replace(".*", "x")
                yield re.sub(r"\\(.)", r"\1", bare).strip("()^$")
                yield bare.strip("()^$").replace("..", "00").replace(".", "0")
                yield re.sub(r"\[(.)[^\]]*\]", r"\1", bare).strip("()^$").replace(".", "0")
                yield re.sub(r"\\d|\[(.)[^\]]*\]", "5", re.sub(r"\{\d+(,\d*)?\}|\+|\*", "", bare)).strip("()^$")
    yield from ("other", "200", "x", "")


def _label_set(labels: dict[str, str]) -> str:
    inner = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _value(series: str, label: str) -> str | None:
    found = re.search(rf'[{{,]{label}="([^"]*)"', series)
    return found[1] if found else None


def _span(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    return f"{hours}h" * bool(hours) + f"{rest}m" * bool(rest)
