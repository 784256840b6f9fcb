"""A query against a live Prometheus: which of its names do not exist, which are only not born yet.

A metric, a label or a bucket that nobody ever saw is told with the nearest real name. A label value that a metric has
not had yet, such as the first ``5..``, is information: it may come with the first failure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from alert_rules.slo_tools.names import distance, only_digits_differ, similar, slip_of
from alert_rules.slo_tools.prometheus import Prometheus
from alert_rules.slo_tools.queries import Matcher, Selector, selectors
from tocsin.errors import Problem

Role = Literal["error", "total"]
"""Which half of the ratio a query counts: bad events may not have happened yet, all events should have."""

_ON_FAILURE = re.compile(r"err|exc|fail|reason|fault")
_PLAIN_ALTERNATIVES = re.compile(r"[\w /:@,%-]+(\|[\w /:@,%-]+)*")
_OPTIONAL_ZERO = re.compile(r"\(\?:\\*\.0\)\?|\[\.\]0|\\")
_STATUS = re.compile(r"[1-5]\d\d")
_STATUSES = [str(code) for code in range(100, 600)]
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where in a file something is written."""

    file: str
    line: int
    path: str

    def problem(self, level: Literal["error", "warning", "info"], message: str, fix: str) -> Problem:
        """Make a problem that points here."""
        return Problem(self.file, self.line, self.path, message, fix, level)


@dataclass(frozen=True)
class Known:
    """What a Prometheus knows, each fact asked once."""

    prometheus: Prometheus
    _facts: dict[tuple[str, ...], object] = field(default_factory=dict)

    def metrics(self) -> list[str]:
        """Names of all metrics within the retention."""
        return self._once(("metrics",), lambda: self.prometheus.label_values("__name__"))

    def labels(self, metric: str) -> list[str]:
        """Names of the labels of a metric."""
        return self._once(("labels", metric), lambda: self.prometheus.label_names(metric))

    def values(self, metric: str, label: str) -> list[str]:
        """Values that a label of a metric has or had."""
        return self._once(("values", metric, label), lambda: self.prometheus.label_values(label, metric))

    def alive(self, selector: Selector) -> int:
        """How many series a selector has now."""
        return self._once(("alive", str(selector)), lambda: self.prometheus.count(str(selector)))

    def _once(self, key: tuple[str, ...], ask: Callable[[], T]) -> T:
        if key not in self._facts:
            self._facts[key] = ask()
        return self._facts[key]  # type: ignore[return-value]  # each key has one kind of fact


def check_query(known: Known, query: str, *, role: Role, at: Place) -> list[Problem]:
    """Return what is wrong with a query's names. Raises StackError when Prometheus does not answer."""
    return [problem for selector in selectors(query) for problem in _selector(known, selector, role, at)]


def _selector(known: Known, selector: Selector, role: Role, at: Place) -> list[Problem]:
    if not selector.metric:
        return [] if known.alive(selector) else [_nothing(selector, role, at)]
    if selector.metric not in known.metrics():
        return [_unknown_metric(known, selector.metric, role, at)]
    found = [problem for matcher in selector.matchers for problem in _matcher(known, selector, matcher, role, at)]
    if any(problem.level != "info" for problem in found) or known.alive(selector):
        return found
    if found and role == "error":
        return found
    return [*found, _nothing(selector, role, at)]


def _unknown_metric(known: Known, metric: str, role: Role, at: Place) -> Problem:
    slip = slip_of(metric, known.metrics())
    if slip:
        return at.problem("error", f"the metric {metric!r} does not exist in Prometheus", f"did you mean {slip!r}?")
    alike = similar(metric, known.metrics())
    seen = f"; the nearest names are {', '.join(alike)}" if alike else ""
    what = "its failures would never be counted" if role == "error" else "no event would be counted"
    return at.problem(
        "error", f"the metric {metric!r} does not exist in Prometheus: {what}", f"check the name, or scrape it{seen}"
    )


def _nothing(selector: Selector, role: Role, at: Place) -> Problem:
    if role == "error" and not any(matcher.label == "le" for matcher in selector.matchers):
        return at.problem(
            "info", f"no series is {selector} now: not yet born", "nothing to do if no such event has happened"
        )
    return at.problem(
        "warning",
        f"no series is {selector} now, though each name exists",
        "check that these labels stand on one series, and that its target is up",
    )


def _matcher(known: Known, selector: Selector, matcher: Matcher, role: Role, at: Place) -> list[Problem]:
    # A test that an absent label passes says nothing about the name of the label.
    if matcher.label == "__name__" or (matcher.op in ("=", "=~") and _matches(matcher, "")):
        return []
    labels = [name for name in known.labels(selector.metric) if name != "__name__"]
    if matcher.label not in labels:
        return [_unknown_label(selector, matcher, labels, role, at)]
    values = known.values(selector.metric, matcher.label)
    if matcher.label == "le":
        return _bucket(matcher, values, at)
    return _value(selector, matcher, values, role, at)


def _unknown_label(selector: Selector, matcher: Matcher, labels: Sequence[str], role: Role, at: Place) -> Problem:
    slip = slip_of(matcher.label, labels)
    what = f"{selector.metric} has no label {matcher.label!r}"
    if slip:
        return at.problem("error", what, f"did you mean {slip!r}?")
    if matcher.label == "le":
        return at.problem("error", f"{what}: it is no classic histogram", "name the `_bucket` series")
    # Attributes such as error_type exist on failures only, so not before the first one.
    if matcher.op in ("!=", "!~") or (role == "error" and _ON_FAILURE.search(matcher.label)):
        return at.problem("info", f"{what} yet: not yet born", "nothing to do if only some events carry it")
    return at.problem("error", what, f"its labels are {', '.join(labels)}")


def _bucket(matcher: Matcher, values: Sequence[str], at: Place) -> list[Problem]:
    wanted = matcher.value.split("|") if matcher.op in ("=~", "!~") else [matcher.value]
    if any(_matches(matcher, value) for value in values):
        return []
    numbers = {number: value for value in values if (number := _number(value)) is not None}
    # The generator's own pattern for both generations of Prometheus: 1(?:\.0)?
    asked = _number(_OPTIONAL_ZERO.sub("", wanted[0]))
    same = numbers.get(asked) if asked is not None else None
    what = f"there is no bucket le={matcher.value!r}"
    if same is not None:
        return [at.problem("error", f"{what}: this Prometheus writes it {same!r}", _both_spellings(same))]
    near = _nearest_bound(matcher.value, asked, numbers)
    known = ", ".join(value for _, value in sorted(numbers.items()))
    fix = f"did you mean {near!r}? " if near else ""
    return [at.problem("error", what, f"{fix}the buckets are {known}")]


def _nearest_bound(written: str, asked: float | None, numbers: Mapping[float, str]) -> str | None:
    """Return the nearest bound: as a number, or by its letters where none was written."""

    def far(item: tuple[float, str]) -> float:
        number, value = item
        return abs(number - asked) if asked is not None else distance(written, value)

    return min(numbers.items(), key=far)[1] if numbers else None


def _both_spellings(value: str) -> str:
    whole = value.removesuffix(".0")
    return f'write le=~"{whole}|{whole}[.]0", which matches before and after Prometheus 3'


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _value(selector: Selector, matcher: Matcher, values: Sequence[str], role: Role, at: Place) -> list[Problem]:
    out = []
    for part in _parts(matcher):
        if part in values or (matcher.op in ("=~", "!~") and any(_full(part, value) for value in values)):
            continue
        slip = slip_of(part, values)
        what = f"{selector.metric} has no series with {matcher.label}={part!r}"
        never = _never(part, values)
        if slip and not only_digits_differ(part, slip):
            out.append(at.problem("warning", what, f"did you mean {slip!r}?"))
        elif never:
            out.append(at.problem("warning", f"{what}, and can have none: {never}", _listed(values)))
        elif role == "total" and matcher.op == "=" and part:
            out.append(at.problem("warning", f"{what}: no event is counted", _listed(values)))
        elif matcher.op in ("=", "=~") and part and not _some_other_matches(matcher, values):
            out.append(at.problem("info", f"{what}: not yet born", f"nothing to do if it may come; {_listed(values)}"))
    return out


def _parts(matcher: Matcher) -> list[str]:
    """A test's plain alternatives, each judged alone; the whole pattern where it has none."""
    plain = matcher.op in ("=~", "!~") and _PLAIN_ALTERNATIVES.fullmatch(matcher.value) is not None
    return matcher.value.split("|") if plain else [matcher.value]


def _never(part: str, values: Sequence[str]) -> str:
    """Say why no status can ever look so; empty when one can, or when the values are no status codes."""
    if not part or not values or not all(_STATUS.fullmatch(value) for value in values):
        return ""
    return "" if any(_full(part, code) for code in _STATUSES) else "the values are status codes of three digits"


def _some_other_matches(matcher: Matcher, values: Sequence[str]) -> bool:
    return any(_matches(matcher, value) for value in values)


def _matches(matcher: Matcher, value: str) -> bool:
    return matcher.value == value if matcher.op in ("=", "!=") else _full(matcher.value, value)


def _full(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:
        # RE2 takes patterns that Python does not; what cannot be judged is no finding.
        return True


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(values[:8])
    return f"it has had {shown}" + (f" and {len(values) - 8} more" if len(values) > 8 else "")
