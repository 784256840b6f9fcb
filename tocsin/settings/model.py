"""The types that ``tocsin.yaml`` is parsed into. Frozen; defaults stand here and nowhere else.

Sources, notifiers and thresholds are unknown here: their tables (name → settings type) are handed to
``tocsin.settings.load`` by the command line, so that the kernel depends on none of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

_DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB)")
_SIZE_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_duration(value: object) -> timedelta:
    """Read ``15s``, ``1h30m`` or ``250ms``; a bare number is refused because its unit is a guess."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str) and value and _DURATION.sub("", value) == "":
        return timedelta(seconds=sum(int(n) * _UNIT_SECONDS[unit] for n, unit in _DURATION.findall(value)))
    msg = f"{value!r} is not a duration; write a number with a unit: 250ms, 15s, 5m, 1h30m, 7d"
    raise ValueError(msg)


def format_duration(value: timedelta) -> str:
    """Write a duration the way Prometheus does, in the largest unit that divides it: ``90s`` → ``1m30s``."""
    left = round(value.total_seconds() * 1000)
    if left == 0:
        return "0s"
    out = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        if count:
            out.append(f"{count}{unit}")
    return "".join(out)


def parse_size(value: object) -> int:
    """Read ``10GB`` into bytes (decimal units, as Prometheus' own flag takes them)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return round(float(match[1]) * _SIZE_BYTES[match[2]])
    msg = f"{value!r} is not a size; write a number with a unit: 500MB, 10GB"
    raise ValueError(msg)


def _without_credentials(value: str) -> str:
    # The value itself never goes into the message: it may hold the password that it is refused for.
    if "@" in value.partition("://")[2].partition("/")[0] and ":" in value.partition("://")[2].partition("@")[0]:
        msg = "an address must not hold a password; put it into password_file and keep only user@host in the address"
        raise ValueError(msg)
    return value


def _http_base(value: str) -> str:
    if "@" in value:
        msg = "an http address must not hold credentials; leave out the part before the @"
        raise ValueError(msg)
    if not re.fullmatch(r"https?://[^/@\s?#]+(/[^@\s?#]*)?", value):
        msg = f"{value!r} is not an http address; write for example http://127.0.0.1:8088"
        raise ValueError(msg)
    return value.rstrip("/")


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(ms|s|m|h|d|w))+$", "examples": ["15s", "5m", "1h30m"]}),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*(B|KB|MB|GB|TB)$", "examples": ["10GB"]}),
]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$", examples=["orders"])]
HttpBase = Annotated[str, AfterValidator(_http_base)]
TargetUrl = Annotated[str, AfterValidator(_without_credentials)]
"""An address of any scheme that may name a user but never a password."""
Port = Annotated[int, Field(ge=1, le=65535)]
Severity = Literal["critical", "warning", "info"]


class Strict(BaseModel):
    """Base of every settings type: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class TargetSettings(Strict):
    """What every watched target has. Each source subclasses this with its own ``kind`` and keys."""

    name: Name = Field(
        description="The target's name: label `target` on every series, and the only name that /probe takes."
    )
    kind: str = Field(description="The kind of system; one of the source table.")


class DestinationSettings(Strict):
    """What every destination has. Each notifier subclasses this with its own ``kind`` and keys."""

    kind: str = Field(description="The kind of destination; one of the notifier table.")


class ScrapeEndpoint(Strict):
    """An application that speaks Prometheus already: scraped as it is, without an exporter."""

    name: Name = Field(description="Becomes the label `service` on every series.")
    url: HttpBase = Field(description="The metrics page, for example http://127.0.0.1:8000/metrics.")


class Fallback(Strict):
    """Where a page goes when the first destinations have not taken it."""

    after: Duration = Field(description="How long a page may be undelivered before this step.")
    to: tuple[str, ...] = Field(min_length=1, description="Names of destinations.")


class Match(Strict):
    """Label tests of a route: all must hold. Empty matches everything."""

    severity: Severity | None = None
    alertname: str | None = None
    target: str | None = None
    service: str | None = None

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Say whether every written test equals the label of that name."""
        return all(labels.get(key) == value for key, value in self.model_dump(exclude_none=True).items())


class Route(Strict):
    """One routing line; the first that matches a group wins. The inbox gets every group in any case."""

    match: Match = Field(default=Match(), description="Label tests, all of which must hold; empty matches everything.")
    to: tuple[str, ...] = Field(description="Names of destinations, told at once.")
    fallback: tuple[Fallback, ...] = Field(default=(), description="Who is told next when nobody of `to` has taken it.")


class ThresholdOverride(Strict):
    """A threshold that differs from the built-in number, for all targets or for some."""

    default: float | None = None
    targets: dict[str, float] = {}


class Intervals(Strict):
    """How often things happen."""

    scrape: Duration = Field(default=timedelta(seconds=15), description="Between two reads of a target.")
    evaluate: Duration = Field(default=timedelta(seconds=15), description="Between two evaluations of the rules.")
    group_wait: Duration = Field(
        default=timedelta(seconds=10), description="How long the first alert of a group waits for others to join it."
    )
    group_interval: Duration = Field(
        default=timedelta(minutes=1), description="Between two messages about changes in one group."
    )
    repeat: Duration = Field(default=timedelta(hours=4), description="Reminder while a group goes on firing.")


class MetricsRetention(Strict):
    """Prometheus keeps at most this long and at most this much, whichever ends first."""

    days: int = Field(default=15, ge=1, description="Kept for this many days …")
    size: Size = Field(default=10 * 10**9, description="… and never more than this, such as 10GB.")


class DaysRetention(Strict):
    """Kept for this many days."""

    days: int = Field(default=15, ge=1, description="Kept for this many days.")


class Retention(Strict):
    """One knob per telemetry type."""

    metrics: MetricsRetention = MetricsRetention()
    logs: DaysRetention = DaysRetention(days=15)
    traces: DaysRetention = DaysRetention(days=7)
    ledger: DaysRetention = DaysRetention(days=90)


class Ports(Strict):
    """Loopback ports of the native stack, away from the programs' usual ones so that nothing running is touched."""

    router: Port = 8088
    exporter: Port = 8089
    prometheus: Port = 18090
    alertmanager: Port = 18093
    node_exporter: Port = 18100
    grafana: Port = 18030
    loki: Port = 18031
    tempo: Port = 18032
    tempo_otlp: Port = 18033
    collector_grpc: Port = 18043
    collector_http: Port = 18044
    collector_health: Port = 18045
    collector_metrics: Port = 18046
    loki_grpc: Port = 18047
    tempo_grpc: Port = 18048
    demo_api: Port = 18080
    demo_worker: Port = 18081
    demo_redis: Port = 18079
    demo_cache: Port = 18078


class Settings(Strict):
    """The whole of ``tocsin.yaml``, validated."""

    schema_version: Literal[1] = Field(alias="schema", description="The format of this file; 1.")
    profile: Literal["standard", "demo"] = Field(
        default="standard",
        description="`demo` also starts the demo platform and takes the `for` off the queue-near-capacity rule.",
    )
    external_url: HttpBase = Field(
        default="http://127.0.0.1:8088",
        description="Where people reach the router's pages; every link in every message starts with it.",
    )
    grafana_url: HttpBase | None = Field(
        default=None,
        description="Where people reach Grafana; without it panel links lead to the router's own graphs.",
    )
    targets: tuple[TargetSettings, ...] = Field(default=(), description="The systems that the exporter reads.")
    scrape: tuple[ScrapeEndpoint, ...] = Field(default=(), description="Applications that speak Prometheus already.")
    thresholds: dict[str, ThresholdOverride] = Field(
        default={}, description="Numbers that differ from the built-in ones, by name (docs/reference/alerts.md)."
    )
    destinations: dict[Name, DestinationSettings] = Field(
        default={}, description="Where pages can go, by name; the inbox is always there."
    )
    routes: tuple[Route, ...] = Field(default=(), description="Who is told what; the first that matches a group wins.")
    intervals: Intervals = Field(default=Intervals(), description="How often things happen.")
    retention: Retention = Field(default=Retention(), description="How long things are kept.")
    slos: tuple[str, ...] = Field(default=(), description="Globs of SLO files, relative to this file.")
    ports: Ports = Field(default=Ports(), description="Loopback ports of the native stack.")
    # Filled by load(), not written in the file.
    source: Path = Field(default=Path("tocsin.yaml"), exclude=True, repr=False)
    home: Path = Field(default_factory=Path.cwd, exclude=True, repr=False)

    @property
    def data_dir(self) -> Path:
        """The stack's one data directory."""
        return self.home / ".tocsin"
