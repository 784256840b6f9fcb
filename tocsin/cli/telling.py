"""``tocsin send-test``, ``why``, ``silence`` and ``explain``: what people ask the stack by hand."""

from __future__ import annotations

import argparse
import getpass
import json
import re
from dataclasses import asdict
from datetime import UTC, datetime

import alert_router
from alert_router.alertmanager import Silence
from alert_rules import catalogue
from tocsin.cli.tables import load_settings
from tocsin.endpoints import data_dir
from tocsin.errors import StackError
from tocsin.paths import HOUSE
from tocsin.settings import format_duration, parse_duration


def plain(template: str) -> str:
    """Show a Prometheus template to people: ``{{ $labels.queue }}`` → ``<queue>``."""
    named = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"<\1>", template)
    return re.sub(r"\{\{ \$value[^}]*\}\}", "<value>", named)


def send_test(arguments: argparse.Namespace) -> int:
    """Send one real message; 0 when the destination took it."""
    settings = load_settings(arguments.config)
    result = alert_router.send_test(settings, arguments.destination, data_dir(settings))
    print(f"{arguments.destination}: {'' if result.up else f'FAILED, {result.reason}: '}{result.detail}")
    return 0 if result.up else 1


def why(arguments: argparse.Namespace) -> int:
    """Print the timeline of one page."""
    settings = load_settings(arguments.config)
    data = data_dir(settings)
    if arguments.format == "json":
        print(alert_router.why_json(data, arguments.group))
    else:
        print(alert_router.why(data, arguments.group, external_url=settings.external_url))
    return 0


def silence_add(arguments: argparse.Namespace) -> int:
    """Add a silence and print its id."""
    settings = load_settings(arguments.config)
    try:
        length = parse_duration(arguments.duration)
    except ValueError as error:
        raise StackError(str(error), fix="for example --for 2h") from None
    who = arguments.by or getpass.getuser()
    silence = alert_router.silence_add(settings, arguments.matchers, length, comment=arguments.comment, created_by=who)
    print(_line(silence))
    print(f"end it early: tocsin silence expire {silence.id[:8]}")
    return 0


def silence_list(arguments: argparse.Namespace) -> int:
    """Print the silences that hold."""
    silences = alert_router.silence_list(load_settings(arguments.config))
    if arguments.format == "json":
        rows = [asdict(silence) | {"matchers": [str(m) for m in silence.matchers]} for silence in silences]
        print(json.dumps(rows, indent=2))
        return 0
    print("\n".join(map(_line, silences)) or "nothing is silenced")
    return 0


def silence_expire(arguments: argparse.Namespace) -> int:
    """End one silence, named by the beginning of its id."""
    settings = load_settings(arguments.config)
    ids = [silence.id for silence in alert_router.silence_list(settings) if silence.id.startswith(arguments.id)]
    if len(ids) != 1:
        what = f"{len(ids)} silences begin with" if ids else "no silence begins with"
        raise StackError(f"{what} {arguments.id!r}", fix="`tocsin silence list` shows what holds")
    alert_router.silence_expire(settings, ids[0])
    print(f"ended {ids[0]}")
    return 0


def _line(silence: Silence) -> str:
    until = datetime.fromtimestamp(silence.ends, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    matchers = " ".join(map(str, silence.matchers))
    return f"{silence.id[:8]}  until {until}  {matchers}  {silence.created_by}: {silence.comment}"


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
