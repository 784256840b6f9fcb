"""Kills a router under load again and again, then compares its promises with the books of the providers.

Every webhook that was answered 200 must become exactly one PagerDuty incident and one mail; Slack may show one
message more per kill, marked as a repetition. Usage: python -m bench.router_kill [--kills 20]
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import httpx

from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.router import RouterProcess, router_process
from tests.doubles.slack import SlackDouble
from tests.doubles.smtp import SmtpDouble
from tests.doubles.webhooks import alert, body

SETTINGS = """
destinations:
  chat: {{kind: slack, channel: "#oncall", token: {slack.token}, api_url: "{slack.base}/api"}}
  mail: {{kind: email, to: [a@example.com], host: 127.0.0.1, port: {smtp.port}, tls: none, from: t@example.com}}
  pager: {{kind: pagerduty, routing_key: {pager.routing_key}, events_url: "{pager.events_url}"}}
routes:
  - {{match: {{severity: warning}}, to: [chat]}}
  - {{match: {{}}, to: [mail, pager]}}
"""


class Senders:
    """Several senders at once; each keeps the names that were acknowledged to it."""

    def __init__(self, router: RouterProcess, count: int) -> None:
        self.acknowledged: list[tuple[str, str]] = []
        self._router = router
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait until all have stopped."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, sender: int) -> None:
        headers = {"Authorization": f"Bearer {self._router.token}"}
        number = 0
        with httpx.Client(timeout=5) as client:
            while not self._stop.is_set():
                number += 1
                # One in twenty goes to Slack, which takes one message a second.
                severity = "warning" if number % 20 == 0 else "critical"
                name = f"Load{sender}x{number}"
                content = body(
                    alert(name, starts=time.time(), severity=severity, labels={"messaging_destination_name": name})
                )
                try:
                    answer = client.post(f"{self._router.url}/webhook/alertmanager", content=content, headers=headers)
                except httpx.HTTPError:
                    time.sleep(0.02)
                    continue
                if answer.status_code == 200:
                    self.acknowledged.append((name, severity))


def main() -> int:
    """Kill, count, print; the exit code is 1 when anything acknowledged was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    slack, smtp, pager = SlackDouble(per_second=50, burst=50), SmtpDouble(), PagerDutyDouble()
    with slack.running(), smtp.running(), pager.running(), tempfile.TemporaryDirectory() as folder:
        text = SETTINGS.format(slack=slack, smtp=smtp, pager=pager)
        with router_process(Path(folder), text) as router:
            acknowledged = _torture(router, arguments.kills, Random(arguments.seed))
            wanted = {name for name, severity in acknowledged if severity == "critical"}
            chats = {name for name, severity in acknowledged if severity == "warning"}
            _wait(
                lambda: wanted <= _incidents(pager) and wanted <= _mails(smtp) and chats <= _posts(slack), seconds=180
            )
    lost = len(wanted - _incidents(pager)) + len(wanted - _mails(smtp)) + len(chats - _posts(slack))
    twice = Counter(incident.dedup_key for incident in pager.incidents)
    ids = Counter(str(mail.message["Message-ID"]) for mail in smtp.mails)
    print(f"kills:                     {arguments.kills}")
    print(f"webhooks acknowledged:     {len(acknowledged)}")
    print(f"acknowledged and lost:     {lost}")
    print(f"PagerDuty incidents twice: {sum(count > 1 for count in twice.values())}")
    print(f"mails sent twice:          {sum(ids.values()) - len(ids)} (same Message-ID: one mail for the reader)")
    print(f"Slack messages too many:   {len(slack.roots) - len(_posts(slack))} (at most one per kill, marked)")
    return 1 if lost else 0


def _torture(router: RouterProcess, kills: int, random: Random) -> list[tuple[str, str]]:
    senders = Senders(router, 4)
    for _ in range(kills):
        time.sleep(random.uniform(0.1, 1.2))
        router.kill()
        router.start()
    time.sleep(0.5)
    senders.stop()
    return senders.acknowledged


def _incidents(pager: PagerDutyDouble) -> set[str]:
    with pager.lock:
        return {incident.events[0]["payload"]["class"] for incident in pager.incidents}


def _mails(smtp: SmtpDouble) -> set[str]:
    return {_name(mail.text) for mail in list(smtp.mails)}


def _posts(slack: SlackDouble) -> set[str]:
    with slack.lock:
        return {_name(message.text) for message in slack.roots}


def _name(text: str) -> str:
    """The alert's name, which the load puts into the summary as the queue's name."""
    return text.partition("Queue ")[2].partition(" of orders")[0]


def _wait(true: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.2)


if __name__ == "__main__":
    raise SystemExit(main())
