"""Live pictures: what is seen of them, by how many, and the stream of how all of it is."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from edge.decide.schedule import parse_schedule
from edge.detect.tracker import Track, Tracker
from edge.detect.zones import Zone
from edge.page import live, server
from edge.page.guard import COOKIE, SECURE_COOKIE
from edge.page.live import LEAST_PX, MAX_LISTENERS, camera_now
from edge.schema import LazyImage, Region, Score
from edge.settings import CameraSettings
from tests.helpers.magenta import MAGENTA, magenta
from tests.helpers.page_world import OWNER, Client, World, page_world, wait_for
from tests.helpers.phone_web import CHROMIUM, MODULES

VIDEO = "/live/yard.mjpeg"
AXE = MODULES / "axe-core" / "axe.min.js"
FAULTS = """async () => (await axe.run(document)).violations.map(
  ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(" ")}`)"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with page_world(tmp_path_factory.mktemp("live")) as made:
        yield made


@pytest.fixture
def log_in(world: World) -> Iterator[Callable[..., Client]]:
    """Clients that are closed in the end."""
    with ExitStack() as open_:
        yield lambda role="owner": open_.enter_context(world.client(role))


def picture(client: Client) -> Any:
    answer = client.get("/live/yard.jpg")
    assert answer.headers["Content-Type"] == "image/jpeg"
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)


@contextmanager
def watched(client: Client) -> Iterator[Iterator[bytes]]:
    """The JPEGs of the live picture."""
    with client.stream("GET", VIDEO) as answer:
        assert answer.status_code == 200

        def parts() -> Iterator[bytes]:
            kept = b""
            for chunk in answer.iter_raw():
                kept += chunk
                while (end := kept.find(b"\r\n--frame\r\n")) >= 0:
                    yield kept[:end].partition(b"\r\n\r\n")[2]
                    kept = kept[end + 2 :]

        yield parts()


@contextmanager
def listening(client: Client) -> Iterator[Iterator[dict]]:
    with client.stream("GET", "/stream") as answer:
        assert answer.status_code == 200
        lines = (line for line in answer.iter_lines() if line.startswith("data: "))
        yield (json.loads(line.removeprefix("data: ")) for line in lines)


def status(client: Client, place: str) -> int:
    """The status of an answer without end."""
    with client.stream("GET", place) as answer:
        return answer.status_code


def test_who_is_logged_in_sees_each_camera(world: World, log_in: Callable[..., Client]) -> None:
    for role in ("owner", "viewer"):
        page = log_in(role).get("/")
        assert "Watching" in page.text
        assert 'src="/live/yard.jpg"' in page.text
        assert picture(log_in(role)).shape == (360, 640, 3)
    for place in ("/live/yard.jpg", VIDEO, "/stream"):
        assert log_in("").get(place, headers={"Accept": "*/*"}).status_code == 401
    for place in ("/live/barn.jpg", "/live/barn.mjpeg"):
        assert log_in().get(place).status_code == 404


def test_the_picture_shows_zones_and_the_bar_and_hides_what_masks_cover(
    world: World, log_in: Callable[..., Client]
) -> None:
    thread, client = world.alarm.threads[0], log_in()
    before = thread.camera
    left = ((0.0, 0.0), (0.4, 0.0), (0.4, 0.5), (0.0, 0.5))
    right = tuple((x + 0.5, y) for x, y in left)
    thread.camera = replace(before, settings=CameraSettings(masks=(left,), zones=(Zone("hives", right),)))
    try:
        wait_for(lambda: picture(client)[60:120, 60:120].mean() < 60)  # hatched, else black
        shown = picture(client)
    finally:
        thread.camera = before
    assert shown[170:180, 330:560, 0].max() > 200  # the zone's lower edge is blue
    rows = (shown[-12:, 400:].astype(int).min(2) > 120).astype(np.uint8)
    longest = max(len(run) for row in rows for run in bytes(row).split(b"\0"))
    assert longest == pytest.approx(LEAST_PX, abs=3)


def test_what_masks_cover_mixes_into_nothing_beside_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    thread, mask = world.alarm.threads[0], ((0.0, 0.0), (1.0, 0.0), (1.0, 0.3004), (0.0, 0.3004))
    monkeypatch.setattr(thread, "camera", replace(thread.camera, settings=CameraSettings(masks=(mask,))))
    assert thread.watcher.seen
    seen = np.full((1111, 2000, 3), (60, 120, 60), np.uint8)
    seen[:334] = MAGENTA  # no multiple of 2.5, by which it is made smaller
    shown = live.drawn(thread, replace(thread.watcher.seen[0], picture=seen), (), old=False)
    assert magenta(shown) < 20


def test_two_see_the_same_pictures_and_a_third_finds_no_place_until_one_leaves(
    world: World, log_in: Callable[..., Client]
) -> None:
    third = log_in()
    with watched(log_in()) as one:
        with watched(log_in("viewer")) as other:
            first = next(one)
            assert third.get(VIDEO).status_code == 503
            mine, theirs = {first}, set[bytes]()
            for _ in range(200):  # one began before the other; on a busy machine each misses some
                mine.add(next(one))
                theirs.add(next(other))
                if len(mine & theirs) > 10:
                    break
            assert first.startswith(b"\xff\xd8")
            assert len(mine) > 10  # it moves
            assert len(mine & theirs) > 10  # made once
        wait_for(lambda: status(third, VIDEO) == 200)


@pytest.mark.alone
def test_who_takes_no_pictures_is_cut_off(
    world: World, log_in: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STALLED_S", 1.0)
    client = log_in()
    url = httpx.URL(world.address)
    with closing(socket.socket()) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect((url.host, url.port))
        cookie = f"{COOKIE}={client.cookies[COOKIE]}"
        stuck.sendall(f"GET {VIDEO} HTTP/1.1\r\nHost: {url.host}\r\nCookie: {cookie}\r\n\r\n".encode())
        page = log_in()
        with listening(page) as states, watched(client):  # the other place
            assert next(state for state in states if not state["place"])
            assert next(state for state in states if state["place"])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_session_goes_on_until_it_is_over(world: World, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CHECK_S", 0.2)
    monkeypatch.setattr(live, "AGAIN_S", 600.0)
    monkeypatch.setattr(live, "all_now", lambda page, owner: {"owner": owner})  # no news: it is sent once
    session = world.accounts.log_in(OWNER, "test")
    client = Client(world.address)
    name = SECURE_COOKIE if scheme == "https" else COOKIE
    client.headers.update({"X-Forwarded-Proto": scheme, "Cookie": f"{name}={session}"})
    with client, listening(client) as states, watched(client) as pictures:
        assert next(states)
        until = time.monotonic() + 3 * live.CHECK_S
        while time.monotonic() < until:
            assert next(pictures)
        world.accounts.log_out(session)
        assert not list(states)
        assert len(list(pictures)) < 100


def test_the_stream_tells_of_a_bear_and_of_each_event(world: World, log_in: Callable[..., Client]) -> None:
    with listening(log_in("viewer")) as states:
        before = next(states)
        assert (before["alarm"], before["well"]) == (False, True)
        assert before["cameras"][0] == {
            "name": "yard",
            "state": "watching",
            "words": "Watching",
            "age": "now",
            "picture": True,
            "old": False,
            "silent": "",
            "stage": "",
        }
        world.yard.bear = True
        during = next(state for state in states if state["alarm"])
        world.yard.bear = False
        assert during["cameras"][0]["state"] == "bear"
        next(state for state in states if not state["alarm"] and state["events"] >= before["events"] + 2)


def test_twenty_listen_and_their_places_are_free_again(world: World, log_in: Callable[..., Client]) -> None:
    client = log_in("viewer")
    with ExitStack() as open_:
        for _ in range(MAX_LISTENERS):
            next(open_.enter_context(listening(client)))
        assert client.get("/stream").status_code == 503
    wait_for(lambda: status(client, "/stream") == 200)


def test_two_threads_may_ask_for_one_picture() -> None:
    made, both = [], threading.Barrier(2)

    def make() -> np.ndarray:
        made.append(1)
        if len(made) < 3:
            both.wait(10.0)
        return np.zeros((2, 2, 3), np.uint8)

    later = LazyImage(make, (2, 2))
    other = threading.Thread(target=later)
    other.start()
    assert later().shape == (2, 2, 3)
    other.join()
    assert later().shape == (2, 2, 3)
    assert len(made) == 2


def test_a_camera_that_is_gone_shows_its_last_picture_as_old(tmp_path) -> None:
    with page_world(tmp_path) as world, world.client() as client:
        thread = world.alarm.threads[0]
        thread.close()
        thread.join(10.0)
        fresh = thread.watcher.seen
        now = camera_now(thread, time.monotonic())
        assert now.state == "off"
        page = client.get("/").text
        assert "Not watching: " in page
        assert fresh
        live, old = fresh[0].image, picture(client)
        assert np.abs(live[60:140, 60:].astype(int) - old[60:140, 60:]).mean() < 12  # it is the last one
        middle = old[165:195, 160:480].astype(int).min(2)  # OLD PICTURE, in half of the width
        assert (middle > 200).any(0)[::8].mean() > 0.4
        assert 'hint mode">Old picture' in page


def test_a_picture_of_some_seconds_ago_is_not_watching(world: World) -> None:
    now = camera_now(world.alarm.threads[0], time.monotonic() + live.OLD_S + 2.0)
    assert (now.state, now.words, now.old) == ("off", "Not watching: no picture for 5 s", True)


def test_outside_the_schedule_every_page_says_that_it_is_silent(world: World, log_in: Callable[..., Client]) -> None:
    thread, later = world.alarm.threads[0], datetime.now().astimezone() + timedelta(hours=2)
    before, words = thread.camera, f"Silent until {later:%H:%M} (schedule)"
    silent = parse_schedule(f"{later:%H:%M}-{later + timedelta(hours=1):%H:%M}")
    thread.camera = replace(before, settings=CameraSettings(schedule=silent))
    try:
        for place in ("/", "/health"):
            assert words in log_in("viewer").get(place).text
        with listening(log_in()) as states:
            world.yard.bear = True
            assert next(state for state in states if state["alarm"])["silent"] == words
            world.yard.bear = False
            assert next(state for state in states if not state["alarm"])["silent"] == ""
    finally:
        thread.camera, world.yard.bear = before, False


def test_a_bear_shows_no_score_that_would_be_none(world: World) -> None:
    tracker = Tracker(0.5)
    box = (0.1, 0.1, 0.2, 0.2)
    for number, bear in ((1, 0.02), (2, 0.9), (3, 0.02)):
        score = Score(Region(box, "track"), (1.0 - bear, bear), bear, "brown_bear", 0.0)
        tracker.tracks.append(Track(number, box, 0.0, 0.0, now=score))
    decider = SimpleNamespace(open_incidents=[SimpleNamespace(tracks={1, 2})])
    thread: Any = SimpleNamespace(watcher=SimpleNamespace(tracker=tracker, decider=decider))
    assert [mark.words for mark in live.marks_of(thread, [])] == ["bear? 0.02", "BEAR", "BEAR 0.90"]


@contextmanager
def browsing(world: World) -> Iterator[Any]:
    """The page in chromium, with the owner's session; an error in a script fails the test."""
    playwright = pytest.importorskip("playwright.sync_api")
    with (
        playwright.sync_playwright() as made,
        closing(made.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])) as browser,
    ):
        context = browser.new_context(viewport={"width": 320, "height": 800})
        cookie = {"name": COOKIE, "value": world.accounts.log_in(OWNER, "test"), "url": world.address}
        context.add_cookies([cookie])
        page = context.new_page()
        page.clock.install()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(world.address, wait_until="domcontentloaded")
        page.wait_for_selector("[data-live=yes]")
        yield page
        assert not wrong


@pytest.mark.needs_tool("chromium")
@pytest.mark.alone
@pytest.mark.skipif(not AXE.is_file(), reason="run `npm ci` in edge/phone/web first")
def test_axe_core_finds_no_fault_during_an_alarm(world: World) -> None:
    with browsing(world) as page:
        world.yard.bear = True
        page.wait_for_selector("#bear > p", state="visible")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.evaluate(AXE.read_text())
            assert page.evaluate(FAULTS) == []
        world.yard.bear = False
        page.wait_for_selector("#bear > p", state="hidden")


@pytest.mark.needs_tool("chromium")
@pytest.mark.alone
def test_a_live_picture_that_has_ended_lives_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, asked, ended = live._pictures, list[object](), threading.Event()

    async def brief(*given: Any) -> AsyncIterator[bytes]:
        asked.append(given)
        number, first = 0, len(asked) == 1
        async for part in whole(*given):
            yield part
            number += 1
            if first and number == 5:
                ended.set()
                return

    monkeypatch.setattr(live, "_pictures", brief)
    with browsing(world) as page:
        assert ended.wait(30.0)
        for times in (2, 3):  # after one that has ended, and one that goes on
            page.clock.fast_forward(31_000)
            wait_for(lambda: len(asked) == times)  # noqa: B023 -- it is called before the next
            page.wait_for_selector("[data-live=yes]")


@pytest.mark.needs_tool("chromium")
@pytest.mark.alone
def test_once_logged_out_elsewhere_the_page_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CHECK_S", 0.2)
    with browsing(world) as page:
        [cookie] = page.context.cookies()
        world.accounts.log_out(cookie["value"])
        page.get_by_role("link", name="Log in").wait_for()
        page.wait_for_selector(".camera.unknown")
        assert not page.is_visible("#lost")


@pytest.mark.needs_tool("chromium")
@pytest.mark.alone
def test_a_bear_is_on_every_page_and_in_its_title_also_of_one_that_is_not_looked_at(world: World) -> None:
    with browsing(world) as page:
        page.goto(f"{world.address}/settings", wait_until="domcontentloaded")
        page.evaluate("""() => {
            Object.defineProperty(document, "hidden", { value: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""")
        world.yard.bear = True
        wait_for(lambda: world.alarm.threads[0].watcher.decider.open_incidents)
        page.clock.fast_forward(11_000)
        page.wait_for_selector("#bear > p", state="visible")
        assert page.title() == "BEAR - Settings - Bear Alarm"
        world.yard.bear = False
        wait_for(lambda: not world.alarm.threads[0].watcher.decider.open_incidents)


@pytest.mark.needs_tool("chromium")
@pytest.mark.alone
def test_in_a_browser(world: World) -> None:
    with browsing(world) as page:
        wrong: list[str] = []
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        assert not page.is_visible("#bear > p")
        world.yard.bear = True
        page.wait_for_selector("#bear > p", state="visible")
        assert page.title().startswith("BEAR")
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        world.yard.bear = False
        page.wait_for_selector("#bear > p", state="hidden")
        assert not wrong
        page.goto(f"{world.address}/static/icon.svg")  # it leaves its place
        with world.client() as client, watched(client), watched(client):
            page.goto(world.address, wait_until="domcontentloaded")
            page.wait_for_selector("text=A new picture every 5 seconds")
        page.wait_for_selector("[data-live=yes]")
        world.serving.close()
        page.wait_for_selector("#lost", state="visible")
        late = "img => { img.dispatchEvent(new Event('load')); return img.className; }"  # it was on its way
        assert page.locator(".camera img").evaluate(late) == "broken"
        assert "Unknown" in page.inner_text(".camera.unknown .state")
        assert page.inner_text(".mode") == "No picture"
        assert not page.is_visible(".camera img")
