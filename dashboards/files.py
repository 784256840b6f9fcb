"""Every board of one configuration as the JSON that Grafana provisions."""

from __future__ import annotations

from collections.abc import Callable

from dashboards.boards import home, queues
from dashboards.kit import Board, board_json
from tocsin.settings import Settings

BOARDS: tuple[Callable[[Settings], Board], ...] = (home.board, queues.board)
"""A new board is a module with ``board(settings)``, a line here, and its uid in ``tocsin.links.BOARDS``."""


def render(settings: Settings) -> dict[str, str]:
    """Return relative file name → JSON text."""
    return {f"{board.name}.json": board_json(board) for board in (make(settings) for make in BOARDS)}
