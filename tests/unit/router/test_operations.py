"""What the command line does: stories, test messages, connection checks and silences, against a real Alertmanager."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import alert_router
from alert_router.alertmanager import Matcher, parse_matcher
from alert_router.ledger.reads import NoGroupError
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.router import router_here, router_process, settings_from
from tests.doubles.slack import SlackDouble
from tests.doubles.webhooks import alert
from tests.servers import Generation, Server, start_alertmanager
from tocsin.errors import StackError

Keep = Callable[[Server], Server]

SECRET = "xoxb-canary-for-operations"


def slack_settings(double: SlackDouble, more: str = "") -> str:
    """Settings with a Slack destination, and perhaps more."""
    chat = f"chat: {{kind: slack, channel: '#oncall', token: '{SECRET}', api_url: '{double.base}/api'}}"
    return f"destinations:\n  {chat}\n{more}\nroutes: [{{match: {{}}, to: [chat]}}]\n"


async def test_why_tells_who_was_told_what_and_when(tmp_path: Path) -> None:
    """While the router runs, by id, the beginning of one, or alertname; and it shows no secret."""
    double = SlackDouble(SECRET, burst=5)
    with double.running():
        async with router_here(tmp_path, slack_settings(double)) as bench:
            began = time.time() - 192
            await bench.post(alert(starts=began))
            await bench.settled()
            await bench.post(alert(starts=began, ends=time.time()))
            await bench.settled()
            (group,) = await bench.groups()
            data = tmp_path / ".tocsin"
            story = alert_router.why(data, group["id"], external_url="http://router")
            assert story == alert_router.why(data, group["id"][:5], external_url="http://router")
            assert story == alert_router.why(data, "QueueNearCapacity", external_url="http://router")
            for part in ("resolved at", "after 3m12s", "chat", "posted as", "edited the message", "inbox", group["id"]):
                assert part in story
            assert story.index("fired") < story.index("posted as") < story.index("edited the message")
            assert '"timeline"' in alert_router.why_json(data, group["id"])
            with pytest.raises(NoGroupError, match=r"newest: .*QueueNearCapacity"):
                alert_router.why(data, "Nothing")
            ledger = (data / "ledger.sqlite").read_bytes() + (data / "ledger.sqlite-wal").read_bytes()
            assert SECRET.encode() not in ledger
            assert SECRET not in story


def test_why_without_a_ledger_says_what_to_do(tmp_path: Path) -> None:
    """One clear message."""
    with pytest.raises(StackError, match="no ledger"):
        alert_router.why(tmp_path, "x")


def test_send_test_sends_one_real_message_and_ends_it(tmp_path: Path) -> None:
    """It is posted, edited to its end, and nothing stays open."""
    slack, pager = SlackDouble(SECRET, burst=5), PagerDutyDouble()
    with slack.running(), pager.running():
        keys = f"kind: pagerduty, routing_key: '{pager.routing_key}', events_url: '{pager.events_url}'"
        text = slack_settings(slack, f"  pager: {{{keys}}}")
        settings = settings_from(tmp_path, text)()
        result = alert_router.send_test(settings, "chat", tmp_path / ".tocsin")
        assert (result.up, result.reason) == (True, "")
        assert "posted as" in result.detail
        assert "RESOLVED" in slack.roots[0].text
        assert "TocsinTest" not in slack.roots[0].text.splitlines()[0]
        assert alert_router.send_test(settings, "pager", tmp_path / ".tocsin").up
        assert (len(pager.incidents), pager.open) == (1, [])


def test_send_test_tells_a_refusal_without_the_secret(tmp_path: Path) -> None:
    """The reason is readable, the token is not."""
    double = SlackDouble("another-token")
    with double.running():
        settings = settings_from(tmp_path, slack_settings(double))()
        result = alert_router.send_test(settings, "chat", tmp_path / ".tocsin")
        assert (result.up, result.reason) == (False, "auth")
        assert "refuses the token" in result.detail
        assert SECRET not in repr(result)
        with pytest.raises(StackError, match="no destination 'nobody'"):
            alert_router.send_test(settings, "nobody", tmp_path / ".tocsin")


def test_send_test_reaches_the_inbox_with_and_without_a_router(tmp_path: Path) -> None:
    """Through the running router's webhook, or straight into the ledger; and only into the inbox."""
    double = SlackDouble(SECRET)
    with double.running(), router_process(tmp_path, slack_settings(double)) as router:
        text = slack_settings(double) + f"external_url: {router.url}\nports: {{router: {router.port}}}\n"
        settings = settings_from(tmp_path, text)()
        result = alert_router.send_test(settings, "inbox", router.data)
        assert result.up
        router.stop()
        assert alert_router.send_test(settings, "inbox", router.data).up
        router.start()
        assert "TocsinTest" in alert_router.why(router.data, result.detail.rpartition("/")[2])
        assert double.messages == []


def test_a_connection_check_finds_what_is_wrong(tmp_path: Path) -> None:
    """Without telling anybody anything: right, wrong, and away."""
    double = SlackDouble(SECRET)
    with double.running():
        settings = settings_from(tmp_path, slack_settings(double))()
        assert alert_router.try_destination("chat", settings.destinations["chat"], timeout=5).up
        double.token = "rotated"
        assert alert_router.try_destination("chat", settings.destinations["chat"], timeout=5).reason == "auth"
        assert double.messages == []
    result = alert_router.try_destination("chat", settings.destinations["chat"], timeout=5)
    assert (result.up, result.reason) == (False, "network")


def test_silences_at_a_real_alertmanager(
    generation: Generation, keep: Callable[[Server], Server], tmp_path: Path
) -> None:
    """Added, listed and ended through API v2 of each generation."""
    config = "route: {receiver: none}\nreceivers: [{name: none}]\n"
    server = keep(start_alertmanager(generation.alertmanager, tmp_path / "alertmanager", config))
    settings = settings_from(tmp_path, f"ports: {{alertmanager: {server.port}}}\n")()
    made = alert_router.silence_add(
        settings, ["alertname=Queue", "target=~or.*"], timedelta(hours=2), comment="planned work", created_by="Ada"
    )
    (listed,) = alert_router.silence_list(settings)
    assert (listed.id, listed.created_by, listed.comment) == (made.id, "Ada", "planned work")
    assert round(listed.ends - listed.starts) == 7200
    assert [str(matcher) for matcher in listed.matchers] == ['alertname="Queue"', 'target=~"or.*"']
    alert_router.silence_expire(settings, made.id)
    assert alert_router.silence_list(settings) == []
    with pytest.raises(StackError, match="not the id"):
        alert_router.silence_expire(settings, "../status")


def test_a_silence_of_everything_is_refused(tmp_path: Path) -> None:
    """Matchers that hold for anything would mute every page there is."""
    settings = settings_from(tmp_path, "")()
    for matchers in ([], ["alertname=~.*"], ["x!=y"]):
        with pytest.raises(StackError, match="at least one matcher"):
            alert_router.silence_add(settings, matchers, timedelta(hours=1), comment="", created_by="x")


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("a=b", Matcher("a", "b")),
        ('a="b c"', Matcher("a", "b c")),
        ("a!=b", Matcher("a", "b", equal=False)),
        ("a=~b|c", Matcher("a", "b|c", regex=True)),
        ("a!~b", Matcher("a", "b", regex=True, equal=False)),
    ],
)
def test_matchers_are_written_as_in_alertmanager(text: str, matcher: Matcher) -> None:
    """The four signs, with or without quotes."""
    assert parse_matcher(text) == matcher


@pytest.mark.parametrize("text", ["", "a", "=b", "9a=b"])
def test_what_is_no_matcher_is_refused_with_the_form(text: str) -> None:
    """The fix shows how one is written."""
    with pytest.raises(StackError) as caught:
        parse_matcher(text)
    assert "name=value" in caught.value.fix
