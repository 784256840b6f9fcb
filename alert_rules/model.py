"""What a rule is before it is written: an alert with everything its page will say, and the cases that prove it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tocsin import facts
from tocsin.facts import Fact
from tocsin.settings import Settings, Severity
from tocsin.signals import Signal
from tocsin.thresholds import Resolved

NO_HOLD = timedelta()
DEFAULT_STEP = timedelta(seconds=15)


@dataclass(frozen=True)
class Expected:
    """One alert that must fire: its labels beside ``alertname`` and ``severity``, and its value as people read it.

    ``alert`` names the rule where several share an alert's name; None is the rule that the case belongs to.
    """

    labels: Mapping[str, str]
    value: str
    alert: Alert | None = None


@dataclass(frozen=True)
class Case:
    """One promtool case: series from time zero every ``step``, a moment, and the alerts that fire then.

    No expected alert: the rule must be quiet; None: only ``samples`` are looked at, expressions with the value that
    each must have then. ``x9999`` in a series means "until after the moment".
    """

    name: str
    series: Mapping[str, str]
    at: timedelta
    expected: tuple[Expected, ...] | None = ()
    samples: Mapping[str, float] = field(default_factory=dict)
    step: timedelta = DEFAULT_STEP


@dataclass(frozen=True)
class Alert:
    """One alerting rule. Texts are Prometheus templates; ``value`` is the one place that formats ``$value``.

    ``signals`` are the ones without which the rule is not loaded; ``labels`` identify the thing that is in trouble;
    ``panel`` is (board, key); ``query`` is the fact or expression to graph; ``bound`` is the line drawn on it.
    ``extra`` are further labels, ``notes`` further annotations; both win over the built-in ones.
    """

    name: str
    severity: Severity
    signals: tuple[Signal, ...]
    labels: tuple[str, ...]
    expr: str
    query: str
    panel: tuple[str, str]
    summary: str
    description: str
    value: str
    bound: str
    hold: timedelta = NO_HOLD
    limit: Resolved | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    explained_by: str = ""
    cases: tuple[Case, ...] = ()

    @property
    def runbook(self) -> str:
        """The name of the page that explains the alert: its own, unless it is one of a kind."""
        return self.explained_by or self.name


@dataclass(frozen=True)
class Recording:
    """One recording rule."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """One rule group: recording rules before the alerts that read them. ``interval`` None is the global one."""

    name: str
    recordings: tuple[Recording, ...] = ()
    alerts: tuple[Alert, ...] = ()
    interval: timedelta | None = None


@dataclass(frozen=True)
class Context:
    """What builders need: the settings, and which facts this configuration can record."""

    settings: Settings
    produced: frozenset[str]

    def has(self, signals: tuple[Signal, ...]) -> bool:
        """Say whether every signal has a producer."""
        return all(signal.name in self.produced for signal in signals)


def selector(query: str, labels: tuple[str, ...]) -> str:
    """Narrow a series name to the alert's own labels, by template; ``%q`` escapes what a name may contain."""
    matchers = ",".join(f'{label}={{{{ printf "%q" $labels.{label} }}}}' for label in labels)
    return f"{query}{{{matchers}}}" if matchers else query


@dataclass(frozen=True)
class Term:
    """One comparison of a condition; ``slack`` is taken off the limit."""

    fact: Fact
    operator: facts.Operator
    limit: Resolved
    slack: float = 0


def held(*terms: Term) -> str:
    """All terms at once, kept while the target cannot be read: a queue whose broker just died has not got better.

    The last known values count for 15 minutes at most, and only while the target is known to be unreadable.
    """
    # Not the recorded series: groups run at their own moments, and one moment in between would end the page.
    now = _all(terms, "%s")
    last = _all(terms, "last_over_time(%s[15m])")
    return f"{now}\nor (\n{_indent(last)}\n) and on (target) (\n{_indent(facts.TARGET_READABLE.expr)}\n) == 0"


def _all(terms: tuple[Term, ...], shape: str) -> str:
    conditions = [
        facts.against(shape % f"{term.fact}%s", term.operator, term.limit, slack=term.slack) for term in terms
    ]
    return conditions[0] if len(terms) == 1 else "\nand ".join(f"(\n{_indent(each)}\n)" for each in conditions)


def text_by_target(limit: Resolved, write: Mapping[float, str]) -> str:
    """Choose a text by the target's limit inside a template; plain text when there are no overrides."""
    out = write[limit.default]
    for target, value in sorted(limit.targets.items(), reverse=True):
        out = f'{{{{ if eq $labels.target "{target}" }}}}{write[value]}{{{{ else }}}}{out}{{{{ end }}}}'
    return out


def bound(limit: Resolved) -> str:
    """The number that the graph draws as a line, by target."""
    return text_by_target(limit, {value: facts.number(value) for value in (limit.default, *limit.targets.values())})


def with_cases(alert: Alert, *cases: Case) -> Alert:
    """Return the alert with its promtool cases."""
    return replace(alert, cases=cases)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
