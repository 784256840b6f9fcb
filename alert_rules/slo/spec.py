"""The SLO file: a superset of sloth's ``prometheus/v1``, read strictly, with every problem at once."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from tocsin.errors import ConfigError, Problem
from tocsin.settings import Duration, Settings, Strict
from tocsin.settings.document import Document, read_document
from tocsin.settings.explain import explain

WINDOW = re.compile(r"\{\{\s*\.window\s*\}\}")
_RANGED = re.compile(
    r"""([a-zA-Z_:][a-zA-Z0-9_:]*\s*(?:\{(?:[^}"']|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')*\})?)\s*\[\{\{\s*\.window\s*\}\}\]"""
)
_COUNTING = re.compile(r"\b(rate|increase)\s*\(")
_PERIODS = (7, 28, 30, 90)


def _windowed(query: str) -> str:
    if not WINDOW.search(query):
        msg = "has no window; write the range as [{{.window}}]"
        raise ValueError(msg)
    return query.strip()


def _known_period(period: timedelta) -> timedelta:
    if period not in [timedelta(days=days) for days in _PERIODS]:
        msg = f"is not a period that windows are known for; write one of {', '.join(f'{days}d' for days in _PERIODS)}"
        raise ValueError(msg)
    return period


def _possible(objective: float) -> float:
    if not 0 < objective < 100:
        msg = "must lie between 0 and 100 percent; 100 leaves no budget to spend, write for example 99.9"
        raise ValueError(msg)
    return objective


Query = Annotated[str, AfterValidator(_windowed)]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Texts = dict[LabelName, Annotated[str, Field(min_length=1)]]


class Events(Strict):
    """Bad events and all events, as queries with ``{{.window}}``."""

    error_query: Query
    total_query: Query


class Sli(Strict):
    """The indicator: a ratio of events."""

    events: Events


class TierAlert(Strict):
    """Labels and annotations of one tier, or the tier switched off."""

    labels: Texts = Field(default_factory=dict)
    annotations: Texts = Field(default_factory=dict)
    disable: bool = False


class Alerting(Strict):
    """How an SLO's alerts are called and what they carry."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")] = "ErrorBudgetBurn"
    labels: Texts = Field(default_factory=dict)
    annotations: Texts = Field(default_factory=dict)
    page_alert: TierAlert = TierAlert()
    ticket_alert: TierAlert = TierAlert()


class Guard(Strict):
    """Fewest bad events in the long window that may alert; 0 switches the guard off."""

    page: int = Field(default=10, ge=0)
    ticket: int = Field(default=10, ge=0)


class Extras(Strict):
    """What sloth does not know; it ignores the block, so one file serves both."""

    period: Annotated[Duration, AfterValidator(_known_period)] = timedelta(days=30)
    guard: Guard = Guard()
    unit: Literal["rate", "increase"] | None = Field(
        default=None, description="What the queries return, where that cannot be read off them."
    )


class Slo(Strict):
    """One objective."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9_.-]*[a-zA-Z0-9])?$", max_length=63)]
    objective: Annotated[float, AfterValidator(_possible)] = Field(description="Percent of events that must be good.")
    description: str = Field(default="", max_length=1050)
    labels: Texts = Field(default_factory=dict)
    sli: Sli
    alerting: Alerting = Alerting()
    tocsin: Extras = Extras()

    @property
    def budget(self) -> Decimal:
        """The share of events that may be bad, exactly: 0.001 for an objective of 99.9 %."""
        # From the decimal text: in binary floats 100 - 99.9 is too small, and a burn on the threshold would page.
        return (100 - Decimal(repr(self.objective))) / 100

    @property
    def unit(self) -> Literal["rate", "increase"] | None:
        """Whether the queries count per second or per window; None where it cannot be told."""
        if self.tocsin.unit:
            return self.tocsin.unit
        used = {match for query in self.queries for match in _COUNTING.findall(query)}
        return {"rate": "rate", "increase": "increase"}.get(used.pop()) if len(used) == 1 else None  # type: ignore[return-value]  # the values are the literals

    @property
    def queries(self) -> tuple[str, str]:
        """The error query and the total query."""
        return self.sli.events.error_query, self.sli.events.total_query

    @property
    def watched(self) -> str | None:
        """The plain selector that all events are counted from; None when the query is not that simple."""
        found = {str(match).strip() for match in _RANGED.findall(self.sli.events.total_query)}
        return found.pop() if len(found) == 1 else None


class Spec(Strict):
    """One SLO file."""

    version: Literal["prometheus/v1"]
    service: Annotated[str, Field(pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9_.-]*[a-zA-Z0-9])?$", max_length=63)]
    labels: Texts = Field(default_factory=dict)
    slos: tuple[Slo, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Loaded:
    """The SLO files of one configuration, with warnings; errors were raised."""

    specs: tuple[tuple[Path, Spec], ...]
    warnings: tuple[Problem, ...]


def load_specs(settings: Settings) -> Loaded:
    """Read every SLO file that the settings name. Raises ConfigError with the problems of all files."""
    problems: list[Problem] = []
    specs = []
    for path in _files(settings, problems):
        try:
            specs.append((path, _read(path)))
        except ConfigError as error:
            problems += error.problems
    problems += _duplicates(specs)
    if any(problem.level == "error" for problem in problems):
        raise ConfigError(problems)
    return Loaded(tuple(specs), tuple(problems))


def _files(settings: Settings, problems: list[Problem]) -> list[Path]:
    found: dict[Path, None] = {}
    for i, pattern in enumerate(settings.slos):
        # Not pathlib's own glob: it refuses absolute patterns.
        matches = glob.glob(str(settings.home / pattern), recursive=True)  # noqa: PTH207  # as above
        paths = sorted(path for path in map(Path, matches) if path.is_file())
        if not paths:
            problems.append(
                Problem(
                    str(settings.source),
                    0,
                    f"slos[{i}]",
                    f"{pattern!r} matches no file in {settings.home}",
                    "write a path or pattern relative to the settings file",
                )
            )
        found |= dict.fromkeys(paths)
    return list(found)


def _read(path: Path) -> Spec:
    document = read_document(path, {})
    if not isinstance(document.data, dict):
        raise ConfigError([document.problem((), "must be a mapping", "start with `version: prometheus/v1`")])
    try:
        spec = Spec.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise ConfigError([*document.problems, *(explain(Spec, (), each, document) for each in details)]) from None
    problems = [*document.problems, *_unclear_units(spec, document)]
    if problems:
        raise ConfigError(problems)
    return spec


def _unclear_units(spec: Spec, document: Document) -> list[Problem]:
    return [
        document.problem(
            ("slos", i, "sli", "events"),
            "cannot tell whether the queries count per second or per window",
            "add `tocsin: {unit: rate}` or `tocsin: {unit: increase}` beside `sli`",
        )
        for i, slo in enumerate(spec.slos)
        if slo.unit is None
    ]


def _duplicates(specs: Sequence[tuple[Path, Spec]]) -> list[Problem]:
    seen: dict[tuple[str, str], Path] = {}
    problems = []
    for path, spec in specs:
        for i, slo in enumerate(spec.slos):
            first = seen.setdefault((spec.service, slo.name), path)
            if first is not path or [each.name for each in spec.slos[:i]].count(slo.name):
                problems.append(
                    Problem(
                        str(path),
                        0,
                        f"slos[{i}].name",
                        f"the SLO {slo.name!r} of service {spec.service!r} stands in {first} already",
                        "give each SLO of a service its own name",
                    )
                )
    return problems
