"""The inbox: the local destination that is always there. What is in the ledger is in the inbox."""

from __future__ import annotations

from typing import Literal

from alert_router.notifiers.base import NotifierKind, Outgoing, Receipt, Tools
from tocsin.settings import DestinationSettings


class InboxSettings(DestinationSettings):
    """The inbox needs no settings and is always there; there is no need to write it down."""

    kind: Literal["inbox"] = "inbox"


class InboxNotifier:
    """Delivers by doing nothing: the pages are drawn from the ledger itself."""

    async def send(self, message: Outgoing) -> Receipt:
        """Return where the page is shown."""
        return Receipt({"group": message.page.group_id}, f"shown in the inbox at {message.page.url}")

    async def probe(self) -> str:
        """Return that the inbox is built in."""
        return "built in"

    async def aclose(self) -> None:
        """Nothing is held open."""


def _open(_name: str, _settings: InboxSettings, _tools: Tools) -> InboxNotifier:
    return InboxNotifier()


INBOX_KIND = NotifierKind("inbox", InboxSettings, _open, local=True)
