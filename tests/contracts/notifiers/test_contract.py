"""What every notifier must do, whoever writes it: run over the table, the toy included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, get_args

import pytest
from jinja2 import DictLoader

from alert_router.deliver import REPEATED, send_fitting
from alert_router.notifiers.base import Notifier, Outgoing, Tools
from alert_router.notifiers.table import NOTIFIERS
from alert_router.page import Page, Site, make_page
from alert_router.render import Renderer
from alert_router.snapshot import Alert, Sender, build
from tests.contracts.notifiers.cases import CANARY, CASES, Case, Refusal
from tocsin.errors import DeliveryError, DeliveryReason, Permanent, RateLimited
from tocsin.paths import HOUSE
from tocsin.settings import INBOX

SITE = Site("http://127.0.0.1:8088", None, HOUSE / "docs" / "runbooks")
BEGAN = 1_800_000_000.0

every_kind = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
every_remote_kind = pytest.mark.parametrize(
    "case", [case for name, case in CASES.items() if name != INBOX], ids=[name for name in CASES if name != INBOX]
)
every_refusal = pytest.mark.parametrize(
    ("case", "refusal"),
    [pytest.param(case, one, id=f"{kind}: {one.name}") for kind, case in CASES.items() for one in case.refusals],
)


def a_page(*, resolved: bool = False, alerts: int = 1, summary: str = "Queue emails is at 93 %", **notes: str) -> Page:
    """A page with everything on it."""
    annotations = {
        "summary": summary,
        "value": "930 of 1000 messages",
        "description": "It fills <faster> than it drains & will be full soon.",
        "query": "up",
        "runbook_url": "https://runbooks.example.com/queue",
        **notes,
    }
    made = [
        Alert(
            "resolved" if resolved else "firing",
            {"alertname": "QueueNearCapacity", "severity": "critical", "target": "orders", "queue": f"q{number}"},
            annotations,
            BEGAN,
            BEGAN + 192 if resolved else None,
            f"{number}",
        )
        for number in range(alerts)
    ]
    sender = Sender("router", {"alertname": "QueueNearCapacity", "target": "orders"}, group_key="{}:{the group}")
    return make_page(build(made, sender), SITE, "resolved" if resolved else "fired", generation=2 if resolved else 1)


@asynccontextmanager
async def opened(case: Case, provider: Any, tools: Tools | None = None, **changed: Any) -> AsyncIterator[Notifier]:
    """A notifier of a kind, closed at the end."""
    settings = case.kind.settings.model_validate({**case.settings(provider), **changed})
    notifier = case.kind.factory("oncall", settings, tools or Tools())
    try:
        yield notifier
    finally:
        await notifier.aclose()


def outgoing(case: Case, page: Page, **more: Any) -> Outgoing:
    """A message to the first recipient of a kind."""
    recipient = "a@example.com" if case.kind.kind == "email" else ""
    return Outgoing(page, recipient=recipient, **more)


def test_every_kind_of_the_table_is_under_contract() -> None:
    """A notifier without a case here would be a promise that nobody checks."""
    assert set(NOTIFIERS) <= set(CASES)


@every_remote_kind
async def test_a_message_says_what_matters(case: Case) -> None:
    """Summary, value, where, runbook and the group's own page are there."""
    with case.provider() as provider:
        async with opened(case, provider) as notifier:
            receipt = await notifier.send(outgoing(case, a_page()))
        (seen,) = case.seen(provider)
    assert seen.open
    for part in ("Queue emails is at 93 %", "930 of 1000 messages", "orders", "https://runbooks.example.com/queue"):
        assert part in seen.text
    assert f"http://127.0.0.1:8088/groups/{a_page().group_id}" in seen.text
    assert receipt.detail


@every_remote_kind
async def test_the_end_updates_the_same_message(case: Case) -> None:
    """One message per episode: fire, change, end leave one thing to read, and it is closed."""
    with case.provider() as provider:
        async with opened(case, provider) as notifier:
            first = await notifier.send(outgoing(case, a_page()))
            changed = replace(a_page(alerts=2), event="updated", generation=2)
            second = await notifier.send(outgoing(case, changed, thread=first.thread))
            await notifier.send(outgoing(case, replace(a_page(resolved=True), generation=3), thread=second.thread))
        (seen,) = case.seen(provider)
    assert not seen.open


@every_refusal
async def test_each_refusal_says_what_to_do_next(case: Case, refusal: Refusal) -> None:
    """Every answer of the provider becomes one of the four errors with a bounded reason, and none shows the secret."""
    with case.provider() as provider:
        refusal.arrange(provider)
        async with opened(case, provider) as notifier:
            with pytest.raises(DeliveryError) as caught:
                await notifier.send(outgoing(case, a_page()))
    assert type(caught.value) is refusal.error or isinstance(caught.value, refusal.error)
    assert caught.value.reason == refusal.reason
    assert caught.value.reason in get_args(DeliveryReason)
    assert CANARY not in str(caught.value)


@every_refusal
async def test_a_rate_limit_says_when(case: Case, refusal: Refusal) -> None:
    """The provider's time is kept to the second; without one, a wait of our own."""
    if refusal.error is not RateLimited:
        return
    with case.provider() as provider:
        refusal.arrange(provider)
        async with opened(case, provider, Tools(clock=lambda: 5000.0)) as notifier:
            with pytest.raises(RateLimited) as caught:
                await notifier.send(outgoing(case, a_page()))
    if "without" in refusal.name:
        assert caught.value.not_before > 5010
    else:
        assert caught.value.not_before == 5030


@every_remote_kind
async def test_a_wrong_secret_is_permanent_and_not_shown(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    """No retry can help; neither error, log nor settings show what was tried."""
    wrong = f"wrong-{CANARY}-wrong"
    with case.provider() as provider:
        async with opened(case, provider, **{str(case.wrong_secret): wrong}) as notifier:
            for attempt in (notifier.send(outgoing(case, a_page())), notifier.probe()):
                with pytest.raises(Permanent) as caught:
                    await attempt
                assert caught.value.reason == "auth"
                assert CANARY not in str(caught.value)
        assert case.seen(provider) == []
        settings = case.kind.settings.model_validate({**case.settings(provider)})
    assert CANARY not in repr(settings)
    assert CANARY not in caplog.text


@every_remote_kind
async def test_a_connection_check_tells_nobody(case: Case) -> None:
    """Trying a destination finds what is wrong and wakes no one."""
    with case.provider() as provider:
        async with opened(case, provider) as notifier:
            assert await notifier.probe()
        assert case.seen(provider) == []


@every_remote_kind
@pytest.mark.parametrize("letters", ["x", "<&>", "é", "🔥"])
async def test_a_message_that_is_too_large_leaves_smaller(case: Case, letters: str) -> None:
    """Whatever the alert carries, something leaves, and it leads to the rest."""
    long = letters * (300_000 // len(letters))
    page = a_page(alerts=40, summary=f"Queue {long}", description=long, value=long)
    with case.provider() as provider:
        async with opened(case, provider) as notifier:
            await send_fitting(notifier, outgoing(case, page))
        (seen,) = case.seen(provider)
    assert "Queue" in seen.text
    assert page.url in seen.text


@every_remote_kind
@pytest.mark.parametrize(
    "source", [None, "{{ page.summary", "{{ page.summary.nothing() }}", "{{ 1 / 0 }}", "{% include 'x' %}", "  "]
)
async def test_a_broken_template_costs_no_page(case: Case, source: str | None) -> None:
    """Missing, broken, failing or empty: the built-in text leaves."""
    names = [f"{case.kind.kind}.{size}.{form}.j2" for size in ("full", "compact") for form in ("txt", "html")]
    failed: list[str] = []
    renderer = Renderer(DictLoader({} if source is None else dict.fromkeys(names, source)), on_error=failed.append)
    with case.provider() as provider:
        async with opened(case, provider, Tools(renderer=renderer)) as notifier:
            await notifier.send(outgoing(case, a_page()))
        (seen,) = case.seen(provider)
    assert "Queue emails is at 93 %" in seen.text
    assert failed


@every_remote_kind
async def test_sending_twice_after_an_unknown_outcome(case: Case) -> None:
    """A repetition is the same message where the provider can tell; Slack cannot, and there it says that it is one."""
    page = replace(a_page(), note=REPEATED)
    with case.provider() as provider:
        async with opened(case, provider) as notifier:
            await notifier.send(outgoing(case, a_page()))
            await notifier.send(outgoing(case, page, uncertain=True))
        seen = case.seen(provider)
    if case.kind.kind == "slack":
        assert len(seen) == 2
        assert REPEATED in seen[1].text
    else:
        assert len(seen) == 1


@every_remote_kind
async def test_a_page_of_one_group_is_not_another(case: Case) -> None:
    """Two groups are two messages."""
    other = replace(a_page(), group_id="0123456789ab", group_key="{}:{other}")
    with case.provider() as provider:
        async with opened(case, provider) as notifier:
            await notifier.send(outgoing(case, a_page()))
            await notifier.send(outgoing(case, other))
        assert len({one.ident for one in case.seen(provider)}) == 2


@every_kind
async def test_closing_is_quiet(case: Case) -> None:
    """A notifier that never sent anything can be closed."""
    with case.provider() as provider:
        async with opened(case, provider):
            await asyncio.sleep(0)


async def test_the_inbox_is_told_where_it_shows_the_page() -> None:
    """The local destination sends nothing and says so."""
    case = CASES[INBOX]
    async with opened(case, []) as notifier:
        receipt = await notifier.send(outgoing(case, a_page()))
    assert a_page().url in receipt.detail
    assert case.kind.local
