"""``tocsin init``: a commented settings file to start from."""

from __future__ import annotations

import argparse
from importlib import resources

from tocsin.errors import StackError


def init(arguments: argparse.Namespace) -> int:
    """Write the starter file; an existing file is kept unless --force."""
    path = arguments.config
    if path.exists() and not arguments.force:
        raise StackError(f"{path} exists already", fix="name another with --config FILE, or replace it with --force")
    text = resources.files("tocsin.cli").joinpath("starter.yaml").read_text(encoding="utf-8")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StackError(
            f"{path} cannot be written: {error.strerror}", fix="choose a folder that you may write to"
        ) from None
    print(f"wrote {path}: say in it what you run, then `tocsin check --config {path} --connect`")
    return 0
