"""The one edge where anything that a read may raise becomes a TargetError with a bounded reason and a safe text."""

from __future__ import annotations

import socket
import ssl

from tocsin.errors import TargetError


def translate(error: BaseException) -> TargetError:  # noqa: PLR0911  # a table: one line per kind of failure
    """Return what a failed read means. Foreign error texts are dropped: they may quote addresses or answers."""
    match error:
        case TargetError():
            return error
        case TimeoutError():
            return TargetError("timeout", "no complete answer before the deadline")
        case ssl.SSLError():
            what = getattr(error, "verify_message", None) or "the handshake failed"
            return TargetError("tls", f"no trusted TLS connection: {what}")
        case FileNotFoundError() | PermissionError() | IsADirectoryError():
            return TargetError("auth", "a secret's file cannot be read")
        case ConnectionRefusedError():
            return TargetError("refused", "nothing listens at the address")
        case socket.gaierror():
            return TargetError("refused", "the host name cannot be resolved")
        case ConnectionError():
            return TargetError("protocol", "the connection was cut")
        case OSError():
            return TargetError("refused", f"the address cannot be reached: {error.strerror or type(error).__name__}")
        case _:
            return TargetError("parse", f"the answer has an unexpected shape ({type(error).__name__})")
