"""The shop's circuit breaker."""

from __future__ import annotations

import pytest

from demo.breaker import Breaker, Refused


class _Provider:
    def __init__(self) -> None:
        self.away = False
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.away:
            raise ConnectionError
        return "paid"


async def _fail(breaker: Breaker, provider: _Provider, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ConnectionError):
            await breaker.call(provider)


async def test_it_opens_after_failures_in_a_row() -> None:
    """Five failures open it; then calls are refused without asking the provider."""
    breaker, provider = Breaker(clock=lambda: 0.0), _Provider()
    provider.away = True
    await _fail(breaker, provider, 4)
    assert breaker.state == "closed"
    await _fail(breaker, provider, 1)
    assert breaker.state == "open"
    with pytest.raises(Refused):
        await breaker.call(provider)
    assert provider.calls == 5


async def test_a_success_between_failures_starts_the_count_anew() -> None:
    """Only failures in a row count."""
    breaker, provider = Breaker(clock=lambda: 0.0), _Provider()
    for away in (True, True, False, True, True):
        provider.away = away
        if away:
            await _fail(breaker, provider, 1)
        else:
            assert await breaker.call(provider) == "paid"
    assert breaker.state == "closed"


async def test_after_a_while_one_call_decides() -> None:
    """Half open lets one call through: a failure opens it again, a success closes it."""
    now = [0.0]
    breaker, provider = Breaker(open_seconds=5, clock=lambda: now[0]), _Provider()
    provider.away = True
    await _fail(breaker, provider, 5)
    now[0] = 5.0
    assert breaker.state == "half_open"
    await _fail(breaker, provider, 1)
    assert breaker.state == "open"
    now[0] = 10.0
    provider.away = False
    assert await breaker.call(provider) == "paid"
    assert breaker.state == "closed"
