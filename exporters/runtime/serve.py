"""The exporter process: bind, serve until SIGTERM, take a new configuration on SIGHUP or POST /-/reload."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from prometheus_client import CollectorRegistry, Gauge, PlatformCollector, ProcessCollector

from exporters.model import Source
from exporters.runtime.fleet import Fleet, parse_shard
from exporters.runtime.http import App, Application, Own
from exporters.table import SOURCES
from tocsin import signals, telemetry
from tocsin.errors import ConfigError, StackError
from tocsin.settings import Secret, Settings

_log = logging.getLogger("exporters.serve")


@dataclass(frozen=True)
class Listener:
    """Where to listen, and what is asked of whoever comes: nothing unless told otherwise."""

    address: str
    """``HOST:PORT``."""
    token: Secret | None = None
    certificate: Path | None = None
    """With a key: speak TLS only."""
    key: Path | None = None


def serve(
    load: Callable[[], Settings],
    listener: Listener,
    *,
    shard: str | None = None,
    sources: Mapping[str, Source] = SOURCES,
) -> int:
    """Serve the configured targets until SIGTERM or SIGINT; return the exit code.

    Raises ConfigError when the first configuration is unusable, StackError when the address is, and ValueError
    when ``shard`` is not ``I/N``. A later configuration that is unusable leaves the old one running.
    """
    telemetry.setup_logging("tocsin-exporter")
    fleet = Fleet(sources, parse_shard(shard))
    fleet.adopt(load())
    _check_tls(listener)
    with bind(listener.address) as bound:
        asyncio.run(_serve(fleet, load, bound, listener))
    return 0


def _check_tls(listener: Listener) -> None:
    """Try certificate and key before anything is bound. Raises StackError that says what is wrong with them."""
    if listener.certificate is None and listener.key is None:
        return
    if listener.certificate is None or listener.key is None:
        msg = "a certificate needs its key and a key its certificate"
        raise StackError(msg, fix="give both --certificate and --key")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(listener.certificate, listener.key)
    except (OSError, ssl.SSLError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        msg = f"certificate {listener.certificate} and key {listener.key} cannot be used: {why}"
        raise StackError(msg, fix="give a PEM certificate (with its chain) and the key that belongs to it") from None


def bind(listen: str) -> socket.socket:
    """Listen on ``HOST:PORT``. Raises StackError when the address is wrong or taken."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal():
        msg = f"{listen!r} is not an address to listen on"
        raise StackError(msg, fix="write HOST:PORT, for example 127.0.0.1:8089")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, int(port)), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        # create_server writes the address into the text a second time; the number alone says it plainly.
        number = getattr(error, "errno", None)
        why = os.strerror(number) if number else str(error)
        msg = f"cannot listen on {listen}: {why}"
        raise StackError(msg, fix="stop what uses the port, or choose another with --listen") from None
    # Connections inherit it; asyncio sets it only on sockets that name their protocol. Without it the body of every
    # answer waits 40 ms for the acknowledgement of its head.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


async def _serve(fleet: Fleet, load: Callable[[], Settings], bound: socket.socket, listener: Listener) -> None:
    registry, reload = _reloading(fleet, load)
    host, port = bound.getsockname()[:2]
    own = Own(registry, reload, listener.token)
    app = App(fleet, own, listen=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    server = _server(telemetry.instrument_asgi(app), listener)
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def on_hangup() -> None:
        task = asyncio.create_task(_reload_quietly(reload))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    def stop() -> None:
        server.should_exit = True

    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)
    _log.info("exporter.started", extra={"listen": f"{host}:{port}", "targets": len(fleet.targets)})
    try:
        await server.serve(sockets=[bound])
    finally:
        fleet.close()
    _log.info("exporter.stopped")


class _Server(uvicorn.Server):
    """Leaves the signals to us: uvicorn would end the process by the signal instead of with exit code 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: Application, listener: Listener) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            ssl_certfile=listener.certificate,
            ssl_keyfile=listener.key,
            loop="asyncio",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            timeout_keep_alive=120,  # longer than any scrape interval in use, so that a scrape needs no handshake
            timeout_graceful_shutdown=2,
        )
    )


def _reloading(fleet: Fleet, load: Callable[[], Settings]) -> tuple[CollectorRegistry, Callable[[], Awaitable[None]]]:
    """Make the registry of the exporter's own metrics and the function that takes over a new configuration."""
    own = CollectorRegistry()
    ProcessCollector(registry=own)
    PlatformCollector(registry=own)
    targets = _gauge(own, signals.EXPORTER_TARGETS)
    loaded = _gauge(own, signals.EXPORTER_CONFIG_OK)
    since = _gauge(own, signals.EXPORTER_CONFIG_TIMESTAMP)
    lock = asyncio.Lock()

    def taken() -> None:
        targets.set(len(fleet.targets))
        loaded.set(1)
        since.set(time.time())

    async def reload() -> None:
        async with lock:
            try:
                settings = await asyncio.to_thread(load)
            except ConfigError as error:
                loaded.set(0)
                _log.error("exporter.reload.refused", extra={"problems": [str(p) for p in error.problems]})
                raise
            fleet.adopt(settings)
            taken()
            _log.info("exporter.reload.taken", extra={"targets": len(fleet.targets)})

    taken()
    return own, reload


async def _reload_quietly(reload: Callable[[], Awaitable[None]]) -> None:
    with contextlib.suppress(ConfigError):  # told in the log and in the metric
        await reload()


def _gauge(registry: CollectorRegistry, signal_: signals.Signal) -> Gauge:
    return Gauge(signal_.name, signal_.help, registry=registry)
