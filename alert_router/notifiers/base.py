"""What every notifier is: the seam between the ledger's delivery and one provider."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

from alert_router.page import Page
from alert_router.text import Size
from tocsin.settings import DestinationSettings

if TYPE_CHECKING:
    from alert_router.render import Renderer

SEND_SECONDS = 30.0
"""Longest time for one attempt, all its calls together."""

Thread = Mapping[str, str]
"""Where the message of an episode stands at the provider; each notifier knows its own keys."""


@dataclass(frozen=True)
class Outgoing:
    """One message to one recipient, in one size."""

    page: Page
    size: Size = "full"
    recipient: str = ""
    thread: Thread | None = None
    """Set when this episode was told here before: update that message instead of posting anew."""
    uncertain: bool = False
    """An earlier attempt may have arrived."""


@dataclass(frozen=True)
class Receipt:
    """What came back: the thread to remember, and a line for people."""

    thread: Thread
    detail: str


class Notifier(Protocol):
    """Talks to one provider on behalf of one destination."""

    async def send(self, message: Outgoing) -> Receipt:
        """Send one message. Raises Transient, RateLimited, TooLarge or Permanent; never anything else."""

    async def probe(self) -> str:
        """Try address and credentials without telling anybody anything; returns what was found. Raises as ``send``."""

    async def aclose(self) -> None:
        """Let connections go."""


def _renderer() -> Renderer:
    from alert_router.render import Renderer  # noqa: PLC0415  # Jinja2: only who sends needs it, not who lists kinds

    return Renderer()


@dataclass(frozen=True)
class Tools:
    """What a notifier gets from outside: seams for tests, and the renderer."""

    renderer: Renderer = field(default_factory=_renderer)
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


def _one_recipient(_settings: DestinationSettings) -> tuple[str, ...]:
    return ("",)


@dataclass(frozen=True)
class NotifierKind:
    """One line of the notifier table."""

    kind: str
    settings: type[DestinationSettings]
    factory: Callable[[str, Any, Tools], Notifier]
    """(name of the destination, its settings, tools) → notifier. Imports the provider's library, so call it late."""
    recipients: Callable[[Any], tuple[str, ...]] = _one_recipient
    """Each recipient has a delivery of its own, so that one bad address stops nobody else's message."""
    in_flight: int = 4
    """Messages that may be under way at once."""
    local: bool = False
    """Delivered by the ledger's commit; nothing is sent."""


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the ``Retry-After`` header in seconds from now, in either of its two forms; None without one."""
    written = headers.get("retry-after") or headers.get("Retry-After")
    if not written:
        return None
    if written.strip().replace(".", "", 1).isdigit():
        return float(written)
    try:
        moment = parsedate_to_datetime(written)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)
