"""Serve an ASGI app until SIGTERM, with exit code 0."""

from __future__ import annotations

import contextlib
import logging
import signal
from asyncio import get_running_loop
from collections.abc import Iterator
from typing import Literal

import uvicorn

from demo.metrics import App


class _Server(uvicorn.Server):
    """Leaves the signals to us: uvicorn would end the process by the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: App, listen: str, *, lifespan: Literal["on", "off"] = "off") -> None:
    """Serve on HOST:PORT until SIGTERM or SIGINT."""
    host, _, port = listen.rpartition(":")
    config = uvicorn.Config(
        app,
        host=host.strip("[]"),
        port=int(port),
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan=lifespan,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        get_running_loop().add_signal_handler(number, stop)
    await server.serve()
