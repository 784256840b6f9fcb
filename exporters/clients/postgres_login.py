"""Logging in to PostgreSQL: SCRAM-SHA-256, MD5 and clear text, as pure answers to the server's questions.

A password in clear text leaves only over TLS, a socket file or loopback, whatever the server asks for.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from collections.abc import Callable
from typing import Final

from exporters.clients.postgres_wire import message, text
from tocsin.errors import TargetError
from tocsin.settings import Secret

_MECHANISM: Final = "SCRAM-SHA-256"
_MOST_ROUNDS: Final = 1_000_000
"""A server may ask for this much hashing at most: the event loop waits for it."""


class Login:
    """One login: ``answer`` takes each authentication message and returns what to send, until ``done``."""

    def __init__(
        self,
        user: str,
        password: Secret | None,
        *,
        private: bool,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(24),
    ) -> None:
        self._user = user
        self._secret = password
        self._private = private
        self._nonce = nonce()
        self._first = ""
        self._expected = b""
        self._verified = False
        self.done = False

    def answer(self, body: bytes) -> bytes:
        """Return the reply to one authentication message (kind R). Raises TargetError: auth or protocol."""
        match int.from_bytes(body[:4], "big"):
            case 0:
                self._finish()
                return b""
            case 3:
                return self._clear()
            case 5:
                return self._md5(body[4:8])
            case 10:
                return self._begin(body[4:])
            case 11:
                return self._prove(body[4:])
            case 12:
                self._verify(body[4:])
                return b""
            case other:
                msg = f"the server asks for an authentication method (number {other}) that Tocsin has not"
                raise TargetError("auth", msg)

    def _password(self) -> str:
        if self._secret is None:
            msg = "the server asks for a password; set password_file"
            raise TargetError("auth", msg)
        return self._secret.get()

    def _finish(self) -> None:
        if self._first and not self._verified:
            msg = "the server let us in without proving that it knows the password"
            raise TargetError("auth", msg)
        self.done = True

    def _clear(self) -> bytes:
        if not self._private:
            msg = "the server asks for the password in clear text over an open connection; set tls: verify-full"
            raise TargetError("auth", msg)
        return message(b"p", text(self._password()))

    def _md5(self, salt: bytes) -> bytes:
        # MD5 is what the server chose; newer servers choose SCRAM.
        inner = hashlib.md5(f"{self._password()}{self._user}".encode(), usedforsecurity=False).hexdigest()
        outer = hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest()
        return message(b"p", text(f"md5{outer}"))

    def _begin(self, offered: bytes) -> bytes:
        if _MECHANISM.encode() not in offered.split(b"\x00"):
            msg = f"the server does not offer {_MECHANISM}"
            raise TargetError("auth", msg)
        self._password()
        self._first = f"n=,r={self._nonce}"
        first = f"n,,{self._first}".encode()
        return message(b"p", text(_MECHANISM), len(first).to_bytes(4, "big"), first)

    def _prove(self, challenge: bytes) -> bytes:
        said = _attributes(challenge)
        try:
            nonce, salt, rounds = said["r"], base64.b64decode(said["s"], validate=True), int(said["i"])
        except (KeyError, ValueError):
            raise _nonsense() from None
        if not self._first or not nonce.startswith(self._nonce) or not 1 <= rounds <= _MOST_ROUNDS:
            raise _nonsense()
        salted = hashlib.pbkdf2_hmac("sha256", prepared(self._password()).encode(), salt, rounds)
        final = f"c=biws,r={nonce}"
        signed = f"{self._first},{challenge.decode('ascii', 'replace')},{final}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        self._expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        return message(b"p", f"{final},p={proof}".encode())

    def _verify(self, body: bytes) -> None:
        try:
            signature = base64.b64decode(_attributes(body)["v"], validate=True)
        except (KeyError, ValueError):
            raise _nonsense() from None
        if not hmac.compare_digest(signature, self._expected):
            msg = "the server does not know the password that it asks for: it may be another server"
            raise TargetError("auth", msg)
        self._verified = True


def _attributes(body: bytes) -> dict[str, str]:
    parts = body.decode("ascii", "replace").split(",")
    return {key: value for key, _, value in (part.partition("=") for part in parts)}


def _nonsense() -> TargetError:
    return TargetError("protocol", "the server's part of the login is malformed")


def prepared(password: str) -> str:
    """Normalise a password as the server did (SASLprep); one with forbidden characters stays as it is."""
    if password.isascii():
        return password
    kept = "".join(
        " " if stringprep.in_table_c12(char) else char for char in password if not stringprep.in_table_b1(char)
    )
    done = unicodedata.ucd_3_2_0.normalize("NFKC", kept)
    forbidden = (
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
        stringprep.in_table_a1,
    )
    return password if not done or any(test(char) for char in done for test in forbidden) else done
