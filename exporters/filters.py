"""Which members of a target (queues, databases, streams …) are watched, and how many: shared by the sources."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from tocsin.settings import Strict

DEFAULT = "default"
"""The key of a mapping by member name that stands for every member that is not named."""

Count = Annotated[int, Field(ge=1)]


class NameFilter(Strict):
    """Which members of a target are watched, by name."""

    include: tuple[str, ...] = Field(
        default=(".*",), min_length=1, description="Regular expressions; one must match the whole name."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Regular expressions; none may match the whole name.")

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
        """Say whether a member is watched."""
        return any(re.fullmatch(p, name) for p in self.include) and not any(re.fullmatch(p, name) for p in self.exclude)


class QueueFilter(NameFilter):
    """Which queues are watched, by name."""

    cap: int = Field(default=500, ge=1, description="Most queues with series of their own; the rest become _other.")
