"""A node's metrics page → numbers by queue. Only the wanted families are looked at, and a label text is read once.

A page of 1,000 queues is 5,000 lines; a general parser takes longer for it than the broker takes to write it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tocsin.errors import TargetError

Key = tuple[str, str]
"""Virtual host and queue."""

_PAIR: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPED: Final = {"n": "\n"}
_LABELS_KEPT: Final = 20_000


@dataclass
class Labels:
    """Remembers what label texts mean, since they are the same at every scrape."""

    _keys: dict[str, Key] = field(default_factory=dict)

    def key(self, text: str) -> Key:
        """Return the queue that ``vhost="/",queue="orders"`` names."""
        known = self._keys.get(text)
        if known is None:
            if len(self._keys) >= _LABELS_KEPT:
                self._keys.clear()
            pairs = label_pairs(text)
            known = self._keys[text] = (pairs.get("vhost", ""), pairs.get("queue", ""))
        return known


def label_pairs(text: str) -> dict[str, str]:
    """Read the labels of one series."""
    return {
        name: _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), value) if "\\" in value else value
        for name, value in _PAIR.findall(text)
    }


def section(page: str, family: str) -> Iterator[tuple[str, str]]:
    """Yield label text and value of every series of one family; nothing when the page has no such family."""
    at = page.find(f"# TYPE {family} ")
    if at < 0:
        return
    end = page.find("\n# TYPE ", at)
    begin = f"{family}{{"
    for line in page[at : end if end >= 0 else len(page)].split("\n"):
        if line.startswith(begin):
            labels, _, value = line[len(begin) :].rpartition("} ")
            yield labels, value


def by_queue(page: str, family: str, labels: Labels) -> dict[Key, float]:
    """Return one family's numbers by queue, without those that are not numbers. Raises TargetError (parse)."""
    out: dict[Key, float] = {}
    try:
        for text, value in section(page, family):
            number = float(value)
            if number == number:  # noqa: PLR0124  # NaN is RabbitMQ's "not known", and differs from itself
                out[labels.key(text)] = number
    except ValueError:
        msg = f"the metrics page holds something that is not a number in {family}"
        raise TargetError("parse", msg) from None
    return out


@dataclass(frozen=True)
class NodePage:
    """What one node told in a scrape. A family that its version has not is an empty mapping."""

    node: str
    version: str
    ready: Mapping[Key, float]
    unacked: Mapping[Key, float]
    consumers: Mapping[Key, float]
    redelivered: Mapping[Key, float]
    finished: tuple[Mapping[Key, float], ...]


PER_SCRAPE: Final = (
    "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count&family=queue_delivery_metrics"
)
"""The cheap families; a version that does not know one leaves it out."""

_QUEUE: Final = "rabbitmq_detailed_queue"
# A message is gone for good when it is acknowledged, or handed out to somebody who need not acknowledge it.
_FINISHED: Final = (f"{_QUEUE}_messages_acked_total", f"{_QUEUE}_messages_delivered_total", f"{_QUEUE}_get_total")


def node_page(body: bytes, labels: Labels) -> NodePage:
    """Read a node's page. Raises TargetError (parse) when it is not one."""
    page = body.decode("utf-8", "replace")
    identity = next((label_pairs(text) for text, _ in section(page, "rabbitmq_identity_info")), {})
    build = next((label_pairs(text) for text, _ in section(page, "rabbitmq_build_info")), {})
    if "rabbitmq_node" not in identity:
        msg = "the page is not the metrics page of a RabbitMQ node; enable rabbitmq_prometheus and name its port"
        raise TargetError("parse", msg)
    return NodePage(
        identity["rabbitmq_node"],
        build.get("rabbitmq_version", ""),
        by_queue(page, f"{_QUEUE}_messages_ready", labels),
        by_queue(page, f"{_QUEUE}_messages_unacked", labels),
        by_queue(page, f"{_QUEUE}_consumers", labels),
        by_queue(page, f"{_QUEUE}_messages_redelivered_total", labels),
        tuple(by_queue(page, family, labels) for family in _FINISHED),
    )


DETAILS: Final = "/metrics/detailed?family=queue_metrics"
WHOLE: Final = "/metrics"
_DEAD: Final = re.compile(r"^rabbitmq_global_messages_dead_lettered_(\w+)_total\{([^}]*)\} (\S+)$", re.MULTILINE)
_REASONS: Final = frozenset({"expired", "rejected", "maxlen", "delivery_limit"})


@dataclass(frozen=True)
class NodeDetails:
    """What one node told on the slow timer."""

    oldest: Mapping[Key, float]
    """Unix seconds, where the publisher stamps its messages."""
    size: Mapping[Key, float]
    dead_lettered: Mapping[tuple[str, str], float]
    """Messages by reason and outcome."""


def node_details(details: bytes, whole: bytes, labels: Labels) -> NodeDetails:
    """Read a node's dear pages. Raises TargetError (parse)."""
    page = details.decode("utf-8", "replace")
    oldest = by_queue(page, f"{_QUEUE}_head_message_timestamp", labels)
    dead: dict[tuple[str, str], float] = {}
    for reason, text, value in _DEAD.findall(whole.decode("utf-8", "replace")):
        if reason in _REASONS:
            dropped = label_pairs(text).get("dead_letter_strategy") == "disabled"
            key = (reason, "dropped" if dropped else "routed")
            dead[key] = dead.get(key, 0.0) + float(value)
    return NodeDetails(oldest, by_queue(page, f"{_QUEUE}_messages_bytes", labels), dead)
