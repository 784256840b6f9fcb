"""``tocsin exporter`` and ``tocsin router``: the long-running processes."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from tocsin.cli.tables import load_settings
from tocsin.endpoints import data_dir
from tocsin.errors import ConfigError, Problem
from tocsin.settings import Secret

_WRITE_IT = "create it (mode 600) with the token as its only content"


def exporter(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    from exporters.runtime import Listener, serve  # noqa: PLC0415  # the other commands do without its server

    settings = load_settings(arguments.config)
    listen = _listen(arguments.listen, settings.ports.exporter)
    token = _token(arguments.token_file) if arguments.token_file else None
    listener = Listener(listen, token, arguments.certificate, arguments.key)
    return serve(lambda: load_settings(arguments.config), listener, shard=arguments.shard)


def router(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    from alert_router.app import serve  # noqa: PLC0415  # the other commands do without its server

    settings = load_settings(arguments.config)
    listen = _listen(arguments.listen, settings.ports.router)
    return serve(lambda: load_settings(arguments.config), listen, data=data_dir(settings))


def _token(path: Path) -> Secret:
    secret = Secret(path=path)
    try:
        found = secret.get()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError([Problem("--token-file", 0, "", f"{path} cannot be read: {why}", _WRITE_IT)]) from None
    if not found:
        raise ConfigError([Problem("--token-file", 0, "", f"{path} is empty", _WRITE_IT)])
    return secret


def _listen(written: str | None, port: int) -> str:
    if written is None:
        return f"127.0.0.1:{port}"
    if re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}", written):
        return written
    raise ConfigError([Problem("--listen", 0, "", f"{written!r} is not HOST:PORT", "write for example 127.0.0.1:8088")])
