"""What is checked before anything starts: each failure is one clear message with the next thing to do."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tocsin.errors import StackError
from tocsin.stack.mode import choose_mode
from tocsin.stack.preflight import check_ports, install_missing, make_folders
from tocsin.stack.service import Layout, Service


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_taken_port_names_part_port_and_holder() -> None:
    """The message says which part wanted it, who has it, and how to move."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(StackError) as caught:
            check_ports([Service("router", ("x",), port)], Path("tocsin.yaml"))
    assert f"port {port} of router is taken by " in str(caught.value)
    assert f"pid {os.getpid()}" in str(caught.value)
    assert "ports:" in caught.value.fix


def test_a_free_port_is_no_problem() -> None:
    """A port that nobody holds passes."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    check_ports([Service("router", ("x",), port)], Path("tocsin.yaml"))


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where the folder should be gives one sentence, not a traceback."""
    (tmp_path / ".tocsin").write_text("in the way")
    with pytest.raises(StackError, match=r"\.tocsin cannot be written"):
        make_folders(Layout(tmp_path / ".tocsin"))


def test_the_data_folders_are_private(tmp_path: Path) -> None:
    """Secrets and plans are readable by their owner only."""
    layout = Layout(tmp_path / ".tocsin")
    make_folders(layout)
    assert [folder.stat().st_mode & 0o077 for folder in (layout.secrets, layout.run, layout.log)] == [0, 0, 0]


def test_without_apt_a_missing_program_says_where_to_get_it(tmp_path: Path) -> None:
    """On a machine without Debian's packages the message names the program and its download page."""
    with pytest.raises(StackError) as caught:
        install_missing(["prometheus", "alertmanager"], {"PATH": str(tmp_path)})
    assert "prometheus, alertmanager" in str(caught.value)
    assert "releases" in caught.value.fix


@pytest.mark.parametrize(
    ("docker", "kind", "reason"),
    [
        (None, "native", "there is no docker"),
        ('[ "$1" = info ] && exit 1; exit 0', "native", "no engine answers"),
        ('[ "$1" = compose ] && exit 1; exit 0', "native", "compose plugin does not"),
        ("exit 0", "compose", "both answer"),
    ],
)
def test_compose_is_chosen_only_when_both_answer(tmp_path: Path, docker: str | None, kind: str, reason: str) -> None:
    """A docker client on the PATH proves nothing; the reason is told."""
    if docker is not None:
        script(tmp_path, "docker", docker)
    mode = choose_mode({"PATH": str(tmp_path)})
    assert mode.kind == kind
    assert reason in mode.reason
