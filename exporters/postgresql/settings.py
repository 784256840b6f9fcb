"""What tocsin.yaml may say about a PostgreSQL server."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from exporters.clients.postgres_target import PostgresTarget
from exporters.filters import NameFilter
from tocsin.settings import Duration, Strict


class DatabaseFilter(NameFilter):
    """Which databases of the server are watched, by name; templates never are."""

    cap: int = Field(default=100, ge=1, description="Most databases with series of their own; the rest become _other.")


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
