"""Graphs and runbooks: drawn on the server, safe whatever is in them."""

from __future__ import annotations

import math
import re
from random import Random
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alert_router.graph import Picture, Series, draw, nice_step, number
from alert_router.retry import BASE_SECONDS, CAP_SECONDS, next_backoff
from alert_router.runbooks import to_html

FINITE = st.floats(min_value=-1e12, max_value=1e12)


def svg(*points: tuple[float, float], **more: float) -> ET.Element:
    """Draw one line."""
    return ET.fromstring(draw(Picture((Series({}, points),), 0.0, 3600.0, **more)))


def paths(root: ET.Element) -> str:
    """The line that was drawn."""
    return str(next(path.get("d") for path in root.iter("path")))


def test_a_gap_in_the_samples_is_a_gap_in_the_line() -> None:
    """A line drawn over missing samples would tell a story that nobody measured."""
    whole = [(float(at), 1.0) for at in range(0, 600, 60)]
    broken = [point for point in whole if not 120 < point[0] < 480]
    assert paths(svg(*whole)).count("M") == 1
    assert paths(svg(*broken)).count("M") == 2


def test_threshold_and_time_of_the_alert_are_drawn() -> None:
    """The number that was compared with, and since when."""
    root = svg((0.0, 1.0), (60.0, 2.0), threshold=1.5, fired=600.0, ended=1200.0)
    classes = [element.get("class") for element in root.iter()]
    assert {"band", "threshold", "threshold-text", "series s0"} <= set(classes)


def test_values_that_are_no_numbers_are_left_out() -> None:
    """NaN and infinity cannot be drawn."""
    assert "nan" not in paths(svg((0.0, 1.0), (60.0, math.nan), (120.0, math.inf), (180.0, 2.0))).lower()


@given(st.lists(st.tuples(st.floats(0, 3600), FINITE), min_size=1, max_size=30), st.one_of(st.none(), FINITE))
def test_any_series_is_a_drawing_inside_its_frame(points: list[tuple[float, float]], threshold: float | None) -> None:
    """Whatever Prometheus answers, the SVG is well formed and nothing leaves the picture."""
    root = ET.fromstring(draw(Picture((Series({}, tuple(sorted(points))),), 0.0, 3600.0, threshold)))
    for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", paths(root)):
        assert 0 <= float(x) <= 720
        assert 0 <= float(y) <= 320


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_grid_steps_are_round(rough: float) -> None:
    """1, 2, 2.5, 5 or 10 times a power of ten, and not smaller than asked."""
    step = nice_step(rough)
    assert rough * 0.99 <= step <= rough * 10.01


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.85, "0.85"), (930, "930"), (1250, "1.25k"), (3.5e6, "3.5M"), (0.0001, "1.0e-04")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    """As on a good axis."""
    assert number(value) == text


def test_markdown_of_runbooks_becomes_html() -> None:
    """Headings, lists in lists, code, tables, quotes, links between runbooks."""
    html = to_html(
        "# Title\n\nText with `code`, **strong** and *soft*.\n\n1. first\n   goes on\n2. second\n   - inner\n\n"
        "```sh\necho '<x>'\n```\n\n> said\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[other](QueueStalled.md) <https://x.org>"
    )
    for part in (
        "<h1>Title</h1>",
        "<code>code</code>",
        "<strong>strong</strong>",
        "<em>soft</em>",
        "<li>first goes on</li>",
        "<ul>",
        "<li>inner</li>",
        "echo &#x27;&lt;x&gt;&#x27;",
        "<blockquote><p>said</p></blockquote>",
        "<td>2</td>",
        '<a href="/runbooks/QueueStalled">other</a>',
        '<a href="https://x.org">',
    ):
        assert part in html
    ET.fromstring(f"<div>{html}</div>")


@given(st.text(alphabet="ab<>&\"'`*_[]()#|-> \n.:/1javscript", max_size=200))
def test_any_markdown_is_well_formed_and_harmless(text: str) -> None:
    """No markup of its own gets through, and no address but http(s) and our own pages."""
    root = ET.fromstring(f"<div>{to_html(text)}</div>")
    for element in root.iter():
        assert element.tag not in ("script", "img", "iframe")
        href = element.get("href", "/")
        assert not re.match(r"\s*(javascript|data|vbscript):", href)


@given(st.floats(0, 300), st.randoms(use_true_random=False))
def test_backoff_stays_in_its_bounds(previous: float, random: Random) -> None:
    """Between one second and five minutes, at most three times the last wait."""
    wait = next_backoff(previous, random)
    assert BASE_SECONDS <= wait <= min(CAP_SECONDS, max(BASE_SECONDS, previous) * 3)
