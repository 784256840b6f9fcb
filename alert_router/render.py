"""The only door to Jinja2: messages in a sandbox that always yield a text, and the router's own HTML pages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, ChainableUndefined, Environment, FileSystemLoader, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from alert_router.page import Page, clock_time, duration
from alert_router.text import Size, cut, iso, mrkdwn, one_line, plain_text, stamp

TEMPLATES = Path(__file__).parent / "templates"

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
