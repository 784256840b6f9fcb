"""PostgreSQL's protocol, version 3, as bytes: messages out, messages in. No I/O here.

Requests are encoded once per statement; a scrape writes one buffer and reads the answers in order.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from tocsin.errors import TargetError

_MESSAGE_LIMIT: Final = 64 * 2**20
_PROTOCOL: Final = 196608
SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
TERMINATE: Final = b"X\x00\x00\x00\x04"
_KNOWN: Final = frozenset(b"RSKZETDCINAGHWVn123ts")
"""First bytes of everything that a server may send to us; anything else is not PostgreSQL."""
_HEADER: Final = struct.Struct("!ci")
_INT: Final = struct.Struct("!i")
_SHORT: Final = struct.Struct("!h")

Row = tuple[str | None, ...]


def message(kind: bytes, *parts: bytes) -> bytes:
    """Encode one message."""
    body = b"".join(parts)
    return kind + _INT.pack(len(body) + 4) + body


def text(value: str) -> bytes:
    """Encode a string of the protocol. Raises TargetError for one that cannot be sent."""
    raw = value.encode()
    if b"\x00" in raw:
        msg = "a name, password or statement holds a zero byte"
        raise TargetError("auth", msg)
    return raw + b"\x00"


def startup(parameters: Mapping[str, str]) -> bytes:
    """Encode the first message: who we are and the settings of the session."""
    pairs = b"".join(text(name) + text(value) for name, value in parameters.items())
    return _INT.pack(len(pairs) + 9) + _INT.pack(_PROTOCOL) + pairs + b"\x00"


def simple(statement: str) -> bytes:
    """Encode a statement that is planned each time it is sent."""
    return message(b"Q", text(statement))


SYNC: Final = message(b"S")


def prepare(name: str, statement: str) -> bytes:
    """Encode the request that (re)names a statement and asks for its columns; its plan is kept when it first runs."""
    forget = message(b"C", b"S", text(name))  # naming what is not there any more is no error
    return forget + message(b"P", text(name), text(statement), _SHORT.pack(0)) + message(b"D", b"S", text(name))


def run(name: str) -> bytes:
    """Encode the request that runs a named statement without parameters; its answer ends with ReadyForQuery."""
    bind = message(b"B", text(""), text(name), _SHORT.pack(0) * 3)
    return bind + message(b"E", text(""), _INT.pack(0)) + SYNC


class Inbox:
    """Bytes as they come, messages as they are complete."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0

    def feed(self, chunk: bytes) -> None:
        """Take what the network brought."""
        del self._data[: self._at]
        self._at = 0
        self._data += chunk

    def next(self) -> tuple[bytes, bytes] | None:
        """Return the next whole message as (kind, body); None when more bytes are needed.

        Raises TargetError for bytes that no PostgreSQL server sends.
        """
        if len(self._data) - self._at and self._data[self._at] not in _KNOWN:
            msg = "the answer is not PostgreSQL's protocol"
            raise TargetError("protocol", msg)
        if len(self._data) - self._at < 5:
            return None
        kind, length = _HEADER.unpack_from(self._data, self._at)
        if not 4 <= length <= _MESSAGE_LIMIT:
            msg = f"a message of the answer is longer than {_MESSAGE_LIMIT} bytes or has no length"
            raise TargetError("protocol", msg)
        end = self._at + 1 + length
        if len(self._data) < end:
            return None
        body = bytes(self._data[self._at + 5 : end])
        self._at = end
        return kind, body


def columns(body: bytes) -> tuple[str, ...]:
    """Read the column names of a RowDescription."""
    names = []
    at = 2
    for _ in range(_SHORT.unpack_from(body)[0]):
        end = body.index(0, at)
        names.append(body[at:end].decode("utf-8", "replace"))
        at = end + 19  # the zero byte and 18 bytes about the type
    return tuple(names)


def row(body: bytes) -> Row:
    """Read one DataRow; every value is text, NULL is None."""
    out: list[str | None] = []
    at = 2
    for _ in range(_SHORT.unpack_from(body)[0]):
        (length,) = _INT.unpack_from(body, at)
        at += 4
        if length < 0:
            out.append(None)
            continue
        out.append(body[at : at + length].decode("utf-8", "replace"))
        at += length
    return tuple(out)


def fields(body: bytes) -> dict[str, str]:
    """Read the fields of an ErrorResponse by their letters: C is the code, M the message."""
    parts = (part.decode("utf-8", "replace") for part in body.split(b"\x00") if part)
    return {part[0]: part[1:] for part in parts}


def setting(body: bytes) -> tuple[str, str]:
    """Read a ParameterStatus: name and value."""
    name, _, value = body.partition(b"\x00")
    return name.decode("utf-8", "replace"), value.rstrip(b"\x00").decode("utf-8", "replace")
