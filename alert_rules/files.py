"""Everything that Prometheus loads for one configuration, and the tests that prove it, as file name → text."""

from __future__ import annotations

from alert_rules import table
from alert_rules.model import Alert
from alert_rules.prove import proofs
from alert_rules.slo import groups_of, objectives
from alert_rules.slo.proof import proof_files
from alert_rules.write import rule_file
from tocsin.settings import Settings


def catalogue(settings: Settings) -> tuple[Alert, ...]:
    """Return every alert once by name, with this configuration's numbers, whether or not its signals have a producer.

    Raises ConfigError when an SLO file of the settings cannot be used.
    """
    slo = [alert for each in objectives(settings) for group in groups_of(each, settings) for alert in group.alerts]
    return tuple({alert.name: alert for alert in reversed((*table.catalogue(settings), *slo))}.values())[::-1]


def render(settings: Settings, produced: frozenset[str]) -> dict[str, str]:
    """Return relative file name → text: rule files (``*.rules.yml``) and promtool tests (``*.tests.yml``).

    ``produced`` names the signals that this configuration's targets produce; a rule whose signals nobody produces
    is left out. Raises ConfigError when an SLO file of the settings cannot be used.
    """
    context = table.context(settings, produced)
    groups = table.groups(context)
    out: dict[str, str] = {}
    loaded: tuple[Alert, ...] = ()
    for subject, group in groups.items():
        loaded += group.alerts
        out[f"{subject}.rules.yml"] = rule_file([group], settings.external_url)
        if group.alerts:
            # A held alert asks whether its target can be read, which the targets' file records.
            files = list(dict.fromkeys(name for name in ("targets", "stack", subject) if name in groups))
            names = [f"{name}.rules.yml" for name in files]
            out |= proofs(group.alerts, names, settings.external_url, subject=subject)
    out |= _slo_files(settings)
    out["thresholds.rules.yml"] = rule_file([table.thresholds(loaded)], settings.external_url)
    return out


def _slo_files(settings: Settings) -> dict[str, str]:
    """One pair of files per SLO: promtool judges by alert name, and several SLOs share theirs."""
    out: dict[str, str] = {}
    for objective in objectives(settings):
        groups = groups_of(objective, settings)
        subject = f"slo-{objective.name}@{objective.service}"
        out[f"{subject}.rules.yml"] = rule_file(groups, settings.external_url)
        tests = proof_files([objective], [f"{subject}.rules.yml"], scrape=settings.intervals.scrape)
        out |= {f"{subject}{suffix}.tests.yml": text for suffix, text in tests.items()}
    return out
