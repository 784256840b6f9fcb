"""The native SLO file as types: sloth's ``prometheus/v1``, plus what it lacks in one block ``tocsin`` per SLO."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from alert_rules.slo.promql import WINDOW, Unit, fill, parse_problem
from tocsin.settings import Duration, Severity, Strict

FIRST_GUARD = 10
"""Fewest bad events in the long window that may alert, unless the spec says otherwise."""


def _query(text: str) -> str:
    if not text.strip():
        msg = "is empty; write a PromQL query with the range [{{.window}}]"
        raise ValueError(msg)
    if not WINDOW.search(text):
        msg = "has no window; write the range as [{{.window}}]"
        raise ValueError(msg)
    return _promql(text)


def _promql(text: str) -> str:
    if problem := parse_problem(fill(text, "5m")):
        msg = f"is not a query that Prometheus takes: {problem.replace(';', ',')}; try it in Prometheus' own query page"
        raise ValueError(msg)
    return text.strip()


def decimal_of(value: object) -> Decimal:
    """Read a number from its text, exactly. Raises ValueError."""
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or isinstance(value, bool):
        msg = f"{value!r} is not a number; write for example 99.9"
        raise ValueError(msg)
    return number


def _possible(objective: Decimal) -> Decimal:
    if objective == 100:
        msg = "an objective of 100 leaves no budget to spend; write for example 99.9 or 99.99"
        raise ValueError(msg)
    if not 0 < objective < 100:
        msg = "must lie between 0 and 100 percent; write for example 99.9"
        raise ValueError(msg)
    return objective


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        msg = "must be more than 0; write for example 0.5"
        raise ValueError(msg)
    return value


def _labels(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if name == "__name__" or name.startswith("__"):
            msg = f"the label {name!r} is Prometheus' own; write another name"
            raise ValueError(msg)
    return value


def _guard(value: Any) -> Any:  # noqa: ANN401  # one number or a mapping, as written
    return {"page": value, "ticket": value} if isinstance(value, int) and not isinstance(value, bool) else value


_NAME = r"^[A-Za-z0-9][-A-Za-z0-9_.]*[A-Za-z0-9]$"
Name = Annotated[str, Field(pattern=_NAME)]
AlertName = Annotated[str, Field(min_length=1)]
Query = Annotated[str, AfterValidator(_query)]
Expression = Annotated[str, AfterValidator(_promql)]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Texts = dict[LabelName, Annotated[str, Field(min_length=1)]]
Labels = Annotated[Texts, AfterValidator(_labels)]
Number = Annotated[Decimal, BeforeValidator(decimal_of)]
Percent = Annotated[Number, AfterValidator(_possible)]
Positive = Annotated[Number, AfterValidator(_positive)]


class Events(Strict):
    """Bad events and all events, as queries with ``{{.window}}``."""

    error_query: Query = Field(description="Counts bad events over [{{.window}}].")
    total_query: Query = Field(description="Counts all events over [{{.window}}].")


class Raw(Strict):
    """An indicator that is a ratio already. It has no totals, so its budget can only be a mean over time."""

    error_ratio_query: Query = Field(description="The ratio of bad events, 0 to 1, over [{{.window}}].")


class Sli(Strict):
    """The indicator: exactly one of the two."""

    events: Events | None = None
    raw: Raw | None = None


class TierAlert(Strict):
    """Labels and annotations of one tier, or the tier switched off."""

    labels: Labels = Field(default_factory=dict)
    annotations: Texts = Field(default_factory=dict)
    disable: bool = False


class Alerting(Strict):
    """How an SLO's alerts are called and what they carry."""

    name: AlertName = "ErrorBudgetBurn"
    labels: Labels = Field(default_factory=dict)
    annotations: Texts = Field(default_factory=dict)
    page_alert: TierAlert = TierAlert()
    ticket_alert: TierAlert = TierAlert()


class Guard(Strict):
    """Fewest bad events in the long window that may alert; 0 switches the guard off."""

    page: int = Field(default=FIRST_GUARD, ge=0)
    ticket: int = Field(default=FIRST_GUARD, ge=0)


class Absent(Strict):
    """The alert for an indicator without any sample."""

    disable: bool = False
    severity: Severity = "critical"


class Latency(Strict):
    """Requests slower than a threshold are bad; the queries are written from the histogram's name."""

    metric: Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")] = Field(
        description="The histogram, without _bucket or _count."
    )
    threshold: Positive = Field(description="Seconds; for a classic histogram one of its bucket bounds.")
    matchers: str = Field(default="", description='Label matchers, such as job="api",method!="OPTIONS".')
    native: bool = Field(default=False, description="A native histogram has no buckets to name.")


class TierTuning(Strict):
    """The severity of one tier, and its pairs one by one."""

    severity: Severity | None = None
    quick: bool = True
    slow: bool = True


class Tiers(Strict):
    """Both tiers."""

    page: TierTuning = TierTuning()
    ticket: TierTuning = TierTuning()


class Extras(Strict):
    """What sloth does not know; it ignores the block, so one file serves both."""

    period: Duration | None = Field(default=None, description="What the budget is for: 7d, 28d, 30d or 90d.")
    shares: tuple[Positive, Positive, Positive, Positive] | None = Field(
        default=None, description="Percent of the budget that each pair may spend, the fastest first."
    )
    guard: Annotated[Guard, BeforeValidator(_guard)] = Guard()
    absent: Absent = Absent()
    unit: Unit | None = Field(default=None, description="What the queries return, where that cannot be read off them.")
    group_by: tuple[LabelName, ...] = Field(default=(), description="Labels by which alerts are kept apart.")
    latency: Latency | None = None
    total_query: Query | None = Field(default=None, description="Weighs a raw ratio by traffic.")
    maintenance: Expression | None = Field(
        default=None, description="A query that is above 0 while planned work goes on, which then counts for nothing."
    )
    tiers: Tiers = Tiers()


class Slo(Strict):
    """One objective."""

    name: Name
    objective: Percent = Field(description="Percent of events that must be good.")
    description: str = Field(default="", max_length=1050)
    labels: Labels = Field(default_factory=dict)
    sli: Sli = Sli()
    alerting: Alerting = Alerting()
    tocsin: Extras = Extras()


class Spec(Strict):
    """One SLO document."""

    version: Literal["prometheus/v1"]
    service: Name
    labels: Labels = Field(default_factory=dict)
    slos: tuple[Slo, ...] = Field(min_length=1)
