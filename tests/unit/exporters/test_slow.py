"""The slow timer: in the background, kept when a look fails, sooner when something new was seen."""

from __future__ import annotations

import asyncio

from exporters.slow import Slow
from tocsin.errors import TargetError


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class _Looks:
    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.count += 1
        if self.error is not None:
            raise self.error
        return self.count


async def _settled(slow: Slow[int]) -> tuple[int | None, bool]:
    """Ask, let a look that was begun end, and ask again."""
    await slow.current()
    await asyncio.sleep(0.01)
    looked = await slow.current()
    return looked.value, looked.part.ok


async def test_a_look_is_taken_once_per_interval() -> None:
    """The first is waited for; the next comes when the interval is over."""
    clock, looks = _Clock(), _Looks()
    slow = Slow("x", looks, interval=60, clock=clock)
    assert await _settled(slow) == (1, True)
    clock.now += 59
    assert await _settled(slow) == (1, True)
    clock.now += 2
    assert await _settled(slow) == (2, True)


async def test_a_failure_keeps_the_last_good_look_and_says_so() -> None:
    """Old facts stay with their age, the part fails, and the next try comes sooner than the interval."""
    clock, looks = _Clock(), _Looks()
    slow = Slow("x", looks, interval=60, clock=clock)
    await _settled(slow)
    looks.error = TargetError("auth", "no")
    clock.now += 61
    assert await _settled(slow) == (1, False)
    assert (await slow.current()).at == 1000.0
    looks.error = None
    clock.now += 11
    assert await _settled(slow) == (3, True)


async def test_something_new_brings_the_next_look_forward() -> None:
    """hurry() shortens the wait to a sixth of the interval after the last look, never to nothing."""
    clock, looks = _Clock(), _Looks()
    slow = Slow("x", looks, interval=60, clock=clock)
    await _settled(slow)
    slow.hurry()
    assert await _settled(slow) == (1, True)
    clock.now += 11
    assert await _settled(slow) == (2, True)


async def test_a_first_look_that_never_ends_is_a_failed_part() -> None:
    """A scrape goes on without the slow facts, and a closed timer leaves nothing behind."""

    async def hang() -> int:
        await asyncio.sleep(3600)
        return 0

    slow = Slow("x", hang, interval=60, first_wait=0.01)
    looked = await slow.current()
    assert (looked.value, looked.part.ok, looked.part.reason) == (None, False, "timeout")
    slow.close()
