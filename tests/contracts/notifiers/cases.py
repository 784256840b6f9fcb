"""What the contract suite must know of each kind: its double, its settings, and its table of refusals.

A new notifier is one line in ``CASES``; the toy is enrolled the same way, which keeps the seam honest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from alert_router.notifiers.base import NotifierKind
from alert_router.notifiers.table import NOTIFIERS
from tests.contracts.notifiers.toy import TOY_KIND, ToyProvider
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.slack import SlackDouble
from tests.doubles.smtp import SmtpDouble
from tests.doubles.web import Cut, Reply
from tocsin.errors import DeliveryError, Permanent, RateLimited, Transient

CANARY = "canary-5ecre7-value"


@dataclass(frozen=True)
class Seen:
    """One message at the far side, as its reader has it. ``ident`` is what makes two messages the same."""

    ident: str
    text: str
    open: bool


@dataclass(frozen=True)
class Refusal:
    """A way in which the provider refuses, and what it must become."""

    name: str
    arrange: Callable[[Any], object]
    error: type[DeliveryError]
    reason: str


@dataclass(frozen=True)
class Case:
    """One kind under contract."""

    kind: NotifierKind
    provider: Callable[[], AbstractContextManager[Any]]
    settings: Callable[[Any], Mapping[str, Any]]
    """Keys of the destination's settings, given the running double."""
    seen: Callable[[Any], list[Seen]]
    """Messages that somebody reads, oldest first; edits and threads folded into one."""
    refusals: tuple[Refusal, ...]
    wrong_secret: str | None = None
    """The key that holds the secret, for kinds that have one."""


def _slack_seen(double: SlackDouble) -> list[Seen]:
    return [Seen(root.ts, root.text, "RESOLVED" not in root.text) for root in double.roots]


def _pager_seen(double: PagerDutyDouble) -> list[Seen]:
    return [Seen(one.dedup_key, str(one.events[0]), one.status != "resolved") for one in double.incidents]


def _mail_seen(double: SmtpDouble) -> list[Seen]:
    threads: dict[str, Seen] = {}
    for mail in double.mails:
        root = str(mail.message["References"] or mail.message["Message-ID"])
        threads[root] = Seen(
            root, f"{mail.message['Subject']}\n{mail.text}", "[RESOLVED]" not in mail.message["Subject"]
        )
    return list(threads.values())


_HTML = {"Content-Type": "text/html"}


def _fault(fault: Reply | Cut) -> Callable[[Any], object]:
    return lambda double: double.faults.append(fault)


def _slack_says(name: str, status: int = 200) -> Callable[[Any], object]:
    return _fault(Reply(status, {"ok": False, "error": name}))


def _rcpt(answer: str) -> Callable[[Any], object]:
    return lambda double: double.refuse.update({"a@example.com": answer})


def _data(answer: str) -> Callable[[Any], object]:
    return lambda double: double.data_answers.append(answer)


def _busy(provider: ToyProvider) -> None:
    provider.trouble.append(Transient("server_error", "busy"))


SLACK = Case(
    NOTIFIERS["slack"],
    lambda: SlackDouble(CANARY, burst=20).running(),
    lambda double: {"kind": "slack", "channel": "#oncall", "token": CANARY, "api_url": f"{double.base}/api"},
    _slack_seen,
    (
        *(
            Refusal(name, _slack_says(name), Permanent, "auth")
            for name in ("invalid_auth", "token_revoked", "not_authed")
        ),
        *(
            Refusal(name, _slack_says(name), Permanent, "not_found")
            for name in ("channel_not_found", "is_archived", "not_in_channel")
        ),
        *(
            Refusal(name, _slack_says(name), Transient, "server_error")
            for name in ("internal_error", "fatal_error", "service_unavailable")
        ),
        Refusal("an error nobody knows", _slack_says("brand_new_error"), Permanent, "rejected"),
        Refusal("500", _fault(Reply(500, "oops", _HTML)), Transient, "server_error"),
        Refusal("503 with JSON", _slack_says("", 503), Transient, "server_error"),
        Refusal(
            "a page instead of JSON",
            _fault(Reply(200, "<html>", _HTML)),
            Transient,
            "server_error",
        ),
        Refusal("broken JSON", _fault(Reply(200, "{")), Transient, "server_error"),
        Refusal("cut before", _fault(Cut(after=False)), Transient, "network"),
        Refusal("429", _fault(Reply(429, {"ok": False}, {"Retry-After": "30"})), RateLimited, "rate_limited"),
        Refusal("429 without a time", _fault(Reply(429, {"ok": False})), RateLimited, "rate_limited"),
    ),
    wrong_secret="token",
)

PAGERDUTY = Case(
    NOTIFIERS["pagerduty"],
    lambda: PagerDutyDouble(CANARY).running(),
    lambda double: {"kind": "pagerduty", "routing_key": CANARY, "events_url": double.events_url},
    _pager_seen,
    (
        Refusal("400 for the key", _fault(Reply(400, {"errors": ["Invalid routing key"]})), Permanent, "auth"),
        Refusal("403", _fault(Reply(403, {"message": "forbidden"})), Permanent, "auth"),
        Refusal("404", _fault(Reply(404, "nothing here", {"Content-Type": "text/plain"})), Permanent, "not_found"),
        Refusal("429", _fault(Reply(429, {}, {"Retry-After": "30"})), RateLimited, "rate_limited"),
        Refusal("429 without a time", _fault(Reply(429, {})), RateLimited, "rate_limited"),
        Refusal("500", _fault(Reply(500, "oops", {"Content-Type": "text/plain"})), Transient, "server_error"),
        Refusal("503", _fault(Reply(503, {})), Transient, "server_error"),
        Refusal("302", _fault(Reply(302, "", {"Location": "http://127.0.0.1:9/"})), Permanent, "rejected"),
        Refusal("cut before", _fault(Cut(after=False)), Transient, "network"),
        Refusal("cut after", _fault(Cut(after=True)), Transient, "network"),
    ),
    wrong_secret="routing_key",
)

EMAIL = Case(
    NOTIFIERS["email"],
    lambda: SmtpDouble(login=("tocsin", CANARY)).running(),
    lambda double: {
        "kind": "email",
        "to": ["a@example.com"],
        "host": "127.0.0.1",
        "port": double.port,
        "tls": "none",
        "user": "tocsin",
        "password": CANARY,
        "from": "Tocsin <tocsin@example.com>",
    },
    _mail_seen,
    (
        Refusal("450 for the recipient", _rcpt("450 4.2.0 greylisted"), Transient, "server_error"),
        Refusal("550 for the recipient", _rcpt("550 5.1.1 no such user"), Permanent, "not_found"),
        Refusal("554 for the recipient", _rcpt("554 5.7.1 refused by policy"), Permanent, "rejected"),
        Refusal("451 for the mail", _data("451 4.3.0 later"), Transient, "server_error"),
        Refusal("554 for the mail", _data("554 5.6.0 no"), Permanent, "rejected"),
        Refusal("421 at the door", lambda double: setattr(double, "down", True), Transient, "server_error"),
    ),
    wrong_secret="password",
)

INBOX = Case(
    NOTIFIERS["inbox"],
    lambda: nullcontext([]),
    lambda _double: {"kind": "inbox"},
    lambda _double: [],
    (),
)

TOY = Case(
    TOY_KIND,
    lambda: nullcontext(ToyProvider(CANARY)),
    lambda provider: {"kind": "toy", "secret": CANARY, "provider": provider},
    lambda provider: [Seen(key, text, is_open) for key, (text, is_open) in provider.board.items()],
    (
        Refusal(
            "busy",
            lambda provider: provider.trouble.append(Transient("server_error", "busy")),
            Transient,
            "server_error",
        ),
    ),
    wrong_secret="secret",
)

CASES: Mapping[str, Case] = {
    "inbox": INBOX,
    "slack": SLACK,
    "email": EMAIL,
    "pagerduty": PAGERDUTY,
    "toy": TOY,
}
