"""The only door to Jinja2: messages in a sandbox that always yield a text, and the router's own HTML pages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import BaseLoader, ChainableUndefined, Environment, FileSystemLoader, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from alert_router.page import Page, clock_time, duration

Size = Literal["full", "compact", "line"]
SIZES: tuple[Size, ...] = ("full", "compact", "line")
"""From the message as it should be to the one line that always fits."""

TEMPLATES = Path(__file__).parent / "templates"
LINE_CHARACTERS = 900

_log = logging.getLogger(__name__)


class Renderer:
    """Renders messages from templates named ``<kind>.<size>.<format>.j2``. A broken template never costs a page."""

    def __init__(
        self, loader: BaseLoader | None = None, *, on_error: Callable[[str], None] = lambda _name: None
    ) -> None:
        self._environment = ImmutableSandboxedEnvironment(
            loader=loader or FileSystemLoader(TEMPLATES / "messages"),
            autoescape=lambda name: bool(name and name.endswith(".html.j2")),
            undefined=ChainableUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"mrkdwn": mrkdwn, "duration": duration, "clock": clock_time, "cut": cut}
        self._on_error = on_error

    def message(self, template: str, page: Page, size: Size, **more: object) -> str:
        """Render a message. When the template is missing, broken or empty, the built-in text takes its place."""
        if size == "line":
            return one_line(page)
        name = template.format(size=size)
        try:
            text = self._environment.get_template(name).render(page=page, **more).strip()
        except Exception as error:  # noqa: BLE001  # whatever a template does wrong, the page must leave
            _log.warning(
                "router.template.failed", extra={"template": name, "error": f"{type(error).__name__}: {error}"}
            )
            text = ""
        if text:
            return text
        self._on_error(name)
        return self._dressed(name, plain_text(page))

    def _dressed(self, name: str, text: str) -> str:
        if name.endswith(".html.j2"):
            return str(Markup("<pre>{}</pre>").format(text))
        return mrkdwn(text) if name.startswith("slack.") else text


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


@cache
def _pages() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES / "pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"duration": duration, "clock": clock_time, "stamp": stamp, "iso": iso}
    return environment


def html(name: str, values: Mapping[str, Any]) -> str:
    """Render one of the router's own pages. Raises KeyError when there is no such template."""
    try:
        return _pages().get_template(f"{name}.html.j2").render(values)
    except TemplateNotFound as error:
        raise KeyError(error.name) from None


def safe_html(text: str) -> Markup:
    """Mark a text as HTML that needs no escaping: only for what our own code built from escaped parts."""
    return Markup(text)  # noqa: S704  # the callers escape each part


def stamp(at: float) -> str:
    """Write a moment (unix seconds) to the millisecond, for timelines: ``02:41:07.123``."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def iso(at: float) -> str:
    """Write a moment (unix seconds) by RFC 3339 in UTC: ``2026-01-31T02:41:07.123Z``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(at: float, now: float) -> str:
    """Write a moment for a page that is read now: ``02:41 UTC, 3m12s ago``."""
    return f"{clock_time(at, now=now)}, {duration(now - at)} ago"
