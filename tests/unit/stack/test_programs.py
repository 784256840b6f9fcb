"""Programs are found by asking them, in the right order, and impostors are passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.stack import programs
from tocsin.stack.pins import PINS

PROMETHEUS = "echo 'prometheus, version {} (branch: x)'; echo '{}'"


def script(folder: Path, name: str, body: str) -> Path:
    """Write a shell script that stands in for a program: its whole face here is what it prints."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def machine(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose three places are folders of this test."""
    home, chosen, usual = (tmp_path / name for name in ("home", "chosen", "usual"))
    return {"HOME": str(home), "TOCSIN_BIN_DIR": str(chosen), "PATH": f"{usual}:/usr/bin:/bin"}


def test_places_are_searched_in_order(tmp_path: Path) -> None:
    """TOCSIN_BIN_DIR comes before the cache in the home folder, and that before the PATH."""
    environ = machine(tmp_path)
    cache = tmp_path / "home" / ".cache" / "tocsin" / "bin"
    for folder, version in ((tmp_path / "usual", "3.1.0"), (cache, "3.2.0"), (tmp_path / "chosen", "3.3.0")):
        script(folder, "prometheus", PROMETHEUS.format(version, ""))
    found = [program.version for program in programs.search("prometheus", environ).programs]
    assert found[:3] == ["3.3.0", "3.2.0", "3.1.0"]
    first = programs.find("prometheus", environ)
    assert first is not None
    assert first.path == tmp_path / "chosen" / "prometheus"


def test_an_impostor_is_passed_over(tmp_path: Path) -> None:
    """A program of the same name that is something else is not taken, and the reason is kept."""
    environ = machine(tmp_path)
    path = script(tmp_path / "chosen", "loki", "echo 'LOKI: loglinear analysis of genotypes'")
    search = programs.search("loki", environ | {"PATH": ""})
    assert search.programs == ()
    assert search.refused == (f"{path} does not say that it is loki",)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("prometheus", "prometheus, version 2.37.0 (branch: x)"),
        ("alertmanager", "alertmanager, version 0.23.0 (branch: x)"),
        ("redis-server", "Redis server v=4.0.14 sha=0"),
        ("otelcol-contrib", "otelcol-contrib version 0.100.0"),
        ("tempo", "tempo, version 2.10.8 (branch: x)"),
    ],
)
def test_a_program_that_is_too_old_is_passed_over(tmp_path: Path, name: str, answer: str) -> None:
    """A release that cannot read our configuration is not started, and the reason names its version."""
    script(tmp_path / "chosen", name, f"echo '{answer}'")
    search = programs.search(name, machine(tmp_path) | {"PATH": ""})
    assert search.programs == ()
    assert "older than" in search.refused[0]


def test_a_build_without_a_version_is_known_by_its_flags(tmp_path: Path) -> None:
    """A Tempo that prints no version is taken when its help names the live store, which only Tempo 3 has."""
    old = machine(tmp_path / "old") | {"PATH": ""}
    new = machine(tmp_path / "new") | {"PATH": ""}
    script(tmp_path / "old" / "chosen", "tempo", "echo 'tempo, version  (branch: x)'; echo '-ingester.x'")
    script(tmp_path / "new" / "chosen", "tempo", "echo 'tempo, version  (branch: x)'; echo '-live-store.x'")
    assert programs.find("tempo", old) is None
    found = programs.find("tempo", new)
    assert found is not None
    assert (found.version, found.generation, found.major) == ("", "pinned", 0)


@pytest.mark.parametrize(("version", "generation"), [("2.42.0+ds", "debian"), ("3.13.5", "pinned"), ("3.5.3", "other")])
def test_generations_are_told_apart(tmp_path: Path, version: str, generation: str) -> None:
    """Debian's line, the pinned version and any other are told apart by the version."""
    script(tmp_path / "chosen", "prometheus", PROMETHEUS.format(version, ""))
    found = programs.find("prometheus", machine(tmp_path))
    assert found is not None
    assert found.generation == generation


def test_the_otlp_receiver_is_asked_for_not_guessed(tmp_path: Path) -> None:
    """A Prometheus 3 that Debian built has no OTLP receiver: its help decides, not its version."""
    for folder, help_text in (("with", "--web.enable-otlp-receiver"), ("without", "--web.enable-lifecycle")):
        script(tmp_path / folder / "chosen", "prometheus", PROMETHEUS.format("3.5.3", help_text))
    having = programs.find("prometheus", machine(tmp_path / "with"))
    lacking = programs.find("prometheus", machine(tmp_path / "without"))
    assert having is not None
    assert lacking is not None
    assert having.features == {programs.OTLP_RECEIVER}
    assert lacking.features == frozenset()


def test_debian_names_are_known(tmp_path: Path) -> None:
    """Debian calls it prometheus-alertmanager; it is found under that name too."""
    script(tmp_path / "chosen", "prometheus-alertmanager", "echo 'alertmanager, version 0.25.0 (branch: x)'")
    found = programs.find("alertmanager", machine(tmp_path) | {"PATH": ""})
    assert found is not None
    assert found.path.name == "prometheus-alertmanager"


def test_a_program_that_does_not_run_is_no_program(tmp_path: Path) -> None:
    """A file that is not executable, or not for this machine, is passed over without an error."""
    folder = tmp_path / "chosen"
    folder.mkdir()
    (folder / "prometheus").write_bytes(b"\x7fELF nonsense")
    (folder / "prometheus").chmod(0o755)
    assert programs.search("prometheus", machine(tmp_path) | {"PATH": ""}).programs == ()


def test_what_was_installed_since_is_found(tmp_path: Path) -> None:
    """Answers are kept, and looked for anew after `forget`."""
    environ = machine(tmp_path) | {"PATH": ""}
    assert programs.find("prometheus", environ) is None
    script(tmp_path / "chosen", "prometheus", PROMETHEUS.format("3.13.5", ""))
    assert programs.find("prometheus", environ) is None
    programs.forget()
    assert programs.find("prometheus", environ) is not None


@pytest.mark.parametrize("name", programs.NAMES)
def test_every_absent_program_says_where_to_get_it(name: str) -> None:
    """Whoever lacks a program reads its version, its source and where to put it, or Debian's package."""
    sentence = programs.where_to_get(name)
    assert "https://" in sentence
    assert "TOCSIN_BIN_DIR" in sentence
    assert any(pin.version in sentence for pin in PINS.values())
    assert ("apt-get install" in sentence) == (name in programs.DEBIAN_PACKAGES)


def test_grafana_needs_its_home(tmp_path: Path) -> None:
    """Grafana's program alone cannot run; with its folder beside it, it is found."""
    body = "echo 'grafana version 13.2.3'"
    script(tmp_path / "bare" / "chosen", "grafana", body)
    script(tmp_path / "whole" / "grafana" / "bin", "grafana", body)
    (tmp_path / "whole" / "grafana" / "conf").mkdir()
    (tmp_path / "whole" / "grafana" / "conf" / "defaults.ini").touch()
    assert programs.find("grafana", machine(tmp_path / "bare") | {"PATH": ""}) is None
    environ = machine(tmp_path / "whole") | {"TOCSIN_BIN_DIR": str(tmp_path / "whole" / "grafana" / "bin"), "PATH": ""}
    found = programs.find("grafana", environ)
    assert found is not None
    assert programs.grafana_home(found.path) == tmp_path / "whole" / "grafana"
