"""The table of targets: what is wrong stands first and says why; an exporter that does not answer is one message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers import free_port
from tocsin.cli.targets import table


def _state(name: str, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "target": name,
        "kind": "redis",
        "up": True,
        "reason": "",
        "detail": "",
        "duration_seconds": 0.0021,
        "samples": 31,
        "folded": 0,
        "read_at": 995.0,
        "last_error": "",
        "last_error_at": None,
    }
    return plain | more


def test_the_table_says_how_each_target_is() -> None:
    """Up, down, partly read, never read: each in its own word, with the reason and the last error's age."""
    text = table(
        [
            _state("db", up=False, reason="timeout", detail="no answer", last_error="timeout", last_error_at=995.0),
            _state("mq", reason="auth", detail="cluster: no", folded=7, last_error="auth", last_error_at=-9000.0),
            _state("cache", last_error="refused", last_error_at=400.0),
            _state("new", up=None, duration_seconds=None, samples=0, read_at=None),
        ],
        now=1000.0,
    )
    assert text.splitlines() == [
        "      target  kind   reason   read      ms  samples  folded  last error",
        "DOWN  db      redis  timeout  5s ago   2.1       31       0  timeout 5s ago",
        "part  mq      redis  auth     5s ago   2.1       31       7  auth 2h ago",
        "up    cache   redis  -        5s ago   2.1       31       0  refused 10m ago",
        "wait  new     redis  -        not yet    -        0       0  none",
        "",
        "  db: no answer",
        "  mq: cluster: no",
    ]
    assert "add some" in table([], now=0.0)


def test_an_exporter_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    """Exit code 1, the address, and what to do."""
    (tmp_path / "tocsin.yaml").write_text("schema: 1\n")
    address = f"http://127.0.0.1:{free_port()}"
    argv = [sys.executable, "-m", "tocsin", "targets", "--exporter", address]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert address in done.stderr
    assert "check --connect" in done.stderr
    assert "Traceback" not in done.stderr
