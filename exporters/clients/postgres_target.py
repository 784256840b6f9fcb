"""What tocsin.yaml may say about a target that speaks PostgreSQL's protocol, and what its address means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator

from tocsin.settings import Secret, TargetSettings, TargetUrl


class PostgresTarget(TargetSettings):
    """What every target that speaks PostgreSQL's protocol has."""

    url: TargetUrl = Field(
        description="Address of the server: postgresql://USER@HOST:PORT/DATABASE; "
        "a socket's folder stands as %2Fvar%2Frun%2Fpostgresql in the place of the host.",
        examples=["postgresql://tocsin@127.0.0.1:5432/postgres"],
    )
    password: Secret | None = Field(default=None, description="Password of the user; better in a password_file.")
    tls: Literal["disable", "require", "verify-full"] = Field(
        default="disable",
        description="`verify-full` checks certificate and host name, `require` only encrypts, `disable` is plain.",
    )
    tls_ca: Secret | None = Field(
        default=None,
        description="Certificates (PEM) to trust instead of the system's; written as tls_ca_file: PATH.",
    )

    @field_validator("url")
    @classmethod
    def _readable(cls, value: str) -> str:
        split_url(value)
        return value


@dataclass(frozen=True)
class Address:
    """Where a server is and as whom it is asked. A ``host`` that begins with a slash is the folder of a socket."""

    host: str
    port: int
    user: str
    database: str

    @property
    def is_private(self) -> bool:
        """Whether the way there stays on this machine."""
        return self.host.startswith("/") or self.host in {"127.0.0.1", "::1", "localhost"}


def split_url(url: str) -> Address:
    """Return what an address says. Raises ValueError; the address itself stays out of the message."""
    form = "write postgresql://USER@HOST:PORT/DATABASE"
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        msg = f"is not the address of a PostgreSQL server; {form}"
        raise ValueError(msg)
    if parts.query or parts.fragment:
        msg = f"has options after a question mark; {form} and use keys such as `tls: verify-full`"
        raise ValueError(msg)
    user, _, place = parts.netloc.rpartition("@")
    match = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]+)(?::(\d{1,5}))?", place)
    if match is None or not 1 <= int(match[2] or 5432) <= 65535:
        msg = f"names no host, or a port that is not a number from 1 to 65535; {form}"
        raise ValueError(msg)
    database = unquote(parts.path.removeprefix("/"))
    if not user or not database or "/" in database:
        msg = f"must name a user and a database; {form}"
        raise ValueError(msg)
    return Address(unquote(match[1]).strip("[]"), int(match[2] or 5432), unquote(user), database)
