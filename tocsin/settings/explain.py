"""Say what is wrong with one key and what to write instead."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from tocsin.errors import Problem
from tocsin.settings.document import Document, KeyPath
from tocsin.settings.secret import Secret

_FIXES = {
    "int": "write a whole number",
    "float": "write a number",
    "bool": "write true or false",
    "string_type": "write text, in quotes if it looks like a number",
    "string_pattern": "use lower-case letters, digits, - and _, at most 63",
    "tuple": "write a list",
    "dict": "write a mapping",
    "model": "write a mapping",
    "too_short": "write at least one item",
}
"""What to write instead, by the start of pydantic's error type."""


def explain(model: type[BaseModel], prefix: KeyPath, detail: Mapping[str, Any], document: Document) -> Problem:
    """Turn one of pydantic's error details into a problem at ``prefix`` + its own location."""
    loc: KeyPath = tuple(part for part in detail["loc"] if part != "[key]")
    path = (*prefix, *loc)
    parent = _model_at(model, loc[:-1])
    known = known_keys(parent) if parent else {}
    key = str(loc[-1]) if loc else ""
    about = known.get(key, "")
    match detail["type"]:
        case "extra_forbidden":
            return document.problem(path, f"unknown key {key!r}", nearest(key, known, "known keys here:"))
        case "missing":
            return document.problem(
                path, f"the key {key!r} is missing", f"add `{key}:`{' — ' + about if about else ''}"
            )
        case "literal_error":
            expected = detail.get("ctx", {}).get("expected", "")
            return document.problem(path, "is not one of the allowed values", f"write one of {expected}")
        case "value_error":
            what, _, fix = detail["msg"].removeprefix("Value error, ").partition("; ")
            return document.problem(path, what, fix or about or "see docs/reference/settings.md")
        case kind:
            message = str(detail["msg"])
            fix = next(
                (fix for start, fix in _FIXES.items() if str(kind).startswith(start)), "see docs/reference/settings.md"
            )
            return document.problem(path, message[:1].lower() + message[1:], f"{fix}{': ' + about if about else ''}")


def known_keys(model: type[BaseModel]) -> dict[str, str]:
    """Return the keys that a settings type takes in the file, each with its description."""
    out = {}
    secrets = secret_fields(model)
    for name, info in model.model_fields.items():
        if info.exclude:
            continue
        out[info.alias or name] = info.description or ""
        if name in secrets:
            out[f"{name}_file"] = f"a file that holds {name}"
    return out


def _model_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel] | None:
    """Follow a key path through nested settings types; None where it leaves them."""
    current: Any = model
    for part in loc:
        current = _without_none(current)
        origin = typing.get_origin(current)
        if isinstance(current, type) and issubclass(current, BaseModel):
            info = next((i for n, i in current.model_fields.items() if part in (n, i.alias)), None)
            current = info.annotation if info else None
        elif origin in (tuple, list):
            current = typing.get_args(current)[0]
        elif origin is dict:
            current = typing.get_args(current)[1]
    current = _without_none(current)
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(a for a in typing.get_args(annotation) if a is not type(None))
    return annotation


def nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    """Suggest the known name nearest to ``word``, or list them all after ``otherwise``."""
    names = sorted(set(known))
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not close:
        close = [name for name in names if name.replace("_", "") == word.replace("-", "").replace("_", "").lower()]
    return f"did you mean {close[0]!r}?" if close else f"{otherwise} {', '.join(names)}"


def secret_fields(model: type[BaseModel]) -> list[str]:
    """Names of the fields of a settings type that hold secrets."""
    return [
        name
        for name, info in model.model_fields.items()
        if Secret in (info.annotation, *typing.get_args(info.annotation))
    ]
