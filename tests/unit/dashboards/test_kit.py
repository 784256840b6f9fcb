"""The kit: ids that never move, rows that fit, and JSON in today's shape."""

from __future__ import annotations

import json

import pytest

from dashboards.kit import Board, Drawing, Links, ModernPanel, Query, Row, board_json, stat
from dashboards.kit.panels import counted
from tocsin.links import panel_id

LINKS = Links("http://host")


def tile(key: str) -> ModernPanel:
    return stat(Drawing(key, key.title(), "How many?", LINKS), Query("vector(1)"), counted())


def built(*keys: str, width: int = 24) -> dict[str, dict[str, object]]:
    rows = [Row(4, [(tile(key), width)]) for key in keys]
    board = json.loads(board_json(Board("home", "Home", "Where?", rows)))
    return {panel["title"]: panel for panel in board["panels"]}


def test_an_id_survives_insertion_and_moving() -> None:
    """Links in old messages point at the same panel after a board was rearranged."""
    before, after = built("a", "b"), built("new", "b", "a")
    assert before["A"]["id"] == after["A"]["id"] == panel_id("home", "a")
    assert before["A"]["gridPos"] != after["A"]["gridPos"]


@pytest.mark.parametrize("width", [23, 25])
def test_widths_that_do_not_fill_a_line_are_refused(width: int) -> None:
    """A gap or an overlap is an error where the board is written, not a surprise on the screen."""
    with pytest.raises(ValueError, match="widths must fill lines of 24"):
        built("a", width=width)


def test_a_collapsed_row_holds_its_panels_and_an_open_one_does_not() -> None:
    """Grafana wants the panels of a collapsed row inside it, and those of an open row beside it."""
    rows = [
        Row(4, [(tile("a"), 24)], "Open"),
        Row(4, [(tile("b"), 12), (tile("c"), 12)], "Closed", collapsed=True),
        Row(4, [(tile("d"), 24)]),
    ]
    board = json.loads(board_json(Board("home", "Home", "Where?", rows)))
    assert [panel["title"] for panel in board["panels"]] == ["Open", "A", "Closed", "D"]
    assert [panel["title"] for panel in board["panels"][2]["panels"]] == ["B", "C"]
    assert board["panels"][0]["panels"] == []


def test_old_keys_and_nulls_are_gone_and_the_first_step_stays() -> None:
    """What grafanalib still writes is dropped, except the null that means minus infinity."""
    text = board_json(Board("home", "Home", "Where?", [Row(4, [(tile("a"), 24)])]))
    for old in ("intervalFactor", "hideControls", "sharedCrosshair", "__inputs", '"span"', '"style"', "gnetId"):
        assert old not in text
    steps = json.loads(text)["panels"][0]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0] == {"color": "green", "value": None}
    assert text.count("null") == 1
    assert text.endswith("}\n")


def test_building_does_not_change_what_it_was_given() -> None:
    """Grafanalib writes into the dicts that it gets; a panel used twice stays the same."""
    panel = tile("a")
    board = Board("home", "Home", "Where?", [Row(4, [(panel, 24)])])
    assert board_json(board) == board_json(board)
