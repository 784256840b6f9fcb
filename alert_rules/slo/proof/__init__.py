"""Proof: promtool tests from an exact model that knows the promise and none of the generator's formulas."""

from alert_rules.slo.proof.write import proof_files

__all__ = ["proof_files"]
