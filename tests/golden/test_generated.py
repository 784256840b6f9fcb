"""What is committed is what the code makes: nobody edits generated files, nobody forgets to render."""

from __future__ import annotations

import dashboards
from tests.house import house_settings, rendered_rules
from tocsin.paths import HOUSE


def test_committed_rules_are_what_the_catalogue_renders() -> None:
    """alert_rules/generated holds exactly the rendered files; `tocsin render` writes them."""
    folder = HOUSE / "alert_rules" / "generated"
    committed = {path.name: path.read_text() for path in folder.iterdir()}
    assert committed == rendered_rules(house_settings())


def test_committed_dashboards_are_what_the_boards_render() -> None:
    """dashboards/generated holds exactly the rendered files, byte for byte."""
    folder = HOUSE / "dashboards" / "generated"
    committed = {path.name: path.read_text() for path in folder.iterdir()}
    assert committed == dashboards.render(house_settings())


def test_rendering_twice_gives_the_same_bytes() -> None:
    """Rules and boards do not depend on the time, the order of sets, or an earlier call."""
    settings = house_settings()
    assert rendered_rules(settings) == rendered_rules(settings)
    assert dashboards.render(settings) == dashboards.render(settings)
