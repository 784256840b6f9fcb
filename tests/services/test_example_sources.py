"""The example configuration, tried as a new user would: every source it shows, against its real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.databases import postgres_folder, start_pgbouncer, start_postgresql
from tests.rabbit import start_rabbit
from tests.servers import eventually, free_port, free_port_pair, need, start, start_redis
from tocsin.paths import HOUSE

EXAMPLE = HOUSE / "docs" / "examples" / "sources.yaml"
PASSWORD = "canary-of-the-example"
LIBRARY = {"shared_preload_libraries": "pg_stat_statements"}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start one server per source, prepared by nothing but what the source's page tells; addresses by variable."""
    folder = tmp_path_factory.mktemp("example")
    with ExitStack() as stack:

        def keep(stop: Callable[[], None]) -> None:
            stack.callback(stop)

        found = _databases(stack) | _broker(folder, keep) | _redis(folder, keep)
        yield found


def _databases(stack: ExitStack) -> dict[str, str]:
    server = start_postgresql(stack.enter_context(postgres_folder()), settings=LIBRARY)
    stack.callback(server.stop)
    server.run(
        f"CREATE ROLE tocsin LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_monitor",
        "CREATE EXTENSION IF NOT EXISTS pg_stat_statements",
    )
    config = (
        f"[databases]\napp = host=127.0.0.1 port={server.port} dbname=postgres\n"
        "[pgbouncer]\nauth_type=scram-sha-256\nstats_users=stats\npool_mode=transaction\n"
    )
    bouncer = start_pgbouncer(stack.enter_context(postgres_folder()), config, {"stats": PASSWORD})
    stack.callback(bouncer.stop)
    return {"POSTGRESQL": f"127.0.0.1:{server.port}", "PGBOUNCER": f"127.0.0.1:{bouncer.port}"}


def _broker(folder: Path, keep: Callable[[Callable[[], None]], None]) -> dict[str, str]:
    broker = start_rabbit(folder / "rabbit", [free_port() for _ in range(5)])
    keep(broker.stop)
    broker.ask("PUT", "/users/tocsin", {"password": PASSWORD, "tags": "monitoring"})
    broker.ask("PUT", "/permissions/%2F/tocsin", {"configure": "^$", "write": "^$", "read": ".*"})
    broker.declare("orders")
    return {"RABBITMQ_API": f"127.0.0.1:{broker.api}", "RABBITMQ_METRICS": f"127.0.0.1:{broker.metrics}"}


def _redis(folder: Path, keep: Callable[[Callable[[], None]], None]) -> dict[str, str]:
    program = need("redis-server")
    plain = start_redis(program, folder / "plain")
    keep(plain.stop)
    subprocess.run(
        ["redis-cli", "-p", str(plain.port), "HSET", "bull:orders:meta", "opts.maxLenEvents", "10000"], check=True
    )
    ports = [free_port_pair() for _ in range(3)]
    for port in ports:
        flags = ("--cluster-enabled", "yes", "--cluster-port", str(port + 1))
        keep(start_redis(program, folder / str(port), *flags, port=port).stop)
    nodes = [f"127.0.0.1:{port}" for port in ports]
    _form_cluster(ports)
    sentinel = free_port()
    (folder / "sentinel.conf").write_text(
        f"port {sentinel}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor sessions 127.0.0.1 {plain.port} 1\n"
    )
    argv: list[str | Path] = [program.path, folder / "sentinel.conf", "--sentinel"]
    keep(start("sentinel", argv, folder=folder, port=sentinel, ready=None).stop)
    address = f"127.0.0.1:{plain.port}"
    return {
        "BULLMQ": address,
        "REDIS": address,
        "REDIS_CLUSTER": nodes[0],
        "REDIS_SENTINEL": f"127.0.0.1:{sentinel}",
    }


def _form_cluster(ports: list[int]) -> None:
    def cli(port: int, *words: str) -> str:
        done = subprocess.run(["redis-cli", "-p", str(port), *words], check=True, capture_output=True, text=True)
        return done.stdout

    for number, port in enumerate(ports):
        first = 16384 * number // 3
        cli(port, "CLUSTER", "ADDSLOTSRANGE", str(first), str(16384 * (number + 1) // 3 - 1))
        cli(port, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
    for port in ports[1:]:
        cli(ports[0], "CLUSTER", "MEET", "127.0.0.1", str(port), str(port + 1))
    eventually(lambda: all("cluster_state:ok" in cli(port, "CLUSTER", "INFO") for port in ports))


def test_every_source_of_the_example_answers(places: dict[str, str], tmp_path: Path) -> None:
    """`tocsin check --connect` reads all seven for real, and no password is printed."""
    shutil.copy(EXAMPLE, tmp_path / "tocsin.yaml")
    (tmp_path / "secrets").mkdir()
    for name in ("rabbitmq", "postgresql", "pgbouncer"):
        (tmp_path / "secrets" / name).write_text(PASSWORD)
    done = subprocess.run(
        [sys.executable, "-m", "tocsin", "check", "--connect"],
        cwd=tmp_path,
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    rows = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row.split()[0] for row in rows] == ["ok"] * 7
    assert PASSWORD not in done.stdout + done.stderr


def test_the_example_shows_every_source() -> None:
    """Whoever adds a source adds it here."""
    shown = {target["kind"] for target in yaml.safe_load(EXAMPLE.read_text())["targets"]}
    pages = {path.stem for path in (HOUSE / "docs" / "reference" / "sources").glob("*.md")}
    assert shown == pages - {"breaker-json", "README", "index"}, "breaker-json stands in the starter file"
