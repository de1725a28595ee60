"""Drift on the page: what everybody sees, and the button of the owner."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from edge.page.guard import COOKIE
from edge.record.days import day_of, read_days
from tests.helpers.day_rows import write_days
from tests.helpers.page_world import OWNER, World, page_world
from tests.helpers.phone_web import chromium
from tests.page.test_live import AXE, FAULTS

LOOKED = {"camera": "yard", "figure": "brightness", "night": "0"}
WORDS = "darker than before: is the lens dirty?"


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with page_world(tmp_path_factory.mktemp("drift")) as made:
        yield made


def darker(world: World, *, days: int = 60) -> None:
    """Have the yard be darker since ten days ago."""
    last = day_of(datetime.now(UTC), night=True) - timedelta(days=1)
    write_days(world.state, days=days, dark_days=10, last=last, model=world.alarm.classifier.name)
    drift = world.alarm.drift
    assert drift
    drift._read_on = None  # as if a day had just ended
    drift.look()


def test_a_drift_is_shown_until_the_owner_looked(world: World) -> None:
    with world.client("viewer") as viewer, world.client() as owner:
        assert '<a href="/drift">' in viewer.get("/health").text
        assert "There are no figures yet" in viewer.get("/drift").text
        darker(world, days=20)
        seen = viewer.get("/drift").text
        assert "not known yet" in seen
        assert "needs 1 more day<" in seen
        darker(world)
        seen, own = viewer.get("/drift").text, owner.get("/drift").text
        assert WORDS in seen
        assert "110 of 255" in seen
        assert "I looked</button>" not in seen
        assert "I looked: Brightness by day" in own
        assert viewer.change("/drift/looked", LOOKED).status_code == 403
        assert owner.change("/drift/looked", LOOKED).headers["Location"] == "/drift"
        seen = viewer.get("/drift").text
        assert WORDS not in seen
        assert "Nothing has changed in what is known" in seen
        assert "needs 21 more days" in seen
        refused = owner.change("/drift/looked", LOOKED)
        assert (refused.status_code, "load the page again" in refused.text) == (409, True)


def test_the_alarm_feeds_it(world: World) -> None:
    """The loop gives its minutes, and the events of a camera reach it."""
    alarm, drift = world.alarm, world.alarm.drift
    assert drift
    assert alarm.threads[0].watcher.minutes
    assert alarm.alerting
    wrong_view = alarm.run.event("camera", "new", "1", "yard", label="moved", detail="another view")
    alarm.alerting.publish(wrong_view)
    drift.look()
    assert [day.moved for day in read_days(world.state, ["yard"], datetime.now().astimezone().date()).values()] == [
        True
    ]


def test_a_form_that_names_nothing_is_refused(world: World) -> None:
    darker(world)
    with world.client() as owner:
        for form in ({}, LOOKED | {"figure": "ghost"}, LOOKED | {"camera": "<b>"}, LOOKED | {"night": "1"}):
            assert owner.change("/drift/looked", form).status_code == 409


@pytest.mark.needs_tool("chromium")
@pytest.mark.alone
@pytest.mark.skipif(not AXE.is_file(), reason="run `npm ci` in edge/phone/web first")
def test_axe_core_finds_no_fault(world: World) -> None:
    pytest.importorskip("playwright")
    darker(world)
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 320, "height": 800})
        cookie = {"name": COOKIE, "value": world.accounts.log_in(OWNER, "test"), "url": world.address}
        context.add_cookies([cookie])
        page = context.new_page()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.goto(f"{world.address}/drift")
            page.get_by_text("All figures").click()
            page.evaluate(AXE.read_text())
            assert page.evaluate(FAULTS) == []
            assert page.evaluate("document.documentElement.scrollWidth") == 320
        page.get_by_role("button", name="I looked: Brightness by day").click()
        page.get_by_text("Nothing has changed").wait_for()
