"""The smallest notifier there can be: a board in memory with a secret, an edit, a size limit and trouble on demand."""

from __future__ import annotations

from typing import Any, Literal

from alert_router.notifiers.base import NotifierKind, Outgoing, Receipt, Tools
from tocsin.errors import DeliveryError, Permanent, TooLarge
from tocsin.settings import DestinationSettings, Secret

MAX_CHARACTERS = 2000


class ToyProvider:
    """A board on which each key shows one text, open or closed."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.board: dict[str, tuple[str, bool]] = {}
        self.trouble: list[DeliveryError] = []


class ToySettings(DestinationSettings):
    """Settings of a toy."""

    kind: Literal["toy"]
    secret: Secret
    provider: Any


class ToyNotifier:
    """Writes on the board."""

    def __init__(self, settings: ToySettings, tools: Tools) -> None:
        self._settings = settings
        self._tools = tools

    async def send(self, message: Outgoing) -> Receipt:
        """Write a page on the board, over what its episode wrote before."""
        provider = self._check()
        text = self._tools.renderer.message("toy.{size}.txt.j2", message.page, message.size)
        if len(text) > MAX_CHARACTERS:
            raise TooLarge(f"{len(text)} characters; the board takes {MAX_CHARACTERS}")
        key = (message.thread or {}).get("key") or f"{message.page.group_id}.{message.page.episode}"
        provider.board[key] = (text, message.page.status == "firing")
        return Receipt({"key": key}, f"written as {key}")

    async def probe(self) -> str:
        """Look at the board."""
        self._check()
        return "the board is there"

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _check(self) -> ToyProvider:
        provider: ToyProvider = self._settings.provider
        if provider.trouble:
            raise provider.trouble.pop(0)
        if self._settings.secret.get() != provider.secret:
            raise Permanent("auth", "the board does not know us")
        return provider


TOY_KIND = NotifierKind("toy", ToySettings, lambda _name, settings, tools: ToyNotifier(settings, tools))
