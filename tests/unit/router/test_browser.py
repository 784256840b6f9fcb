"""The inbox in a real browser, against a real Alertmanager: read on a phone, and silenced by its button."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import Keep
from tests.doubles.router import RouterProcess, router_process
from tests.doubles.webhooks import alert, body
from tests.servers import Generation, get_json, start_alertmanager

pytestmark = pytest.mark.browser

CONFIG = "route: {receiver: none, group_by: [alertname, target]}\nreceivers: [{name: none}]\n"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("chromium was not found on the PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def routed(generation: Generation, keep: Keep, tmp_path: Path) -> Iterator[tuple[RouterProcess, str]]:
    server = keep(start_alertmanager(generation.alertmanager, tmp_path / "alertmanager", CONFIG))
    with router_process(tmp_path, f"ports: {{alertmanager: {server.port}}}\n") as router:
        page = alert(starts=time.time() - 185, labels={"messaging_destination_name": "emails"})
        httpx.post(f"{server.url}/api/v2/alerts", json=[_as_prometheus_sends(page)]).raise_for_status()
        headers = {"Authorization": f"Bearer {router.token}"}
        for content in (body(page), body(alert("Watchdog", starts=1.0))):
            httpx.post(f"{router.url}/webhook/alertmanager", content=content, headers=headers).raise_for_status()
        yield router, server.url


def _as_prometheus_sends(page: dict[str, Any]) -> dict[str, Any]:
    return {name: page[name] for name in ("labels", "annotations", "startsAt")}


def _no_sideways_scrolling(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_inbox_is_read_and_silenced_on_a_phone(browser: Browser, routed: tuple[RouterProcess, str]) -> None:
    """Without JavaScript: the page is found, its buttons are large enough, and Alertmanager has the silence."""
    router, alertmanager = routed
    context = browser.new_context(viewport={"width": 390, "height": 800}, java_script_enabled=False)
    page = context.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.on("requestfailed", lambda request: refused.append(request.url))
    page.goto(f"{router.url}/")
    assert page.get_by_role("heading", name="1 page firing").is_visible()
    assert page.get_by_text("930 of 1000 messages").is_visible()
    page.get_by_role("link", name="Queue emails of orders is at 93 % of its capacity").click()
    button = page.get_by_role("button", name="1h")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Why").fill("restarting the workers")
    button.click()
    assert page.get_by_role("status").inner_text() == "Done: silenced for 1h."
    (silence,) = get_json(f"{alertmanager}/api/v2/silences")
    assert (silence["createdBy"], silence["comment"]) == ("Ada", "restarting the workers")
    (muted,) = get_json(f"{alertmanager}/api/v2/alerts?silenced=true")
    assert muted["status"]["state"] == "suppressed"
    page.get_by_role("button", name="End the silence").click()
    assert page.get_by_role("status").inner_text() == "Done: silence ended."
    assert get_json(f"{alertmanager}/api/v2/silences")[0]["status"]["state"] == "expired"
    assert refused == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_can_be_read(browser: Browser, routed: tuple[RouterProcess, str], scheme: Any) -> None:
    """On a phone nothing scrolls sideways; text and its ground differ enough, by day and by night."""
    router, _ = routed
    (group,) = httpx.get(f"{router.url}/api/v1/groups").json()
    context = browser.new_context(viewport={"width": 360, "height": 700}, color_scheme=scheme)
    page = context.new_page()
    for path in ("/", f"/groups/{group['id']}", "/dead-letters", "/runbooks/QueueNearCapacity"):
        page.goto(f"{router.url}{path}")
        _no_sideways_scrolling(page)
        assert page.evaluate(_WORST_CONTRAST) >= 4.5, path
    context.close()


_WORST_CONTRAST = """() => {
  const light = (c) => {
    const [r, g, b] = c.match(/[0-9.]+/g).slice(0, 3).map((v) => {
      const x = v / 255;
      return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (!c.endsWith(", 0)") && c !== "transparent") return c;
    }
    return "rgb(255, 255, 255)";
  };
  let worst = 21;
  for (const e of document.querySelectorAll("main *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest("svg") || e.classList.contains("hidden")) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
    worst = Math.min(worst, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return worst;
}"""
