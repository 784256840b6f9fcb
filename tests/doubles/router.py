"""A router inside the test's own process, and one as a process of its own that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import httpx

from alert_router.app import bind, make_app, router_token
from alert_router.core import Router
from alert_router.dispatch import Seams
from alert_router.notifiers.base import NotifierKind
from alert_router.notifiers.table import NOTIFIERS
from tests.doubles.webhooks import body
from tocsin.settings import Settings, Tables, load
from tocsin.thresholds import THRESHOLDS

T = TypeVar("T")

SILENT = "http://127.0.0.1:9"
"""An address where nothing answers: for parts that a test does not need."""


class FakeClock:
    """Unix time that only a test moves, with a sleep that moves it."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self.now = start

    def __call__(self) -> float:
        return self.now


def settings_from(folder: Path, text: str, kinds: Mapping[str, NotifierKind] = NOTIFIERS) -> Callable[[], Settings]:
    """Write a settings file and return what loads it."""
    path = folder / "tocsin.yaml"
    path.write_text("schema: 1\n" + text)
    tables = Tables({}, {name: kind.settings for name, kind in kinds.items()}, THRESHOLDS)
    return lambda: load(path, tables, os.environ)


class Bench:
    """A running router with a client that speaks to it as Alertmanager and as a browser."""

    def __init__(self, router: Router, client: httpx.AsyncClient) -> None:
        self.router = router
        self.client = client

    async def post(self, *alerts: Mapping[str, Any], **more: Any) -> httpx.Response:
        """Hand over a webhook with the right token."""
        return await self.raw(body(*alerts, **more))

    async def raw(self, content: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Hand over any body with the right token."""
        auth = {"Authorization": f"Bearer {self.router.token.get()}", **(headers or {})}
        return await self.client.post("/webhook/alertmanager", content=content, headers=auth)

    async def groups(self) -> list[dict[str, Any]]:
        """What the JSON list says."""
        return list((await self.client.get("/api/v1/groups")).json())

    async def settled(self) -> None:
        """Wait until nothing is under way or due any more."""
        await until(lambda: self._open() == 0)

    def _open(self) -> int:
        query = "SELECT count(*) FROM delivery WHERE state = 'sending' OR state = 'pending' AND due <= ?"
        return int(self.router.ledger.reader.execute(query, (self.router.seams.clock(),)).fetchone()[0])


@contextlib.asynccontextmanager
async def router_here(
    folder: Path,
    text: str = "",
    *,
    clock: Callable[[], float] = time.time,
    kinds: Mapping[str, NotifierKind] = NOTIFIERS,
) -> AsyncIterator[Bench]:
    """Run a router in this process; ``text`` are its settings without the schema line."""
    data = folder / ".tocsin"
    token = router_token(data / "secrets" / "router_token")
    seams = Seams(clock=clock, random=Random(7))
    router = Router(settings_from(folder, text, kinds), data=data, token=token, seams=seams, kinds=kinds)
    app = make_app(router)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8088") as client,
    ):
        yield Bench(router, client)


async def until(true: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Wait for something to become true; an AssertionError after the deadline."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        await asyncio.sleep(0.01)


_PROGRAM = """
import sys
from pathlib import Path
from alert_router.app import serve
from alert_router.notifiers.table import NOTIFIERS
from tocsin.settings import Tables, load
from tocsin.thresholds import THRESHOLDS
tables = Tables({}, {kind: one.settings for kind, one in NOTIFIERS.items()}, THRESHOLDS)
sys.exit(serve(lambda: load(Path(sys.argv[1]), tables), sys.argv[2], data=Path(sys.argv[3])))
"""


class RouterProcess:
    """A router as a process of its own on a loopback port, that can be killed and started again."""

    def __init__(self, folder: Path, text: str = "") -> None:
        self.folder = folder
        self.data = folder / ".tocsin"
        with contextlib.closing(bind("127.0.0.1:0")) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        settings_from(folder, f"external_url: {self.url}\n{text}")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, seconds: float = 20.0) -> None:
        """Start it and wait until it is ready."""
        with (self.folder / "router.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _PROGRAM,
                    str(self.folder / "tocsin.yaml"),
                    f"127.0.0.1:{self.port}",
                    str(self.data),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/-/ready").status_code == 200:
                    return
            assert self.process.poll() is None, (self.folder / "router.log").read_text()
            assert time.monotonic() < deadline, "the router did not become ready"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it as a person does; returns its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout=20)

    @property
    def token(self) -> str:
        """The bearer token that it made."""
        return (self.data / "secrets" / "router_token").read_text()


@contextlib.contextmanager
def router_process(folder: Path, text: str = "") -> Iterator[RouterProcess]:
    """A started router process, killed at the end."""
    router = RouterProcess(folder, text)
    router.start()
    try:
        yield router
    finally:
        router.kill()
