"""OpenSLO v1 as types: what its own validator refuses is refused here, and unknown keys too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasGenerator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from alert_rules.slo.spec import Number

Operator = Literal["gt", "lt", "gte", "lte"]
DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Description = Annotated[str, Field(max_length=1050)]
Shorthand = Annotated[str, Field(pattern=r"^[0-9]+[mhdwMQY]$")]
LabelKey = Annotated[str, Field(pattern=r"^[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$")]
AnnotationKey = Annotated[
    str,
    Field(
        pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?"
        r"[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$"
    ),
]


def _many(value: Any) -> Any:  # noqa: ANN401  # a text or a list of texts, as written
    return [value] if isinstance(value, str) else value


class Open(BaseModel):
    """Base of every OpenSLO type: frozen, camelCase keys, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=AliasGenerator(validation_alias=to_camel, serialization_alias=to_camel, alias=to_camel),
    )


class Metadata(Open):
    """Name and labels of an object."""

    name: DnsLabel
    display_name: Annotated[str, Field(max_length=63)] = ""
    labels: dict[LabelKey, Annotated[tuple[str, ...], BeforeValidator(_many)]] = Field(default_factory=dict)
    annotations: dict[AnnotationKey, str] = Field(default_factory=dict)


class MetricSource(Open):
    """Where a metric comes from, and its query."""

    metric_source_ref: DnsLabel | None = None
    type: str = ""
    spec: Annotated[dict[str, Any], Field(min_length=1)]


class Metric(Open):
    """One metric."""

    metric_source: MetricSource


class Ratio(Open):
    """Good or bad events and all events, or a ratio that exists already."""

    counter: bool = False
    good: Metric | None = None
    bad: Metric | None = None
    total: Metric | None = None
    raw: Metric | None = None
    raw_type: Literal["success", "failure"] | None = None


class SliSpec(Open):
    """An indicator."""

    description: Description = ""
    threshold_metric: Metric | None = None
    ratio_metric: Ratio | None = None


class Indicator(Open):
    """An indicator written where it is used."""

    metadata: Metadata
    spec: SliSpec


class Calendar(Open):
    """A window that starts on a date."""

    start_time: str
    time_zone: str


class TimeWindow(Open):
    """The period of the budget."""

    duration: Shorthand
    is_rolling: bool = False
    calendar: Calendar | None = None


class Objective(Open):
    """One target of an SLO."""

    display_name: str = ""
    op: Operator | None = None
    value: Number | None = None
    target: Number | None = None
    target_percent: Number | None = None
    time_slice_target: Number | None = None
    time_slice_window: Shorthand | None = None
    indicator: Indicator | None = None
    indicator_ref: DnsLabel | None = None
    composite_weight: Number | None = None


class Condition(Open):
    """When a policy alerts."""

    kind: Literal["burnrate"]
    op: Operator
    threshold: Number
    lookback_window: Shorthand
    alert_after: Shorthand | None = None


class ConditionSpec(Open):
    """A condition and how bad it is."""

    description: Description = ""
    severity: Annotated[str, Field(min_length=1)]
    condition: Condition


class ConditionUse(Open):
    """A condition by reference, or written where it is used."""

    condition_ref: DnsLabel | None = None
    kind: Literal["AlertCondition"] | None = None
    metadata: Metadata | None = None
    spec: ConditionSpec | None = None


class TargetSpec(Open):
    """Who is told."""

    description: Description = ""
    target: Annotated[str, Field(min_length=1)]


class TargetUse(Open):
    """A notification target by reference, or written where it is used."""

    target_ref: DnsLabel | None = None
    kind: Literal["AlertNotificationTarget"] | None = None
    metadata: Metadata | None = None
    spec: TargetSpec | None = None


class PolicySpec(Open):
    """What alerts, and whom it tells."""

    description: Description = ""
    alert_when_no_data: bool = False
    alert_when_breaching: bool = False
    alert_when_resolved: bool = False
    conditions: Annotated[tuple[ConditionUse, ...], Field(min_length=1, max_length=1)]
    notification_targets: Annotated[tuple[TargetUse, ...], Field(min_length=1)]


class PolicyUse(Open):
    """A policy by reference, or written where it is used."""

    alert_policy_ref: DnsLabel | None = None
    kind: Literal["AlertPolicy"] | None = None
    metadata: Metadata | None = None
    spec: PolicySpec | None = None


class SloSpec(Open):
    """An SLO."""

    description: Description = ""
    service: Annotated[str, Field(min_length=1)]
    indicator: Indicator | None = None
    indicator_ref: DnsLabel | None = None
    budgeting_method: Literal["Occurrences", "Timeslices", "RatioTimeslices"]
    time_window: Annotated[tuple[TimeWindow, ...], Field(min_length=1, max_length=1)]
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1)]
    alert_policies: tuple[PolicyUse, ...] = ()


class DataSourceSpec(Open):
    """A system that metrics are read from."""

    description: Description = ""
    type: Annotated[str, Field(min_length=1)]
    connection_details: Any


class ServiceSpec(Open):
    """A service."""

    description: Description = ""


class Slo(Open):
    """An SLO document."""

    api_version: Literal["openslo/v1"]
    kind: Literal["SLO"]
    metadata: Metadata
    spec: SloSpec


class Sli(Open):
    """An SLI document."""

    api_version: Literal["openslo/v1"]
    kind: Literal["SLI"]
    metadata: Metadata
    spec: SliSpec


class DataSource(Open):
    """A DataSource document."""

    api_version: Literal["openslo/v1"]
    kind: Literal["DataSource"]
    metadata: Metadata
    spec: DataSourceSpec


class Service(Open):
    """A Service document."""

    api_version: Literal["openslo/v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()


class AlertPolicy(Open):
    """An AlertPolicy document."""

    api_version: Literal["openslo/v1"]
    kind: Literal["AlertPolicy"]
    metadata: Metadata
    spec: PolicySpec


class AlertCondition(Open):
    """An AlertCondition document."""

    api_version: Literal["openslo/v1"]
    kind: Literal["AlertCondition"]
    metadata: Metadata
    spec: ConditionSpec


class AlertNotificationTarget(Open):
    """An AlertNotificationTarget document."""

    api_version: Literal["openslo/v1"]
    kind: Literal["AlertNotificationTarget"]
    metadata: Metadata
    spec: TargetSpec


Document = Slo | Sli | DataSource | Service | AlertPolicy | AlertCondition | AlertNotificationTarget

KINDS: dict[str, type[Document]] = {
    "SLO": Slo,
    "SLI": Sli,
    "DataSource": DataSource,
    "Service": Service,
    "AlertPolicy": AlertPolicy,
    "AlertCondition": AlertCondition,
    "AlertNotificationTarget": AlertNotificationTarget,
}
