"""The shipped web app in chromium, before the demo as its camera: installed, without signal, beside the Python runtime.

Chromium's camera begins with its file when the stream opens, so the place in the clip is the time since then.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

import edge.demo
from edge.schema import Event
from tests.helpers.command import bear_alarm
from tests.helpers.feedback_evidence import table
from tests.helpers.phone_app import LEAD_S, Phone, app_folder, camera, phone, until

pytestmark = [pytest.mark.needs_tool("chromium"), pytest.mark.alone]

TRUTH = json.loads(Path(edge.demo.__file__).with_name("demo.json").read_text(encoding="utf-8"))
BEAR_S = TRUTH["bear_in_view_s"]
NEAR_S = 1.0  # as near as the phone's alarm comes to the device's
LATEST_S = 25.0  # by then the bear has gone
SKY = ((0.2, 0.05), (0.8, 0.05), (0.8, 0.35), (0.2, 0.35))  # where no animal of the demo ever is


@dataclass(frozen=True)
class Watch:
    """Record of a watch on the phone."""

    began_s: float  # in the clip
    asked: list[str]  # files of the host, after it went down
    opened: list[float]  # when the camera was, since the reload
    sounds: tuple[int, int]  # tones of the siren that began, before the watch and at the alarm
    state: str  # at the alarm
    events: list[dict[str, Any]]
    listed: list[str]  # words of the events, then after a reload
    pictures: list[int]  # their widths, too
    words: str  # of the export
    zip: Path
    exported: bool

    def clip_s(self, event: dict[str, Any]) -> float:
        """Return an event's time in the clip, in seconds."""
        return datetime.fromisoformat(event["captured_at"]).timestamp() - self.opened[0] / 1000 - LEAD_S


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    """A phone that the app was installed on, that lost its signal, and that saw the demo."""
    with phone(app_folder(tmp_path_factory), camera(tmp_path_factory, "meadow, then the demo")) as app:
        app.check()  # the first visit brings app and model
        app.site.down = True
        app.site.asked.clear()
        app.page.reload()
        app.watch()
        began_s, quiet = app.clip_s - LEAD_S, app.asked("sounds")
        until(lambda: app.state == "bear" or app.clip_s > LEAD_S + LATEST_S, LEAD_S + LATEST_S)
        state, loud, opened = app.state, app.asked("sounds"), app.asked("opened")
        asked = [*app.site.asked]
        app.page.wait_for_timeout(1000)  # for the picture
        app.page.click("#silence")
        app.page.click("#stop")
        app.page.get_by_role("dialog").get_by_role("button", name="Stop watching").click()
        app.page.locator("#start").wait_for()
        events = app.events("bear")
        listed = [bears(app)]
        app.page.reload()
        listed.append(bears(app))
        app.page.get_by_role("button", name="A bear", exact=True).click()
        app.page.get_by_text("Reviewed: A bear").wait_for()
        with app.page.expect_download() as download:
            app.page.get_by_role("button", name="Export reviewed events").click()
        zip_ = tmp_path_factory.mktemp("export") / download.value.suggested_filename
        download.value.save_as(zip_)
        app.page.get_by_text("is in the zip file").wait_for()
        words = app.page.locator(".events-status").inner_text()
        [kept] = [kept for kept in app.stored("incidents").values() if kept["events"][0]["kind"] == "bear"]
    texts, widths = zip(*listed, strict=True)
    return Watch(
        began_s, asked, opened, (quiet, loud), state, events, list(texts), list(widths), words, zip_, kept["exported"]
    )


def bears(app: Phone) -> tuple[str, int]:
    """Return the list's words for the only bear, and the width of its picture."""
    app.go("events")
    item = app.page.locator(".event-bear")
    picture = item.locator("img")
    until(lambda: bool(picture.evaluate("each => each.complete && each.naturalWidth")), 5)
    return item.inner_text(), picture.evaluate("each => each.naturalWidth")


def test_opening_the_page_once_is_enough_to_start_without_signal(tmp_path_factory: pytest.TempPathFactory) -> None:
    with phone(app_folder(tmp_path_factory), None) as app:
        said = app.page.locator("#install").get_by_text("Ready, also without signal.")
        said.wait_for(timeout=90_000)
        app.site.down = True
        app.page.reload()
        said.wait_for()
        app.page.click("#check-start")
        app.row("Bear detector").get_by_text("Ready, also without signal.").wait_for(timeout=90_000)


def test_without_signal_nothing_is_fetched_but_the_look_for_updates(watched: Watch) -> None:
    assert set(watched.asked) <= {"sw.js", "model.json"}


def test_the_camera_is_opened_once(watched: Watch) -> None:
    assert len(watched.opened) == 1


def test_the_bear_alarms_when_it_does_on_the_device(watched: Watch, tmp_path: Path) -> None:
    words = ("--events", "-", "--evidence", tmp_path)
    ran = bear_alarm("watch", "demo", *words)
    assert ran.returncode == 0, ran.stderr
    device = [Event.from_json(line) for line in ran.stdout.splitlines()]
    [here] = [each.media_time_s for each in device if each.kind == "bear" and each.type == "new"]
    assert here is not None
    [alarm] = [each for each in watched.events if each["type"] == "new"]
    assert watched.clip_s(alarm) == pytest.approx(here, abs=NEAR_S)
    assert watched.state == "bear"
    assert watched.sounds[1] > watched.sounds[0], "the siren sounds"


def test_fox_boar_and_toy_do_not_alarm(watched: Watch) -> None:
    fox, boar = (TRUTH["intervals_s"][name] for name in ("fox", "boar"))
    assert watched.began_s < fox[0] < boar[0], "the phone watched while both were in view"
    assert all(watched.clip_s(each) > BEAR_S for each in watched.events)


def test_the_event_and_its_picture_stay_after_a_reload(watched: Watch) -> None:
    for words, width in zip(watched.listed, watched.pictures, strict=True):
        assert "Brown bear" in words
        assert "very likely a bear" in words
        assert width > 50


def test_its_events_are_those_of_the_device(watched: Watch) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(bear_alarm("schema", "event").stdout)
    assert [each["type"] for each in watched.events] == ["new", "end"]
    for raw in watched.events:
        jsonschema.validate(raw, schema)
        event = Event.from_json(json.dumps(raw))
        assert (event.camera, event.label, event.durable) == ("phone", "brown_bear", True)
        assert set(raw) == set(Event.__dataclass_fields__)


def test_the_zip_is_imported_as_one_bear_with_its_box(watched: Watch, tmp_path: Path) -> None:
    assert "1 event is in the zip file" in watched.words
    assert watched.exported
    ran = bear_alarm("feedback", "import", watched.zip, "--into", tmp_path, "--site", "apiary", "--json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert (found["events"], found["left_out"]) == (1, [])
    rows = table(tmp_path)
    assert {row["label"] for row in rows} == {"bear_any"}
    [full] = [row["file"] for row in rows if "part=full;" in row["note"]]
    with (tmp_path / "boxes.csv").open(newline="") as opened:
        [box] = [row for row in csv.DictReader(opened) if row["file"] == full]
    x, y, w, h = next(each["box_xywh"] for each in watched.events if each["type"] == "new")
    assert [float(box[name]) for name in ("x1", "y1", "x2", "y2")] == pytest.approx([x, y, x + w, y + h], abs=1e-3)


def test_a_zone_drawn_on_the_picture_is_kept_and_decides(tmp_path_factory: pytest.TempPathFactory) -> None:
    with phone(app_folder(tmp_path_factory), camera(tmp_path_factory, "meadow, then the demo")) as app:
        app.go("settings")
        app.page.get_by_role("button", name="Draw a zone").click()
        app.page.locator("#zone").wait_for()
        until(lambda: app.page.locator("video").evaluate("video => video.videoWidth") > 0, 10)
        draw(app, SKY)
        app.page.fill("#zone-name", "Sky")
        app.page.get_by_role("button", name="Save", exact=True).click()
        app.page.locator("#zones-said").get_by_text("Sky is saved.").wait_for()
        app.page.locator("#zones li", has_text="Sky").wait_for()
        until(lambda: "zones" in app.stored("settings"), 10)  # after it is said
        app.page.reload()
        app.go("settings")
        assert app.page.locator("#zones li").inner_text().startswith("Sky")
        [zone] = app.stored("settings")["zones"]
        corners = sorted(tuple(each) for each in zone["corners"])
        assert [pytest.approx(each, abs=0.02) for each in corners] == sorted(SKY)
        app.go("watch")
        app.watch()
        assert app.clip_s < LEAD_S + BEAR_S
        until(lambda: app.clip_s > LEAD_S + 20, LEAD_S + 20)
        assert app.state in ("watching", "maybe")
        assert not app.events("bear")


def draw(app: Phone, corners: tuple[tuple[float, float], ...]) -> None:
    """Draw a line through these points of the picture, with the mouse."""
    box = app.page.locator("#picture").bounding_box()
    wide, high = app.page.locator("video").evaluate("({ videoWidth, videoHeight }) => [videoWidth, videoHeight]")
    scale = min(box["width"] / wide, box["height"] / high)
    left, top = box["x"] + (box["width"] - scale * wide) / 2, box["y"] + (box["height"] - scale * high) / 2
    mouse = app.page.mouse
    for number, (x, y) in enumerate(corners):
        mouse.move(left + x * scale * wide, top + y * scale * high, steps=5)
        if number == 0:
            mouse.down()
    mouse.up()
