"""Every source of the table, and a toy beside them: the suite greets each newcomer by its line in the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporters.model import Source
from exporters.table import SOURCES
from tests.contracts.sources import toy
from tocsin.settings import TargetSettings

ENROLLED: dict[str, Source] = {**SOURCES, "toy": toy.SOURCE}

_FIXTURES = Path(__file__).parent / "fixtures"


def fixture(kind: str) -> dict[str, Any]:
    """Return a source's fixture: the settings of a target, an answer that is cut, and a recorded snapshot.

    ``{address}`` in the settings stands for HOST:PORT of the watched system.
    """
    found: dict[str, Any] = json.loads((_FIXTURES / f"{kind}.json").read_text(encoding="utf-8"))
    return found


def settings_for(kind: str, address: str, **more: object) -> TargetSettings:
    """Return the settings of a target at HOST:PORT."""
    plain = json.loads(json.dumps(fixture(kind)["settings"]).replace("{address}", address))
    return ENROLLED[kind].settings.model_validate({"name": "under-test", "kind": kind, **plain, **more})
