"""Fixtures that every test may use: real servers of each generation that this machine has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers import GENERATIONS, Generation, Server, need, need_generation, start_redis

Keep = Callable[[Server], Server]


def _keeper() -> Iterator[Keep]:
    with ExitStack() as stack:

        def keep(server: Server) -> Server:
            stack.callback(server.stop)
            return server

        yield keep


@pytest.fixture
def keep() -> Iterator[Keep]:
    """End at the test's teardown whatever server is handed to it."""
    yield from _keeper()


@pytest.fixture(scope="module")
def keep_module() -> Iterator[Keep]:
    """End at the module's teardown whatever server is handed to it."""
    yield from _keeper()


@pytest.fixture(scope="session", params=GENERATIONS)
def generation(request: pytest.FixtureRequest) -> Generation:
    """Each generation of Prometheus and Alertmanager; skipped with the reason where it is not found."""
    return need_generation(request.param)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One real Redis for the whole run; tests use database numbers or key names of their own."""
    folder: Path = tmp_path_factory.mktemp("redis")
    server = start_redis(need("redis-server"), folder)
    yield server
    server.stop()
