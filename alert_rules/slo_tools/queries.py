"""What a query reads: its selectors with their matchers, taken from the parsed expression."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_WINDOW = re.compile(r"\{\{\s*\.window\s*\}\}")
_OPERATORS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


@dataclass(frozen=True)
class Matcher:
    """One label test of a selector; ``op`` is ``=``, ``!=``, ``=~`` or ``!~``."""

    label: str
    op: str
    value: str

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.op}"{escaped}"'


@dataclass(frozen=True)
class Selector:
    """One series selector; ``seconds`` is its range, 0 without one. Matchers on ``__name__`` are in ``metric``."""

    metric: str
    matchers: tuple[Matcher, ...]
    seconds: float = 0.0

    def __str__(self) -> str:
        inner = ",".join(map(str, self.matchers))
        return f"{self.metric}{{{inner}}}" if inner else self.metric


def with_window(query: str, window: str) -> str:
    """Write a window into a query in place of ``{{.window}}``."""
    return _WINDOW.sub(window, query)


def parse_error(query: str) -> str | None:
    """Say why a query (its window filled in) is not PromQL; None when it is."""
    import promql_parser  # noqa: PLC0415  # a compiled library that only these tools need

    try:
        promql_parser.parse(with_window(query, "5m"))
    except ValueError as error:
        return str(error)
    return None


def selectors(query: str, window: str = "5m") -> list[Selector]:
    """Return every selector of a query, each once; empty when it does not parse or names no metric."""
    import promql_parser  # noqa: PLC0415  # as above

    found: dict[Selector, None] = {}

    def visit(node: Any) -> bool:  # noqa: ANN401  # the library's nodes share no useful type
        if isinstance(node, promql_parser.MatrixSelector):
            found.update(dict.fromkeys(_selectors(node.vector_selector, node.range.total_seconds())))
        elif isinstance(node, promql_parser.VectorSelector):
            found.update(dict.fromkeys(_selectors(node, 0.0)))
        return True

    try:
        promql_parser.walk(promql_parser.parse(with_window(query, window)), visit)
    except ValueError:
        return []
    # The walk also visits the selector inside each range.
    ranged = {(each.metric, each.matchers) for each in found if each.seconds}
    return [each for each in found if each.seconds or (each.metric, each.matchers) not in ranged]


def _selectors(node: Any, seconds: float) -> list[Selector]:  # noqa: ANN401  # as above
    groups: Sequence[Any] = node.matchers.or_matchers or [node.matchers.matchers]
    out = []
    for group in groups:
        written = [Matcher(m.name, _OPERATORS[str(m.op).rpartition(".")[2]], m.value) for m in group]
        named = [m.value for m in written if m.label == "__name__" and m.op == "="]
        metric = node.name or (named[0] if named else "")
        kept = tuple(m for m in written if not (m.label == "__name__" and m.op == "="))
        out.append(Selector(metric, kept, seconds))
    return out
