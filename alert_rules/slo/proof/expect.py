"""What promtool must find: alerts with all their labels, and numbers near their exact value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from alert_rules.slo.objective import Naming, Objective
from alert_rules.slo.proof.exact import Promise, Window

_TAKEN = ("slo", "service", "window", "tier", "window_long", "window_short", "burn_rate", "alertname")


@dataclass(frozen=True)
class Expectations:
    """Checks of one SLO. ``groups`` are the labels that its series are kept apart by."""

    objective: Objective
    naming: Naming
    groups: Mapping[str, str]

    @property
    def watches(self) -> bool:
        """Whether silence is alerted on."""
        return not self.objective.absent.disable

    @property
    def ratio(self) -> bool:
        """Whether the indicator is a ratio without totals."""
        return self.objective.indicator.mode == "raw"

    @property
    def remaining(self) -> str:
        """Select what is left of the budget."""
        return self._select("slo:period_error_budget_remaining:ratio")

    def _select(self, name: str, more: str = "") -> str:
        return f'{name}{{slo="{self.objective.name}",service="{self.objective.service}"{more}}}'

    def _identity(self) -> dict[str, str]:
        mine = {k: v for k, v in self.objective.owner_labels.items() if k not in _TAKEN}
        name, service = self.objective.name, self.objective.service
        theirs = {"sloth_id": f"{service}-{name}", "sloth_service": service, "sloth_slo": name}
        return {**mine, "slo": name, "service": service, **(theirs if self.naming == "sloth" else {})}

    def burn(self, window: Window, at: int, promise: Promise, *, fires: bool) -> dict[str, Any]:
        """One pair must fire with exactly these labels, or must be neither firing nor pending."""
        long, short = span(window.long), span(window.short)
        more = f',tier="{window.tier}",window_long="{long}",window_short="{short}"'
        alerting = self.objective.alerting
        tier = alerting.page_alert if window.tier == "page" else alerting.ticket_alert
        tuned = self.objective.tiers.get(window.tier)
        severity = (tuned.severity if tuned else None) or {"page": "critical", "ticket": "warning"}[window.tier]
        labels = {
            **self._identity(),
            **self.groups,
            "severity": severity,
            **({"sloth_severity": window.tier} if self.naming == "sloth" else {}),
            **{k: v for k, v in {**alerting.labels, **tier.labels}.items() if k not in _TAKEN},
            "tier": window.tier,
            "window_long": long,
            "window_short": short,
            "burn_rate": f"{float(window.share * promise.period / window.long):.6g}",
        }
        return self._alert(alerting.name, labels, self._select("ALERTS", more), at, fires=fires)

    def named(self, name: str, at: int, *, fires: bool) -> dict[str, Any]:
        """One of the other alerts must fire, or not."""
        severity = self.objective.absent.severity if name == "SLIAbsent" else "warning"
        query = self._select("ALERTS", f',alertname="{name}",alertstate="firing"')
        return self._alert(name, {**self._identity(), "severity": severity}, query, at, fires=fires)

    def _alert(self, name: str, labels: Mapping[str, str], query: str, at: int, *, fires: bool) -> dict[str, Any]:
        whole = {"alertname": name, "alertstate": "firing", **labels}
        samples = [{"labels": f"ALERTS{_written(whole)}", "value": 1}] if fires else []
        return {"expr": query, "eval_time": f"{at}m", "exp_samples": samples}

    def near(self, query: str, value: Fraction, precision: Fraction, at: int) -> dict[str, Any]:
        """Exactly one series, whose value is as near as this to the truth."""
        slack = float(max(abs(value), Fraction(1)) * precision)
        # promtool 2.42 compares exactly, and quotients round: the comparison stands in the query.
        expr = f"sum(abs({query} - ({float(value)!r})) < bool {slack!r})"
        return {"expr": expr, "eval_time": f"{at}m", "exp_samples": [{"labels": "{}", "value": 1}]}

    def constants(self, promise: Promise) -> list[dict[str, Any]]:
        """The series that other programs read: one each, with the owner's labels."""
        budget = promise.budget
        values = {
            "slo:objective:ratio": 1 - budget,
            "slo:error_budget:ratio": budget,
            "slo:time_period:days": Fraction(promise.period, 1440),
        }
        out = [
            {
                "expr": self._select(name),
                "eval_time": "20m",
                "exp_samples": [{"labels": f"{name}{_written(self._identity())}", "value": float(value)}],
            }
            for name, value in values.items()
        ]
        for window in promise.windows:
            more = f',tier="{window.tier}",window_long="{span(window.long)}",window_short="{span(window.short)}"'
            factor = window.share * promise.period / window.long
            out.append(self.near(self._select("slo:burn_factor:ratio", more), factor, Fraction(1, 10**9), 20))
        burn = self._select("slo:current_burn_rate:ratio")
        info = "sloth_slo_info" if self.naming == "sloth" else "slo_info"
        return [*out, self.near(self._select(info), Fraction(1), Fraction(1, 10**9), 20), _present(burn)]


def _present(query: str) -> dict[str, Any]:
    return {"expr": f"count({query})", "eval_time": "20m", "exp_samples": [{"labels": "{}", "value": 1}]}


def _written(labels: Mapping[str, str]) -> str:
    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ", ".join(f'{name}="{quoted(value)}"' for name, value in sorted(labels.items())) + "}"


def span(minutes: int) -> str:
    """Write minutes as Prometheus does: ``1d12h``."""
    days, rest = divmod(minutes, 1440)
    hours, left = divmod(rest, 60)
    return "".join(f"{count}{unit}" for count, unit in ((days, "d"), (hours, "h"), (left, "m")) if count)
