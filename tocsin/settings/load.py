"""From ``tocsin.yaml`` to typed settings: every problem at once, each with file, line, key and the fix."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tocsin.errors import ConfigError, Problem
from tocsin.settings.crosscheck import Bounds, cross_checks
from tocsin.settings.document import Document, KeyPath, read_document, show_path
from tocsin.settings.explain import explain, known_keys, nearest, secret_fields
from tocsin.settings.model import DestinationSettings, Settings, Strict, TargetSettings
from tocsin.settings.secret import Secret

ModelT = TypeVar("ModelT", bound=BaseModel)


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
    """Read a settings file or raise ConfigError with every problem in it.

    Relative paths in it start at its own folder, or at ``TOCSIN_HOME``: a running stack reads an accepted copy.
    """
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
    home = Path(environ.get("TOCSIN_HOME") or path.resolve().parent)
    targets = _by_kind(document, ("targets",), data.pop("targets", None), tables.targets, home)
    destinations = _by_kind(document, ("destinations",), data.pop("destinations", None), tables.destinations, home)
    for filled_by_load in ("source", "home"):
        if filled_by_load in data:
            known = known_keys(Settings)
            problems.append(
                document.problem(
                    (filled_by_load,), f"unknown key {filled_by_load!r}", nearest("", known, "known keys here:")
                )
            )
    settings = _validated(Settings, data | {"source": path, "home": home}, (), document)
    problems += cross_checks(document, tables.thresholds)
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
            document.problems.append(document.problem((*here, "kind"), what, nearest(kind, kinds, "write one of")))
            continue
        model = kinds[kind]
        out[key] = _validated(model, _fold_secrets(model, item, here, document, home), here, document)
    return out


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
                    f"write `{file_key}: PATH`, or take it from the environment: `{name}: ${{NAME}}`",
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
            document.problems.append(explain(model, path, detail, document))
        return None
