"""What is particular to one notifier, beside the contract of all."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from alert_router.notifiers.base import Outgoing, Tools, retry_after
from alert_router.notifiers.email import EMAIL_KIND, EmailSettings
from alert_router.notifiers.slack import Pacer
from alert_router.page import Site, make_page
from alert_router.snapshot import Announcement
from tests.doubles.router import router_here
from tests.doubles.slack import SlackDouble
from tests.doubles.smtp import SmtpDouble
from tests.doubles.web import Reply
from tests.doubles.webhooks import alert
from tocsin.errors import Permanent, Transient

PAGE = make_page(
    Announcement("Own", {"target": "x"}, {"summary": "S\nBcc: all@example.com"}, "critical", 0.0).snapshot(),
    Site("http://router", None, Path()),
    "fired",
)


@pytest.fixture
def slack() -> Iterator[SlackDouble]:
    with SlackDouble(burst=1).running() as double:
        yield double


def chat(double: SlackDouble) -> str:
    """Settings with a Slack destination."""
    keys = f"kind: slack, channel: '#oncall', token: {double.token}, api_url: '{double.base}/api'"
    return f"destinations: {{chat: {{{keys}}}}}\nroutes: [{{match: {{}}, to: [chat]}}]\n"


async def test_a_deleted_slack_message_is_posted_anew(slack: SlackDouble, tmp_path: Path) -> None:
    """The news is worth a new message, and later changes go to that one."""
    async with router_here(tmp_path, chat(slack)) as bench:
        began = time.time()
        await bench.post(alert(starts=began))
        await bench.settled()
        slack.delete(slack.roots[0].ts)
        await bench.post(alert(starts=began, labels={"more": "1"}))
        await bench.settled()
        await bench.post(alert(starts=began, ends=time.time()))
        await bench.settled()
    assert len(slack.roots) == 1
    assert "RESOLVED" in slack.roots[0].text


async def test_slack_is_never_asked_too_fast(slack: SlackDouble, tmp_path: Path) -> None:
    """A small storm leaves at Slack's pace, without one refusal, the most severe first."""
    async with router_here(tmp_path, chat(slack)) as bench:
        for number, severity in enumerate(["info", "warning", "critical"]):
            await bench.post(alert(f"Storm{number}", starts=time.time(), severity=severity))
        await bench.settled()
    assert len(slack.roots) == 3
    assert slack.refused_for_rate == 0


async def test_a_rate_limit_of_slack_is_kept(slack: SlackDouble, tmp_path: Path) -> None:
    """429 with Retry-After: nothing is asked before, and then it arrives."""
    slack.faults.append(Reply(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "1"}))
    async with router_here(tmp_path, chat(slack)) as bench:
        await bench.post(alert(starts=time.time()))
        await bench.settled()
        (group,) = await bench.groups()
        assert group["deliveries"][1]["reason"] == "rate_limited"
        held = "SELECT not_before FROM destination WHERE name = 'chat'"
        assert bench.router.ledger.reader.execute(held).fetchone()[0] > 0
        while not slack.roots:
            await bench.settled()
    assert slack.requests == 2


async def test_the_pacer_counts_from_the_end_of_a_call() -> None:
    """Slack counts when it took the last one, not when we began to send it."""
    times = iter([10.0, 13.0, 13.5, 20.0])
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    pacer = Pacer(1.0, monotonic=lambda: next(times), sleep=sleep)
    for _ in range(2):
        async with pacer.turn():
            pass
    assert slept == [0.5]


def mail_settings(**more: object) -> EmailSettings:
    """Settings of a mail destination."""
    known = {"kind": "email", "to": ["a@example.com"], "host": "127.0.0.1", "from": "t@example.com"}
    return EmailSettings.model_validate({**known, **more})


async def test_mail_is_not_sent_in_the_clear_when_encryption_was_asked_for() -> None:
    """A relay without STARTTLS gets nothing: there is no quiet way back to plain text."""
    with SmtpDouble().running() as relay:
        notifier = EMAIL_KIND.factory("mail", mail_settings(port=relay.port), Tools())
        with pytest.raises(Permanent) as caught:
            await notifier.send(Outgoing(PAGE, recipient="a@example.com"))
        assert caught.value.reason == "tls"
        assert relay.mails == []


async def test_a_relay_that_is_away_is_tried_again() -> None:
    """Nothing answers on that port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    notifier = EMAIL_KIND.factory("mail", mail_settings(port=port, tls="none"), Tools())
    with pytest.raises(Transient) as caught:
        await notifier.send(Outgoing(PAGE, recipient="a@example.com"))
    assert caught.value.reason == "network"


async def test_a_summary_cannot_add_headers_to_a_mail() -> None:
    """A line break in an annotation is a space in the subject; the mail says that a machine wrote it."""
    with SmtpDouble().running() as relay:
        notifier = EMAIL_KIND.factory("mail", mail_settings(port=relay.port, tls="none"), Tools())
        await notifier.send(Outgoing(PAGE, recipient="a@example.com"))
        (mail,) = relay.mails
        assert mail.message["Subject"] == "[CRITICAL] S Bcc: all@example.com"
        assert mail.message["Bcc"] is None
        assert mail.message["Auto-Submitted"] == "auto-generated"
        assert mail.recipients == ("a@example.com",)
        assert "<html" in mail.html


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"to": ["nobody"]}, "not a mail address"),
        ({"to": ["a@x.org\nBcc: b@x.org"]}, "not a mail address"),
        ({"user": "u"}, "belong together"),
        ({"tls": "maybe"}, "starttls"),
    ],
)
def test_settings_of_mail_are_checked(keys: dict[str, object], problem: str) -> None:
    """What would fail at night is refused by day."""
    with pytest.raises(ValueError, match=problem):
        mail_settings(**keys)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30", 30.0), ("0.5", 0.5), ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)
def test_retry_after_has_two_forms(written: str, seconds: float) -> None:
    """Seconds, or a date."""
    assert retry_after({"retry-after": written}, now=60.0) == seconds


@pytest.mark.parametrize("headers", [{}, {"retry-after": ""}, {"retry-after": "soon"}])
def test_a_retry_after_that_says_nothing_is_none(headers: dict[str, str]) -> None:
    """Then our own wait holds."""
    assert retry_after(headers, now=0.0) is None
