"""Queries: what a panel asks Prometheus, with the keys that grafanalib lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import attr
from attr.validators import instance_of
from grafanalib.core import Target

PROMETHEUS = {"type": "prometheus", "uid": "${prometheus_datasource}"}


@dataclass(frozen=True)
class Query:
    """One expression and how its series are called; ``instant`` asks for now only."""

    expr: str
    legend: str = "__auto"
    instant: bool = False
    exemplars: bool = False


@attr.s
class PromTarget(Target):
    """A Prometheus query as Grafana writes it today."""

    exemplar: bool = attr.ib(default=False, validator=instance_of(bool))

    def to_json_data(self) -> dict[str, Any]:
        """Return the target with the keys that grafanalib lacks; ``normalise`` drops the old ones."""
        return {
            **super().to_json_data(),
            "exemplar": self.exemplar,
            "range": not self.instant,
            "editorMode": "code",
        }


def targets(queries: tuple[Query, ...], *, as_table: bool = False) -> list[PromTarget]:
    """Give each query its letter."""
    return [
        PromTarget(
            expr=query.expr,
            legendFormat=query.legend,
            refId=chr(ord("A") + i),
            instant=query.instant or as_table,
            format="table" if as_table else "time_series",
            exemplar=query.exemplars,
            datasource=dict(PROMETHEUS),
        )
        for i, query in enumerate(queries)
    ]
