"""The pages that people read: what they show, that every link works, and that no other site can act through them."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.doubles.alertmanager import AlertmanagerDouble, PrometheusDouble
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.router import Bench, router_here
from tests.doubles.webhooks import alert

NOW = time.time()

Parts = tuple[Bench, AlertmanagerDouble, PrometheusDouble]


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    alertmanager, prometheus = AlertmanagerDouble(), PrometheusDouble()
    with alertmanager.running(), prometheus.running():
        text = f"ports: {{alertmanager: {alertmanager.port}, prometheus: {prometheus.port}}}\n"
        async with router_here(tmp_path, text) as bench:
            yield bench, alertmanager, prometheus


@pytest.fixture
def bench(parts: Parts) -> Bench:
    return parts[0]


def text_of(html: str) -> str:
    """What a reader sees."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def hidden_token(html: str) -> str:
    """The token of the page's forms."""
    match = re.search(r'name="token" value="([^"]+)"', html)
    assert match
    return match[1]


async def the_group(bench: Bench) -> str:
    """Id of the only group."""
    (group,) = await bench.groups()
    return str(group["id"])


async def test_the_inbox_shows_firing_first_with_what_matters(bench: Bench) -> None:
    """Severity, value, since when, links and who was told; what ended is below."""
    now = time.time()
    await bench.post(alert("TargetDown", starts=now - 900, severity="warning"))
    await bench.post(alert("TargetDown", starts=now - 900, ends=now - 60, severity="warning"))
    await bench.post(alert("CacheHitRatioLow", starts=now - 60, severity="warning"))
    await bench.post(alert("QueueNearCapacity", starts=now - 185))
    page = text_of((await bench.client.get("/")).text)
    assert "2 pages firing" in page
    assert page.index("QueueNearCapacity") < page.index("CacheHitRatioLow") < page.index("Resolved")
    for part in (
        "930 of 1000 messages",
        "firing for 3m",
        "Graph",
        "Silence",
        "Timeline",
        "inbox told",
        "lasted 14m00s",
    ):
        assert part in page


async def test_an_empty_inbox_says_that_all_is_quiet(bench: Bench) -> None:
    """And whether that can be believed: the heartbeat."""
    page = text_of((await bench.client.get("/")).text)
    assert "All quiet" in page
    assert "No heartbeat yet" in page
    await bench.post(alert("Watchdog", starts=1.0))
    assert "Heartbeat 0s ago" in text_of((await bench.client.get("/")).text)


async def test_every_link_of_every_page_works(bench: Bench) -> None:
    """Followed from the JSON list and from all pages that can be reached from the inbox."""
    await bench.post(alert(starts=NOW - 100))
    await bench.raw(b"nonsense")
    seen: set[str] = set()
    todo = ["/"] + [url for group in await bench.groups() for url in group["links"].values()]
    while todo:
        path = urlsplit(todo.pop())._replace(scheme="", netloc="", fragment="").geturl()
        if path in seen or "?range" in path:
            continue
        seen.add(path)
        answer = await bench.client.get(path)
        assert answer.status_code == 200, path
        if answer.headers["content-type"].startswith("text/html"):
            todo += [unescape(url) for url in re.findall(r'(?:href|src)="([^"#]+)', answer.text)]
    assert {"/", "/dead-letters", "/static/style.css", "/favicon.ico"} <= seen
    assert any(path.startswith("/graph/") for path in seen)
    assert any(path.startswith("/runbooks/") for path in seen)


async def test_what_an_alert_says_cannot_act_in_the_page(bench: Bench) -> None:
    """Labels and annotations come from anywhere: they are text, never markup."""
    evil = '<script>alert(1)</script><img src=x onerror=alert(1)>"\'><a href="javascript:x">'
    notes = dict.fromkeys(("summary", "value", "description", "query", "runbook_url", "panel_url"), evil)
    await bench.post(alert(starts=NOW, labels={"messaging_destination_name": evil}, annotations=notes))
    group = await the_group(bench)
    for path in ("/", f"/groups/{group}", f"/graph/{group}"):
        html = (await bench.client.get(path)).text
        assert "<script" not in html
        assert "<img" not in html
        assert 'href="javascript' not in html


async def test_every_answer_carries_strict_headers(bench: Bench) -> None:
    """No script may run, nobody may frame the page, nothing is guessed."""
    for path in ("/", "/nowhere", "/metrics", "/api/v1/groups"):
        headers = (await bench.client.get(path)).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "script-src" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"


async def test_pages_need_no_script_and_no_style_of_their_own(bench: Bench) -> None:
    """The content policy forbids both, so a page that used them would be broken."""
    await bench.post(alert(starts=NOW - 100))
    group = await the_group(bench)
    for path in ("/", f"/groups/{group}", f"/graph/{group}", "/dead-letters", "/nowhere"):
        html = (await bench.client.get(path)).text
        assert "<script" not in html
        assert " style=" not in html
        assert "<style" not in html


async def test_the_silence_button_silences_and_ends(parts: Parts) -> None:
    """By the group's labels, for the chosen time, in the person's name; both are in the group's story."""
    bench, alertmanager, _ = parts
    await bench.post(alert(starts=NOW))
    group = await the_group(bench)
    page = (await bench.client.get(f"/groups/{group}")).text
    form = {"token": hidden_token(page), "who": "Ada", "comment": "restarting workers", "length": "2h"}
    answer = await bench.client.post(f"/groups/{group}/silence", data=form)
    assert answer.status_code == 303
    (silence,) = alertmanager.silences.values()
    assert {m["name"]: m["value"] for m in silence["matchers"]} == {
        "alertname": "QueueNearCapacity",
        "target": "orders",
    }
    assert (silence["createdBy"], silence["comment"]) == ("Ada", "restarting workers")
    page = (await bench.client.get(answer.headers["location"])).text
    assert "Silenced until" in text_of(page)
    assert "silenced by Ada" in text_of(page)
    assert "Silenced until" in text_of((await bench.client.get("/")).text)
    form = {"token": hidden_token(page)}
    answer = await bench.client.post(f"/groups/{group}/silences/{silence['id']}/expire", data=form)
    assert answer.status_code == 303
    page = text_of((await bench.client.get(f"/groups/{group}")).text)
    assert "Silenced until" not in page
    assert "silence ended" in page


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example:8088", "Origin": "http://evil.example:8088"},
        {"Origin": "null"},
    ],
)
async def test_another_site_cannot_act(parts: Parts, headers: dict[str, str]) -> None:
    """Not even with the right token: neither silence nor reload."""
    bench, alertmanager, _ = parts
    await bench.post(alert(starts=NOW))
    group = await the_group(bench)
    token = hidden_token((await bench.client.get(f"/groups/{group}")).text)
    form = {"token": token, "length": "1h"}
    assert (await bench.client.post(f"/groups/{group}/silence", data=form, headers=headers)).status_code == 403
    assert (await bench.client.post("/-/reload", headers=headers)).status_code == 403
    assert alertmanager.silences == {}


async def test_a_form_without_our_token_does_nothing(parts: Parts) -> None:
    """The token is only on our own page, and it is not the webhook's."""
    bench, alertmanager, _ = parts
    await bench.post(alert(starts=NOW))
    group = await the_group(bench)
    for token in ("", "wrong", bench.router.token.get()):
        answer = await bench.client.post(f"/groups/{group}/silence", data={"token": token, "length": "1h"})
        assert answer.status_code == 403
    assert alertmanager.silences == {}
    assert bench.router.token.get() not in (await bench.client.get(f"/groups/{group}")).text


async def test_the_inbox_opens_when_alertmanager_is_down(tmp_path: Path) -> None:
    """It says that silences are not shown, and a silence that cannot be made says so."""
    async with router_here(tmp_path, "ports: {alertmanager: 9}\n") as bench:
        await bench.post(alert(starts=NOW))
        group = await the_group(bench)
        page = await bench.client.get("/")
        assert page.status_code == 200
        assert "silences are not shown" in text_of(page.text)
        token = hidden_token((await bench.client.get(f"/groups/{group}")).text)
        answer = await bench.client.post(f"/groups/{group}/silence", data={"token": token, "length": "1h"})
        assert answer.status_code == 503
        assert "Alertmanager does not answer" in text_of(answer.text)


async def test_the_graph_has_line_threshold_and_the_time_of_the_alert(parts: Parts) -> None:
    """Drawn on the server from the alert's own query."""
    bench, _, prometheus = parts
    await bench.post(alert(starts=NOW - 300))
    group = await the_group(bench)
    html = (await bench.client.get(f"/graph/{group}")).text
    assert prometheus.queries == ["messaging_queue_messages"]
    for part in ('class="series s0"', "threshold 800", 'class="band"', "state=ready"):
        assert part in html


async def test_a_graph_without_prometheus_says_why(tmp_path: Path) -> None:
    """The page opens, names the trouble, and leads to the rest."""
    async with router_here(tmp_path, "ports: {prometheus: 9}\n") as bench:
        await bench.post(alert(starts=NOW))
        answer = await bench.client.get(f"/graph/{await the_group(bench)}")
        assert answer.status_code == 503
        assert "Prometheus does not answer" in text_of(answer.text)


async def test_a_panel_address_leads_to_our_graph_without_grafana(bench: Bench) -> None:
    """The newest group of that alert with those labels; a page that says so when there is none."""
    await bench.post(alert(starts=NOW, labels={"messaging_destination_name": "emails"}))
    group = await the_group(bench)
    for query in ("", "?target=orders", "?target=orders&messaging_destination_name=emails"):
        answer = await bench.client.get(f"/panels/QueueNearCapacity{query}")
        assert (answer.status_code, answer.headers["location"]) == (302, f"/graph/{group}")
    assert (await bench.client.get("/panels/QueueNearCapacity?target=other")).status_code == 404
    assert (await bench.client.get("/panels/Nothing")).status_code == 404


async def test_a_panel_address_leads_to_grafana_where_there_is_one(tmp_path: Path) -> None:
    """With the alert's labels as variables; the message links there directly."""
    async with router_here(tmp_path, "grafana_url: http://grafana.example:3000\n") as bench:
        await bench.post(alert(starts=NOW))
        wanted = "http://grafana.example:3000/d/tocsin-queues?viewPanel=7&var-target=orders"
        answer = await bench.client.get("/panels/QueueNearCapacity?target=orders")
        assert (answer.status_code, answer.headers["location"]) == (302, wanted)
        (group,) = await bench.groups()
        assert group["links"]["panel"] == wanted


@pytest.mark.parametrize(
    "path", ["/groups/nothing", "/graph/nothing", "/runbooks/Nothing", "/runbooks/..%2f..%2fREADME"]
)
async def test_what_is_not_there_is_a_page_that_leads_back(bench: Bench, path: str) -> None:
    """404, in words, with a way to the inbox."""
    answer = await bench.client.get(path)
    assert answer.status_code == 404


async def test_a_dead_letter_can_be_sent_again_or_dismissed(tmp_path: Path) -> None:
    """From its page, after the destination was corrected."""
    double = PagerDutyDouble()
    with double.running():
        text = (
            f"destinations: {{pager: {{kind: pagerduty, routing_key: x, events_url: '{double.events_url}'}}}}\n"
            "routes: [{match: {}, to: [pager]}]\n"
        )
        async with router_here(tmp_path, text) as bench:
            await bench.post(alert(starts=NOW))
            await bench.post(alert("Other", starts=NOW))
            await bench.settled()
            page = (await bench.client.get("/dead-letters")).text
            assert "refuses the routing key" in text_of(page)
            token = {"token": hidden_token(page)}
            double.routing_key = "x"
            first, second = re.findall(r"/dead-letters/(\d+)/resend", page)
            assert (await bench.client.post(f"/dead-letters/{first}/resend", data=token)).status_code == 303
            assert (await bench.client.post(f"/dead-letters/{second}/dismiss", data=token)).status_code == 303
            await bench.settled()
            assert len(double.open) == 1
            assert "None. Every message" in text_of((await bench.client.get("/dead-letters")).text)
            states = {group["alertname"]: group["status"] for group in await bench.groups()}
            assert states["DestinationFailing"] == "resolved"


async def test_health_and_readiness(bench: Bench) -> None:
    """Both answer, without a token."""
    for path in ("/-/healthy", "/-/ready"):
        assert (await bench.client.get(path)).status_code == 200


async def test_the_json_list_has_what_other_programs_rely_on(bench: Bench) -> None:
    """id, alertname, status, severity, since, labels, deliveries; by status when asked."""
    await bench.post(alert(starts=1_700_000_000.0))
    (group,) = (await bench.client.get("/api/v1/groups?status=firing")).json()
    assert {"id", "alertname", "status", "severity", "since", "labels", "deliveries"} <= set(group)
    assert group["since"] == "2023-11-14T22:13:20.000Z"
    assert group["deliveries"][0]["destination"] == "inbox"
    assert (await bench.client.get("/api/v1/groups?status=resolved")).json() == []
