"""One connection to PostgreSQL or PgBouncer: statements are prepared once, a scrape is one round trip.

A driver waits for a frozen server while it cancels (10 s for a deadline of 0.4 s); what a monitor needs of the protocol
is small. Why: docs/adr/0004-own-postgresql-protocol.md.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from exporters.clients import postgres_wire as wire
from exporters.clients.postgres_login import Login
from exporters.clients.postgres_target import PostgresTarget, split_url
from tocsin.errors import TargetError, TargetReason

_REPLY_LIMIT: Final = 64 * 2**20
_CHUNK: Final = 2**18
_LOGIN: Final = "refused the login: check user, password and pg_hba.conf"
_POOLED: Final = "is a pooler: give the address of the server behind it, or watch the pooler as kind pgbouncer"
_REASONS: Final[tuple[tuple[str, TargetReason, str], ...]] = (
    ("28", "auth", _LOGIN),
    ("42501", "auth", "says that the user lacks a privilege"),
    ("3D", "refused", "has no such database"),
    ("53", "refused", "has no connection or memory left"),
    ("57014", "timeout", "cancelled a statement at its timeout"),
    ("55P03", "timeout", "could not get a lock in time"),
    ("55000", "parse", "is not set up for it: pg_stat_statements must stand in shared_preload_libraries"),
    ("57P", "refused", "is starting up or shutting down"),
    ("26000", "protocol", _POOLED),
    ("42", "parse", "does not know something that was asked for"),
    ("08", "protocol", "refused how it was asked"),
)
"""Start of the error's code, what it means for the target, what to tell: the server's own text may quote anything."""


_POOLER: Final[tuple[tuple[str, TargetReason, str], ...]] = (
    ("authentication failed", "auth", _LOGIN),
    ("no such user", "auth", _LOGIN),
    ("not allowed", "auth", _LOGIN),
    ("no such database", "refused", "has no such database"),
    ("no more connections", "refused", "has no client connection left (max_client_conn)"),
    ("unsupported startup parameter", "protocol", _POOLED),
)
"""PgBouncer has one code for everything: what a part of its text means."""


@dataclass(frozen=True)
class Answer:
    """The answer to one statement: every value is text, NULL is None. ``error`` says why there is none."""

    columns: tuple[str, ...]
    rows: tuple[wire.Row, ...]
    seconds: float
    """How long it took after the answer before it."""
    error: TargetError | None = None

    def dicts(self) -> list[dict[str, str | None]]:
        """Return the rows by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass
class _Prepared:
    """A statement that the server knows by name. Not ``ready``: it has yet to be (re)named."""

    name: str
    run: bytes
    columns: tuple[str, ...] = ()
    ready: bool = False


@dataclass
class _Session:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    inbox: wire.Inbox = field(default_factory=wire.Inbox)
    prepared: dict[str, _Prepared] = field(default_factory=dict)
    received: int = 0
    """Bytes of the answer so far."""
    used: bool = False


class Connection:
    """One connection that comes back by itself: opened at the first request, dropped by ``close`` or a failure."""

    def __init__(self, settings: PostgresTarget, *, parameters: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._address = split_url(settings.url)
        self._parameters = {
            "user": self._address.user,
            "database": self._address.database,
            "application_name": "tocsin-exporter",
            "client_encoding": "UTF8",
            **(parameters or {}),
        }
        self._session: _Session | None = None
        self.number = 0
        """Counts the connections: what was learned over one may not hold for the next."""
        self.told: dict[str, str] = {}
        """What the server told of itself at login, such as ``server_version``."""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as we have noticed."""
        return self._session is not None

    async def request(self, *statements: str, prepared: bool = False) -> list[Answer]:
        """Run statements, each in a transaction of its own, in one round trip; error answers stand in the list.

        Raises TargetError or OSError; the connection is dropped then. One that was cut since it was last used (the
        server was restarted) is made anew, once.
        """
        try:
            try:
                return await self._request(statements, prepared=prepared)
            except (ConnectionError, _CutError):
                if self._session is None or not self._session.used:
                    raise
                self.close()
                return await self._request(statements, prepared=prepared)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection at once."""
        session, self._session = self._session, None
        if session is not None:
            if not session.writer.transport.is_closing():
                session.writer.write(wire.TERMINATE)
            session.writer.transport.abort()

    async def _request(self, statements: Sequence[str], *, prepared: bool) -> list[Answer]:
        session = self._session or await self._connect()
        known = [_known(session, statement) if prepared else None for statement in statements]
        session.received = 0
        session.writer.write(b"".join(_encoded(text, one) for text, one in zip(statements, known, strict=True)))
        answers = [await self._answer(session, one) for one in known]
        session.used = True
        return answers

    async def _answer(self, session: _Session, known: _Prepared | None) -> Answer:
        started = time.perf_counter()
        columns: tuple[str, ...] = known.columns if known is not None else ()
        rows: list[wire.Row] = []
        error: TargetError | None = None
        while True:
            kind, body = await self._message(session)
            if kind == b"D":
                rows.append(wire.row(body))
            elif kind == b"T":
                columns = wire.columns(body)
            elif kind == b"E":
                error = _error(body)
            elif kind == b"Z":
                break
        if known is not None:
            # After an error it may not exist, or not fit what the server has now: it is named anew next time.
            known.columns, known.ready = columns, error is None
        return Answer(columns, tuple(rows), time.perf_counter() - started, error)

    async def _connect(self) -> _Session:
        reader, writer = await self._open()
        session = self._session = _Session(reader, writer)
        if self._settings.tls != "disable" and not self._address.host.startswith("/"):
            await self._encrypt(session)
        writer.write(wire.startup(self._parameters))
        private = self._address.is_private or self._settings.tls == "verify-full"
        login = Login(self._address.user, self._settings.password, private=private)
        while True:
            kind, body = await self._message(session)
            if kind == b"R":
                session.writer.write(login.answer(body))
            elif kind == b"S":
                name, value = wire.setting(body)
                self.told[name] = value
            elif kind == b"E":
                raise _error(body)
            elif kind == b"Z" and login.done:
                break
            elif kind not in b"KNv":
                msg = "the answer to the login is not PostgreSQL's protocol"
                raise TargetError("protocol", msg)
        self.number += 1
        return session

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = self._address
        if address.host.startswith("/"):
            return await asyncio.open_unix_connection(f"{address.host}/.s.PGSQL.{address.port}", limit=_CHUNK)
        return await asyncio.open_connection(address.host, address.port, limit=_CHUNK)

    async def _encrypt(self, session: _Session) -> None:
        """Change to TLS. Whatever came together with the server's one byte was not said by whom we will talk to."""
        session.writer.write(wire.SSL_REQUEST)
        answer = await session.reader.read(2)
        if not answer:
            raise _CutError
        if answer != b"S":
            msg = "the server does not offer TLS; enable it there, or set tls: disable"
            raise TargetError("tls", msg)
        await session.writer.start_tls(_context(self._settings), server_hostname=self._address.host)

    async def _message(self, session: _Session) -> tuple[bytes, bytes]:
        while (message := session.inbox.next()) is None:
            chunk = await session.reader.read(_CHUNK)
            if not chunk:
                raise _CutError
            session.received += len(chunk)
            if session.received > _REPLY_LIMIT:
                msg = f"the answer is larger than {_REPLY_LIMIT} bytes"
                raise TargetError("protocol", msg)
            session.inbox.feed(chunk)
        return message


class _CutError(TargetError):
    def __init__(self) -> None:
        super().__init__("protocol", "the server closed the connection in the middle of an answer")


def _known(session: _Session, statement: str) -> _Prepared:
    known = session.prepared.get(statement)
    if known is None:
        name = f"t{len(session.prepared)}"
        known = session.prepared[statement] = _Prepared(name, wire.run(name))
    return known


def _encoded(statement: str, known: _Prepared | None) -> bytes:
    if known is None:
        return wire.simple(statement)
    return known.run if known.ready else wire.prepare(known.name, statement) + known.run


def _error(body: bytes) -> TargetError:
    """Translate an error answer into a bounded reason and a text of our own."""
    said = wire.fields(body)
    code = said.get("C", "") if re.fullmatch(r"[0-9A-Z]{5}", said.get("C", "")) else "XX000"
    pooler = [line for line in _POOLER if code == "08P01" and line[0] in said.get("M", "")]
    for start, reason, told in pooler or _REASONS:
        if pooler or code.startswith(start):
            return TargetError(reason, f"the server {told} (SQLSTATE {code})")
    return TargetError("protocol", f"the server answered an error (SQLSTATE {code})")


def _context(settings: PostgresTarget) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=settings.tls_ca.get() if settings.tls_ca is not None else None)
    if settings.tls == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
