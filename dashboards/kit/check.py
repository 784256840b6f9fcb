"""Shape checks (rung L0): what Grafana accepts without a word and shows wrong, found before it is loaded.

Every check is a function ``board → findings``; ``check`` runs all of them on the finished JSON, not on our objects, so
that it also judges what ``normalise`` did.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.links import BOARD_VARIABLES, BOARDS

Json = dict[str, Any]

_KINDS = {"stat", "timeseries", "state-timeline", "table", "row"}
_UNITS = {"percentunit", "s", "short", "bytes", "cps", "bool_yes_no", "none", "dtdurations"}
_BUILT_IN = {"__rate_interval", "__range", "__interval", "__url_time_range", "__data", "__all"}
_REFERENCE = re.compile(r"\$(?:\{(\w+)(?::\w+)?(?:\.[\w.]+)?\}|(\w+))")
_BOARD_URL = re.compile(r"/d/([\w-]+)\?(.*)")
_MOST_PANELS, _MOST_QUERIES, _LONGEST_UID = 26, 40, 40


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a board."""

    board: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.board}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class Judge:
    """What only the caller knows: which runbooks exist, and whether an expression parses (an error text, or None)."""

    runbooks: frozenset[str]
    parse: Callable[[str], str | None]


def check(boards: Mapping[str, str], judge: Judge) -> list[Finding]:
    """Return everything that is wrong with rendered boards (file name → JSON)."""
    parsed = {name: json.loads(text) for name, text in boards.items()}
    findings = [
        Finding(name, rule.__name__.strip("_"), message)
        for name, board in parsed.items()
        for rule in _RULES
        for message in rule(board)
    ]
    for name, board in parsed.items():
        findings += [Finding(name, "expression", message) for message in _expressions(board, judge)]
        findings += [Finding(name, "runbook", message) for message in _runbooks(board, judge)]
    uids = Counter(board.get("uid") for board in parsed.values())
    return findings + [Finding("*", "uid", f"{uid!r} belongs to {n} boards") for uid, n in uids.items() if n > 1]


def panels(board: Json) -> list[Json]:
    """Return every panel that draws, those in collapsed rows included."""
    out = []
    for panel in board["panels"]:
        if panel["type"] == "row":
            out += panel["panels"]
        else:
            out.append(panel)
    return out


def expressions(board: Json) -> Iterator[tuple[str, str]]:
    """Yield (where, PromQL) of every query, annotation and variable of a board."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield f"{panel['title']}/{target['refId']}", target["expr"]
    for annotation in board["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query" and (
            match := re.fullmatch(r"label_values\((.*), \w+\)", variable["definition"])
        ):
            yield f"variable {variable['name']}", match[1]


def filled(expr: str, variables: Mapping[str, str] | None = None) -> str:
    """Replace Grafana's variables by values, as Grafana would before it asks Prometheus."""
    values = {"__rate_interval": "1m", "__range": "6h", "__interval": "15s", **(variables or {})}
    return _REFERENCE.sub(lambda match: values.get(match[1] or match[2], ".+"), expr)


def _shape(board: Json) -> Iterator[str]:
    wanted = {"schemaVersion": 42, "editable": False, "refresh": "30s", "timezone": "browser", "graphTooltip": 1}
    for key, value in wanted.items():
        if board.get(key) != value:
            yield f"{key} is {board.get(key)!r}, not {value!r}"
    if "tocsin" not in board.get("tags", []):
        yield "the tag 'tocsin' is missing: links between boards go by it"
    for gone in ("rows", "style", "hideControls", "gnetId", "__inputs", "id"):
        if gone in board:
            yield f"{gone} is not part of schema 42"


def _uid(board: Json) -> Iterator[str]:
    uid = board.get("uid", "")
    if uid not in BOARDS.values():
        yield f"uid {uid!r} is not in tocsin.links.BOARDS: old messages link to the uids there"
    if len(uid) > _LONGEST_UID:
        yield f"uid {uid!r} is longer than {_LONGEST_UID}"


def _ids(board: Json) -> Iterator[str]:
    every = board["panels"] + [inner for panel in board["panels"] for inner in panel.get("panels", [])]
    for number, count in Counter(panel.get("id") for panel in every).items():
        if count > 1:
            yield f"panel id {number} is there {count} times"
        if not isinstance(number, int) or not 0 < number < 2**31:
            yield f"panel id {number!r} is not a 31-bit number"
    for title, count in Counter(panel["title"] for panel in every).items():
        if count > 1:
            yield f"the title {title!r} is there {count} times"


def _grid(board: Json) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    every = board["panels"] + [inner for panel in board["panels"] for inner in panel.get("panels", [])]
    for panel in every:
        where = panel["gridPos"]
        if where["x"] < 0 or where["w"] < 1 or where["h"] < 1 or where["x"] + where["w"] > 24:
            yield f"{panel['title']!r} leaves the grid of 24"
            continue
        cells = [
            (x, y)
            for x in range(where["x"], where["x"] + where["w"])
            for y in range(where["y"], where["y"] + where["h"])
        ]
        over = {taken[cell] for cell in cells if cell in taken}
        for other in sorted(over):
            yield f"{panel['title']!r} lies over {other!r}"
        taken |= dict.fromkeys(cells, panel["title"])


def _kinds(board: Json) -> Iterator[str]:
    for panel in [*board["panels"], *panels(board)]:
        if panel["type"] not in _KINDS:
            yield f"{panel.get('title')!r} has the type {panel['type']!r}, which is dead or unknown here"


def _texts(board: Json) -> Iterator[str]:
    if not board.get("description", "").endswith("?"):
        yield "the board's description is not the question that it answers"
    for panel in panels(board):
        if "?" not in panel.get("description", ""):
            yield f"{panel['title']!r} does not say which question it answers"
        if not panel.get("links"):
            yield f"{panel['title']!r} leads nowhere"


def _units(board: Json) -> Iterator[str]:
    for panel in panels(board):
        defaults = panel["fieldConfig"]["defaults"]
        if defaults.get("unit") not in _UNITS:
            yield f"{panel['title']!r} has the unit {defaults.get('unit')!r}"
        if defaults.get("noValue") != "no data":
            yield f"{panel['title']!r} does not say 'no data' when there is none"


def _thresholds(board: Json) -> Iterator[str]:
    for panel in panels(board):
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        if not steps or steps[0].get("value", "absent") is not None:
            yield f"{panel['title']!r}: the first threshold step must start at null"
        numbers = [step.get("value") for step in steps[1:]]
        if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
            yield f"{panel['title']!r}: a threshold is not a number"
        elif numbers != sorted(numbers):
            yield f"{panel['title']!r}: thresholds are not in order"
        if panel["type"] == "stat" and len(steps) < 2:
            yield f"{panel['title']!r}: a tile needs a threshold"


def _targets(board: Json) -> Iterator[str]:
    for panel in panels(board):
        letters = [target.get("refId") for target in panel["targets"]]
        if not letters or len(set(letters)) != len(letters) or not all(letters):
            yield f"{panel['title']!r} has the query letters {letters}"
        for source in [panel.get("datasource"), *(target.get("datasource") for target in panel["targets"])]:
            if not isinstance(source, dict) or source.get("uid") != "${prometheus_datasource}":
                yield f"{panel['title']!r} does not take its datasource from the variable"
        if panel["type"] in ("stat", "table") and not all(target.get("instant") for target in panel["targets"]):
            yield f"{panel['title']!r} shows now, so it must ask for now"


def _variables(board: Json) -> Iterator[str]:
    defined = {variable["name"] for variable in board["templating"]["list"]}
    texts = json.dumps([board["panels"], board["annotations"], board["templating"]["list"], board["links"]])
    used = {match[0] or match[1] for match in _REFERENCE.findall(texts)}
    if any(link.get("includeVars") for link in board["links"]):
        # Handed on to the other boards: a board that does not filter by one must not lose it on the way.
        used |= set(BOARD_VARIABLES) & defined
    for name in sorted(used - defined - _BUILT_IN):
        yield f"${name} is used but not defined"
    for name in sorted(defined - used):
        yield f"${name} is defined but not used"
    for variable in board["templating"]["list"]:
        if variable["type"] == "query" and (variable.get("allValue") != ".+" or variable.get("refresh") != 2):
            yield f"${variable['name']}: All must be .+ and values follow the time range"


def _links(board: Json) -> Iterator[str]:
    defined = {variable["name"] for variable in board["templating"]["list"]}
    for match in _BOARD_URL.finditer("\n".join(_urls(board))):
        if match[1] not in BOARDS.values():
            yield f"a link leads to the board {match[1]!r}, which is not there"
        if "${__url_time_range}" not in match[2]:
            yield f"the link to {match[1]!r} drops the time range"
        for name in re.findall(r"var-(\w+)=", match[2]):
            if name not in defined:
                yield f"the link to {match[1]!r} sets ${name}, which is not there"


def _size(board: Json) -> Iterator[str]:
    count = len(panels(board))
    queries = sum(len(panel["targets"]) for panel in panels(board))
    if count > _MOST_PANELS:
        yield f"{count} panels; more than {_MOST_PANELS} are not read"
    if queries > _MOST_QUERIES:
        yield f"{queries} queries; more than {_MOST_QUERIES} are slow"


def _marks(board: Json) -> Iterator[str]:
    if not any("ALERTS" in annotation.get("expr", "") for annotation in board["annotations"]["list"]):
        yield "firing alerts are not marked on the graphs"


def _nulls(board: Json) -> Iterator[str]:
    def walk(value: object, path: str) -> Iterator[str]:
        if isinstance(value, dict):
            for key, each in value.items():
                if each is None and not (key == "value" and path.endswith("steps")):
                    yield f"{path}.{key} is null"
                yield from walk(each, f"{path}.{key}")
        elif isinstance(value, list):
            for each in value:
                yield from walk(each, path)

    yield from walk(board, "")


_RULES: Sequence[Callable[[Json], Iterator[str]]] = (
    _shape,
    _uid,
    _ids,
    _grid,
    _kinds,
    _texts,
    _units,
    _thresholds,
    _targets,
    _variables,
    _links,
    _size,
    _marks,
    _nulls,
)


def _expressions(board: Json, judge: Judge) -> Iterator[str]:
    for where, expr in expressions(board):
        if error := judge.parse(filled(expr)):
            yield f"{where}: {error}"


def _runbooks(board: Json, judge: Judge) -> Iterator[str]:
    for url in _urls(board):
        match = re.search(r"/runbooks/(\w+)$", url)
        if match and match[1] not in judge.runbooks:
            yield f"there is no runbook {match[1]!r}"


def _urls(board: Json) -> list[str]:
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("url"), str):
                found.append(value["url"])
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(board)
    return found
