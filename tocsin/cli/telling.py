"""``tocsin send-test``, ``why``, ``silence`` and ``explain``: what people ask the stack by hand."""

from __future__ import annotations

import argparse
import getpass
import json
import re

import alert_router
from alert_rules import catalogue
from tocsin.cli.tables import load_settings
from tocsin.endpoints import data_dir, endpoints
from tocsin.errors import StackError
from tocsin.paths import HOUSE
from tocsin.settings import INBOX, format_duration, parse_duration


def plain(template: str) -> str:
    """Show a Prometheus template to people: ``{{ $labels.queue }}`` → ``<queue>``."""
    named = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"<\1>", template)
    return re.sub(r"\{\{ \$value[^}]*\}\}", "<value>", named)


def send_test(arguments: argparse.Namespace) -> int:
    """Send one real message; 0 when the destination took it."""
    settings = load_settings(arguments.config)
    known = [INBOX, *settings.destinations]
    if arguments.destination not in known:
        raise StackError(f"there is no destination {arguments.destination!r}", fix=f"choose one of {', '.join(known)}")
    outcome = alert_router.send_test(settings, arguments.destination, data_dir(settings))
    print(f"{arguments.destination}: {outcome.detail}")
    return 0 if outcome.ok else 1


def why(arguments: argparse.Namespace) -> int:
    """Print the timeline of one page."""
    settings = load_settings(arguments.config)
    print(alert_router.why(data_dir(settings), arguments.group, as_json=arguments.format == "json"))
    return 0


def silence_add(arguments: argparse.Namespace) -> int:
    """Add a silence and print its id."""
    settings = load_settings(arguments.config)
    try:
        duration = parse_duration(arguments.duration)
    except ValueError as error:
        raise StackError(str(error), fix="for example --for 2h") from None
    silence_id = alert_router.silence_add(
        endpoints(settings).alertmanager,
        arguments.matchers,
        duration=duration,
        comment=arguments.comment,
        created_by=arguments.by or getpass.getuser(),
    )
    print(f"{silence_id}  ends it early: tocsin silence expire {silence_id[:8]}")
    return 0


def silence_list(arguments: argparse.Namespace) -> int:
    """Print the silences that hold."""
    silences = alert_router.silence_list(endpoints(load_settings(arguments.config)).alertmanager)
    if arguments.format == "json":
        print(json.dumps(silences, indent=2))
        return 0
    for silence in silences:
        matchers, who = " ".join(silence["matchers"]), silence["created_by"]
        print(f"{silence['id'][:8]}  until {silence['ends_at']}  {matchers}  {who}: {silence['comment']}")
    if not silences:
        print("nothing is silenced")
    return 0


def silence_expire(arguments: argparse.Namespace) -> int:
    """End one silence."""
    ended = alert_router.silence_expire(endpoints(load_settings(arguments.config)).alertmanager, arguments.id)
    print(f"ended {ended}")
    return 0


def explain(arguments: argparse.Namespace) -> int:
    """Print what an alert means here: severity, number in force, and its runbook."""
    settings = load_settings(arguments.config)
    alerts = {alert.name: alert for alert in catalogue(settings)}
    if arguments.alert is None:
        for alert in alerts.values():
            print(f"{alert.name:<28} {alert.severity:<9} {plain(alert.summary)}")
        return 0
    if arguments.alert not in alerts:
        raise StackError(f"there is no alert {arguments.alert!r}", fix=f"choose one of {', '.join(alerts)}")
    alert = alerts[arguments.alert]
    print(f"{alert.name} ({alert.severity}): {plain(alert.summary)}\n{alert.description}")
    if (limit := alert.limit) is not None:
        others = "".join(f", {value:g} for {target}" for target, value in limit.targets.items())
        print(f"threshold {limit.threshold.name}: {limit.default:g} {limit.threshold.unit}{others}")
        print(f"  why this number: {limit.threshold.source}")
    if alert.hold:
        print(f"fires after {format_duration(alert.hold)} of this")
    page = HOUSE / "docs" / "runbooks" / f"{alert.runbook}.md"
    print(f"\n{page.read_text(encoding='utf-8')}" if page.exists() else "")
    return 0
