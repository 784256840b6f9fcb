"""Who is told of a group: the first matching route, its fallback steps, and who stands in when a destination fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.settings import INBOX, Settings

TEST_ALERT = "TocsinTest"
"""Alertname of ``tocsin send-test inbox``: shown in the inbox only, whatever the routes say."""


@dataclass(frozen=True)
class Step:
    """A fallback: destinations that are told when the first ones have not taken the page ``after`` seconds."""

    after: float
    to: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Who is told of one group: ``to`` at once, then the fallback steps. The inbox is told in any case."""

    to: tuple[str, ...]
    fallback: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Book:
    """The destinations of one configuration: their recipients, and which of them are told by the commit itself."""

    recipients: Mapping[str, tuple[str, ...]]
    """Destination → recipients; one message each. A destination without recipients of its own has ``("",)``."""
    local: frozenset[str] = frozenset({INBOX})
    """Destinations whose message is delivered as soon as it is in the ledger."""

    @property
    def remote(self) -> tuple[str, ...]:
        """Destinations that a message travels to, in the order of the settings file."""
        return tuple(name for name in self.recipients if name not in self.local)


def plan(settings: Settings, labels: Mapping[str, str]) -> Plan:
    """Return who is told of a group with these labels.

    Without any route, every destination is told of all but ``info``: a destination that somebody configured and
    nobody routed to would be found out at night.
    """
    if labels.get("alertname") == TEST_ALERT:
        return Plan(())
    for route in settings.routes:
        if route.match.holds(labels):
            return Plan(
                _remote(route.to),
                tuple(Step(step.after.total_seconds(), _remote(step.to)) for step in route.fallback),
            )
    if not settings.routes and labels.get("severity") != "info":
        return Plan(tuple(settings.destinations))
    return Plan(())


def _remote(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(names) if name != INBOX)
