"""PromQL for tests: parsed by promql-parser, the second opinion beside promtool."""

from __future__ import annotations

import promql_parser
from promql_parser import MatrixSelector, VectorSelector

from tocsin import facts, signals


def parse_error(expr: str) -> str | None:
    """Say what is wrong with an expression; None when it parses."""
    try:
        promql_parser.parse(expr)
    except ValueError as error:
        return f"{error}: {expr}"
    return None


def selectors(expr: str) -> list[VectorSelector]:
    """Return every vector selector of an expression, those inside ranges and functions included."""
    found: list[VectorSelector] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, MatrixSelector):
            found.append(node.vector_selector)
            return True
        if isinstance(node, VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expr), visit)
    return found


def metrics(expr: str) -> set[str]:
    """Return the names of all series that an expression reads."""
    return {selector.name or "" for selector in selectors(expr)}


def known_series() -> dict[str, set[str] | None]:
    """Return every series name that rules and boards may read, with its labels; None where labels are not fixed.

    Every scraped series also has ``job`` and ``instance``; those of a target have ``target``.
    """
    out: dict[str, set[str] | None] = {}
    for name, signal in signals.all_signals().items():
        labels = {*signal.labels, "target", "job", "instance"}
        if signal.kind == "histogram":
            out |= {f"{name}_count": labels, f"{name}_sum": labels, f"{name}_bucket": labels | {"le"}}
        else:
            out[name] = labels
    out |= {name: set(fact.labels) for name, fact in facts.all_facts().items()}
    out[facts.THRESHOLD_SERIES] = {"threshold", "target"}
    out |= dict.fromkeys(facts.SLO_SERIES, None)
    # Alerts carry whatever the alert carries; `up` carries the labels of discovery.
    return out | {"ALERTS": None, "up": None}
