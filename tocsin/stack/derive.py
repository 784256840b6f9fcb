"""Small steps from a committed server configuration to the one that a stack runs: read, fill in, move, write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tocsin.errors import StackError
from tocsin.paths import HOUSE
from tocsin.stack.addresses import CONTAINERS, Addresses

_VARIABLE = re.compile(r"(?<!\$)\$\{(?:env:)?([A-Z][A-Z0-9_]*)\}")
_CONTAINER = re.compile(
    r"(?<![\w.-])(" + "|".join(re.escape(address) for address in CONTAINERS.values()) + r")(?![\w.-])"
)
_NAME_OF = {address: name for name, address in CONTAINERS.items()}


class _Dumper(yaml.SafeDumper):
    """Writes a value that stands in two places twice: people do not read anchors made by machines."""

    def ignore_aliases(self, _data: Any) -> bool:  # noqa: ANN401  # the signature is PyYAML's
        return True


def read_base(path: str) -> str:
    """Return a committed configuration by its path in the house. Raises StackError when the house is not whole."""
    try:
        return (HOUSE / path).read_text(encoding="utf-8")
    except OSError as error:
        raise StackError(
            f"{HOUSE / path} cannot be read: {error.strerror}",
            fix="get the file back: it belongs to Tocsin itself (git checkout, or the image again)",
        ) from None


def fill(text: str, values: Mapping[str, str], *, path: str) -> str:
    """Replace ``${NAME}`` and ``${env:NAME}``; ``$${…}`` stays. Raises StackError for a name without a value."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise StackError(
                f"{path} names ${{{match[1]}}}, which Tocsin does not fill in",
                fix=f"use one of {', '.join(sorted(values))}",
            )
        return values[match[1]]

    return _VARIABLE.sub(value, text)


def relocate(tree: Any, where: Addresses) -> Any:  # noqa: ANN401  # a YAML tree
    """Replace compose's host names by the addresses of this stack, wherever in the tree they stand."""
    if isinstance(tree, Mapping):
        return {key: relocate(value, where) for key, value in tree.items()}
    if isinstance(tree, list):
        return [relocate(value, where) for value in tree]
    if isinstance(tree, str):
        return _CONTAINER.sub(lambda match: where.reach[_NAME_OF[match[1]]], tree)
    return tree


def write_yaml(tree: Any, source: str) -> str:  # noqa: ANN401  # a YAML tree
    """Return a tree as YAML that says at its top what it was made from."""
    return made_from(source) + yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def made_from(source: str) -> str:
    """Return the line that tells readers of a rendered file where to edit instead."""
    return f"# Made by `tocsin render` from {Path(source)} and tocsin.yaml: edit those.\n"
