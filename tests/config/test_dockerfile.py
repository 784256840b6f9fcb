"""The Dockerfile, checked as far as that goes without an engine: what it copies is there and is enough."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.images import COPIES, LINES, copy_image
from tocsin.paths import HOUSE
from tocsin.stack.addresses import IN_CONTAINERS
from tocsin.stack.pins import BUILD_IMAGES


def test_base_images_are_those_of_the_pin_table() -> None:
    """Every image that the build starts from stands at the exact tag of the table."""
    used = {re.split(r"\s+", line)[1] for line in LINES if line.startswith("FROM")}
    assert used == {f"{image}:{tag}" for image, tag in BUILD_IMAGES.items()}


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    """Each COPY source is there, in git, and let through by .dockerignore."""
    allowed = {line[1:] for line in (HOUSE / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {source for copy in COPIES for source in copy[:-1]}
    assert sources == allowed
    assert all((HOUSE / source).exists() for source in sources)


def test_dockerignore_keeps_secrets_and_data_out() -> None:
    """Everything is ignored unless it is named, so no secret and no data of a running stack goes to the engine."""
    lines = [line for line in (HOUSE / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert not {line for line in lines if re.match(r"!(secrets|\.env|\.tocsin|\.git)", line)}


def test_the_final_image_builds_nothing() -> None:
    """The last stage has no uv, no pip and no compiler, and runs as a user."""
    last = LINES[max(i for i, line in enumerate(LINES) if line.startswith("FROM")) :]
    assert not [line for line in last if re.search(r"apt-get|uv sync|/uv |pip install|gcc", line)]
    assert any("pip uninstall" in line for line in last)
    assert [line for line in last if line.startswith("USER")] == ["USER 10001:10001"]


def test_dependencies_come_from_the_lock_without_tests() -> None:
    """Both installs are frozen to uv.lock and leave the development tools out."""
    syncs = [line for line in LINES if "uv sync" in line]
    assert len(syncs) == 2
    assert all("--frozen --no-dev" in line for line in syncs)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with exactly what the Dockerfile copies to /app."""
    return copy_image(tmp_path_factory.mktemp("image") / "app")


def _run(image: Path, data: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as in the container: only what the image has, and the environment that compose gives to init."""
    services = yaml.safe_load((HOUSE / "compose.yaml").read_text())["services"]
    environment = dict(services["init"]["environment"]) | {
        "TOCSIN_DATA_DIR": str(data),
        "COMPOSE_PROFILES": "",
        "PYTHONPATH": str(image),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.environ["PATH"],
    }
    code = "import sys; from tocsin.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *command], env=environment, cwd=image, capture_output=True, text=True, check=False
    )


def test_init_renders_with_what_the_image_holds(image: Path, tmp_path: Path) -> None:
    """`tocsin render`, run from the copied files alone, writes every configuration that the containers read."""
    done = _run(image, tmp_path, "render")
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load((HOUSE / "compose.yaml").read_text())["services"]
    wanted = re.findall(
        r"/data/rendered/(\S+\.ya?ml)", " ".join(" ".join(s.get("command", [])) for s in services.values())
    )
    assert len(wanted) == 5
    for path in (
        *wanted,
        "grafana/provisioning/datasources/tocsin.yaml",
        "grafana/provisioning/dashboards/tocsin.yaml",
    ):
        assert (tmp_path / "rendered" / path).is_file(), path
    assert list((tmp_path / "rendered" / "rules").glob("*.rules.yml"))
    assert list((tmp_path / "rendered" / "dashboards").glob("*.json"))


def test_init_makes_random_secrets_that_only_their_owner_reads(image: Path, tmp_path: Path) -> None:
    """The router's token and Grafana's password are made once, differ from each other, and are of mode 600."""
    found: list[list[str]] = []
    for _ in range(2):
        assert _run(image, tmp_path, "render").returncode == 0
        files = [tmp_path / "secrets" / "router_token", tmp_path / "secrets" / "grafana" / "admin_password"]
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        found.append([file.read_text() for file in files])
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]
    assert all(len(secret) >= 32 for secret in found[0])


def test_nothing_of_the_checkout_is_written(image: Path, tmp_path: Path) -> None:
    """Rendering in a container leaves /app as it is, since its root is read-only."""
    before = {path: path.stat().st_mtime_ns for path in image.rglob("*")}
    assert _run(image, tmp_path, "render").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in image.rglob("*")} == before
    assert IN_CONTAINERS in yaml.safe_load((HOUSE / "compose.yaml").read_text())["x-stack-addresses"]
