"""What recorded series are called and labelled: Tocsin's own names, or sloth's so that its dashboards work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import tocsin
from alert_rules.slo.objective import Naming, Objective
from alert_rules.slo.windows import plain, window_name


@dataclass(frozen=True)
class Names:
    """The names of one SLO's series. ``slo`` and ``service`` are labels in both modes."""

    objective: Objective
    naming: Naming = "tocsin"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every series of the SLO."""
        mine = self.objective.labels
        if self.naming == "tocsin":
            return mine
        name, service = self.objective.name, self.objective.service
        return {**mine, "sloth_id": f"{service}-{name}", "sloth_service": service, "sloth_slo": name}

    def windowed(self, window: timedelta) -> dict[str, str]:
        """Labels of a series over a window."""
        name = window_name(window)
        return {**self.labels, "window": name, **({"sloth_window": name} if self.naming == "sloth" else {})}

    def ratio(self, window: timedelta) -> str:
        """The name of the error ratio over a window."""
        return f"slo:sli_error:ratio_rate{window_name(window)}" if self.naming == "sloth" else "slo:sli_error:ratio"

    def ratio_of(self, window: timedelta) -> str:
        """Select the error ratio over a window."""
        return self.objective.series(self.ratio(window), window)

    @property
    def info(self) -> str:
        """The name of the info series."""
        return "sloth_slo_info" if self.naming == "sloth" else "slo_info"

    @property
    def info_labels(self) -> dict[str, str]:
        """Labels of the info series: what the SLO promises and where it was written."""
        objective = self.objective
        promise = plain(objective.objective)
        mine = {"objective": promise, "mode": objective.indicator.mode, "spec": objective.source.file}
        if self.naming == "tocsin":
            return {**self.labels, **mine}
        theirs = {"sloth_objective": promise, "sloth_mode": "cli-gen-prom", "sloth_spec": "prometheus/v1"}
        return {**self.labels, **mine, **theirs, "sloth_version": f"tocsin-{tocsin.__version__}"}
