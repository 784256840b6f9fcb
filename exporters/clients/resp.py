"""Redis' protocol over one connection: request bytes that were encoded once, replies by hiredis' parser.

Redis-py packs every command anew, which is nearly all that a scrape costs; here a scrape writes one buffer.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import hiredis
from pydantic import Field, field_validator

from tocsin.errors import TargetError, TargetReason
from tocsin.settings import Secret, TargetSettings, TargetUrl

_REPLY_LIMIT: Final = 64 * 2**20
_CHUNK: Final = 2**18
_REASONS: Final[tuple[tuple[str, TargetReason], ...]] = (
    ("NOAUTH", "auth"),
    ("WRONGPASS", "auth"),
    ("NOPERM", "auth"),
    ("ERR invalid password", "auth"),
    ("ERR Client sent AUTH", "auth"),
    ("ERR AUTH", "auth"),
    ("LOADING", "refused"),
    ("ERR max number of clients", "refused"),
)

Reply = Any
"""One answer as hiredis gives it: bytes, a number, None, a list of these, or a ReplyError."""

ReplyError = hiredis.ReplyError
"""An error that the server answered to one command: it stands in the list of replies, it is not raised."""


class RedisTarget(TargetSettings):
    """What every target that speaks Redis' protocol has."""

    url: TargetUrl = Field(
        description="Address of the Redis server: redis://HOST:PORT/DB, or rediss:// for TLS.",
        examples=["redis://127.0.0.1:6379/0"],
    )
    user: str | None = Field(default=None, description="User of Redis' access control list; `default` when left out.")
    password: Secret | None = Field(default=None, description="Password of the user; better in a password_file.")

    @field_validator("url")
    @classmethod
    def _readable(cls, value: str) -> str:
        _split(value)
        return value


def check_url(url: str) -> None:
    """Raise ValueError, with what to write, unless this is the address of a Redis server."""
    _split(url)


def _split(url: str) -> tuple[str, int, int, str | None]:
    """Return host, port, database and user. Raises ValueError; the address itself stays out of the message."""
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss"}:
        msg = "is not the address of a Redis server; write redis://HOST:PORT/DB, or rediss:// for TLS"
        raise ValueError(msg)
    if not parts.hostname:
        msg = "names no host; write redis://HOST:PORT/DB"
        raise ValueError(msg)
    try:
        port = parts.port or 6379
    except ValueError:
        msg = "has a port that is not a number from 1 to 65535; write redis://HOST:PORT/DB"
        raise ValueError(msg) from None
    database = parts.path.strip("/") or "0"
    if not database.isdecimal() or parts.query or parts.fragment:
        msg = "must end in a database number; write redis://HOST:PORT/0"
        raise ValueError(msg)
    return parts.hostname, port, int(database), unquote(parts.username) if parts.username else None


def pack(*words: str | bytes | int) -> bytes:
    """Encode one command as request bytes."""
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogateescape")
        out.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(out)


def reason_of(error: ReplyError) -> TargetReason:
    """Say why the server refused a command, in our bounded words."""
    text = str(error)
    return next((reason for start, reason in _REASONS if text.startswith(start)), "protocol")


def failed(error: ReplyError) -> TargetError:
    """Translate an error answer; only the server's leading error word is kept, its text may quote anything."""
    word = re.match(r"[A-Z]+", str(error))
    return TargetError(reason_of(error), f"the server answered {word[0] if word else 'an error'}")


class Connection:
    """One connection that comes back by itself: opened at the first request, dropped by ``close`` or a failure.

    ``url`` is the address of another server that takes the same login.
    """

    def __init__(self, settings: RedisTarget, *, name: str = "tocsin-exporter", url: str | None = None) -> None:
        self._settings = settings
        self._name = name
        address = url or settings.url
        self._host, self._port, self._database, url_user = _split(address)
        self._user = settings.user or url_user or _split(settings.url)[3]
        self._tls = ssl.create_default_context() if address.startswith("rediss:") else None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._parser = hiredis.Reader()
        self.version = ""
        """Version that the server told when the connection was made."""

    async def request(self, data: bytes, replies: int) -> list[Reply]:
        """Send request bytes and return that many replies; error answers stand in the list as ReplyError.

        Raises TargetError or OSError; the connection is dropped then.
        """
        try:
            if self._streams is None:
                await self._connect()
            return await self._exchange(data, replies)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection at once."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()

    async def _connect(self) -> None:
        self._parser = hiredis.Reader()
        self._streams = await asyncio.open_connection(
            self._host, self._port, ssl=self._tls, server_hostname=self._host if self._tls else None, limit=_CHUNK
        )
        greeting = [pack("CLIENT", "SETNAME", self._name), pack("INFO", "server")]
        if self._database:
            greeting.insert(0, pack("SELECT", self._database))
        if self._settings.password is not None:
            secret = self._settings.password.get()
            login = ("AUTH", self._user, secret) if self._user else ("AUTH", secret)
            greeting.insert(0, pack(*login))
        answers = await self._exchange(b"".join(greeting), len(greeting))
        # CLIENT SETNAME and INFO are courtesies that a strict access list may refuse; logging in is not.
        for answer in answers[:-2]:
            if isinstance(answer, ReplyError):
                raise failed(answer)
        self.version = _version(answers[-1])

    async def _exchange(self, data: bytes, replies: int) -> list[Reply]:
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(data)
        out: list[Reply] = []
        size = 0
        while len(out) < replies:
            reply = self._next()
            if reply is not False:
                out.append(reply)
                continue
            chunk = await reader.read(_CHUNK)
            size += len(chunk)
            if not chunk:
                msg = "the server closed the connection in the middle of an answer"
                raise TargetError("protocol", msg)
            if size > _REPLY_LIMIT:
                msg = f"the answer is larger than {_REPLY_LIMIT} bytes"
                raise TargetError("protocol", msg)
            self._parser.feed(chunk)
        return out

    def _next(self) -> Reply:
        try:
            return self._parser.gets()
        except hiredis.ProtocolError:
            msg = "the answer is not Redis' protocol"
            raise TargetError("protocol", msg) from None


def info_fields(reply: Reply) -> dict[str, str]:
    """Read the answer to INFO into a mapping. Raises TargetError when it is something else."""
    if isinstance(reply, ReplyError):
        raise failed(reply)
    if not isinstance(reply, bytes):
        msg = "the answer to INFO is not text"
        raise TargetError("parse", msg)
    fields: dict[str, str] = {}
    for line in reply.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        if colon and not key.startswith("#"):
            fields[key] = value
    return fields


def _version(reply: Reply) -> str:
    return info_fields(reply).get("redis_version", "")[:40] if isinstance(reply, bytes) else ""


def pack_all(commands: Sequence[Sequence[str | bytes | int]]) -> bytes:
    """Encode several commands as one buffer."""
    return b"".join(pack(*command) for command in commands)
