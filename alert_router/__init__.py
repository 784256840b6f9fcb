"""The alert router: what Alertmanager hands over is on disk before the answer, and ends as delivered or announced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alert_router.operations import (
        DestinationResult,
        send_test,
        silence_add,
        silence_expire,
        silence_list,
        try_destination,
        why,
        why_json,
    )

__all__ = [
    "DestinationResult",
    "send_test",
    "silence_add",
    "silence_expire",
    "silence_list",
    "try_destination",
    "why",
    "why_json",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # the face of another module
    """Load the operations when the first of them is asked for: whoever only reads the notifier table stays small."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from alert_router import operations  # noqa: PLC0415  # httpx and Jinja2, 12 MB

    return getattr(operations, name)
