"""One webhook as plain data: what Alertmanager said about one alert group at one moment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

from tocsin.errors import TocsinError

Status = Literal["firing", "resolved"]
Origin = Literal["alertmanager", "router", "test"]
"""Who told us: Alertmanager, the router about its own trouble, or a person with ``send-test``."""

SEVERITIES = ("critical", "warning", "info")
"""From the most urgent to the least."""

KEPT_ALERTS = 100
"""Alerts of one group that are kept for rendering; the raw body in the ledger has them all."""

GROUP_ID_DIGITS = 12
"""48 bits: a million groups collide with a probability of 0.2 %, and a person can still read it aloud."""


class WebhookError(TocsinError):
    """The body is not an Alertmanager webhook of version 4; the text says why."""


@dataclass(frozen=True)
class Alert:
    """One alert of a group. ``starts`` and ``ends`` are unix seconds; ``ends`` is None while it fires."""

    status: Status
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts: float
    ends: float | None
    fingerprint: str


@dataclass(frozen=True)
class Snapshot:
    """One state of one group. ``alerts`` are the first ``KEPT_ALERTS``, firing ones first."""

    group_id: str
    receiver: str
    group_key: str
    labels: Mapping[str, str]
    """The labels the group is made by; with the receiver they are its identity."""
    common: Mapping[str, str]
    """Labels equal on all alerts."""
    alertname: str
    severity: str
    status: Status
    alerts: tuple[Alert, ...]
    firing: int
    resolved: int
    truncated: int
    """Alerts that Alertmanager itself left out."""
    key: str
    """Digest of who fires since when: equal keys are the same news."""
    since: float
    ended: float | None
    origin: Origin = "alertmanager"

    def to_json(self) -> str:
        """Return the snapshot as the ledger stores it."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Snapshot:
        """Read what ``to_json`` wrote."""
        data = json.loads(text)
        data["alerts"] = tuple(Alert(**alert) for alert in data["alerts"])
        return cls(**data)

    def routing_labels(self) -> dict[str, str]:
        """Labels that routes are matched against."""
        return {**self.common, **self.labels, "alertname": self.alertname, "severity": self.severity}


def group_id(receiver: str, labels: Mapping[str, str]) -> str:
    """Identity of a group: receiver and group labels. Alertmanager's groupKey changes when its route tree is edited."""
    identity = json.dumps([receiver, sorted(labels.items())], ensure_ascii=False)
    return sha256(identity.encode()).hexdigest()[:GROUP_ID_DIGITS]


def parse_webhook(body: bytes) -> Snapshot:
    """Read a webhook body. Unknown keys are fine (newer Alertmanagers add some). Raises WebhookError."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        msg = f"the body is not JSON ({type(error).__name__})"
        raise WebhookError(msg) from None
    if not isinstance(data, dict):
        msg = "the body is JSON but not an object"
        raise WebhookError(msg)
    if str(data.get("version")) != "4":
        msg = f"the body is not an Alertmanager webhook of version 4 (version is {str(data.get('version'))[:20]!r})"
        raise WebhookError(msg)
    try:
        return _snapshot(data)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        msg = f"the body is not a complete webhook of version 4 ({type(error).__name__}: {str(error)[:80]})"
        raise WebhookError(msg) from None


def _snapshot(data: Mapping[str, Any]) -> Snapshot:
    alerts = [_alert(raw) for raw in data["alerts"]]
    if not alerts:
        msg = "no alerts in it"
        raise ValueError(msg)
    sender = Sender(
        receiver=str(data["receiver"]),
        labels=_texts(data["groupLabels"]),
        group_key=str(data["groupKey"]),
        truncated=int(data.get("truncatedAlerts") or 0),
    )
    return build(alerts, sender)


@dataclass(frozen=True)
class Sender:
    """Who speaks about which group: what a snapshot has beside its alerts."""

    receiver: str
    labels: Mapping[str, str]
    group_key: str = ""
    truncated: int = 0
    origin: Origin = "alertmanager"
    news: str = ""
    """Makes two snapshots with the same alerts differ, when the sender has more to say about them."""


def build(alerts: Iterable[Alert], sender: Sender) -> Snapshot:
    """Make a snapshot from at least one alert; everything that follows from the alerts is computed here."""
    firing_first = sorted(alerts, key=lambda alert: alert.status != "firing")
    firing = [alert for alert in firing_first if alert.status == "firing"]
    relevant = firing or firing_first
    common = _common(firing_first)
    ident = group_id(sender.receiver, sender.labels)
    name = sender.labels.get("alertname") or common.get("alertname") or relevant[0].labels.get("alertname", "Alert")
    return Snapshot(
        group_id=ident,
        receiver=sender.receiver,
        group_key=sender.group_key or ident,
        labels=dict(sender.labels),
        common=common,
        alertname=name,
        severity=_highest(alert.labels.get("severity", "") for alert in relevant),
        status="firing" if firing else "resolved",
        alerts=tuple(firing_first[:KEPT_ALERTS]),
        firing=len(firing),
        resolved=len(firing_first) - len(firing),
        truncated=sender.truncated,
        key=_key(ident, firing_first, sender.news),
        since=min(alert.starts for alert in relevant),
        ended=None if firing else max((alert.ends or alert.starts) for alert in firing_first),
        origin=sender.origin,
    )


def _alert(raw: Mapping[str, Any]) -> Alert:
    status = raw["status"]
    if status not in ("firing", "resolved"):
        msg = f"alert status {str(status)[:20]!r}"
        raise ValueError(msg)
    labels = _texts(raw["labels"])
    ends = _seconds(raw.get("endsAt") or "")
    return Alert(
        status=status,
        labels=labels,
        annotations=_texts(raw.get("annotations") or {}),
        starts=_seconds(raw["startsAt"]),
        ends=ends if status == "resolved" and ends > 0 else None,
        fingerprint=str(raw.get("fingerprint") or group_id("", labels)),
    )


def _texts(raw: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in raw.items()}


def _seconds(text: str) -> float:
    """RFC 3339 → unix seconds; Alertmanager writes "not yet" as the year 1, which is negative here."""
    if not text:
        return -1.0
    return datetime.fromisoformat(text).timestamp()


def _highest(severities: Iterable[str]) -> str:
    """The most urgent severity; an unknown or missing one counts as warning: shown, but nobody is woken by a typo."""
    known = [severity if severity in SEVERITIES else "warning" for severity in severities]
    return min(known, key=SEVERITIES.index, default="warning")


def _common(alerts: list[Alert]) -> dict[str, str]:
    common = dict(alerts[0].labels)
    for alert in alerts[1:]:
        common = {name: value for name, value in common.items() if alert.labels.get(name) == value}
    return common


def _key(ident: str, alerts: Iterable[Alert], news: str) -> str:
    facts = sorted((alert.fingerprint, alert.status, alert.starts) for alert in alerts)
    return sha256(json.dumps([ident, facts, news]).encode()).hexdigest()


@dataclass(frozen=True)
class Announcement:
    """Something the router itself has to say, on the normal delivery path."""

    alertname: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    severity: str
    starts: float
    ends: float | None = None
    news: str = ""
    """Changes when the announcement is worth an update."""

    def snapshot(self, *, origin: Origin = "router") -> Snapshot:
        """Return it as a group of its own with receiver ``tocsin``."""
        labels = {"alertname": self.alertname, **self.labels}
        alert = Alert(
            status="firing" if self.ends is None else "resolved",
            labels={**labels, "severity": self.severity},
            annotations=self.annotations,
            starts=self.starts,
            ends=self.ends,
            fingerprint=group_id("tocsin", labels),
        )
        return build([alert], Sender("tocsin", labels, origin=origin, news=self.news))
