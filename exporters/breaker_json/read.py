"""Circuit breakers out of a JSON health page: one GET per scrape, a configured path per breaker.

What the page does not say in a known word is unknown: no state and a reason, never closed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import Field, field_validator

from exporters.clients.http import HttpClient
from exporters.model import Part
from tocsin.errors import TargetError
from tocsin.settings import HttpBase, Name, Secret, Strict, TargetSettings
from tocsin.signals import BREAKER_STATES

_WORDS: Final = {state: state for state in BREAKER_STATES} | {
    "halfopen": "half_open",
    "forcedopen": "forced_open",
}


class BreakerField(Strict):
    """Where one breaker stands in the page, and what its words mean."""

    path: str = Field(description="Keys to the state, joined by dots: breakers.payments.state; list items by number.")
    values: dict[str, Literal["closed", "open", "half_open", "forced_open", "disabled"]] | None = Field(
        default=None,
        description="What the page's words mean, when they are not closed, open, half-open: {CLOSED_OK: closed}.",
    )
    failure_ratio: str | None = Field(
        default=None, description="Keys to the failure ratio (0 to 1) that the breaker itself measures, if it does."
    )

    @field_validator("path", "failure_ratio")
    @classmethod
    def _whole(cls, value: str | None) -> str | None:
        if value is not None and not all(value.split(".")):
            msg = "has an empty key in its path; join keys with single dots: breakers.payments.state"
            raise ValueError(msg)
        return value


class BreakerSettings(TargetSettings):
    """An application that publishes its circuit breakers as JSON."""

    kind: Literal["breaker-json"] = "breaker-json"
    url: HttpBase = Field(description="Address of the health page.", examples=["http://127.0.0.1:8000/health"])
    service: str = Field(min_length=1, description="The application that owns the breakers: label `service`.")
    breakers: dict[Name, BreakerField] = Field(min_length=1, description="Breakers by name, each with its path.")
    token: Secret | None = Field(default=None, description="Bearer token for the page; better in a token_file.")


@dataclass(frozen=True)
class Breaker:
    """One breaker as far as the page tells. ``state`` None: unknown, and ``problem`` says why."""

    name: str
    state: str | None
    problem: str = ""
    since: float | None = None
    """Unix seconds since when it has not been closed, as far as we saw; None while closed or unknown."""
    transitions: Mapping[str, int] = field(default_factory=dict)
    failure_ratio: float | None = None


@dataclass(frozen=True)
class BreakerSnapshot:
    """All configured breakers of one page."""

    service: str
    breakers: tuple[Breaker, ...]
    parts: tuple[Part, ...] = ()
    version: str = ""


@dataclass
class _Memory:
    """What must outlive one scrape: the last known state, since when it has not been closed, and the changes seen."""

    state: str | None = None
    since: float | None = None
    transitions: dict[str, int] | None = None


class BreakerReader:
    """Reads one health page."""

    def __init__(self, settings: BreakerSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._client = HttpClient(settings.url, token=settings.token)
        self._clock = clock
        self._memory = {name: _Memory() for name in settings.breakers}

    async def read(self) -> BreakerSnapshot:
        """Get the page and look up each breaker. Raises TargetError when there is no page or it is not JSON."""
        started = time.perf_counter()
        # A health page with an open breaker is often a 503: its body is what we came for.
        body = await self._client.get(accept_statuses=(200, 503))
        try:
            page = json.loads(body)
        except ValueError:
            msg = "the page is not JSON"
            raise TargetError("parse", msg) from None
        breakers = tuple(self._look_up(name, where, page) for name, where in self._settings.breakers.items())
        unknown = "; ".join(f"{b.name}: {b.problem}" for b in breakers if b.state is None)
        cost = time.perf_counter() - started
        part = Part("breakers", ok=not unknown, duration=cost, reason="parse" if unknown else None, detail=unknown)
        return BreakerSnapshot(self._settings.service, breakers, (part,))

    def close(self) -> None:
        """Drop the connection."""
        self._client.close()

    def _look_up(self, name: str, where: BreakerField, page: object) -> Breaker:
        memory = self._memory[name]
        transitions = memory.transitions = memory.transitions or dict.fromkeys(BREAKER_STATES, 0)
        state, problem = read_state(page, where)
        if state is None:
            return Breaker(name, None, problem, transitions=dict(transitions))
        if memory.state is not None and memory.state != state:
            transitions[state] += 1
        memory.state = state
        memory.since = None if state == "closed" else memory.since or self._clock()
        ratio = _ratio(page, where.failure_ratio)
        return Breaker(name, state, since=memory.since, transitions=dict(transitions), failure_ratio=ratio)


def read_state(page: object, where: BreakerField) -> tuple[str | None, str]:
    """Return the breaker's state, or None and the reason. The page's own text never goes into the reason."""
    found = _follow(page, where.path)
    if found is None:
        return None, f"the page has nothing at {where.path}"
    if isinstance(found, bool):
        found = "true" if found else "false"
    if not isinstance(found, str | int | float):
        return None, f"{where.path} is not a word"
    word = str(found)
    if where.values is not None:
        state: str | None = where.values.get(word)
    else:
        state = _WORDS.get(word.lower().replace("-", "_")) or _WORDS.get(word.lower())
    return (state, "") if state else (None, f"the word at {where.path} is not a known state; name it under values")


def _follow(page: object, path: str) -> object:
    for key in path.split("."):
        if isinstance(page, dict):
            page = page.get(key)
        elif isinstance(page, list) and key.isdecimal() and int(key) < len(page):
            page = page[int(key)]
        else:
            return None
    return page


def _ratio(page: object, path: str | None) -> float | None:
    value = _follow(page, path) if path else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)
