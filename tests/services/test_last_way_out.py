"""When the router is gone, Alertmanager itself brings the news to Slack, PagerDuty and mail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from alert_router.notifiers.email import EmailSettings
from alert_router.notifiers.pagerduty import PagerDutySettings
from alert_router.notifiers.slack import SlackSettings
from tests.conftest import Keep
from tests.servers import Generation, eventually, free_port, free_ports, post, start_alertmanager
from tocsin.settings import Settings
from tocsin.stack.addresses import native_addresses
from tocsin.stack.private import write_secrets
from tocsin.stack.service import Layout
from tocsin.stack.way_out import alertmanager_yml

Seen = list[tuple[str, str, dict[str, object]]]


@pytest.fixture
def http_double() -> Iterator[tuple[str, Seen]]:
    """A double of Slack's and PagerDuty's web addresses: keeps path, authorization and body of what it gets."""
    seen: Seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is the standard library's
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, self.headers.get("Authorization", ""), body))
            accepted = self.path.startswith("/v2/")
            answer = b'{"status": "success"}' if accepted else b'{"ok": true}'
            self.send_response(202 if accepted else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mailbox() -> Iterator[tuple[int, list[str]]]:
    """A real SMTP server that keeps the mails."""
    mails: list[str] = []

    class Keep:
        async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
            mails.append((envelope.content or b"").decode())  # type: ignore[union-attr]
            return "250 kept"

    controller = Controller(Keep(), hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller.port, mails
    controller.stop()


def test_router_down_reaches_people_without_the_router(
    generation: Generation,
    keep: Keep,
    tmp_path: Path,
    http_double: tuple[str, Seen],
    mailbox: tuple[int, list[str]],
) -> None:
    """RouterDown, with nobody at the router's address, arrives at all three destinations with secrets from files."""
    base, seen = http_double
    smtp_port, mails = mailbox
    destinations = {
        "chat": SlackSettings.model_validate(
            {"kind": "slack", "channel": "#oncall", "token": "xoxb-1", "api_url": f"{base}/api"}
        ),
        "mail": EmailSettings.model_validate(
            {"kind": "email", "to": ["a@example.com"], "host": "127.0.0.1", "port": smtp_port, "tls": "none"}
        ),
        "pager": PagerDutySettings.model_validate(
            {"kind": "pagerduty", "routing_key": "k" * 32, "events_url": f"{base}/v2/enqueue"}
        ),
    }
    intervals = {"group_wait": "1s", "group_interval": "5s"}
    settings = Settings.model_validate({"schema": 1, "ports": free_ports(), "intervals": intervals})
    settings = settings.model_copy(update={"destinations": destinations})
    layout = Layout(tmp_path)
    write_secrets(settings, layout)
    config = alertmanager_yml(settings, layout, native_addresses(settings))
    alertmanager = keep(start_alertmanager(generation.alertmanager, tmp_path / "alertmanager", config))

    alert = {
        "labels": {"alertname": "RouterDown", "severity": "critical", "job": "router"},
        "annotations": {"summary": "pages do not leave", "description": "The router is away", "value": "no answer"},
    }
    headers = {"Content-Type": "application/json"}
    post(f"{alertmanager.url}/api/v2/alerts", json.dumps([alert]).encode(), headers=headers)

    eventually(lambda: len(seen) >= 2 and mails, timeout=30)
    by_path = {path: (authorization, body) for path, authorization, body in seen}
    authorization, message = by_path["/api/chat.postMessage"]
    assert authorization == "Bearer xoxb-1"
    assert message["channel"] == "#oncall"
    assert "RouterDown: pages do not leave" in json.dumps(message)
    event = by_path["/v2/enqueue"][1]
    assert event["routing_key"] == "k" * 32
    assert event["event_action"] == "trigger"
    assert "Subject: RouterDown: pages do not leave" in mails[0]
    assert "The router is away (no answer)" in mails[0]
