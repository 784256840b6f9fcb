"""The house itself: what a newcomer sees with `ls`, and rules that no other tool holds."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tocsin.paths import HOUSE

DATA_FOLDERS = ("prometheus", "alertmanager", "collector", "loki", "tempo")
PYTHON_FOLDERS = ("tocsin", "exporters", "alert_rules", "alert_router", "dashboards")
DEFAULT_INDEX = {"https://pypi.org", "https://files.pythonhosted.org"}


def tracked(*patterns: str) -> list[Path]:
    done = subprocess.run(["git", "ls-files", "--", *patterns], cwd=HOUSE, capture_output=True, text=True, check=True)
    return [HOUSE / line for line in done.stdout.splitlines() if (HOUSE / line).is_file()]


def test_the_lock_names_only_the_public_default_index() -> None:
    """An index variable in somebody's environment must not have leaked into the committed lock."""
    text = (HOUSE / "uv.lock").read_text()
    assert {match[0] for match in re.finditer(r"https?://[^/\"]+", text)} == DEFAULT_INDEX
    packages = tomllib.loads(text)["package"]
    sources = {next(iter(package["source"].items())) for package in packages if package["name"] != "tocsin"}
    assert sources == {("registry", "https://pypi.org/simple")}


@pytest.mark.parametrize("folder", [*DATA_FOLDERS, *PYTHON_FOLDERS, "demo", "docs", "tests"])
def test_every_folder_of_the_design_has_content(folder: str) -> None:
    """`ls` is the table of contents, and no chapter is empty."""
    assert len(tracked(folder)) > 0


@pytest.mark.parametrize("folder", DATA_FOLDERS)
def test_data_folders_hold_no_python(folder: str) -> None:
    """They would import as empty namespace packages."""
    assert tracked(f"{folder}/**/*.py", f"{folder}/*.py") == []


def test_the_readme_names_every_folder() -> None:
    """A newcomer who reads the first screens can say what each folder is for."""
    readme = (HOUSE / "README.md").read_text()
    for folder in (*DATA_FOLDERS, *PYTHON_FOLDERS, "demo", "docs", "tests"):
        assert f"{folder}/" in readme, folder


def test_every_relative_link_in_the_docs_leads_somewhere() -> None:
    """No page of the docs, runbooks included, points at a file that is not there."""
    dead = []
    for page in tracked("*.md", "docs/**/*.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (page.parent / target.partition("#")[0]).exists():
                dead.append(f"{page.relative_to(HOUSE)} → {target}")
    assert dead == []


def test_no_path_of_any_machine_is_committed() -> None:
    """Home folders and checkouts of whoever built this do not belong in the tree."""
    found = [
        f"{path.relative_to(HOUSE)}: {match[0]}"
        for path in tracked()
        if path.suffix in (".py", ".md", ".yaml", ".yml", ".json", ".toml", "")
        for match in re.finditer(r"/(?:home|Users|root)/[a-z]\w+", path.read_text(errors="ignore"))
    ]
    assert found == []
