"""Alertmanager's API v2 and Prometheus' query_range, as far as the router's pages ask them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.doubles.web import Reply, WebDouble


class AlertmanagerDouble(WebDouble):
    """Silences that are kept, and a list of alerts that the test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.silences: dict[str, dict[str, Any]] = {}
        self.fingerprints: set[str] = set()
        self.started = time.time() - 86_400

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        parts = urlsplit(path).path.removeprefix("/api/v2").strip("/").split("/")
        match parts:
            case ["status"]:
                return Reply(200, {"uptime": datetime.fromtimestamp(self.started, UTC).isoformat()})
            case ["alerts"]:
                return Reply(200, [{"fingerprint": one} for one in self.fingerprints])
            case ["silences"] if body:
                return self._add(json.loads(body))
            case ["silences"]:
                return Reply(200, list(self.silences.values()))
            case ["silence", ident] if ident in self.silences:
                self.silences[ident]["status"] = {"state": "expired"}
                return Reply(200, "")
            case _:
                return Reply(404, "not found")

    def _add(self, silence: dict[str, Any]) -> Reply:
        ident = str(uuid.uuid4())
        self.silences[ident] = {**silence, "id": ident, "status": {"state": "active"}}
        return Reply(200, {"silenceID": ident})


class PrometheusDouble(WebDouble):
    """Answers every range query with one line that climbs, and notes the queries."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[str] = []

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        self.queries.append(asked["query"])
        start, end = float(asked["start"]), float(asked["end"])
        points = [[start + (end - start) * i / 20, str(50 * i)] for i in range(21)]
        result = [{"metric": {"__name__": "messaging_queue_messages", "state": "ready"}, "values": points}]
        return Reply(200, {"status": "success", "data": {"resultType": "matrix", "result": result}})
