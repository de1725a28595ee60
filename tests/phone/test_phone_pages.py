"""The screens of the shipped web app: axe-core finds nothing serious, light and dark; the browser's language."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("playwright")

from tests.helpers.phone_app import Phone, app_folder, camera, phone, until
from tests.helpers.phone_web import MODULES

pytestmark = [pytest.mark.needs_tool("chromium"), pytest.mark.alone]

AXE = MODULES / "axe-core" / "axe.min.js"
FAULTS = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(" ")}`);
}"""


def faults(app: Phone, screen: str) -> dict[str, Any]:
    """Return the faults axe-core finds on the screen that is shown, light and dark."""
    found = {}
    for scheme in ("light", "dark"):
        app.page.emulate_media(color_scheme=scheme)
        assert app.page.get_attribute("body", "data-screen") == screen
        found[f"{screen}, {scheme}"] = app.page.evaluate(FAULTS)
    return {where: what for where, what in found.items() if what}


@pytest.mark.needs_tool("node")
@pytest.mark.skipif(not AXE.is_file(), reason="run `npm ci` in edge/phone/web first")
def test_axe_core_finds_no_serious_fault(tmp_path_factory: pytest.TempPathFactory) -> None:
    with phone(app_folder(tmp_path_factory), camera(tmp_path_factory, "demo"), script=AXE) as app:
        found = faults(app, "start")
        app.check()
        found |= faults(app, "check")
        app.page.reload()  # the clip begins again
        app.watch()
        found |= faults(app, "watch")
        app.go("settings")
        found |= faults(app, "settings")
        app.page.get_by_role("button", name="Draw a zone").click()
        app.page.locator("#zone").wait_for()  # once the camera is open
        found |= faults(app, "zone")
        until(lambda: app.state == "bear", 30)  # it takes the user to the watch
        alarm = faults(app, "watch")
        found |= {f"{where}, bear": what for where, what in alarm.items()}
        assert app.state == "bear"
        app.page.click("#silence")
        app.go("events")
        app.page.locator(".event-bear img").wait_for()
        found |= faults(app, "events")
    assert not found


def test_it_speaks_the_browsers_language(tmp_path_factory: pytest.TempPathFactory) -> None:
    with phone(app_folder(tmp_path_factory), None, locale="de-AT") as app:
        app.page.get_by_role("heading", name="Mit diesem Telefon nach Bären Ausschau halten").wait_for()
        assert app.page.get_attribute("html", "lang") == "de"
        assert app.page.title() == "Bärenalarm"
        app.page.click("#check-start")
        app.page.get_by_text("Die Seite findet an diesem Telefon keine Kamera.").wait_for()
        app.page.get_by_role("button", name="Noch einmal versuchen").wait_for()
        app.go("settings")
        app.page.select_option("#language", "en")
        app.page.get_by_role("heading", name="Settings").wait_for()
        until(lambda: app.stored("settings").get("language") == "en", 10)  # after it is shown
        app.page.reload()
        app.page.get_by_role("heading", name="Watch for bears with this phone").wait_for()
