"""Delivery: whether a page leaves the router, and whether the chain from a rule to the router works at all."""

from __future__ import annotations

from datetime import timedelta

from alert_rules import human
from alert_rules.model import Alert, Case, Expected, bound, with_cases
from tocsin import facts
from tocsin import signals as s
from tocsin.settings import Settings
from tocsin.thresholds import resolve

_MINUTE = timedelta(minutes=1)
_UP = s.UP.name


def alerts(settings: Settings) -> tuple[Alert, ...]:
    """Return the delivery alerts with their cases."""
    return (_delivery_stuck(settings), _dead_letters(), _watchdog(), _watchdog_missing(settings))


def _delivery_stuck(settings: Settings) -> Alert:
    fact, limit = facts.UNDELIVERED_AGE, resolve("delivery_stuck_seconds", settings)
    now = (int(limit.default) // 15 + 4) * 15
    dead = {f'{s.ROUTER_DEAD_LETTERS}{{job="router"}}': "0x9999"}
    oldest = f'{s.ROUTER_OLDEST_UNDELIVERED}{{job="router"}}'
    at = timedelta(seconds=now)
    alert = Alert(
        name="RouterDeliveryStuck",
        severity="critical",
        signals=fact.sources,
        labels=(),
        expr=f"{fact} > {facts.number(limit.default)}",
        query=fact.name,
        panel=("home", "undelivered"),
        summary="A page has waited {{ $value | humanizeDuration }} in the router for its delivery",
        description="The router has accepted an alert that no destination on its route has taken yet. "
        "It goes on trying; the inbox shows the page and why it is stuck.",
        value="{{ $value | humanizeDuration }}",
        bound=bound(limit),
        limit=limit,
    )
    fires = (Expected({}, human.duration(limit.default + 1)),)
    return with_cases(
        alert,
        Case("fires one second too late", {**dead, oldest: f"{now - limit.default - 1:g}x9999"}, at, fires),
        Case("quiet at exactly the limit", {**dead, oldest: f"{now - limit.default:g}x9999"}, at),
        Case("quiet when nothing waits", dead, at),
    )


def _dead_letters() -> Alert:
    fact, letters = facts.NEW_DEAD_LETTERS, f'{s.ROUTER_DEAD_LETTERS}{{job="router"}}'
    at = timedelta(minutes=10)
    alert = Alert(
        name="DeadLetters",
        severity="warning",
        signals=fact.sources,
        labels=(),
        expr=f"{fact} > 0",
        query=fact.name,
        panel=("home", "dead-letters"),
        summary="{{ $value | humanize }} message(s) could not be delivered for good in the last hour",
        description="A destination refused a message in a way that no retry can help: a wrong key, an archived "
        "channel, an unknown address. The message is kept and was announced elsewhere.",
        value="{{ $value | humanize }}",
        bound="0",
    )
    return with_cases(
        alert,
        Case("fires on the first one", {letters: "0x20 1x9999"}, at, (Expected({}, "1"),)),
        Case("quiet with old ones only", {letters: "7x9999"}, at),
        Case("ends an hour after the last one", {letters: "0x2 1x9999"}, timedelta(minutes=75), step=5 * _MINUTE),
        Case("quiet when old ones are pruned", {letters: "7x20 2x9999"}, at),
    )


def _watchdog() -> Alert:
    alert = Alert(
        name="Watchdog",
        severity="info",
        signals=(),
        labels=(),
        expr="vector(1)",
        query="vector(1)",
        panel=("home", "heartbeat"),
        summary="The chain from rule to router works",
        description="This alert always fires. The router takes it as a heartbeat and shows nobody; "
        "when it stops coming, the chain is broken.",
        value="alive",
        bound="1",
    )
    any_series = {'up{job="prometheus",instance="x"}': "1x9999"}
    always = Case("fires always", any_series, _MINUTE, (Expected({}, "alive"),))
    return with_cases(alert, always)


def _watchdog_missing(settings: Settings) -> Alert:
    fact, limit = facts.HEARTBEAT_AGE, resolve("heartbeat_seconds", settings)
    now = (int(limit.default) // 15 + 20) * 15
    beat = f'{s.ROUTER_HEARTBEAT}{{job="router",source="alertmanager"}}'
    at = timedelta(seconds=now)
    source = {"source": "alertmanager"}
    alert = Alert(
        name="WatchdogMissing",
        severity="critical",
        signals=(s.ROUTER_HEARTBEAT,),
        labels=(),
        expr=f"{fact} > {facts.number(limit.default)}",
        query=fact.name,
        panel=("home", "heartbeat"),
        summary="The watchdog does not reach the router: pages may not arrive",
        description="The watchdog alert always fires and should reach the router every minute. It does not: "
        "between Prometheus, Alertmanager and the router something is broken, and pages may not arrive.",
        value="{{ if gt $value 1e12 }}as long as is known{{ else }}{{ $value | humanizeDuration }}{{ end }}",
        bound=bound(limit),
        hold=2 * _MINUTE,
        limit=limit,
    )
    late = (Expected(source, human.duration(limit.default + 125)),)
    never = (Expected({}, "as long as is known"),)
    return with_cases(
        alert,
        Case("fires when it stopped coming", {beat: f"{now - limit.default - 125:g}x9999"}, at, late),
        Case("fires when it never came", {f'{_UP}{{job="router",instance="x"}}': "1x9999"}, at, never),
        Case("quiet when the last one is at the limit", {beat: f"{now - limit.default:g}x9999"}, at),
    )
