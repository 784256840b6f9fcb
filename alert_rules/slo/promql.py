"""What can be read off a query: whether it parses, what it counts, by which labels, and from which series."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import promql_parser

WINDOW = re.compile(r"\{\{\s*\.window\s*\}\}")
Unit = Literal["rate", "increase"]

_NEWER = frozenset(
    (
        "sort_by_label",
        "sort_by_label_desc",
        "mad_over_time",
        "histogram_avg",
        "histogram_stddev",
        "histogram_stdvar",
        "info",
        "first_over_time",
        "double_exponential_smoothing",
        "max_of",
        "min_of",
        "histogram_quantiles",
        "ts_of_max_over_time",
        "ts_of_min_over_time",
        "ts_of_last_over_time",
        "ts_of_first_over_time",
        "limitk",
        "limit_ratio",
        "start",
        "end",
        "step",
        "range",
    )
)
"""Functions and aggregations that Prometheus 2.42 does not know."""


@dataclass(frozen=True)
class Query:
    """One query, parsed. ``by`` is None when the result may be several series whose labels are unknown."""

    text: str
    units: frozenset[Unit]
    by: tuple[str, ...] | None
    watched: str | None
    difference: bool


def fill(query: str, window: str) -> str:
    """Write a window into a query."""
    return WINDOW.sub(window, query)


def parse_problem(expr: str) -> str | None:
    """Say why Prometheus 2.42 or 3 would refuse an expression; None when both take it."""
    import promql_parser  # noqa: PLC0415  # a compiled module that only SLO files need

    try:
        tree = promql_parser.parse(expr)
    except ValueError as error:
        return str(error)
    newer = sorted(name for name in _called(tree) if name in _NEWER)
    if newer:
        return f"{newer[0]}() is unknown to Prometheus 2.42"
    if any(selector.name is None and not _named(selector) for selector in selectors(expr)):
        return "a selector without a metric name"
    kind = type(tree).__name__
    if kind in ("MatrixSelector", "StringLiteral"):
        return "is a range or a text, not a number per series"
    return None


def _named(selector: promql_parser.VectorSelector) -> bool:
    return any(matcher.name == "__name__" for matcher in selector.matchers.matchers)


def selectors(expr: str) -> list[promql_parser.VectorSelector]:
    """Return every series selector of a valid expression, those inside ranges included."""
    import promql_parser as p  # noqa: PLC0415  # as above

    found: list[promql_parser.VectorSelector] = []

    def visit(node: Any) -> bool:  # noqa: ANN401  # the parser's nodes share no base that has fields
        if isinstance(node, p.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, p.VectorSelector):
            found.append(node)
        return True

    p.walk(p.parse(expr), visit)
    return found


_OPERATORS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


def matchers(selector: promql_parser.VectorSelector) -> tuple[tuple[str, str, str], ...]:
    """Return a selector's label tests as name, operator and value."""
    return tuple((m.name, _OPERATORS[str(m.op).rpartition(".")[2]], m.value) for m in selector.matchers.matchers)


def written(selector: promql_parser.VectorSelector) -> str:
    """Write a selector; the parser's own text forgets to escape backslashes."""

    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    inner = ",".join(f'{name}{op}"{quoted(value)}"' for name, op, value in matchers(selector))
    return f"{selector.name or ''}{{{inner}}}" if inner else str(selector.name or "")


def _called(tree: promql_parser.Expr) -> set[str]:
    import promql_parser as p  # noqa: PLC0415  # as above

    names: set[str] = set()

    def visit(node: Any) -> bool:  # noqa: ANN401  # as above
        if isinstance(node, p.Call):
            names.add(str(node.func.name))
        elif isinstance(node, p.AggregateExpr):
            names.add(str(node.op))
        return True

    p.walk(tree, visit)
    return names


def read(query: str) -> Query:
    """Read a query whose window has been checked and that parses."""
    import promql_parser as p  # noqa: PLC0415  # as above

    expr = fill(query, "5m")
    tree = _bare(p.parse(expr))
    units: set[Unit] = set()
    for name in _called(tree) & {"rate", "irate", "increase"}:
        units.add("increase" if name == "increase" else "rate")
    names = {written(selector) for selector in selectors(expr)}
    plain = names.pop() if len(names) == 1 and not re.search(r"\boffset\b|@", expr) else None
    difference = isinstance(tree, p.BinaryExpr) and str(tree.op) == "-"
    return Query(query, frozenset(units), _grouping(tree), plain, difference)


def _bare(node: Any) -> Any:  # noqa: ANN401  # as above
    import promql_parser as p  # noqa: PLC0415  # as above

    while isinstance(node, p.ParenExpr):
        node = node.expr
    return node


def _grouping(node: Any) -> tuple[str, ...] | None:  # noqa: ANN401, PLR0911  # as above; one line per kind of node
    """Return the labels that a result can carry: empty for a single series, None when it cannot be told."""
    import promql_parser as p  # noqa: PLC0415  # as above

    node = _bare(node)
    if isinstance(node, p.AggregateExpr):
        if str(node.op) in ("topk", "bottomk", "count_values"):
            return None
        if node.modifier is None:
            return ()
        return tuple(sorted(node.modifier.labels)) if node.modifier.type == p.AggModifierType.By else None
    if isinstance(node, p.NumberLiteral):
        return ()
    if isinstance(node, p.UnaryExpr):
        return _grouping(node.expr)
    if isinstance(node, p.BinaryExpr):
        return _of_both(node)
    if isinstance(node, p.Call):
        if node.func.name in ("vector", "scalar", "time", "absent"):
            return ()
        inner = [each for each in node.args if not isinstance(each, (p.NumberLiteral, p.StringLiteral))]
        single = not isinstance(inner[0], p.MatrixSelector) if len(inner) == 1 else False
        return _grouping(inner[0]) if single else None
    return None


def _of_both(node: promql_parser.BinaryExpr) -> tuple[str, ...] | None:
    import promql_parser as p  # noqa: PLC0415  # as above

    sides = [side for side in (node.lhs, node.rhs) if not isinstance(_bare(side), p.NumberLiteral)]
    kinds = {_grouping(side) for side in sides}
    if len(kinds) == 1:
        return kinds.pop()
    matching = node.modifier
    if matching is not None and None not in kinds:
        return max((kind for kind in kinds if kind is not None), key=len)
    return None
