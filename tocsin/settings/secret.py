"""A secret that prints stars, from a file (re-read when it changes) or from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

STARS = "**********"


class Secret:
    """One secret. ``get()`` is the only way to its value; every other view of it is stars.

    A value that came from a file is read again when the file's modification time changes, so a rotated
    secret needs no restart.
    """

    __slots__ = ("_mtime_ns", "_path", "_value")

    def __init__(self, value: str = "", *, path: Path | None = None) -> None:
        self._path = path
        self._value = value
        self._mtime_ns = -1

    def get(self) -> str:
        """Return the value, without surrounding white space. Raises OSError when its file is gone."""
        if self._path is not None:
            mtime_ns = self._path.stat().st_mtime_ns
            if mtime_ns != self._mtime_ns:
                self._value = self._path.read_text(encoding="utf-8").strip()
                self._mtime_ns = mtime_ns
        return self._value

    @property
    def path(self) -> Path | None:
        """The file behind the secret, for servers that read secret files themselves."""
        return self._path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self._path, self._path is None and self._value) == (other._path, other._path is None and other._value)

    def __hash__(self) -> int:
        return hash((self._path, self._path is None and self._value))

    def __repr__(self) -> str:
        return STARS

    __str__ = __repr__

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        def parse(value: object) -> Secret:
            if isinstance(value, Secret):
                return value
            if isinstance(value, str) and value:
                return cls(value)
            msg = "a secret must be text and not empty"
            raise ValueError(msg)

        return core_schema.no_info_plain_validator_function(
            parse,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: STARS),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "x-secret": True}
