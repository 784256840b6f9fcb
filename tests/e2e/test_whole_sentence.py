"""The whole sentence: a queue fills up, four destinations tell of it, the resolve updates what they were told.

Everything is real but the three providers, whose doubles enforce the real limits. The stack is started, broken,
healed, asked and stopped by the command line, once per generation of Prometheus and Alertmanager that is found.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.slack import SlackDouble
from tests.doubles.smtp import SmtpDouble
from tests.e2e.native import Native, prepare
from tests.servers import Generation, eventually, get

ONCALL = "oncall@example.com"
CANARIES = ("xoxb-canary-token", "canary0routing0key0of032letters0")
ALERT = "QueueNearCapacity"


@dataclass(frozen=True)
class Platform:
    """A running stack and the doubles of the three providers."""

    stack: Native
    slack: SlackDouble
    pagerduty: PagerDutyDouble
    smtp: SmtpDouble
    generation: str


@pytest.fixture(scope="module")
def platform(generation: Generation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Start the stack with `tocsin up`; stop it with `tocsin down`, and see that no process is left."""
    folder = tmp_path_factory.mktemp(generation.name)
    with contextlib.ExitStack() as doubles:
        slack = doubles.enter_context(SlackDouble().running())
        pagerduty = doubles.enter_context(PagerDutyDouble().running())
        smtp = doubles.enter_context(SmtpDouble().running())
        stack = prepare(folder, generation, _destinations(folder, slack, pagerduty, smtp))
        said = stack.run("up", "--mode", "native")
        assert f"http://127.0.0.1:{stack.ports['router']}" in said
        pids = stack.pids()
        try:
            yield Platform(stack, slack, pagerduty, smtp, generation.name)
        finally:
            pids |= stack.pids()
            stack.run("down")
        assert [name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()] == []
        assert (stack.data / "ledger.sqlite").exists(), "down keeps the data"


def _destinations(folder: Path, slack: SlackDouble, pagerduty: PagerDutyDouble, smtp: SmtpDouble) -> dict[str, Any]:
    secrets = folder / "secrets"
    secrets.mkdir()
    for name, canary in zip(("slack", "pagerduty"), CANARIES, strict=True):
        (secrets / name).write_text(canary)
    return {
        "destinations": {
            "oncall-slack": {
                "kind": "slack",
                "channel": "#oncall",
                "token_file": "secrets/slack",
                "api_url": f"{slack.base}/api/",
            },
            "oncall-mail": {
                "kind": "email",
                "to": [ONCALL],
                "host": "127.0.0.1",
                "port": smtp.port,
                "tls": "none",
            },
            "pagerduty": {
                "kind": "pagerduty",
                "routing_key_file": "secrets/pagerduty",
                "events_url": pagerduty.events_url,
            },
        },
        "routes": [{"match": {"severity": "critical"}, "to": ["pagerduty", "oncall-slack", "oncall-mail"]}],
        "intervals": {"scrape": "1s", "evaluate": "1s", "group_wait": "1s", "group_interval": "1s"},
    }


def delivered(platform: Platform, status: str) -> dict[str, Any] | None:
    """The group once all four destinations have been told its status."""
    group = platform.stack.group(ALERT, status)
    if group is None:
        return None
    told = {d["destination"] for d in group["deliveries"] if d["state"] == "delivered"}
    return group if told == {"inbox", "oncall-slack", "oncall-mail", "pagerduty"} else None


def settled(platform: Platform) -> None:
    """Heal, and wait until nothing fires any more and everybody knows."""
    platform.stack.run("heal")
    eventually(lambda: delivered(platform, "resolved"), timeout=60)
    eventually(lambda: not platform.pagerduty.open, timeout=10)


def test_the_whole_sentence(platform: Platform) -> None:
    """Fault on: four destinations show value, links and runbook; fault off: the same messages are updated."""
    stack = platform.stack
    stack.run("break", "worker-stopped")
    group = eventually(lambda: delivered(platform, "firing"), timeout=60)
    assert group["severity"] == "critical"
    assert group["labels"]["target"] == "demo-queue"
    value = re.search(r"\d+(\.\d+)?%", group["value"])
    assert value is not None
    assert float(value[0].rstrip("%")) >= 80

    page = stack.page(f"/groups/{group['id']}")
    [slack] = [m for m in platform.slack.roots if ALERT in m.text or "orders" in m.text]
    [mail] = platform.smtp.to(ONCALL)
    [incident] = platform.pagerduty.open
    event = incident.events[0]
    texts = {"inbox": page, "slack": str(slack.body), "mail": mail.text, "html": mail.html, "pagerduty": str(event)}
    for name, text in texts.items():
        assert value[0] in text, f"{name} shows no value"
        assert f"{stack.router}/runbooks/{ALERT}" in text or f'"/runbooks/{ALERT}"' in text, f"{name} has no runbook"
        assert f"/graph/{group['id']}" in text, f"{name} has no graph"
    assert event["payload"]["severity"] == "critical"
    _every_link_works(stack, texts)

    settled(platform)
    assert len([m for m in platform.slack.roots if m.ts == slack.ts]) == 1
    assert slack.edits, "the resolve edits the Slack message"
    assert "resolved" in slack.text.lower()
    mails = platform.smtp.to(ONCALL)
    assert mails[-1].message["In-Reply-To"] == mail.message["Message-ID"]
    assert "resolved" in mails[-1].message["Subject"].lower()
    assert (incident.status, {e["dedup_key"] for e in incident.events}) == ("resolved", {incident.dedup_key})
    assert len(platform.pagerduty.incidents) == 1
    story = stack.run("why", ALERT)
    assert all(word in story for word in ("fired", "resolved", "oncall-slack", "oncall-mail", "pagerduty", "inbox"))


def _every_link_works(stack: Native, texts: dict[str, str]) -> None:
    links = {link for text in texts.values() for link in re.findall(rf"{stack.router}[^\s\"'<>|)\\]*", text)}
    links |= {stack.router + path for path in re.findall(r'href="(/[^"#]*)', texts["inbox"])}
    assert len(links) >= 3
    for link in links:
        assert get(link.replace("&amp;", "&")), link
    graph = next(link for link in links if "/graph/" in link)
    assert "<svg" in get(graph).decode()


def test_the_rules_panel_link_leads_to_a_graph(platform: Platform) -> None:
    """The link that the rule itself carries, as Alertmanager shows it, ends at the graph of that alert."""
    stack = platform.stack
    settled_group = stack.group(ALERT, "resolved")
    assert settled_group is not None
    with sqlite3.connect(f"file:{stack.data / 'ledger.sqlite'}?mode=ro", uri=True) as ledger:
        snapshot = ledger.execute("SELECT snapshot FROM event WHERE grp = ?", (settled_group["id"],)).fetchone()[0]
    link = re.search(rf"{stack.router}/panels/[^\"\s]+", snapshot)
    assert link is not None
    assert "<svg" in get(link[0]).decode()


def test_a_router_killed_in_the_middle_loses_nothing(platform: Platform) -> None:
    """Kill -9 while pages are on their way: after the restart everybody is told, nobody twice."""
    stack = platform.stack
    before = len(platform.pagerduty.incidents)
    platform.pagerduty.down = platform.smtp.down = True
    stack.run("break", "worker-stopped")
    eventually(lambda: stack.group(ALERT, "firing"), timeout=60)
    os.kill(stack.pids()["router"], signal.SIGKILL)
    platform.pagerduty.down = platform.smtp.down = False
    eventually(lambda: delivered(platform, "firing"), timeout=60)
    assert len(platform.pagerduty.open) == 1
    assert len(platform.pagerduty.incidents) == before + 1
    settled(platform)
    assert platform.pagerduty.open == []


def test_no_secret_is_anywhere(platform: Platform) -> None:
    """No log, page, metric, ledger or rendered file holds a secret."""
    stack = platform.stack
    places = {
        path: path.read_bytes() for path in stack.data.rglob("*") if path.is_file() and "secrets" not in path.parts
    }
    for page in ("/", "/metrics", "/api/v1/groups", "/dead-letters"):
        places[Path(page)] = stack.page(page).encode()
    found = [str(path) for path, text in places.items() for canary in CANARIES if canary.encode() in text]
    assert found == []


def test_no_series_has_an_exported_label(platform: Platform) -> None:
    """The exporter's own labels win: no series carries one twice under `exported_…`."""
    # The targets come by discovery, some seconds after the start: without them there would be nothing to judge.
    eventually(lambda: platform.stack.query('tocsin_target_up{target="demo-queue"} == 1'))
    assert platform.stack.query('{__name__=~".+", exported_target=~".+"}') == []
    assert platform.stack.query('{__name__=~".+", exported_job=~".+", target=~".+"}') == []


def test_status_tells_every_part(platform: Platform) -> None:
    """`tocsin status` exits 0 and names what is absent in this generation."""
    said = platform.stack.run("status")
    assert "router" in said
    assert "targets" in said
    if platform.generation == "debian":
        assert re.search(r"^ +- +loki +put loki", said, re.MULTILINE)


def test_a_part_that_died_comes_back(platform: Platform) -> None:
    """The supervisor starts what dies; status is well again by itself."""
    stack = platform.stack
    before = stack.pids()["exporter"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: stack.pids()["exporter"] not in (0, before), timeout=15)
    stack.run("status", "--wait", "30")


def test_a_second_up_changes_nothing(platform: Platform) -> None:
    """`up` on a running stack says so, and no process is touched."""
    before = platform.stack.pids()
    assert "up already" in platform.stack.run("up", "--mode", "native")
    assert platform.stack.pids() == before


def test_a_changed_threshold_reloads_only_prometheus(platform: Platform) -> None:
    """What changed is checked, rendered and reloaded, and nothing else is touched."""
    stack = platform.stack
    before, text = stack.pids(), stack.config.read_text()
    stack.config.write_text(text + "thresholds: {queue_fill_ratio: {targets: {demo-queue: 0.55}}}\n")
    try:
        said = stack.run("up", "--mode", "native")
        assert "reloaded prometheus" in said
        assert "router" not in said.replace(str(stack.config), "")
        rules = get(f"http://127.0.0.1:{stack.ports['prometheus']}/api/v1/rules").decode()
        assert "0.55" in rules
    finally:
        stack.config.write_text(text)
        stack.run("reload")
    assert stack.pids() == before


def test_a_bad_file_changes_nothing(platform: Platform) -> None:
    """A broken settings file is refused with its line, the stack runs on, and even a restarted part comes back."""
    stack = platform.stack
    text = stack.config.read_text()
    stack.config.write_text(text + "thresholdz: {}\n")
    try:
        said = stack.run("up", "--mode", "native", code=1)
        assert "did you mean 'thresholds'?" in said
        router = stack.pids()["router"]
        os.kill(router, signal.SIGKILL)
        eventually(lambda: stack.pids()["router"] not in (0, router), timeout=15)
        eventually(lambda: stack.page("/-/ready"), timeout=15)
    finally:
        stack.config.write_text(text)
    stack.run("status", "--wait", "30")


def test_check_connect_tries_everything(platform: Platform) -> None:
    """Every target and destination is tried for real, and no message is sent by that."""
    before = len(platform.slack.messages), len(platform.smtp.mails), len(platform.pagerduty.incidents)
    said = platform.stack.run("check", "--connect")
    assert len(re.findall(r"^  ok ", said, re.MULTILINE)) == 6, said
    assert (len(platform.slack.messages), len(platform.smtp.mails), len(platform.pagerduty.incidents)) == before


def test_send_test_reaches_each_destination(platform: Platform) -> None:
    """`tocsin send-test` sends one real message and prints what came back; a wrong name is named."""
    for destination in ("inbox", "oncall-slack", "oncall-mail", "pagerduty"):
        assert destination in platform.stack.run("send-test", destination)
    assert "inbox, oncall-slack" in platform.stack.run("send-test", "nobody", code=1)


def test_a_silence_from_the_command_line_holds_and_ends(platform: Platform) -> None:
    """`tocsin silence` adds, lists and expires through Alertmanager."""
    stack = platform.stack
    added = re.search(r"tocsin silence expire (\w+)", stack.run("silence", "add", "alertname=Nothing", "--for", "5m"))
    assert added is not None
    assert added[1] in stack.run("silence", "list")
    stack.run("silence", "expire", added[1])
    assert "nothing is silenced" in stack.run("silence", "list")
