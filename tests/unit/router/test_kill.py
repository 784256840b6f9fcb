"""A router that is killed, and one that is stopped: what was acknowledged is told, and nothing is told for nothing."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Self

import httpx
import pytest

from alert_router.ledger import open_for_reading
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.router import RouterProcess, router_process
from tests.doubles.webhooks import alert, body
from tests.servers import eventually

PAGER = """
destinations:
  pager: {{kind: pagerduty, routing_key: "{double.routing_key}", events_url: "{double.events_url}"}}
routes:
  - {{match: {{}}, to: [pager]}}
"""


class Load:
    """Posts pages, one after another, and keeps the names of those that were acknowledged."""

    def __init__(self, router: RouterProcess) -> None:
        self.acknowledged: list[str] = []
        self._router = router
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._headers = {"Authorization": f"Bearer {router.token}"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        client = httpx.Client(timeout=5)
        while not self._stop.is_set():
            number += 1
            name = f"Load{number}"
            try:
                answer = client.post(
                    f"{self._router.url}/webhook/alertmanager",
                    content=body(alert(name, starts=time.time())),
                    headers=self._headers,
                )
                if answer.status_code == 200:
                    self.acknowledged.append(name)
            except httpx.HTTPError:
                time.sleep(0.02)  # it was killed: Alertmanager would try again as well
        client.close()


def test_kill_9_under_load_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Three kills at random moments: every page that was answered with 200 becomes exactly one incident."""
    random = Random(11)
    double = PagerDutyDouble()
    with double.running(), router_process(tmp_path, PAGER.format(double=double)) as router:
        with Load(router) as load:
            for _ in range(3):
                time.sleep(random.uniform(0.3, 0.9))
                router.kill()
                router.start()
            time.sleep(0.3)
        assert len(load.acknowledged) > 20
        eventually(lambda: set(load.acknowledged) <= _incidents(double), timeout=60)
        assert len(double.incidents) == len(_incidents(double))


def _incidents(double: PagerDutyDouble) -> set[str]:
    with double.lock:
        return {incident.events[0]["payload"]["class"] for incident in double.incidents}


def test_retries_survive_a_restart(tmp_path: Path) -> None:
    """What could not be sent before the stop is sent after the start, and the attempts of both runs are on record."""
    double = PagerDutyDouble()
    double.down = True
    with double.running(), router_process(tmp_path, PAGER.format(double=double)) as router:
        headers = {"Authorization": f"Bearer {router.token}"}
        page = body(alert(starts=time.time()))
        httpx.post(f"{router.url}/webhook/alertmanager", content=page, headers=headers).raise_for_status()
        eventually(lambda: double.requests)
        assert router.stop() == 0
        before = double.requests
        double.down = False
        router.start()
        eventually(lambda: double.open, timeout=30)
        eventually(lambda: _results(router)[-1] == "delivered")
        assert len(_results(router)) > before >= 1


def _results(router: RouterProcess) -> list[str | None]:
    with closing(open_for_reading(router.data / "ledger.sqlite")) as ledger:
        return [row[0] for row in ledger.execute("SELECT result FROM attempt ORDER BY id")]


def test_a_second_router_on_the_same_ledger_does_not_start(tmp_path: Path) -> None:
    """It says why and ends; the first goes on."""
    with router_process(tmp_path) as router:
        with pytest.raises(AssertionError, match="another router writes the ledger"):
            RouterProcess(tmp_path).start()
        assert httpx.get(f"{router.url}/-/ready").status_code == 200


def test_a_reload_that_is_wrong_changes_nothing(tmp_path: Path) -> None:
    """A file with errors is refused with all of them; the old settings go on, and a good file is taken."""
    double = PagerDutyDouble()
    with double.running(), router_process(tmp_path) as router:
        settings = tmp_path / "tocsin.yaml"
        good = settings.read_text()
        settings.write_text("schema: 1\nroutez: []\nexternal_url: nonsense\n")
        answer = httpx.post(f"{router.url}/-/reload")
        assert answer.status_code == 422
        assert len(answer.json()["problems"]) == 2
        assert httpx.get(f"{router.url}/-/ready").status_code == 200
        settings.write_text(good + PAGER.format(double=double))
        assert httpx.post(f"{router.url}/-/reload").status_code == 200
        headers = {"Authorization": f"Bearer {router.token}"}
        httpx.post(f"{router.url}/webhook/alertmanager", content=body(alert(starts=time.time())), headers=headers)
        eventually(lambda: double.open)
