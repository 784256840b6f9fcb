"""A circuit breaker: after some failures in a row it refuses calls for a while, then lets one through to see."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

State = Literal["closed", "open", "half_open"]
T = TypeVar("T")


class Refused(Exception):  # noqa: N818  # the breaker did its work, nothing went wrong here
    """The breaker is open: the call was not made."""


class Breaker:
    """Guards calls to one dependency."""

    def __init__(
        self, *, failures: int = 5, open_seconds: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowed = failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def state(self) -> State:
        """Where the breaker stands now."""
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._probing or self._clock() - self._opened_at >= self._open_seconds else "open"

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work and return its result. Raises Refused while open, otherwise what the work raises."""
        if self.state != "closed":
            if self._probing or self.state == "open":
                raise Refused
            self._probing = True
        try:
            result = await work()
        except Exception:
            self._failed()
            raise
        finally:
            self._probing = False
        self._failures, self._opened_at = 0, None
        return result

    def _failed(self) -> None:
        self._failures += 1
        if self._opened_at is not None or self._failures >= self._allowed:
            self._opened_at = self._clock()
