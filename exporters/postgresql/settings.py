"""What tocsin.yaml may say about a PostgreSQL server."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from exporters.clients.postgres_target import PostgresTarget
from tocsin.settings import Duration, Strict


class DatabaseFilter(Strict):
    """Which databases of the server are watched, by name; templates never are."""

    include: tuple[str, ...] = Field(
        default=(".*",), min_length=1, description="Regular expressions; one must match the whole name."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Regular expressions; none may match the whole name.")
    cap: int = Field(default=100, ge=1, description="Most databases with series of their own; the rest become _other.")

    @field_validator("include", "exclude")
    @classmethod
    def _compiles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                msg = f"{pattern!r} is not a regular expression ({error.msg}); '.*' matches everything"
                raise ValueError(msg) from None
        return value

    def wants(self, name: str) -> bool:
        """Say whether a database is watched."""
        return any(re.fullmatch(p, name) for p in self.include) and not any(re.fullmatch(p, name) for p in self.exclude)


class StatementSettings(Strict):
    """How pg_stat_statements is read, where the extension is."""

    enabled: bool = Field(default=True, description="Read pg_stat_statements where the database has the extension.")
    interval: Duration = Field(
        default=timedelta(seconds=30), description="How often it is read: a full one costs the server about 12 ms."
    )
    top: int = Field(
        default=20, ge=0, le=200, description="Statements with series of their own; the rest become _other."
    )
    slow_query_seconds: float = Field(
        default=1.0, gt=0, description="A statement whose mean within an interval is longer counts as slow."
    )


class PostgresqlSettings(PostgresTarget):
    """A PostgreSQL server, version 10 or later. Give the server's own address, not that of a pooler before it."""

    kind: Literal["postgresql"] = "postgresql"
    databases: DatabaseFilter = DatabaseFilter()
    statements: StatementSettings = StatementSettings()
    sizes: Duration = Field(default=timedelta(minutes=5), description="How often the databases' sizes are read.")
    statement_timeout: Duration = Field(
        default=timedelta(seconds=2), description="The server gives up any statement of the exporter after this time."
    )
