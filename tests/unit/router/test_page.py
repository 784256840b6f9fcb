"""What a message says, and that each of its links leads somewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from jinja2 import DictLoader

from alert_router.page import Event, Page, Site, clock_time, duration, make_page
from alert_router.render import Renderer
from alert_router.routing import Plan, Step, plan
from alert_router.snapshot import (
    KEPT_ALERTS,
    Alert,
    Announcement,
    Sender,
    Snapshot,
    WebhookError,
    build,
    group_id,
    parse_webhook,
)
from alert_router.text import LINE_CHARACTERS, one_line, plain_text
from tests.doubles.router import settings_from
from tests.doubles.webhooks import alert, body

SITE = Site("http://router", None, Path("docs/runbooks"))


def links_of(snapshot: Snapshot, place: Site = SITE) -> dict[str, str]:
    """Text → address."""
    return {link.text: link.url for link in make_page(snapshot, place, "fired").links}


def group(*alerts: Alert, labels: dict[str, str] | None = None) -> Snapshot:
    """A group of alerts."""
    return build(alerts, Sender("router", labels or {"alertname": "Custom"}))


def one(status: str = "firing", **annotations: str) -> Alert:
    """One alert of an alert without a runbook of ours."""
    ends = None if status == "firing" else 192.0
    return Alert("firing" if status == "firing" else "resolved", {"alertname": "Custom"}, annotations, 0.0, ends, "f")


def test_the_identity_of_a_group_is_receiver_and_labels() -> None:
    """Not the groupKey, which changes when the route tree is edited; not the order of labels."""
    first = parse_webhook(body(alert(starts=1.0), groupKey='{}/{a="b"}:{x}'))
    second = parse_webhook(body(alert(starts=1.0), groupKey="{}:{x}"))
    assert (
        first.group_id == second.group_id == group_id("router", {"target": "orders", "alertname": "QueueNearCapacity"})
    )
    assert parse_webhook(body(alert(starts=1.0), receiver="other")).group_id != first.group_id


def test_a_webhook_is_read_as_alertmanager_writes_it() -> None:
    """Nanoseconds, offsets, the year 1 for "not yet", and firing alerts first."""
    ended = alert(starts=100.0, ends=200.0) | {"startsAt": "1970-01-01T02:01:40.123456789+02:00"}
    snapshot = parse_webhook(body(ended, alert(starts=150.0, labels={"queue": "b"})))
    assert [one.status for one in snapshot.alerts] == ["firing", "resolved"]
    assert snapshot.alerts[1].starts == pytest.approx(100.123456)
    assert (snapshot.status, snapshot.since, snapshot.ended) == ("firing", 150.0, None)
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


def test_a_huge_group_is_kept_small_and_counted_whole() -> None:
    """Messages list a few; the counts and the identity of the news are of all."""
    snapshot = parse_webhook(body(*(alert(starts=1.0, labels={"n": str(n)}) for n in range(500)), truncatedAlerts=7))
    assert (len(snapshot.alerts), snapshot.firing) == (KEPT_ALERTS, 500)
    assert make_page(snapshot, SITE, "fired").more == 497


@pytest.mark.parametrize(("severity", "taken"), [("critical", "critical"), ("page", "warning"), ("", "warning")])
def test_an_unknown_severity_is_a_warning(severity: str, taken: str) -> None:
    """Shown, but nobody is woken by a typing error."""
    assert parse_webhook(body(alert(starts=1.0, severity=severity))).severity == taken


def test_the_most_severe_firing_alert_names_the_group() -> None:
    """What is resolved does not count."""
    ended = alert(starts=1.0, ends=2.0, severity="critical")
    assert parse_webhook(body(ended, alert(starts=1.0, severity="info"))).severity == "info"


def test_an_unreadable_body_says_why_without_repeating_it() -> None:
    """Bodies may hold anything, secrets too."""
    with pytest.raises(WebhookError) as caught:
        parse_webhook(b'{"password": "canary"')
    assert "canary" not in str(caught.value)


def test_links_with_nothing_behind_them_are_not_sent() -> None:
    """No query, no graph; no runbook, no link; and no silence for what Alertmanager does not know."""
    assert set(links_of(group(one()))) == {"Silence", "Timeline"}
    own = Announcement("Own", {}, {"summary": "x"}, "warning", 0.0).snapshot()
    assert set(links_of(own)) == {"Timeline"}
    assert set(links_of(group(one("resolved")))) == {"Timeline"}


def test_the_runbook_is_the_rules_own() -> None:
    """A foreign address is kept; one of ours is made anew for the present address, or left out when it is unknown."""
    assert links_of(group(one(runbook_url="https://wiki/x")))["Runbook"] == "https://wiki/x"
    ours = one(runbook_url="http://old-address/runbooks/QueueNearCapacity")
    assert links_of(group(ours))["Runbook"] == "http://router/runbooks/QueueNearCapacity"
    assert "Runbook" not in links_of(group(one(runbook_url="http://router/runbooks/Nothing")))
    assert links_of(group(one(runbook_url="https://wiki/runbooks/Else")))["Runbook"] == "https://wiki/runbooks/Else"
    assert "Runbook" not in links_of(group(one(runbook_url="javascript:alert(1)")))


def test_the_panel_is_grafanas_where_there_is_one() -> None:
    """Else our own graph, else what the rule's author wrote."""
    both = one(panel="board/7", query="up")
    grafana = replace(SITE, grafana_url="http://grafana")
    assert links_of(group(both), grafana)["Panel"] == "http://grafana/d/board?viewPanel=7"
    assert links_of(group(both))["Graph"].startswith("http://router/graph/")
    assert links_of(group(one(dashboard_url="https://boards/x")))["Panel"] == "https://boards/x"


def test_several_alerts_are_counted_and_listed() -> None:
    """One line each, and how many there are beyond those."""
    alerts = [replace(one(summary=f"Queue q{n} is full", value=f"{n} %"), fingerprint=str(n)) for n in range(14)]
    page = make_page(group(*alerts), SITE, "fired")
    assert page.summary == "Queue q0 is full (and 13 more)"
    assert (len(page.lines), page.more, page.value) == (10, 4, "")


def test_an_alert_without_annotations_still_says_something() -> None:
    """Rules of other people have other habits."""
    bare = Alert("firing", {"alertname": "Custom", "target": "db", "disk": "sda"}, {}, 0.0, None, "f")
    assert make_page(group(bare), SITE, "fired").summary == "Custom db (disk=sda)"


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ("fired", "firing since 1970-01-01 00:00 UTC"),
        ("updated", "changed: 0 of 1 firing"),
        ("reminder", "still firing, since 1970-01-01 00:00 UTC"),
        ("resolved", "resolved after 3m12s"),
        ("fired_and_resolved", "fired and resolved after 3m12s, before this message could leave"),
    ],
)
def test_each_event_is_a_sentence(event: Event, sentence: str) -> None:
    """What changed, in words."""
    assert make_page(group(one("resolved")), SITE, event).state_text == sentence


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0.4, "0s"), (59.4, "59s"), (192, "3m12s"), (7500, "2h05m"), (93_600, "1d2h")],
)
def test_lengths_of_time_are_written_for_people(seconds: float, text: str) -> None:
    """At most two units."""
    assert duration(seconds) == text


def test_the_date_is_written_only_when_it_is_another_day() -> None:
    """At night the time matters."""
    assert clock_time(3600.0, now=7200.0) == "01:00 UTC"
    assert clock_time(3600.0, now=200_000.0) == "1970-01-01 01:00 UTC"


def test_the_smallest_message_is_one_short_line_with_the_address() -> None:
    """Whatever the summary is."""
    page = replace(make_page(group(one()), SITE, "fired"), summary="x\n" * 5000)
    assert len(one_line(page)) <= LINE_CHARACTERS + len(page.url) + 1
    assert one_line(page).endswith(page.url)


def test_the_built_in_text_has_everything() -> None:
    """It stands in for a broken template."""
    page = replace(make_page(group(one(summary="S", value="V", query="up")), SITE, "fired"), note="N")
    for part in ("S", "V", "N", "Graph: http://router/graph/", "firing since"):
        assert part in plain_text(page)


def test_a_template_cannot_reach_out_of_its_sandbox() -> None:
    """A template that tries is a broken template: the built-in text leaves."""
    source = "{{ page.__class__.__mro__[1].__subclasses__() }}"
    failed: list[str] = []
    renderer = Renderer(DictLoader({"x.full.txt.j2": source}), on_error=failed.append)
    text = renderer.message("x.{size}.txt.j2", make_page(group(one(summary="S")), SITE, "fired"), "full")
    assert "S" in text
    assert failed == ["x.full.txt.j2"]


def _plan(tmp_path: Path, routes: str, **labels: str) -> Plan:
    chats = "\n".join(f"  {name}: {{kind: slack, channel: '#x', token: t}}" for name in ("a", "b", "c"))
    return plan(settings_from(tmp_path, f"destinations:\n{chats}\n{routes}\n")(), labels)


def test_the_first_route_that_matches_wins(tmp_path: Path) -> None:
    """With its fallback steps; the inbox is told in any case and needs no delivery."""
    routes = (
        "routes:\n  - {match: {severity: critical}, to: [a, inbox], fallback: [{after: 60s, to: [b]}]}\n"
        "  - {match: {target: orders}, to: [c]}\n"
    )
    assert _plan(tmp_path, routes, severity="critical") == Plan(("a",), (Step(60.0, ("b",)),))
    assert _plan(tmp_path, routes, severity="warning", target="orders") == Plan(("c",))
    assert _plan(tmp_path, routes, severity="warning") == Plan(())


def test_without_routes_everybody_is_told_of_what_matters(tmp_path: Path) -> None:
    """A destination that nobody routed to would be found out at night; info is only shown."""
    assert _plan(tmp_path, "", severity="warning") == Plan(("a", "b", "c"))
    assert _plan(tmp_path, "", severity="info") == Plan(())


def test_a_page_is_data_that_nobody_changes() -> None:
    """Frozen: what one destination is told cannot be changed by another."""
    page: Page = make_page(group(one()), SITE, "fired")
    with pytest.raises(AttributeError):
        page.summary = "x"  # type: ignore[misc]
