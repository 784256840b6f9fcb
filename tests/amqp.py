"""As much AMQP 0-9-1 as a test needs: a consumer that takes messages and acknowledges, rejects or keeps them."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

_FRAME_END = b"\xce"


def _short(text: str) -> bytes:
    raw = text.encode()
    return bytes([len(raw)]) + raw


def _long(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


class Consumer:
    """One connection with one channel; messages arrive as delivery tags."""

    def __init__(self, port: int, *, user: str = "guest", password: str = "guest", vhost: str = "/") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._buffer = b""
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._expect(10, 10)
        login = f"\x00{user}\x00{password}".encode()
        self._send(0, 10, 11, _long(b"") + _short("PLAIN") + _long(login) + _short("en_US"))
        tune = self._expect(10, 30)
        self._send(0, 10, 31, tune[:6] + b"\x00\x00")  # no heartbeat: a test is short
        self._send(0, 10, 40, _short(vhost) + _short("") + b"\x00")
        self._expect(10, 41)
        self._send(1, 20, 10, _short(""))
        self._expect(20, 11)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def declare_exclusive(self) -> str:
        """Declare a queue that the broker names and that dies with this connection."""
        self._send(1, 50, 10, b"\x00\x00" + _short("") + bytes([0b00100]) + _long(b""))
        answer = self._expect(50, 11)
        return answer[1 : 1 + answer[0]].decode()

    def consume(self, queue: str) -> None:
        """Begin to take messages, each to be acknowledged."""
        self._send(1, 60, 20, b"\x00\x00" + _short(queue) + _short("") + b"\x00" + _long(b""))
        self._expect(60, 21)

    def take(self) -> int:
        """Wait for a message and return its delivery tag."""
        answer = self._expect(60, 60)
        at = 1 + answer[0]
        return int(struct.unpack(">Q", answer[at : at + 8])[0])

    def ack(self, tag: int) -> None:
        """Say that a message is done."""
        self._send(1, 60, 80, struct.pack(">Q?", tag, False))

    def reject(self, tag: int, *, requeue: bool) -> None:
        """Give a message back, or let it go to the dead letters."""
        self._send(1, 60, 90, struct.pack(">Q?", tag, requeue))

    def _send(self, channel: int, kind: int, method: int, arguments: bytes) -> None:
        payload = struct.pack(">HH", kind, method) + arguments
        self._socket.sendall(struct.pack(">BHI", 1, channel, len(payload)) + payload + _FRAME_END)

    def _expect(self, kind: int, method: int) -> bytes:
        """Return the arguments of the next method of this kind; contents and other methods are passed over."""
        while True:
            frame, payload = self._frame()
            if frame != 1:
                continue
            found = struct.unpack(">HH", payload[:4])
            if found == (kind, method):
                return payload[4:]
            if found in {(10, 50), (20, 40)}:
                msg = f"the broker closed: {payload[4:]!r}"
                raise ConnectionError(msg)

    def _frame(self) -> tuple[int, bytes]:
        kind, _, size = struct.unpack(">BHI", self._read(7))
        payload = self._read(size)
        self._read(1)
        return kind, payload

    def _read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            chunk = self._socket.recv(65536)
            if not chunk:
                msg = "the broker hung up"
                raise ConnectionError(msg)
            self._buffer += chunk
        out, self._buffer = self._buffer[:count], self._buffer[count:]
        return out
