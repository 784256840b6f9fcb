"""Real PostgreSQL and PgBouncer for tests: Debian's, each on a free port of loopback with a folder of its own.

Both refuse to run as root: as root they become the user ``postgres``, so their folders are that user's and lie where it
may go (pytest's own temporary folders are closed to others).
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers import Server, free_port, start

ADMIN = "postgres"

_HBA = """\
local all all trust
host all postgres 127.0.0.1/32 trust
host replication postgres 127.0.0.1/32 trust
host all clear 127.0.0.1/32 password
hostssl all secured 127.0.0.1/32 scram-sha-256
host all secured 127.0.0.1/32 reject
host all all 127.0.0.1/32 md5
"""
"""``md5`` takes a SCRAM login too where the password is kept for it."""


class Postgres(Server):
    """A running PostgreSQL server."""

    def stop(self, *, grace: float = 10.0) -> None:
        """End it without waiting for its clients, which SIGTERM would do."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def freeze(self) -> None:
        """Stop it and every process of it, as a machine does that swaps to death."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return [pid, *map(int, children)]

    def connect(self, database: str = ADMIN, **more: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a session of the administrator in which each statement is a transaction."""
        options = {"host": "127.0.0.1", "port": self.port, "user": ADMIN, "autocommit": True, **more}
        return psycopg.connect(dbname=database, **options)

    def run(self, *statements: str, database: str = ADMIN) -> list[tuple[Any, ...]]:
        """Run statements as the administrator and return the rows of the last one."""
        with self.connect(database) as session:
            cursor = session.cursor()
            for statement in statements:
                cursor.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def postgres_folder() -> Iterator[Path]:
    """Lend a folder in which the user ``postgres`` may work."""
    folder = Path(tempfile.mkdtemp(prefix="tocsin-test-"))
    try:
        _give(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start_postgresql(folder: Path, *, settings: Mapping[str, str] | None = None, port: int | None = None) -> Postgres:
    """Start a server on ``folder``, which it fills at its first start; pg_stat_statements is loaded."""
    binaries = _need_postgresql()
    data = folder / "data"
    if not data.exists():
        initdb: list[str | Path] = [binaries / "initdb", "-D", data, "-A", "trust", "-U", ADMIN, "--no-sync"]
        subprocess.run([*_as_postgres(), *initdb], check=True, capture_output=True, cwd="/")
    (data / "pg_hba.conf").write_text(_HBA, encoding="ascii")
    return _run(binaries, folder, settings or {}, port or free_port())


def start_replica(primary: Postgres, folder: Path) -> Postgres:
    """Start a streaming replica of a server."""
    binaries = _need_postgresql()
    copy: list[str | Path] = [binaries / "pg_basebackup", "-h", "127.0.0.1", "-p", str(primary.port), "-U", ADMIN]
    copy += ["-D", folder / "data", "-R", "-X", "stream", "-c", "fast", "--no-sync"]
    subprocess.run([*_as_postgres(), *copy], check=True, capture_output=True, cwd="/")
    return _run(binaries, folder, {}, free_port())


def _run(binaries: Path, folder: Path, settings: Mapping[str, str], port: int) -> Postgres:
    values = {
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(folder),
        "shared_preload_libraries": "pg_stat_statements",
        "fsync": "off",
        "deadlock_timeout": "50ms",
        "logging_collector": "off",
        **settings,
    }
    flags = [flag for name, value in values.items() for flag in ("-c", f"{name}={value}")]
    argv: list[str | Path] = [*_as_postgres(), binaries / "postgres", "-D", folder / "data", *flags]
    server = start("postgresql", argv, folder=folder, port=port, ready=None)
    return Postgres(**vars(server))


def start_pgbouncer(folder: Path, config: str, users: Mapping[str, str]) -> Server:
    """Start a PgBouncer with the lines of ``config`` under [pgbouncer] and before it [databases]; users by password."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer was not found: apt-get install pgbouncer")
    port = free_port()
    (folder / "users").write_text("".join(f'"{user}" "{word}"\n' for user, word in users.items()), encoding="utf-8")
    own = f"listen_addr=127.0.0.1\nlisten_port={port}\nunix_socket_dir=\nauth_file={folder / 'users'}\n"
    (folder / "pgbouncer.ini").write_text(config + own, encoding="utf-8")
    argv: list[str | Path] = [*_as_postgres(), program, folder / "pgbouncer.ini"]
    return start("pgbouncer", argv, folder=folder, port=port, ready=None)


def make_certificates(folder: Path, *, host: str = "localhost") -> None:
    """Write an authority (``ca.pem``) and a certificate for ``host`` signed by it (``server.pem``, ``server.key``)."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl was not found: apt-get install openssl")
    commands = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-authority -keyout ca.key -out ca.pem",
        f"req -newkey rsa:2048 -nodes -subj /CN={host} -addext subjectAltName=DNS:{host} -keyout server.key -out s.csr",
        "x509 -req -in s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out server.pem",
    )
    for command in commands:
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True, cwd=folder)
    (folder / "server.key").chmod(0o600)
    _give(folder / "server.key")


def _need_postgresql() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("postgresql was not found: apt-get install postgresql")
    return found[-1].parent


def _as_postgres() -> Sequence[str]:
    if os.geteuid() != 0:
        return ()
    return ("setpriv", f"--reuid={ADMIN}", f"--regid={ADMIN}", "--clear-groups")


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam(ADMIN)
        except KeyError:
            pytest.skip("there is no user postgres: apt-get install postgresql")
        os.chown(path, user.pw_uid, user.pw_gid)
