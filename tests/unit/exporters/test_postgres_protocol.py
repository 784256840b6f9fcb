"""PostgreSQL's protocol against servers that lie: every trick has a bounded reason, and no password leaves for it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from exporters.clients import postgres_wire as wire
from exporters.clients.postgres import Connection
from exporters.clients.postgres_login import Login, prepared
from exporters.clients.postgres_target import PostgresTarget, split_url
from tocsin.errors import TargetError
from tocsin.settings import Secret

_PASSWORD = "pencil"
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _auth(kind: int, body: bytes = b"") -> bytes:
    return wire.message(b"R", struct.pack("!i", kind), body)


_SASL = _auth(10, b"SCRAM-SHA-256\x00\x00")
_READY = wire.message(b"Z", b"I")


def _login(*, private: bool = False, password: str | None = _PASSWORD) -> Login:
    secret = None if password is None else Secret(password)
    return Login("monitor", secret, private=private, nonce=lambda: "abc")


def _answer(login: Login, message: bytes) -> bytes:
    return login.answer(message[5:])


def _server_part(login: Login, *, nonce: str = "abcdef", rounds: int = 4096, password: str = _PASSWORD) -> bytes:
    """Play the server's side of SCRAM and return its last message."""
    first = _answer(login, _SASL)
    salt = b"salty"
    challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i={rounds}"
    final = _answer(login, _auth(11, challenge.encode()))[5:].decode()
    without_proof, _, proof = final.rpartition(",p=")
    signed = f"{first.rpartition(b',,')[2].decode()},{challenge},{without_proof}".encode()
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
    assert base64.b64decode(proof) == bytes(a ^ b for a, b in zip(key, signature, strict=True))
    mine = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
    return _auth(12, b"v=" + base64.b64encode(mine))


def test_scram_proves_both_sides() -> None:
    """The proof is the one that the server computes; its own is checked before we are in."""
    login = _login()
    assert _answer(login, _server_part(login)) == b""
    assert not login.done
    _answer(login, _auth(0))
    assert login.done


@pytest.mark.parametrize(
    ("play", "reason"),
    [
        (lambda login: _auth(12, b"v=" + base64.b64encode(b"x" * 32)), "auth"),
        (lambda login: _auth(12, b"e=nonsense"), "protocol"),
        (lambda login: _auth(0), "auth"),
    ],
)
def test_a_server_that_cannot_prove_itself_is_refused(play: Callable[[Login], bytes], reason: str) -> None:
    """A wrong signature, none, or being let in half-way: this may be another server."""
    login = _login()
    _server_part(login)
    with pytest.raises(TargetError) as error:
        _answer(login, play(login))
    assert error.value.reason == reason
    assert not login.done


@pytest.mark.parametrize("challenge", [b"", b"r=abc,s=!,i=1", b"r=other,s=AA==,i=1", b"r=abcd,s=AA==,i=99999999"])
def test_a_malformed_challenge_is_refused(challenge: bytes) -> None:
    """Missing parts, another nonce, and hashing that would hold the whole exporter up."""
    login = _login()
    _answer(login, _SASL)
    with pytest.raises(TargetError, match="malformed"):
        _answer(login, _auth(11, challenge))


def test_a_password_in_clear_text_stays_at_home() -> None:
    """Over an open connection it is not sent, whatever the server asks; where it is private it is."""
    with pytest.raises(TargetError, match="clear text"):
        _answer(_login(), _auth(3))
    assert _PASSWORD.encode() in _answer(_login(private=True), _auth(3))


@pytest.mark.parametrize("asked", [_auth(3), _auth(5, b"salt"), _SASL])
def test_without_a_password_the_fix_is_said(asked: bytes) -> None:
    """Whatever the method: which key to write."""
    with pytest.raises(TargetError, match="password_file"):
        _answer(_login(private=True, password=None), asked)


@pytest.mark.parametrize("asked", [_auth(7), _auth(10, b"OTHER\x00\x00")])
def test_a_method_that_we_lack_is_said(asked: bytes) -> None:
    """Kerberos and the like: reason auth."""
    with pytest.raises(TargetError) as error:
        _answer(_login(), asked)
    assert error.value.reason == "auth"


def test_md5_is_salted_twice() -> None:
    """The digest is over the salt and the digest of password and user."""
    inner = hashlib.md5(b"pencilmonitor").hexdigest()
    expected = b"md5" + hashlib.md5(inner.encode() + b"salt").hexdigest().encode()
    assert expected in _answer(_login(), _auth(5, b"salt"))


@pytest.mark.parametrize(
    ("written", "used"),
    [("plain", "plain"), ("a\u00a0b", "a b"), ("I\u00adX", "IX"), ("\u2168", "IX"), ("é\u0007", "é\u0007")],
)
def test_passwords_are_normalised_as_the_server_does(written: str, used: str) -> None:
    """SASLprep: spaces, soft hyphens and compatible forms; a forbidden character leaves all as it is."""
    assert prepared(written) == used


def test_messages_are_found_whatever_the_pieces() -> None:
    """Byte by byte, the same messages come out."""
    row = wire.message(b"D", struct.pack("!hi", 2, 3), "ü1".encode(), struct.pack("!i", -1))
    inbox, found = wire.Inbox(), []
    for byte in row + _READY:
        inbox.feed(bytes([byte]))
        while (message := inbox.next()) is not None:
            found.append(message)
    assert [kind for kind, _ in found] == [b"D", b"Z"]
    assert wire.row(found[0][1]) == ("ü1", None)


@asynccontextmanager
async def _serving(peer: Peer) -> AsyncIterator[str]:
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(ConnectionError):
            await peer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"postgresql://monitor@127.0.0.1:{server.sockets[0].getsockname()[1]}/app"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


async def _asked(peer: Peer, **more: Any) -> TargetError:
    async with _serving(peer) as url:
        settings = PostgresTarget.model_validate({"name": "db", "kind": "any", "url": url, **more})
        connection = Connection(settings)
        with pytest.raises(TargetError) as error:
            await connection.request("SELECT 1")
        assert not connection.is_open
    return error.value


def _says(*messages: bytes) -> Peer:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"".join(messages))
        await writer.drain()

    return peer


@pytest.mark.parametrize("answer", [b"N", b"SX", b"E"])
async def test_no_tls_and_words_before_it_are_refused(answer: bytes) -> None:
    """A server without TLS, and one whose answer has more in it than was encrypted: reason tls."""
    assert (await _asked(_says(answer), tls="verify-full")).reason == "tls"


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ((b"R\x7f\xff\xff\xff",), "protocol"),
        ((b"R\x00\x00\x00\x00",), "protocol"),
        ((_READY,), "protocol"),
        ((wire.message(b"D", b"\x00\x00"),), "protocol"),
        ((wire.message(b"E", b"SFATAL\x00C53300\x00Mtoo many of hunter2\x00\x00"),), "refused"),
        ((wire.message(b"E", b"SFATAL\x00C57P03\x00Mstarting\x00\x00"),), "refused"),
        ((wire.message(b"E", b"SFATAL\x00Chunter2\x00\x00"),), "protocol"),
        ((_auth(0), _READY, wire.message(b"E", b"SFATAL\x00C57P01\x00Mbye\x00\x00")), "protocol"),
    ],
)
async def test_what_goes_wrong_at_login_has_a_reason(messages: tuple[bytes, ...], reason: str) -> None:
    """Lengths beyond bounds, a wrong message, a full or starting server, a cut: bounded, and no text of the server."""
    error = await _asked(_says(*messages))
    assert error.reason == reason
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgresql://m@db/app", "db", 5432),
        ("postgres://m@[::1]:6543/app", "::1", 6543),
        ("postgresql://m%40x@%2Fvar%2Frun%2FPG/app", "/var/run/PG", 5432),
    ],
)
def test_addresses_are_understood(url: str, host: str, port: int) -> None:
    """Names, IPv6, and the folder of a socket, which keeps its capital letters."""
    address = split_url(url)
    assert (address.host, address.port, address.database) == (host, port, "app")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://m@db/app", "not the address of a PostgreSQL server"),
        ("postgresql://db/app", "user and a database"),
        ("postgresql://m@db", "user and a database"),
        ("postgresql://m@db/app?sslmode=verify-full", "tls: verify-full"),
        ("postgresql://m@db:99999/app", "port"),
        ("postgresql://m@:5432/app", "no host"),
    ],
)
def test_mistakes_in_addresses_are_told(url: str, problem: str) -> None:
    """Each says what to write; the address itself stays out of the message."""
    with pytest.raises(ValueError, match=problem) as error:
        split_url(url)
    assert url not in str(error.value)
