"""Email through a relay: text and HTML, one thread per episode, one delivery per recipient."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr, parseaddr
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from alert_router.notifiers.base import NotifierKind, Outgoing, Receipt, Tools
from alert_router.text import cut
from tocsin.errors import DeliveryError, Permanent, TooLarge, Transient
from tocsin.settings import DestinationSettings, Port, Secret

if TYPE_CHECKING:
    import aiosmtplib

SUBJECT_CHARACTERS = 150
TIMEOUT_SECONDS = 20.0


def _mail_address(value: str) -> str:
    address = parseaddr(value)[1]
    if not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", address) or "\n" in value:
        msg = f"{value!r} is not a mail address; write name@example.com"
        raise ValueError(msg)
    return value


MailAddress = Annotated[str, AfterValidator(_mail_address)]


class EmailSettings(DestinationSettings):
    """Mail addresses and the relay that takes the mail."""

    kind: Literal["email"]
    to: tuple[MailAddress, ...] = Field(min_length=1, description="Recipients; each gets a mail of its own.")
    host: str = Field(min_length=1, description="Name of the relay.")
    port: Port | None = Field(
        default=None, description="Port of the relay; 587 for starttls, 465 for tls, 25 for none, unless given."
    )
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="starttls and tls are mandatory when chosen: no quiet fall-back to plain text."
    )
    user: str | None = Field(default=None, description="Login at the relay, if it wants one.")
    password: Secret | None = Field(default=None, description="Password of the login.")
    sender: MailAddress = Field(
        default="Tocsin <tocsin@localhost>", alias="from", description="The From address of every mail."
    )

    @model_validator(mode="after")
    def _login_is_whole(self) -> EmailSettings:
        if (self.user is None) != (self.password is None):
            msg = "user and password belong together; write both `user` and `password_file`, or neither"
            raise ValueError(msg)
        return self

    @property
    def real_port(self) -> int:
        """The port, or the usual one of the chosen encryption."""
        return self.port or {"starttls": 587, "tls": 465, "none": 25}[self.tls]


class EmailNotifier:
    """Sends one mail per delivery over a fresh connection. The Message-ID is stable, so a repetition is one mail."""

    def __init__(self, name: str, settings: EmailSettings, tools: Tools) -> None:
        self._name = name
        self._settings = settings
        self._tools = tools

    async def send(self, message: Outgoing) -> Receipt:
        """Send the mail of a page to one recipient, as a reply when the episode has a thread."""
        mail, thread = self._mail(message)
        recipient = parseaddr(message.recipient)[1]
        client = self._client()
        try:
            await self._enter(client)
            answer = await client.sendmail(parseaddr(self._settings.sender)[1], [recipient], mail.as_bytes())
        except Exception as error:  # noqa: BLE001  # the one edge where the client's errors become ours
            raise _translated(error) from None
        finally:
            client.close()
        return Receipt(thread, f"the relay took it: {cut(answer[1], 120)}")

    async def probe(self) -> str:
        """Connect, log in and name every recipient to the relay, then reset: no mail is sent."""
        client = self._client()
        try:
            await self._enter(client)
            await client.mail(parseaddr(self._settings.sender)[1])
            for recipient in self._settings.to:
                await client.rcpt(parseaddr(recipient)[1])
            await client.rset()
            await client.quit()
        except Exception as error:  # noqa: BLE001  # the one edge where the client's errors become ours
            raise _translated(error) from None
        finally:
            client.close()
        return f"the relay takes mail for {', '.join(parseaddr(address)[1] for address in self._settings.to)}"

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _client(self) -> aiosmtplib.SMTP:
        from aiosmtplib import SMTP  # noqa: PLC0415  # only mail users need it

        return SMTP(
            hostname=self._settings.host,
            port=self._settings.real_port,
            use_tls=self._settings.tls == "tls",
            start_tls=self._settings.tls == "starttls",
            timeout=TIMEOUT_SECONDS,
        )

    async def _enter(self, client: aiosmtplib.SMTP) -> None:
        await client.connect()
        if self._settings.user and self._settings.password:
            try:
                password = self._settings.password.get()
            except OSError as error:
                raise Permanent("auth", f"the password's file cannot be read: {error.strerror}") from None
            await client.login(self._settings.user, password)

    def _mail(self, message: Outgoing) -> tuple[EmailMessage, dict[str, str]]:
        page = message.page
        domain = parseaddr(self._settings.sender)[1].rpartition("@")[2]
        own = f"<{page.group_id}.{page.episode}.{page.generation}.{self._name}@{domain}>"
        root = (message.thread or {}).get("root", own)
        # One base subject for the episode, whatever the values become: mail programs thread by it too.
        base = (message.thread or {}).get("subject") or cut(_header(page.summary), SUBJECT_CHARACTERS)
        mail = EmailMessage()
        mail["From"] = formataddr(parseaddr(self._settings.sender))
        mail["To"] = ", ".join(formataddr(parseaddr(address)) for address in self._settings.to)
        mail["Subject"] = f"[{page.tag}] {base}"
        mail["Date"] = format_datetime(datetime.fromtimestamp(self._tools.clock(), UTC))
        mail["Message-ID"] = own
        mail["Auto-Submitted"] = "auto-generated"
        if root != own:
            mail["In-Reply-To"] = root
            mail["References"] = root
        if page.status == "firing" and page.severity == "critical":
            mail["Importance"] = "high"
        render = self._tools.renderer.message
        mail.set_content(render("email.{size}.txt.j2", page, message.size))
        if message.size == "full":
            mail.add_alternative(render("email.{size}.html.j2", page, message.size), subtype="html")
        return mail, {"root": root, "subject": base}


def _header(text: str) -> str:
    return " ".join(text.split())


def _translated(error: Exception) -> Exception:
    """Turn the SMTP client's errors into ours. Texts of servers are kept short; they hold no password."""
    import aiosmtplib as smtp  # noqa: PLC0415  # only mail users need it

    match error:
        case DeliveryError():
            found: Exception = error
        case smtp.SMTPRecipientsRefused():
            refused = error.recipients[0]
            found = _by_code(refused.code, f"{refused.recipient}: {refused.code} {cut(refused.message, 160)}")
        case smtp.SMTPAuthenticationError():
            # Its text may repeat what we sent.
            found = _by_code(error.code, f"login, {error.code}") if error.code < 500 else _login_refused(error.code)
        case smtp.SMTPResponseException():
            found = _by_code(error.code, f"{error.code} {cut(str(error.message), 160)}")
        case smtp.SMTPTimeoutError() | TimeoutError():
            found = Transient("timeout", "the relay did not answer in time")
        case smtp.SMTPException() if "STARTTLS" in str(error):
            # The library has no class of its own for it.
            found = Permanent("tls", "the relay does not offer STARTTLS; write `tls: none` only on a network you trust")
        case smtp.SMTPException() | OSError() if "certificate" in str(error).lower() or "ssl" in str(error).lower():
            found = Transient("tls", "no secure connection to the relay: its certificate or protocol is refused")
        case smtp.SMTPException() | OSError():
            found = Transient("network", f"no connection to the relay ({type(error).__name__})")
        case _:
            found = error
    return found


def _login_refused(code: int) -> DeliveryError:
    return Permanent("auth", f"the relay refuses the login ({code})")


def _by_code(code: int, said: str) -> DeliveryError:
    if code in (523, 552):
        return TooLarge(f"the relay refuses the size: {said}")
    if 400 <= code < 500:
        return Transient("server_error", f"the relay says later: {said}")
    if code in (530, 534, 535, 538):
        return Permanent("auth", f"the relay refuses us: {said}")
    if code in (550, 551, 553):
        return Permanent("not_found", f"the relay refuses the recipient: {said}")
    return Permanent("rejected", f"the relay refuses the mail: {said}")


def _recipients(settings: EmailSettings) -> tuple[str, ...]:
    return tuple(dict.fromkeys(settings.to))


def _open(name: str, settings: EmailSettings, tools: Tools) -> EmailNotifier:
    return EmailNotifier(name, settings, tools)


EMAIL_KIND = NotifierKind("email", EmailSettings, _open, recipients=_recipients)
