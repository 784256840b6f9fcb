"""The secrets of one stack: random ones made once, and those that a server wants as a file. All of mode 600."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from tocsin.errors import StackError
from tocsin.settings import Settings
from tocsin.stack.service import Layout
from tocsin.stack.way_out import secrets_from_environment


def grafana_password(layout: Layout) -> Path:
    """Return the file with the password of Grafana's ``admin``; its folder is all that Grafana's container sees."""
    return layout.secrets / "grafana" / "admin_password"


def write_secrets(settings: Settings, layout: Layout) -> None:
    """Make the random secrets that are missing and write those that came from the environment.

    Raises StackError when the folder cannot be written.
    """
    try:
        layout.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in (layout.router_token, grafana_password(layout)):
            if not path.exists():
                write_private(path, secrets.token_urlsafe(32))
        for path, value in secrets_from_environment(settings, layout).items():
            write_private(path, value)
    except OSError as error:
        raise StackError(
            f"secrets cannot be written to {layout.secrets}: {error.strerror}",
            fix="make the folder writable for this user",
        ) from None


def write_private(path: Path, value: str) -> None:
    """Write a file of mode 600 in one step; a file that holds the value already is left alone."""
    with contextlib.suppress(OSError):
        if path.read_text(encoding="utf-8") == value:
            return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value)
    part.replace(path)
