"""A Prometheus for unit tests: answers from a table, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from alert_rules.slo_tools.prometheus import Prometheus, connect


class FakePrometheus:
    """Answers queries by their text, label questions by path; an unknown query has an empty result."""

    def __init__(self, vectors: Mapping[str, list[tuple[dict[str, str], float]]] | None = None, **paths: Any) -> None:
        self.vectors, self.paths = dict(vectors or {}), paths
        self.asked: list[tuple[str, dict[str, list[str]], dict[str, str]]] = []

    def fetch(self, url: str, form: bytes | None, headers: Mapping[str, str]) -> bytes:
        parts = urlsplit(url)
        fields = parse_qs((form or parts.query.encode()).decode())
        path = parts.path.removeprefix("/api/v1/")
        self.asked.append((path, fields, dict(headers)))
        return json.dumps({"status": "success", "data": self._data(path, fields)}).encode()

    def _data(self, path: str, fields: dict[str, list[str]]) -> Any:
        if path in self.paths:
            return self.paths[path]
        if path == "query":
            found = self.vectors.get(fields["query"][0], [])
            result = [{"metric": labels, "value": [0, str(value)]} for labels, value in found]
            return {"resultType": "vector", "result": result}
        if path == "query_range":
            return {"resultType": "matrix", "result": []}
        return []

    def connected(self) -> Prometheus:
        return connect("http://prometheus.example:9090", self.fetch)
