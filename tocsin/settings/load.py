"""From ``tocsin.yaml`` to typed settings: every problem at once, each with file, line, key and the fix."""

from __future__ import annotations

import difflib
import os
import types
import typing
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from tocsin.errors import ConfigError, Problem
from tocsin.settings.document import Document, KeyPath, read_document, show_path
from tocsin.settings.model import DestinationSettings, Settings, Strict, TargetSettings
from tocsin.settings.secret import Secret

ModelT = TypeVar("ModelT", bound=BaseModel)

INBOX = "inbox"
"""The destination that always exists and needs no settings."""


class Bounds(Protocol):
    """What the settings need to know of a threshold."""

    @property
    def minimum(self) -> float:
        """Smallest sensible value."""

    @property
    def maximum(self) -> float:
        """Largest sensible value."""

    @property
    def unit(self) -> str:
        """Unit of the value."""


@dataclass(frozen=True)
class Tables:
    """The names that a settings file may use, handed in by the command line."""

    targets: Mapping[str, type[TargetSettings]]
    destinations: Mapping[str, type[DestinationSettings]]
    thresholds: Mapping[str, Bounds]


@dataclass
class Report:
    """The outcome of reading a settings file; ``settings`` is None when there is an error."""

    settings: Settings | None
    problems: list[Problem] = field(default_factory=list)


def load(path: Path, tables: Tables, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read a settings file or raise ConfigError with every problem in it."""
    report = inspect(path, tables, environ)
    if report.settings is None:
        raise ConfigError(report.problems)
    return report.settings


def inspect(path: Path, tables: Tables, environ: Mapping[str, str] = os.environ) -> Report:
    """Read a settings file and tell everything about it, warnings included."""
    try:
        document = read_document(path, environ)
    except ConfigError as error:
        return Report(None, list(error.problems))
    problems = document.problems
    if not isinstance(document.data, dict):
        problems.append(document.problem((), "must be a mapping of keys", "start the file with `schema: 1`"))
        return Report(None, problems)
    data = dict(document.data)
    home = path.resolve().parent
    targets = _by_kind(document, ("targets",), data.pop("targets", None), tables.targets, home)
    destinations = _by_kind(document, ("destinations",), data.pop("destinations", None), tables.destinations, home)
    settings = _validated(Settings, data | {"source": path}, (), document)
    problems += _cross_checks(document, tables)
    problems.sort(key=lambda problem: problem.line)
    if settings is None or any(problem.level == "error" for problem in problems):
        return Report(None, problems)
    whole = settings.model_copy(update={"targets": tuple(targets.values()), "destinations": destinations})
    return Report(whole, problems)


def _by_kind(
    document: Document, path: KeyPath, raw: Any, kinds: Mapping[str, type[Strict]], home: Path
) -> dict[Any, Any]:
    """Validate each item of a list or mapping with the type that its ``kind`` names."""
    if raw is None:
        return {}
    items: list[tuple[Any, Any]]
    if path == ("targets",) and isinstance(raw, list):
        items = list(enumerate(raw))
    elif path == ("destinations",) and isinstance(raw, dict):
        items = list(raw.items())
    else:
        shape = "a list: each item starts with `- name:`" if path == ("targets",) else "a mapping: name, then its keys"
        document.problems.append(document.problem(path, f"must be {shape}", "see docs/reference/settings.md"))
        return {}
    out: dict[Any, Any] = {}
    for key, item in items:
        here = (*path, key)
        if not isinstance(item, dict):
            document.problems.append(
                document.problem(here, "must be a mapping with a `kind`", f"write {{kind: {next(iter(kinds))}, …}}")
            )
            continue
        kind = str(item.get("kind", ""))
        if kind not in kinds:
            what = f"{kind!r} is not a known kind" if "kind" in item else "`kind` is missing"
            document.problems.append(document.problem((*here, "kind"), what, _nearest(kind, kinds, "write one of")))
            continue
        model = kinds[kind]
        out[key] = _validated(model, _fold_secrets(model, item, here, document, home), here, document)
    return out


def secret_fields(model: type[BaseModel]) -> list[str]:
    """Names of the fields of a settings type that hold secrets."""
    return [
        name
        for name, info in model.model_fields.items()
        if Secret in (info.annotation, *typing.get_args(info.annotation))
    ]


def _fold_secrets(
    model: type[BaseModel], item: Mapping[str, Any], path: KeyPath, document: Document, home: Path
) -> dict[str, Any]:
    """Turn ``token_file: F`` into the field ``token``; complain about files that cannot be read."""
    out = dict(item)
    for name in secret_fields(model):
        file_key = f"{name}_file"
        if file_key in out:
            written = out.pop(file_key)
            here = (*path, file_key)
            document.lines[(*path, name)] = document.line(here)
            if name in item:
                document.problems.append(document.problem(here, f"stands beside `{name}`", "keep one of the two"))
            secret = _secret_from_file(written, here, document, home)
            out[name] = secret if secret is not None else Secret("unreadable")
        elif name in out and (*path, name) not in document.from_environment:
            here = (*path, name)
            document.problems.append(
                Problem(
                    document.file,
                    document.line(here),
                    show_path(here),
                    "a secret stands in the settings file itself",
                    f"move it to a file and write `{file_key}: PATH`, or write `{name}: ${{NAME}}` to take it from the environment",
                    level="warning",
                )
            )
    return out


def _secret_from_file(written: Any, here: KeyPath, document: Document, home: Path) -> Secret | None:
    if not isinstance(written, str) or not written:
        document.problems.append(
            document.problem(here, "must be the path of a file", "write a path relative to this file")
        )
        return None
    path = home / written
    secret = Secret(path=path)
    try:
        if secret.get():
            return secret
        document.problems.append(document.problem(here, f"the file {path} is empty", "write the secret into it"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        document.problems.append(
            document.problem(
                here,
                f"the file {path} cannot be read: {why}",
                "create it (mode 600) with the secret as its only content",
            )
        )
    return None


def _validated(model: type[ModelT], data: Mapping[str, Any], path: KeyPath, document: Document) -> ModelT | None:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            document.problems.append(_explain(model, path, detail, document))
        return None


def _explain(model: type[BaseModel], prefix: KeyPath, detail: Mapping[str, Any], document: Document) -> Problem:
    loc: KeyPath = tuple(part for part in detail["loc"] if part not in ("[key]",))
    path = (*prefix, *loc)
    parent = _model_at(model, loc[:-1])
    known = _keys(parent) if parent else {}
    key = str(loc[-1]) if loc else ""
    about = known.get(key, "")
    match detail["type"]:
        case "extra_forbidden":
            return document.problem(path, f"unknown key {key!r}", _nearest(key, known, "known keys here:"))
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
        case _:
            message = str(detail["msg"])
            return document.problem(path, message[:1].lower() + message[1:], about or "see docs/reference/settings.md")


def _keys(model: type[BaseModel]) -> dict[str, str]:
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
        if isinstance(current, type) and issubclass(current, BaseModel):
            info = next((i for n, i in current.model_fields.items() if part in (n, i.alias)), None)
            current = info.annotation if info else None
        current = _innermost(current)
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _innermost(annotation: Any) -> Any:
    """Strip containers and optionals: ``tuple[Route, ...]`` → ``Route``, ``dict[str, X]`` → ``X``."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return _innermost(next(a for a in typing.get_args(annotation) if a is not type(None)))
    if origin in (tuple, list):
        return _innermost(typing.get_args(annotation)[0])
    if origin is dict:
        return _innermost(typing.get_args(annotation)[1])
    if origin is typing.Annotated:
        return _innermost(typing.get_args(annotation)[0])
    return annotation


def _nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not close:
        close = [name for name in names if name.replace("_", "") == word.replace("-", "").replace("_", "").lower()]
    return f"did you mean {close[0]!r}?" if close else f"{otherwise} {', '.join(names)}"


def _cross_checks(document: Document, tables: Tables) -> list[Problem]:
    """Find names that lead nowhere and numbers out of bounds; works on raw data so that it runs beside other errors."""
    data = document.data
    targets = [t["name"] for t in _items(data.get("targets")) if isinstance(t, dict) and isinstance(t.get("name"), str)]
    return [
        *_duplicate_targets(document, targets),
        *_dead_routes(document),
        *_bad_thresholds(document, tables.thresholds, targets),
        *_shared_ports(document),
    ]


def _items(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else []


def _duplicate_targets(document: Document, names: Sequence[str]) -> Iterable[Problem]:
    twice = {name for name, count in Counter(names).items() if count > 1}
    seen: set[str] = set()
    for i, target in enumerate(_items(document.data.get("targets"))):
        name = target.get("name") if isinstance(target, dict) else None
        if name in twice and name in seen:
            yield document.problem(
                ("targets", i, "name"), f"the name {name!r} is taken by another target", "give each target its own name"
            )
        seen.add(str(name))


def _dead_routes(document: Document) -> Iterable[Problem]:
    raw = document.data.get("destinations")
    known = {INBOX, *(raw if isinstance(raw, dict) else ())}
    if isinstance(raw, dict) and INBOX in raw:
        yield document.problem(
            ("destinations", INBOX), "is built in", "choose another name; the inbox needs no settings"
        )
    for i, route in enumerate(_items(document.data.get("routes"))):
        if not isinstance(route, dict):
            continue
        lists: list[tuple[KeyPath, Any]] = [(("routes", i, "to"), route.get("to"))]
        for j, step in enumerate(_items(route.get("fallback"))):
            if isinstance(step, dict):
                lists.append((("routes", i, "fallback", j, "to"), step.get("to")))
        for path, names in lists:
            for k, name in enumerate(_items(names)):
                if name not in known:
                    yield document.problem(
                        (*path, k), f"there is no destination {name!r}", _nearest(str(name), known, "destinations:")
                    )


def _bad_thresholds(document: Document, known: Mapping[str, Bounds], targets: Sequence[str]) -> Iterable[Problem]:
    raw = document.data.get("thresholds")
    for name, override in (raw if isinstance(raw, dict) else {}).items():
        if name not in known:
            yield document.problem(
                ("thresholds", name), f"there is no threshold {name!r}", _nearest(str(name), known, "thresholds:")
            )
            continue
        if not isinstance(override, dict):
            continue
        per_target = override.get("targets")
        per_target = per_target if isinstance(per_target, dict) else {}
        for target in per_target:
            if target not in targets:
                path: KeyPath = ("thresholds", name, "targets", target)
                yield document.problem(
                    path, f"there is no target {target!r}", _nearest(str(target), targets, "targets:")
                )
        values: list[tuple[KeyPath, Any]] = [(("thresholds", name, "default"), override.get("default"))]
        values += [(("thresholds", name, "targets", target), value) for target, value in per_target.items()]
        low, high, unit = known[name].minimum, known[name].maximum, known[name].unit
        for path, value in values:
            if isinstance(value, int | float) and not low <= value <= high:
                yield document.problem(
                    path, f"{value} is outside {low:g} to {high:g} ({unit})", f"write a number from {low:g} to {high:g}"
                )


def _shared_ports(document: Document) -> Iterable[Problem]:
    raw = document.data.get("ports")
    users: dict[Any, str] = {name: part for part, name in Settings.model_fields["ports"].default.model_dump().items()}
    for part in raw if isinstance(raw, dict) else ():
        users = {port: owner for port, owner in users.items() if owner != part}
    for part, port in (raw if isinstance(raw, dict) else {}).items():
        if port in users:
            yield document.problem(
                ("ports", part), f"port {port} belongs to {users[port]} already", "give each part its own port"
            )
        users[port] = part
