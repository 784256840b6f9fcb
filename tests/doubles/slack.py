"""Slack's Web API with its real limits: 1 message/s and channel, block and text sizes, edits by channel id and ts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.doubles.web import Reply, WebDouble

MAX_BLOCKS = 50
MAX_SECTION = 3000
MAX_BLOCK_CHARACTERS = 13_200
MAX_TEXT = 40_000
UPDATES_PER_MINUTE = 50


@dataclass
class SlackMessage:
    """A message in a channel; ``edits`` are its earlier bodies."""

    channel: str
    ts: str
    body: dict[str, Any]
    thread_ts: str | None = None
    edits: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text of the message, as a reader sees it."""
        return _all_text(self.body)


class SlackDouble(WebDouble):
    """A workspace with some channels. ``burst`` messages may come at once in a channel, then ``per_second``."""

    def __init__(self, token: str = "xoxb-canary-token", *, per_second: float = 1.0, burst: int = 1) -> None:
        super().__init__()
        self.token = token
        self.channels = {"#oncall": "C0ONCALL", "#other": "C0OTHER"}
        self.archived: set[str] = set()
        self.messages: list[SlackMessage] = []
        self.refused_for_rate = 0
        self._per_second = per_second
        self._burst = burst
        self._tokens: dict[str, tuple[float, float]] = {}
        self._updates: list[float] = []
        self._next_ts = 1_700_000_000.000100

    @property
    def roots(self) -> list[SlackMessage]:
        """Messages in the channel itself, without replies in threads."""
        return [message for message in self.messages if message.thread_ts is None]

    def replies(self, ts: str) -> list[SlackMessage]:
        """Replies in the thread of a message."""
        return [message for message in self.messages if message.thread_ts == ts]

    def delete(self, ts: str) -> None:
        """A person deletes a message."""
        with self.lock:
            self.messages = [message for message in self.messages if message.ts != ts]

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        method = path.rpartition("/")[2]
        if headers.get("Authorization") != f"Bearer {self.token}":
            return _error("invalid_auth")
        arguments = _arguments(headers, body)
        match method:
            case "auth.test":
                return Reply(200, {"ok": True, "team": "Double", "user": "tocsin", "user_id": "U1"})
            case "chat.postMessage":
                return self._post(arguments)
            case "chat.update":
                return self._update(arguments)
            case _:
                return _error("unknown_method")

    def _post(self, body: dict[str, Any]) -> Reply:
        channel = self._channel(str(body.get("channel", "")))
        if channel is None:
            return _error("channel_not_found")
        if channel in self.archived:
            return _error("is_archived")
        if (refusal := _size_error(body)) is not None:
            return refusal
        wait = self._take_token(channel)
        if wait > 0:
            self.refused_for_rate += 1
            return Reply(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(math.ceil(wait))})
        ts = f"{self._next_ts:.6f}"
        self._next_ts += 0.0001
        self.messages.append(SlackMessage(channel, ts, body, body.get("thread_ts")))
        return Reply(200, {"ok": True, "channel": channel, "ts": ts, "message": {"text": body.get("text", "")}})

    def _update(self, body: dict[str, Any]) -> Reply:
        now = self.clock()
        self._updates = [at for at in self._updates if now - at < 60]
        if len(self._updates) >= UPDATES_PER_MINUTE:
            self.refused_for_rate += 1
            wait = str(math.ceil(60 - (now - self._updates[0])))
            return Reply(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": wait})
        self._updates.append(now)
        if body.get("channel") not in self.channels.values():
            return _error("channel_not_found")  # a name with # is not an id
        found = [m for m in self.messages if m.channel == body["channel"] and m.ts == body.get("ts")]
        if not found:
            return _error("message_not_found")
        if (refusal := _size_error(body)) is not None:
            return refusal
        found[0].edits.append(found[0].body)
        found[0].body = body
        return Reply(200, {"ok": True, "channel": body["channel"], "ts": body["ts"], "text": body.get("text", "")})

    def _channel(self, name: str) -> str | None:
        return self.channels.get(name) or (name if name in self.channels.values() else None)

    def _take_token(self, channel: str) -> float:
        """Seconds to wait, or 0 when the message may come now."""
        now = self.clock()
        tokens, at = self._tokens.get(channel, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - at) * self._per_second)
        if tokens < 1:
            self._tokens[channel] = (tokens, now)
            return (1 - tokens) / self._per_second
        self._tokens[channel] = (tokens - 1, now)
        return 0.0


def _arguments(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    if "json" in headers.get("Content-Type", ""):
        return dict(json.loads(body or b"{}"))
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}


def _error(name: str) -> Reply:
    return Reply(200, {"ok": False, "error": name})


def _blocks(body: Mapping[str, Any]) -> list[Any]:
    blocks = list(body.get("blocks") or [])
    for attachment in body.get("attachments") or []:
        blocks += attachment.get("blocks") or []
    return blocks


def _size_error(body: Mapping[str, Any]) -> Reply | None:
    blocks = _blocks(body)
    texts = [str((block.get("text") or {}).get("text", "")) for block in blocks]
    if not body.get("text") and not blocks:
        return _error("no_text")
    if len(str(body.get("text", ""))) > MAX_TEXT:
        return _error("msg_too_long")
    if len(blocks) > MAX_BLOCKS or any(not 1 <= len(text) <= MAX_SECTION for text in texts):
        return _error("invalid_blocks")
    if sum(map(len, texts)) > MAX_BLOCK_CHARACTERS:
        return _error("msg_blocks_too_long")
    return None


def _all_text(body: Mapping[str, Any]) -> str:
    texts = [str((block.get("text") or {}).get("text", "")) for block in _blocks(body)]
    return "\n".join([str(body.get("text", "")), *texts])
