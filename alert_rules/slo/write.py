"""Everything that is written for a set of SLOs without a stack: rules and tests by service, inhibition, panels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alert_rules.slo.generate import rule_groups
from alert_rules.slo.inhibit import inhibit_rules
from alert_rules.slo.load import Pace
from alert_rules.slo.objective import Naming, Objective
from alert_rules.slo.panel import as_data, panel_model
from alert_rules.slo.proof import proof_files
from alert_rules.write import rule_file, to_yaml


def generate(
    objectives: Sequence[Objective],
    naming: Naming = "tocsin",
    *,
    pace: Pace | None = None,
    external_url: str = "http://127.0.0.1:8088",
) -> dict[str, str]:
    """Return file name → text: ``<service>.rules.yml``, ``<service>.tests.yml``, ``inhibit.yml``, ``panels.yml``.

    Tests of slow windows are in ``<service>-4m.tests.yml`` and ``<service>-1h.tests.yml``: promtool takes one step
    for a whole file. ``external_url`` is where links in annotations lead.
    """
    pace = pace or Pace()
    out: dict[str, str] = {}
    for service in sorted({objective.service for objective in objectives}):
        mine = [objective for objective in objectives if objective.service == service]
        groups = [group for objective in mine for group in rule_groups(objective, pace, naming)]
        out[f"{service}.rules.yml"] = _headed(rule_file(groups, external_url))
        tests = proof_files(mine, [f"{service}.rules.yml"], scrape=pace.scrape, naming=naming)
        out |= {f"{service}{suffix}.tests.yml": _headed(text) for suffix, text in tests.items()}
    out["inhibit.yml"] = _headed(to_yaml({"inhibit_rules": inhibit_rules(objectives)}))
    out["panels.yml"] = _headed(to_yaml({"panels": [as_data(panel_model(each, naming)) for each in objectives]}))
    return out


def _headed(text: str) -> str:
    header = "# Made by `tocsin slo generate`. Do not edit: change the SLO file and generate again.\n"
    return header + re.sub(r"\A(#.*\n)+", "", text)
