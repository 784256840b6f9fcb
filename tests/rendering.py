"""Rendered configurations for tests: settings as a team would write them, for each kind of stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alert_router.notifiers.email import EmailSettings
from alert_router.notifiers.pagerduty import PagerDutySettings
from alert_router.notifiers.slack import SlackSettings
from tests.servers import write_tree
from tocsin.settings import Settings
from tocsin.stack.addresses import IN_CONTAINERS, Addresses, addresses
from tocsin.stack.configs import PARTS, render_configs
from tocsin.stack.programs import OTLP_RECEIVER
from tocsin.stack.service import Layout

STACKS = ("containers", "native 3", "native 2.42")
CANARY = "canary-5ecret"
_PASSIVE_RULE = "groups: [{name: g, rules: [{record: a:b, expr: vector(1)}]}]\n"


def team_settings(**more: Any) -> Settings:
    """Return settings with two applications, all three kinds of destination, and secrets that must never be seen."""
    settings = Settings.model_validate(
        {
            "schema": 1,
            "scrape": [
                {"name": "shop", "url": "https://shop.example.com:8443/internal/metrics"},
                {"name": "worker", "url": "http://10.0.0.7:9000"},
            ],
            **more,
        }
    )
    destinations = {
        "chat": SlackSettings.model_validate({"kind": "slack", "channel": "#oncall", "token": CANARY}),
        "mail": EmailSettings.model_validate(
            {
                "kind": "email",
                "to": ["a@example.com", "b@example.com"],
                "host": "smtp.example.com",
                "user": "tocsin",
                "password": CANARY,
            }
        ),
        "pager": PagerDutySettings.model_validate({"kind": "pagerduty", "routing_key": CANARY}),
    }
    return settings.model_copy(update={"destinations": destinations})


def place(settings: Settings, stack: str) -> tuple[Addresses, frozenset[str]]:
    """Return the addresses and Prometheus' features of one kind of stack."""
    environ = {IN_CONTAINERS: "1"} if stack == "containers" else {}
    return addresses(settings, environ), frozenset() if stack == "native 2.42" else frozenset({OTLP_RECEIVER})


def rendered(settings: Settings, stack: str, *, data: Path, parts: frozenset[str] = PARTS) -> dict[str, str]:
    """Return every server's configuration for one kind of stack."""
    where, features = place(settings, stack)
    return render_configs(settings, Layout(data), where, parts=parts, features=features)


def rendered_folder(settings: Settings, stack: str, data: Path, *, parts: frozenset[str] = PARTS) -> Path:
    """Write every server's configuration, and one rule for the glob to find, and return the folder."""
    files = rendered(settings, stack, data=data, parts=parts) | {"rules/a.rules.yml": _PASSIVE_RULE}
    write_tree(files, Layout(data).rendered)
    return Layout(data).rendered
