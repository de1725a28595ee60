"""The shipped web app in chromium when something is wrong: each trouble has its sentence, an event and a way on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from tests.helpers.phone_app import GRANTED, Phone, app_folder, camera, phone, until

pytestmark = [pytest.mark.needs_tool("chromium"), pytest.mark.alone]

TICK_S = 4  # the page looks once a second, and this machine may have other work
SILENT_S = 3  # without a frame the camera is gone
FROZEN_S = 5 + 3  # the same picture for so long, and the time of grace
BLACK_S = 2 + 5
STALE_S = 10  # a look that is older tells nothing
ANSWER_S = 15  # a detector that takes longer is replaced
DELETE_MODELS = """async () => {
  for (const name of await caches.keys()) if (name.includes(" model ")) await caches.delete(name);
}"""
SPOIL_MODELS = """async () => {
  for (const name of await caches.keys()) {
    if (!name.includes(" model ")) continue;
    const cache = await caches.open(name);
    for (const { url } of await cache.keys()) if (url.endsWith(".onnx")) await cache.put(url, new Response("spoilt"));
  }
}"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  if (hidden) for (const lock of asked.locks) lock.release();
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return app_folder(tmp_path_factory)


@pytest.fixture
def meadow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return camera(tmp_path_factory, "meadow")


def watches_again(app: Phone, within_s: float = 30) -> None:
    """See that it watches, and that nobody need wait for it."""
    until(lambda: app.state == "watching", within_s)


def test_a_camera_that_is_not_allowed(app: Path, meadow: Path) -> None:
    with phone(app, meadow, allowed=False) as there:
        there.page.click("#check-start")
        there.row("Camera").get_by_text("The camera is not allowed for this page.").wait_for()
        there.page.context.grant_permissions(GRANTED)
        there.try_again()
        there.row("Camera").get_by_text("The camera gives a picture of 1280 × 720.").wait_for()
        there.page.get_by_role("button", name="Yes").click()
        there.page.click("#start-watching")
        watches_again(there)
        there.page.context.clear_permissions()  # the browser ends the stream
        until(lambda: there.state == "blind", SILENT_S + TICK_S)
        there.page.locator("#problems").get_by_text("The camera is not allowed for this page.").wait_for()
        until(lambda: any(each.startswith("new: gone") for each in there.words("camera")), SILENT_S + TICK_S)
        there.page.context.grant_permissions(GRANTED)
        there.try_again()
        watches_again(there)
        until(lambda: any(each.startswith("end: gone") for each in there.words("camera")), TICK_S)
        assert there.problems == ""


def test_a_phone_without_a_camera(app: Path) -> None:
    with phone(app, None) as there:
        there.page.click("#check-start")
        there.row("Camera").get_by_text("This phone shows no camera to the page.").wait_for()
        there.page.get_by_role("button", name="Yes").click()
        there.row("Bear detector").get_by_text("Ready, also without signal.").wait_for()
        assert there.page.is_disabled("#start-watching")
        there.try_again()
        there.row("Camera").get_by_text("This phone shows no camera to the page.").wait_for()


def test_a_camera_that_another_app_takes(app: Path, meadow: Path) -> None:
    with phone(app, meadow) as there:
        there.watch()
        there.page.evaluate("() => { asked.lost = 'NotReadableError'; asked.stream.getTracks()[0].stop(); }")
        until(lambda: there.state == "blind", SILENT_S + TICK_S)
        there.page.locator("#problems").get_by_text("The camera gives no picture.").wait_for()
        there.page.locator("#problems").get_by_text("Another app uses the camera.").wait_for()
        until(lambda: any(each.startswith("new: gone") for each in there.words("camera")), SILENT_S + TICK_S)
        there.page.evaluate("() => { asked.lost = null; }")
        watches_again(there)  # by itself
        assert len(there.asked("opened")) == 2


@pytest.mark.parametrize(
    ("what", "within_s", "words"),
    [
        ("frozen", FROZEN_S, "The camera gives the same picture again and again."),
        ("black", BLACK_S, "The picture is black."),
    ],
)
def test_a_camera_that_shows_nothing_that_lives(
    tmp_path_factory: pytest.TempPathFactory, app: Path, what: str, within_s: float, words: str
) -> None:
    with phone(app, camera(tmp_path_factory, what)) as there:
        there.watch()
        until(lambda: there.state == "blind", within_s + TICK_S)
        there.page.locator("#problems").get_by_text(words).wait_for()
        until(lambda: any(each.startswith(f"new: {what}") for each in there.words("camera")), TICK_S)
        assert there.page.is_visible("#silence"), "a tone asks for help"


def spoilt(folder: Path) -> None:
    """Change the bytes of a model, and not their number."""
    [model] = folder.glob("model-*.onnx")
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 255
    model.write_bytes(data)


def removed(folder: Path) -> None:
    [model] = folder.glob("model-*.onnx")
    model.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(removed, "A file is missing on the server."), (spoilt, "A file on the server is not what it should be.")],
)
def test_a_model_that_the_host_lacks(
    app: Path, meadow: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    copy = tmp_path / "app"
    shutil.copytree(app, copy)
    spoil(copy)
    with phone(copy, meadow) as there:
        there.page.locator("#install").get_by_text(words).wait_for()
        there.page.click("#check-start")
        there.row("Bear detector").get_by_text(words).wait_for()
        [model] = app.glob("model-*.onnx")
        shutil.copy(model, copy)
        there.try_again()
        there.row("Bear detector").get_by_text("Ready, also without signal.").wait_for()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (DELETE_MODELS, "The detector's file is not on this phone."),
        (SPOIL_MODELS, "The detector's file is damaged."),
    ],
)
def test_a_model_that_the_phone_loses(app: Path, meadow: Path, spoil: str, words: str) -> None:
    with phone(app, meadow) as there:
        there.check()
        there.page.evaluate(spoil)
        there.site.down = True
        there.page.reload()
        there.page.click("#check-start")
        there.row("Bear detector").get_by_text(words).wait_for()
        there.try_again()
        there.row("Bear detector").get_by_text("Problem").wait_for()  # there is no signal yet
        there.site.down = False
        there.try_again()
        there.row("Bear detector").get_by_text("Ready, also without signal.").wait_for()


def test_a_full_storage_does_not_stop_the_alarm(tmp_path_factory: pytest.TempPathFactory, app: Path) -> None:
    with phone(app, camera(tmp_path_factory, "demo")) as there:
        there.check()
        browser = there.page.context.new_cdp_session(there.page)
        origin = {"origin": there.page.evaluate("origin")}
        browser.send("Storage.overrideQuotaForOrigin", origin | {"quotaSize": 1})
        # For half a minute chromium remembers how much room a database had, unless it is a new one.
        browser.send("Storage.clearDataForOrigin", origin | {"storageTypes": "indexeddb"})
        there.page.reload()
        there.watch()
        there.page.click("#stop")  # the question stops nothing, and the alarm takes it away
        quiet = there.asked("sounds")
        until(lambda: there.state == "bear", 25)
        assert there.asked("sounds") > quiet
        there.page.locator("#problems").get_by_text("The storage is full.").wait_for()
        there.go("events")
        there.page.locator(".event-bear").get_by_text("Not stored yet").wait_for()
        assert not there.events("bear")
        browser.send("Storage.overrideQuotaForOrigin", origin)
        there.go("watch")
        there.page.click("#stop")
        there.page.get_by_role("dialog").get_by_role(
            "button", name="Stop watching"
        ).click()  # its last event takes the ones before along
        until(lambda: len(there.events("bear")) == 2, 5)


def test_a_page_that_was_hidden_and_a_detector_that_hangs(app: Path, meadow: Path) -> None:
    # Headless chromium hides no page, neither behind another tab nor by its window: the test says it in its place.
    with phone(app, meadow) as there:
        there.watch()
        until(lambda: len(there.asked("locks")) == 1, 30)
        there.page.evaluate(HIDE, True)
        there.page.wait_for_timeout(1500)
        there.page.evaluate(HIDE, False)
        there.page.locator("#problems").get_by_text("the app was not in front").wait_for()
        watches_again(there, 5)
        until(lambda: len(there.asked("locks")) == 2, 30)
        away = ["new: hidden not watched: the app is not in front", "end: hidden not watched from "]
        until(lambda: len(there.words("health")) >= len(away), 30)  # the journal writes behind the watch
        found = there.words("health")
        assert len(found) == len(away), found
        assert all(each.startswith(start) for each, start in zip(found, away, strict=True))
        there.page.get_by_role("button", name="OK", exact=True).click()

        [worker] = there.page.workers
        worker.evaluate("() => void setTimeout(() => { for (;;); })")
        took = until(lambda: there.state == "blind", STALE_S + TICK_S)
        assert took > 1
        there.page.locator("#problems").get_by_text("The detector has not answered for more than 10 s.").wait_for()
        there.page.locator("#problems").get_by_text("The detector stopped and was started again").wait_for(
            timeout=1000 * (ANSWER_S + TICK_S)
        )
        watches_again(there)
        assert [each is not worker for each in there.page.workers] == [True]
        until(lambda: len(there.words("health")) >= 4, 30)
        assert [each.partition(":")[0] for each in there.words("health")[2:]] == ["new", "end"]
        assert "the detector stopped: no answer for" in there.words("health")[2]


def test_a_detector_that_dies_before_a_bear_when_its_model_is_gone(
    tmp_path_factory: pytest.TempPathFactory, app: Path
) -> None:
    with phone(app, camera(tmp_path_factory, "demo")) as there:
        there.site.headers["Cache-Control"] = "no-store"  # else the browser has the model a second time
        there.check()
        there.page.reload()  # the clip begins again
        there.watch()
        there.page.evaluate(DELETE_MODELS)
        there.site.down = True
        until(lambda: there.state == "bear", 25)
        [worker] = there.page.workers
        worker.evaluate("() => void setTimeout(() => { throw new Error('as the test wants it'); })")
        there.page.locator("#problems").get_by_text("The detector's file is not on this phone.").wait_for()
        assert there.state == "bear", "the siren goes on"
        there.page.click("#silence")
        assert there.state == "blind"
        there.site.down = False
        there.try_again()
        until(lambda: there.state in ("watching", "maybe", "bear"), 30)  # the bear may be there still
        kept = [kept["events"] for kept in there.stored("incidents").values()]
        health = [events for events in kept if events[0]["kind"] == "health"]
        assert [[event["type"] for event in events] for events in health] == [["new", "end"]] * 2
        assert any("as the test wants it" in each for each in there.words("health"))
        assert any("model-missing" in each for each in there.words("health"))
        new, end, *_ = there.events("bear")
        assert (end["id"], end["type"]) == (new["id"], "end")
        assert end["detail"] == "the detector stopped, so nothing more is known"
        assert end["seq"] > new["seq"]
