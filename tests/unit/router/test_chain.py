"""From a webhook to all four destinations, inside one process."""

from __future__ import annotations

import time
from pathlib import Path

from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.router import router_here
from tests.doubles.slack import SlackDouble
from tests.doubles.smtp import SmtpDouble
from tests.doubles.webhooks import alert

DESTINATIONS = """
external_url: http://127.0.0.1:8088
destinations:
  chat: {{kind: slack, channel: "#oncall", token: "{slack.token}", api_url: "{slack.base}/api"}}
  mail:
    {{kind: email, to: [a@example.com, b@example.com], host: 127.0.0.1, port: {smtp.port}, tls: none, from: t@x.org}}
  pager: {{kind: pagerduty, routing_key: "{pagerduty.routing_key}", events_url: "{pagerduty.events_url}"}}
routes:
  - {{match: {{}}, to: [chat, mail, pager]}}
"""


async def test_a_page_reaches_all_and_its_end_updates_the_same_messages(tmp_path: Path) -> None:
    """One message per group and destination; the resolve edits, replies, and closes."""
    slack, smtp, pagerduty = SlackDouble(), SmtpDouble(), PagerDutyDouble()
    with slack.running(), smtp.running(), pagerduty.running():
        text = DESTINATIONS.format(slack=slack, smtp=smtp, pagerduty=pagerduty)
        async with router_here(tmp_path, text) as bench:
            began = time.time() - 192
            assert (await bench.post(alert(starts=began))).status_code == 200
            await bench.settled()
            assert "930 of 1000 messages" in slack.roots[0].text
            assert pagerduty.open[0].events[0]["payload"]["severity"] == "critical"
            assert len(smtp.to("a@example.com")) == len(smtp.to("b@example.com")) == 1

            assert (await bench.post(alert(starts=began, ends=time.time()))).status_code == 200
            await bench.settled()
            assert len(slack.roots) == 1
            assert "RESOLVED" in slack.roots[0].text
            assert "Resolved after 3m12s" in slack.replies(slack.roots[0].ts)[0].text
            assert pagerduty.open == []
            first, last = smtp.to("a@example.com")
            assert last.message["In-Reply-To"] == last.message["References"] == first.message["Message-ID"]
            assert "resolved after 3m12s" in last.text.lower()
            (group,) = await bench.groups()
            assert {one["state"] for one in group["deliveries"]} == {"delivered"}
