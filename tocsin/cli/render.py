"""``tocsin render``: write what follows from the settings, or check that it is up to date."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path

from tocsin.cli.tables import load_settings, tables
from tocsin.paths import HOUSE
from tocsin.settings import Settings, json_schema
from tocsin.stack import render as rendering
from tocsin.stack.addresses import IN_CONTAINERS, addresses
from tocsin.stack.configs import compose_parts, render_configs
from tocsin.stack.lifecycle import layout_of, want
from tocsin.stack.private import write_secrets
from tocsin.stack.programs import OTLP_RECEIVER


def render(arguments: argparse.Namespace) -> int:
    """0 when written (or, with --check, up to date), 1 when --check finds a difference."""
    settings = load_settings(arguments.config)
    folders = committed_files(settings) if is_house_file(arguments.config) else _rendered_files(settings)
    stale = sorted(str(root / path) for root, files in folders.items() for path in rendering.changed_files(files, root))
    if arguments.check:
        for path in stale:
            print(f"not up to date: {path}")
        print(f"{len(stale)} file(s) differ; run `tocsin render`" if stale else "everything rendered is up to date")
        return 1 if stale else 0
    if IN_CONTAINERS in os.environ:
        write_secrets(settings, layout_of(settings, os.environ))
    for root, files in folders.items():
        rendering.write_files(files, root)
    print("\n".join(f"wrote {path}" for path in stale) or "everything rendered is up to date")
    return 0


def is_house_file(config: Path) -> bool:
    """Say whether this is the committed demo configuration, whose output is committed too."""
    return config.resolve() == HOUSE / "tocsin.yaml" and IN_CONTAINERS not in os.environ


def committed_files(settings: Settings) -> dict[Path, Mapping[str, str]]:
    """Return every generated file that is committed, by folder: the folder holds nothing else."""
    from tocsin.cli.reference import reference_pages  # noqa: PLC0415  # docs are made from all tables at once

    shared = rendering.render_shared(settings)

    def below(prefix: str) -> dict[str, str]:
        return {path.removeprefix(prefix): text for path, text in shared.items() if path.startswith(prefix)}

    schema = json.dumps(json_schema(tables()), indent=2, sort_keys=True) + "\n"
    return {
        HOUSE / "alert_rules" / "generated": below("rules/"),
        HOUSE / "dashboards" / "generated": below("dashboards/"),
        HOUSE / "docs" / "reference": reference_pages(settings) | {"tocsin.schema.json": schema},
    }


def _rendered_files(settings: Settings) -> dict[Path, Mapping[str, str]]:
    if IN_CONTAINERS not in os.environ:
        wanted = want(settings, os.environ)
        return {wanted.layout.rendered: wanted.files}
    layout = layout_of(settings, os.environ)
    where = addresses(settings, os.environ)
    features = frozenset({OTLP_RECEIVER})  # the pinned image has it
    configs = render_configs(settings, layout, where, parts=compose_parts(os.environ), features=features)
    return {layout.rendered: rendering.render_running(settings) | configs | rendering.accepted_copy(settings)}
