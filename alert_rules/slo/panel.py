"""The panel model: what a board needs to draw an SLO, as plain data, so that boards know no rule names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from alert_rules.slo.names import Names
from alert_rules.slo.objective import Naming, Objective
from alert_rules.slo.recording import BAD, BASE, MAINTENANCE, TOTAL, pair_labels
from alert_rules.slo.windows import shown, window_name
from tocsin import facts


@dataclass(frozen=True)
class Line:
    """One line of a graph: a query, or a bound, with what the legend says."""

    legend: str
    query: str


@dataclass(frozen=True)
class PanelModel:
    """One SLO as a board draws it. ``bounds`` are burn rates at which a pair fires, by its labels."""

    service: str
    slo: str
    objective_percent: Decimal
    budget_left: Line
    burn_now: Line
    ratios: tuple[Line, ...]
    events: tuple[Line, ...]
    bounds: tuple[tuple[Mapping[str, str], Decimal], ...]
    maintenance: Line | None


def panel_model(objective: Objective, naming: Naming = "tocsin") -> PanelModel:
    """Return what to draw for one SLO."""
    names = Names(objective, naming)
    windows = dict.fromkeys(window for pair in objective.pairs for window in (pair.short, pair.long))
    ratios = tuple(Line(window_name(window), names.ratio_of(window)) for window in windows)
    return PanelModel(
        service=objective.service,
        slo=objective.name,
        objective_percent=objective.objective,
        budget_left=Line("budget left", objective.series(facts.SLO_REMAINING)),
        burn_now=Line("burn rate", objective.series(facts.SLO_BURN)),
        ratios=ratios,
        events=(Line("bad", objective.series(BAD, BASE)), Line("all", objective.series(TOTAL, BASE))),
        bounds=tuple((pair_labels(pair), pair.factor(objective.period)) for pair in objective.pairs),
        maintenance=Line("planned work", objective.series(MAINTENANCE)) if objective.maintenance else None,
    )


def as_data(model: PanelModel) -> dict[str, object]:
    """Return a panel model as plain data, for a file."""
    return {
        "service": model.service,
        "slo": model.slo,
        "objective_percent": shown(model.objective_percent),
        "budget_left": model.budget_left.query,
        "burn_now": model.burn_now.query,
        "error_ratios": {line.legend: line.query for line in model.ratios},
        "events": {line.legend: line.query for line in model.events},
        "burn_bounds": [{**labels, "burn_rate": shown(factor)} for labels, factor in model.bounds],
        "maintenance": model.maintenance.query if model.maintenance else None,
    }
