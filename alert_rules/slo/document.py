"""SLO files as YAML documents with the line of every key: several to a file, with anchors and merge keys.

Go programs read these files too. As there, a number stands for its text where text is wanted (``tier: 1``), a key
without a value counts as not written, and ``${NAME}`` is left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tocsin.errors import Problem, TocsinError
from tocsin.settings.document import Document, KeyPath

_TEXTS = frozenset(
    (
        "version",
        "service",
        "name",
        "description",
        "objective",
        "error_query",
        "total_query",
        "error_ratio_query",
        "apiVersion",
        "kind",
        "displayName",
        "target",
        "targetPercent",
        "query",
        "sloPeriod",
        "errorBudgetPercent",
        "shortWindow",
        "longWindow",
        "threshold",
        "duration",
        "metric",
        "compositeWeight",
    )
)
_TEXT_MAPS = ("labels", "annotations")


class SpecUnreadable(TocsinError):  # noqa: N818  # says what is the case, as the whole tree does
    """A file that was named cannot be opened: wrong usage rather than a finding."""


def read_documents(path: Path) -> tuple[list[Document], list[Problem]]:
    """Read every document of a YAML file and what is wrong with the YAML. Raises SpecUnreadable."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpecUnreadable(f"{path} cannot be opened: {error.strerror}") from None
    except UnicodeDecodeError as error:
        return [], [Problem(str(path), 0, "", f"is not UTF-8 text: {error.reason}", "save the file as UTF-8")]
    try:
        roots = [root for root in yaml.compose_all(text, Loader=yaml.SafeLoader) if not _empty(root)]
        documents = [_document(path, root) for root in roots]
    except yaml.YAMLError as error:
        return [], [_not_yaml(path, error)]
    except RecursionError:
        return [], [Problem(str(path), 0, "", "is nested too deeply", "write the value out instead of an anchor to it")]
    if not documents:
        return [], [Problem(str(path), 0, "", "is empty", "start with `version: prometheus/v1`")]
    return documents, [problem for document in documents for problem in document.problems]


def _empty(root: yaml.Node | None) -> bool:
    return root is None or (isinstance(root, yaml.ScalarNode) and root.tag == "tag:yaml.org,2002:null")


def _not_yaml(path: Path, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or "something that YAML does not know"
    fix = "check indentation, quotes and brackets on this line and the one above"
    return Problem(str(path), mark.line + 1 if mark else 0, "", f"is not valid YAML: {what}", fix)


def _document(path: Path, root: yaml.Node) -> Document:
    document = Document(str(path))
    document.data = _plain(root, (), document)
    return document


def _plain(node: yaml.Node, path: KeyPath, document: Document) -> Any:  # noqa: ANN401  # YAML until validated
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*path, i), document) for i, child in enumerate(node.value)]
    wants_text = path and (path[-1] in _TEXTS or (len(path) > 1 and path[-2] in _TEXT_MAPS))
    if wants_text and node.tag != "tag:yaml.org,2002:null":
        return str(node.value)
    if len(path) > 1 and path[-2] in _TEXT_MAPS:
        return ""
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError):
        text = f"has a value that YAML cannot read as {node.tag}"
        document.problems.append(document.problem(path, text, "put it in quotes"))
        return None


def _mapping(node: yaml.MappingNode, path: KeyPath, document: Document) -> dict[str, Any]:
    out: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            merged |= _merge(value_node, path, document)
            continue
        key = str(key_node.value)
        here, line = (*path, key), key_node.start_mark.line + 1
        document.lines[here] = line
        if key in out:
            fix = "write it once; YAML would silently keep only the last"
            document.problems.append(document.problem(here, "this key stands here twice", fix))
        value = _plain(value_node, here, document)
        if value is not None:
            out[key] = value
    return {**merged, **out}


def _merge(node: yaml.Node, path: KeyPath, document: Document) -> dict[str, Any]:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode) and all(isinstance(child, yaml.MappingNode) for child in node.value):
        out: dict[str, Any] = {}
        for child in node.value:
            out = {**_mapping(child, path, document), **out}
        return out
    document.problems.append(document.problem(path, "merges something that is not a mapping", "write `<<: *anchor`"))
    return {}
