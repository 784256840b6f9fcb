"""The error tree. Each error says what to do next; foreign errors are translated at one edge per system.

TocsinError
├── ConfigError       every problem at once: file, line, key, fix        → exit 1
├── StackError        a program, port or disk of the stack is unusable   → exit 1
├── TargetError       reason: refused, timeout, auth, tls, protocol, parse → target down, others untouched
└── DeliveryError
    ├── Transient     network, 5xx, SMTP 4yz                             → try again with backoff
    ├── RateLimited   carries not_before                                 → try again then, not sooner
    ├── TooLarge      limit and size                                     → render one step smaller, send again
    └── Permanent     bad key, archived channel, SMTP 5yz                → dead letter and next destination
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

TargetReason = Literal["refused", "timeout", "auth", "tls", "protocol", "parse"]
"""Why a target could not be read: a bounded set, used as a label value."""

DeliveryReason = Literal[
    "network",
    "timeout",
    "tls",
    "server_error",
    "rate_limited",
    "too_large",
    "auth",
    "not_found",
    "rejected",
    "template",
]
"""Why a delivery failed: a bounded set, used as a label value."""


class TocsinError(Exception):
    """Base of all errors that Tocsin raises on purpose; the text is fit for a person and holds no secret."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file: where it is, what it is, and what to write instead."""

    file: str
    line: int
    """1-based; 0 when the problem belongs to the file as a whole."""
    path: str
    """Key path such as ``targets[2].url``; empty for the file as a whole."""
    message: str
    fix: str
    level: Literal["error", "warning", "info"] = "error"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.path}:" if self.path else ""
        return f"{where}:{key} {self.message}\n    fix: {self.fix}"


class ConfigError(TocsinError):
    """A configuration file cannot be used. Carries every problem at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StackError(TocsinError):
    """A part of the stack cannot be started or reached. ``fix`` is the next thing to do."""

    def __init__(self, message: str, *, fix: str) -> None:
        self.fix = fix
        super().__init__(message)


class TargetError(TocsinError):
    """A watched system could not be read."""

    def __init__(self, reason: TargetReason, message: str) -> None:
        self.reason: TargetReason = reason
        super().__init__(message)


class DeliveryError(TocsinError):
    """A message did not reach its destination."""

    def __init__(self, reason: DeliveryReason, message: str) -> None:
        self.reason: DeliveryReason = reason
        super().__init__(message)


class Transient(DeliveryError):
    """Try again with backoff."""


class RateLimited(DeliveryError):
    """Try again at ``not_before`` (unix seconds), not sooner."""

    def __init__(self, message: str, *, not_before: float) -> None:
        self.not_before = not_before
        super().__init__("rate_limited", message)


class TooLarge(DeliveryError):
    """The provider refused the size: render one step smaller and send again."""

    def __init__(self, message: str) -> None:
        super().__init__("too_large", message)


class Permanent(DeliveryError):
    """No retry can help: dead letter, and on to the next destination."""
