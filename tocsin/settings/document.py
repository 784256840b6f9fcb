"""A YAML file as plain data plus the line of every key, with ``${NAME}`` filled in from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tocsin.errors import ConfigError, Problem

KeyPath = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass
class Document:
    """Plain data of one YAML file. ``lines`` maps key paths to 1-based lines."""

    file: str
    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    from_environment: set[KeyPath] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """Return the line of a key path, or of the nearest parent that has one."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return 0

    def problem(self, path: KeyPath, message: str, fix: str) -> Problem:
        """Make a problem that points at a key path of this file."""
        return Problem(self.file, self.line(path), show_path(path), message, fix)


def show_path(path: KeyPath) -> str:
    """Write a key path as people do: ``targets[2].url``."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def read_document(path: Path, environ: Mapping[str, str]) -> Document:
    """Read a YAML file. Raises ConfigError when it is missing, not UTF-8, not YAML or empty."""
    shown = str(path)
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(
            [
                Problem(
                    shown,
                    0,
                    "",
                    f"cannot be read: {error.strerror}",
                    "run `tocsin init` to write one, or name another with --config",
                )
            ]
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            [Problem(shown, 0, "", f"is not UTF-8 text: {error.reason}", "save the file as UTF-8")]
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "not YAML"
        line = mark.line + 1 if mark else 0
        fix = "check indentation, quotes and brackets on this line and the one above"
        raise ConfigError([Problem(shown, line, "", f"is not valid YAML: {what}", fix)]) from None
    document = Document(shown)
    if root is None:
        raise ConfigError([Problem(shown, 0, "", "is empty", "run `tocsin init --force` to write a starter file")])
    document.data = _plain(root, (), document, environ)
    return document


def _plain(node: yaml.Node, path: KeyPath, document: Document, environ: Mapping[str, str]) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document, environ)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*path, i), document, environ) for i, child in enumerate(node.value)]
    if node.tag == "tag:yaml.org,2002:str":
        return _fill(node.value, path, document, environ)
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError):
        document.problems.append(
            document.problem(path, f"has a value that YAML cannot read as {node.tag}", "put it in quotes")
        )
        return None


def _mapping(node: yaml.MappingNode, path: KeyPath, document: Document, environ: Mapping[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        here = (*path, key)
        line = key_node.start_mark.line + 1
        if key in out:
            document.lines[here] = line
            first = "write it once; YAML would silently keep only the last"
            document.problems.append(document.problem(here, "this key stands here twice", first))
        document.lines[here] = line
        out[key] = _plain(value_node, here, document, environ)
    return out


def _fill(text: str, path: KeyPath, document: Document, environ: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        escaped, name, default = match.groups()
        if escaped:
            return match[0][1:]
        document.from_environment.add(path)
        found = environ.get(name)
        if found:
            return found
        if default is not None:
            return str(default)
        document.problems.append(
            document.problem(
                path, f"the environment variable {name} is not set", f"set {name}, or write ${{{name}:-a default}}"
            )
        )
        return "unset"

    return _VARIABLE.sub(value, text)
