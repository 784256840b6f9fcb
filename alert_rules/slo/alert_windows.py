"""sloth's AlertWindows files: the four pairs of one period, as the owner wants them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasGenerator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from alert_rules.slo.document import read_documents
from alert_rules.slo.spec import Positive
from alert_rules.slo.windows import Pair, Tier, WindowSet, window_name
from tocsin.errors import Problem
from tocsin.settings import parse_duration
from tocsin.settings.document import Document, KeyPath
from tocsin.settings.explain import explain

_YEAR = 365


def span(value: object) -> timedelta:
    """Read a Prometheus duration, years included. Raises ValueError when it is none, or zero."""
    text = str(value).strip()
    years, found, rest = text.partition("y")
    whole = timedelta()
    if found and years.isdigit():
        whole, text = timedelta(days=_YEAR * int(years)), rest
    whole += parse_duration(text) if text or not whole else timedelta()
    if whole <= timedelta():
        msg = "must be more than 0; write for example 1h"
        raise ValueError(msg)
    if whole % timedelta(seconds=1):
        msg = "has a fraction of a second; write whole seconds"
        raise ValueError(msg)
    return whole


Span = Annotated[timedelta, BeforeValidator(span)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=AliasGenerator(alias=to_camel))


class _Window(_Strict):
    """One pair."""

    error_budget_percent: Positive
    short_window: Span
    long_window: Span


class _QuickSlow(_Strict):
    """The two pairs of one tier."""

    quick: _Window
    slow: _Window


class _Windows(_Strict):
    """Both tiers."""

    slo_period: Span
    page: _QuickSlow
    ticket: _QuickSlow


class _File(_Strict):
    """The whole file."""

    api_version: Literal["sloth.slok.dev/v1"]
    kind: Literal["AlertWindows"]
    spec: _Windows


def read_windows(path: Path) -> tuple[WindowSet | None, list[Problem]]:
    """Return the pairs of a windows file, or what is wrong with it. Raises SpecUnreadable."""
    documents, problems = read_documents(path)
    if problems:
        return None, problems
    document, *more = documents
    if more:
        return None, [more[0].problem((), "is a second document", "write one file for each period")]
    if not isinstance(document.data, dict):
        return None, [document.problem((), "must be a mapping", "start with `apiVersion: sloth.slok.dev/v1`")]
    try:
        file = _File.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return None, [explain(_File, (), each, document) for each in details]
    problems = list(_problems(document, file.spec))
    return (None, problems) if problems else (_set(file.spec), [])


def _each(spec: _Windows) -> Iterator[tuple[Tier, str, _Window]]:
    yield "page", "quick", spec.page.quick
    yield "page", "slow", spec.page.slow
    yield "ticket", "quick", spec.ticket.quick
    yield "ticket", "slow", spec.ticket.slow


def _problems(document: Document, spec: _Windows) -> Iterator[Problem]:
    for tier, speed, window in _each(spec):
        path: KeyPath = ("spec", tier, speed)
        if window.error_budget_percent > 100:
            message = "more than the whole budget cannot be spent"
            yield document.problem((*path, "errorBudgetPercent"), message, "write a percent such as 2")
        if window.short_window >= window.long_window:
            message = f"is not shorter than the long window {window_name(window.long_window)}"
            yield document.problem((*path, "shortWindow"), message, "write about a twelfth of the long window")
        if window.long_window > spec.slo_period:
            message = f"is longer than the period {window_name(spec.slo_period)}"
            yield document.problem((*path, "longWindow"), message, "write a window inside the period")
    for tier, both in (("page", spec.page), ("ticket", spec.ticket)):
        if both.quick == both.slow:
            yield document.problem(("spec", tier, "slow"), "is the same pair as `quick`", "write a slower one")


def _set(spec: _Windows) -> WindowSet:
    pairs = tuple(
        Pair(tier, window.long_window, window.short_window, window.error_budget_percent / 100)
        for tier, _, window in _each(spec)
    )
    return WindowSet(spec.slo_period, pairs, builtin=False)
