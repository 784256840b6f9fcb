"""The SLO generator: how long 100 SLOs take, and how many rules broken on purpose their own tests notice."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alert_rules.slo import load
from alert_rules.slo.write import generate

SPEC = """\
version: prometheus/v1
service: bench
slos:
  - name: one
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(bench_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(bench_total[{{.window}}]))
"""
MUTATIONS = {
    "threshold": (r"> (0\.\d+)\b", lambda m: f"> {float(m[1]) * 1.05!r}"),
    "comparison": (r" > 0\.", lambda _: " < 0."),
    "window": (r'window="(5m|30m|2h|6h|1d|3d)"', lambda _: 'window="1h"'),
    "label": (r"tier: page", lambda _: "tier: ticket"),
    "guard": (r">= 9\.5", lambda _: ">= 95"),
    "for": (r"for: (\S+)", lambda _: "for: 1h"),
    "factor": (r"burn_rate: '?[\d.]+'?", lambda _: "burn_rate: '7'"),
    "metric": (r"record: (\S+)", lambda m: f"record: {m[1]}x"),
    "range": (r"\[(5m|30m|1h|2h|6h|1d|3d)\]", lambda _: "[10m]"),
}


def main() -> int:
    """Print the figures; arguments: how many mutants (default all), and a seed."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many = SPEC.partition("  - name: one")[0] + "".join(
            SPEC[SPEC.index("  - name: one") :].replace("one", f"slo-{i}") for i in range(100)
        )
        (folder / "many.yaml").write_text(many)
        loaded = load([folder / "many.yaml"])
        start = time.perf_counter()
        generate(loaded.objectives)
        print(f"100 SLOs: rules, tests, inhibition and panels in {time.perf_counter() - start:.2f} s")
        return _mutate(folder, wanted)


def _mutate(folder: Path, wanted: int | None) -> int:
    (folder / "one.yaml").write_text(SPEC)
    files = generate(load([folder / "one.yaml"]).objectives)
    rules = files["bench.rules.yml"]
    mutants = [
        (kind, match.start(), rules[: match.start()] + change(match) + rules[match.end() :])
        for kind, (pattern, change) in MUTATIONS.items()
        for match in re.finditer(pattern, rules)
        if change(match) != match[0]
    ]
    if wanted is not None:
        mutants = random.Random(1).sample(mutants, min(wanted, len(mutants)))  # a fixed seed, no secret
    tests = [name for name in files if name.endswith(".tests.yml")]
    for name, text in files.items():
        (folder / name).write_text(text)
    survivors = []
    for kind, at, text in mutants:
        (folder / "bench.rules.yml").write_text(text)
        if all(_passes(folder, name) for name in sorted(tests)):
            survivors.append(f"{kind} in line {rules.count(chr(10), 0, at) + 1}")
    print(f"mutants: {len(mutants)}, noticed: {len(mutants) - len(survivors)}")
    print("\n".join(f"  survived: {each}" for each in survivors))
    return 0


def _passes(folder: Path, name: str) -> bool:
    command = ["promtool", "test", "rules", name]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
