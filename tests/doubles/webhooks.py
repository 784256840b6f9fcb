"""Webhook bodies as Alertmanager writes them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

NEVER = "0001-01-01T00:00:00Z"


def rfc3339(at: float) -> str:
    """Unix seconds as Alertmanager writes a moment."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{round(at % 1 * 1000) % 1000:03d}Z"


def alert(
    name: str = "QueueNearCapacity",
    *,
    starts: float,
    ends: float | None = None,
    severity: str = "critical",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One alert; it is resolved when it has an end."""
    own = {"alertname": name, "severity": severity, "target": "orders", **(labels or {})}
    notes = {
        "summary": f"Queue {own.get('messaging_destination_name', 'emails')} of orders is at 93 % of its capacity",
        "description": "It fills faster than the workers empty it.",
        "value": "930 of 1000 messages",
        "query": "messaging_queue_messages",
        "threshold": "800",
        "panel": "tocsin-queues/7",
        "runbook_url": "http://127.0.0.1:8088/runbooks/QueueNearCapacity",
        **(annotations or {}),
    }
    return {
        "status": "firing" if ends is None else "resolved",
        "labels": own,
        "annotations": notes,
        "startsAt": rfc3339(starts),
        "endsAt": NEVER if ends is None else rfc3339(ends),
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": sha256(repr(sorted(own.items())).encode()).hexdigest()[:16],
    }


def webhook(alerts: Sequence[Mapping[str, Any]], *, receiver: str = "router", **more: Any) -> dict[str, Any]:
    """A webhook of version 4 over alerts of one group."""
    first = alerts[0]["labels"]
    labels = {name: first[name] for name in ("alertname", "target") if name in first}
    firing = any(one["status"] == "firing" for one in alerts)
    return {
        "version": "4",
        "groupKey": "{}:{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}",
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": receiver,
        "groupLabels": labels,
        "commonLabels": dict(first),
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
        **more,
    }


def body(*alerts: Mapping[str, Any], **more: Any) -> bytes:
    """The same as bytes."""
    return json.dumps(webhook(alerts, **more)).encode()
