"""The catalogue: every alert that Tocsin knows, by subject, and the rule groups of one configuration."""

from __future__ import annotations

from collections.abc import Callable

from alert_rules.model import Alert, Context, Group, Recording
from alert_rules.subjects import breakers, caches, delivery, queues, services, stack, targets
from tocsin import facts
from tocsin import signals as s
from tocsin.settings import Settings

SUBJECTS: dict[str, Callable[[Settings], tuple[Alert, ...]]] = {
    "targets": targets.alerts,
    "queues": queues.alerts,
    "caches": caches.alerts,
    "breakers": breakers.alerts,
    "services": services.alerts,
    "delivery": delivery.alerts,
    "stack": stack.alerts,
}
"""One rule file per subject; a new subject is a module with ``alerts`` and a line here."""

_PROMETHEUS_OWN = {s.UP.name, s.ALERTS.name}
_STACK_OWN = {
    signal.name
    for signal in (
        s.ROUTER_ACCEPTED,
        s.ROUTER_DELIVERIES,
        s.ROUTER_DEAD_LETTERS,
        s.ROUTER_OLDEST_UNDELIVERED,
        s.ROUTER_HEARTBEAT,
        s.EXPORTER_CONFIG_OK,
        s.DISK_FREE,
        s.DISK_SIZE,
    )
}
_EVERY_TARGET = {s.TARGET_UP.name, s.COLLECTOR_SUCCESS.name, s.SCRAPE_ERRORS.name}


def catalogue(settings: Settings) -> tuple[Alert, ...]:
    """Return every alert with this configuration's thresholds, whether its signals have a producer or not."""
    return tuple(alert for alerts in SUBJECTS.values() for alert in alerts(settings))


def context(settings: Settings, produced: frozenset[str]) -> Context:
    """Add what the stack itself always produces to what the targets produce."""
    own = _PROMETHEUS_OWN | _STACK_OWN
    if settings.targets:
        own |= _EVERY_TARGET
    if settings.scrape:
        own |= {s.HTTP_SERVER_DURATION.name}
    return Context(settings, produced | own)


def groups(context: Context) -> dict[str, Group]:
    """Return the rule group of each subject that has something to say in this configuration."""
    out = {}
    for subject, alerts in SUBJECTS.items():
        loaded = tuple(alert for alert in alerts(context.settings) if context.has(alert.signals))
        recorded = tuple(
            Recording(fact.name, _expression(fact, context.settings))
            for fact in facts.all_facts().values()
            if fact.group == subject and context.has(fact.sources)
        )
        if subject == "services" and not context.settings.scrape:
            continue
        if loaded or recorded:
            out[subject] = Group(subject, recorded, loaded)
    return out


def thresholds(loaded: tuple[Alert, ...]) -> Group:
    """Publish each threshold in use as a series, for panels: the default, and one more per target that differs."""
    limits = {alert.limit.threshold.name: alert.limit for alert in loaded if alert.limit is not None}
    rules = []
    for name, limit in sorted(limits.items()):
        rules.append(_threshold(name, limit.default, {}))
        rules += [_threshold(name, value, {"target": target}) for target, value in sorted(limit.targets.items())]
    return Group("thresholds", tuple(rules))


def _threshold(name: str, value: float, labels: dict[str, str]) -> Recording:
    return Recording(facts.THRESHOLD_SERIES, f"vector({facts.number(value)})", {"threshold": name, **labels})


def _expression(fact: facts.Fact, settings: Settings) -> str:
    return targets.readable(settings) if fact is facts.TARGET_READABLE else fact.expr
