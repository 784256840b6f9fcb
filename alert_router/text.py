"""Small pure helpers for texts that people read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from alert_router.page import Page, clock_time, duration

Size = Literal["full", "compact", "line"]
SIZES: tuple[Size, ...] = ("full", "compact", "line")
"""From the message as it should be to the one line that always fits."""

LINE_CHARACTERS = 900


def plain_text(page: Page) -> str:
    """The built-in message: everything that matters, in plain lines."""
    lines = [f"[{page.tag}] {page.summary}", page.state_text]
    if page.value:
        lines.append(f"Value: {page.value}")
    lines += [f"{name}: {value}" for name, value in page.where.items()]
    if page.total > 1:
        lines += [f"- {line.summary}{f': {line.value}' if line.value else ''}" for line in page.lines]
    lines += [f"{link.text}: {link.url}" for link in page.links]
    if page.note:
        lines.append(page.note)
    return "\n".join(lines)


def one_line(page: Page) -> str:
    """The smallest message: one line of plain text with the address of everything else."""
    value = f" ({page.value})" if page.value else ""
    return f"{cut(f'[{page.tag}] {page.summary}{value}; {page.state_text}', LINE_CHARACTERS)} {page.url}"


def cut(text: str, limit: int) -> str:
    """Shorten a text to at most ``limit`` characters; the cut shows."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def mrkdwn(text: object) -> str:
    """Escape for Slack: only these three characters mean something there inside of plain text."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def stamp(at: float) -> str:
    """Write a moment (unix seconds) to the millisecond, for timelines: ``02:41:07.123``."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def iso(at: float) -> str:
    """Write a moment (unix seconds) by RFC 3339 in UTC: ``2026-01-31T02:41:07.123Z``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(at: float, now: float) -> str:
    """Write a moment for a page that is read now: ``02:41 UTC, 3m12s ago``."""
    return f"{clock_time(at, now=now)}, {duration(now - at)} ago"
