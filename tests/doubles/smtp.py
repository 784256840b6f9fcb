"""A mail relay: answers per recipient, a login, and the mails that it took."""

from __future__ import annotations

import contextlib
import email
import email.policy
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword, Session


@dataclass(frozen=True)
class Mail:
    """One mail as it was taken, for one envelope."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage

    @property
    def text(self) -> str:
        """The plain-text part."""
        part = self.message.get_body(("plain",))
        return part.get_content() if part else ""

    @property
    def html(self) -> str:
        """The HTML part, or nothing."""
        part = self.message.get_body(("html",))
        return part.get_content() if part else ""


class SmtpDouble:
    """A relay. ``refuse`` maps an address to the answer to its RCPT; ``data_answers`` are used up one per mail."""

    def __init__(self, *, login: tuple[str, str] | None = None, size_limit: int = 1_000_000) -> None:
        self.mails: list[Mail] = []
        self.refuse: dict[str, str] = {}
        self.data_answers: list[str] = []
        self.down = False
        self.logins = 0
        self.sessions = 0
        self.port = 0
        self._login = login
        self._size_limit = size_limit
        self._lock = threading.Lock()

    def to(self, address: str) -> list[Mail]:
        """Mails for one address, in order."""
        return [mail for mail in self.mails if address in mail.recipients]

    async def handle_EHLO(  # noqa: N802  # aiosmtpd calls it by this name
        self, server: Any, session: Session, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        self.sessions += 1
        session.host_name = hostname
        if self.down:
            return ["421 4.3.2 shutting down"]
        return responses

    async def handle_MAIL(  # noqa: N802  # aiosmtpd calls it by this name
        self, server: Any, session: Session, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self._login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Session, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802  # aiosmtpd calls it by this name
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Any) -> str:  # noqa: N802  # aiosmtpd calls it by this name
        with self._lock:
            if self.data_answers:
                return self.data_answers.pop(0)
            parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
            assert isinstance(parsed, EmailMessage)
            self.mails.append(Mail(envelope.mail_from, tuple(envelope.rcpt_tos), parsed))
            return f"250 2.0.0 OK queued as {len(self.mails)}"

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        right = self._login == (data.login.decode(), data.password.decode())
        self.logins += right
        return AuthResult(success=right, handled=False)

    @contextlib.contextmanager
    def running(self, port: int = 0) -> Iterator[SmtpDouble]:
        """Serve until the block ends."""
        controller = Controller(
            self,
            hostname="127.0.0.1",
            port=port or _free_port(),
            data_size_limit=self._size_limit,
            authenticator=self._authenticate,
            auth_require_tls=False,
        )
        controller.start()
        self.port = controller.port
        try:
            yield self
        finally:
            controller.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
