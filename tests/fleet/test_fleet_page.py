"""The fleet's page: what its owner and its viewers see of devices, events and places, in HTML and in a browser."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from edge.fleet.devices import Camera, Device, Site
from edge.fleet.map import DOT, FONT, HEIGHT, MARGIN, WIDTH, draw
from edge.fleet.pages import DEVICES, open_page
from edge.fleet.store import FleetStore, FleetWriter
from edge.page.accounts import Accounts
from edge.schema import Event
from edge.settings import PageSettings
from tests.helpers.page_world import OWNER, VIEWER, Client, wait_for
from tests.helpers.phone_web import chromium
from tests.page.test_live import AXE, FAULTS

NOW = time.time()
JPEG = bytes(cv2.imencode(".jpg", np.full((720, 1280, 3), 90, np.uint8))[1])
CLAIM = "bear-alarm page claim --state here"


def device(name: str, state: Any = "well", **more: Any) -> Device:
    known: dict[str, Any] = {
        "since": NOW - 9000, "heard_at": NOW - 20, "reason": None, "version": "1.4", "model": "bears 3", "site": None,
        "cameras": (Camera("yard", True, None, "autonomous", NOW - 9000),), "doubts": (), "clock_ok": True,
        "filling": False, "stats": {},
    }  # fmt: skip
    return Device(name, state, **(known | more))


class Seen:
    """A fleet whose devices are as a test has them: how they come to be so is its own tests' matter."""

    def __init__(self) -> None:
        self.found: list[Device] = []

    def devices(self) -> list[Device]:
        return self.found

    def device(self, name: str) -> Device | None:
        return next((each for each in self.found if each.name == name), None)

    def forget(self, name: str) -> bool:
        self.found = [each for each in self.found if each.name != name]
        return True

    def problem(self) -> str | None:
        return "the broker 10.0.0.1:8883 does not answer"

    def trouble(self) -> str | None:
        return None

    def notices(self) -> list[str]:
        return ["a device publishes to bears itself: give it bears/NAME"]


def happen(page: Any, name: str, minute: int, picture: bytes | None = None, **more: Any) -> int:
    """Write an event of a device; return the id of its page."""
    known: dict[str, Any] = {"kind": "bear", "label": "brown_bear", "score": 0.97, "top_score": 0.97}
    at = f"{datetime.fromtimestamp(NOW - 86_400, UTC) + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}"
    id_ = f"{name}-{minute}"
    event = Event(
        **(
            known
            | {"type": "new", "id": id_, "seq": minute, "boot_id": name, "camera": "yard", "captured_at": at}
            | more
        )
    )
    with page.writer.writing():
        page.writer.put(name, event, NOW)
        if picture:
            page.writer.put_picture(name, id_, (name, minute), picture)
    return next(each.id for each in page.store.happenings(device=name) if each.event_id == id_)


@contextmanager
def served(folder: Path, *, claimed: bool = True) -> Iterator[Any]:
    """A page over a real store; ``fleet.found`` are the devices."""
    fleet: Any = Seen()
    store = FleetStore(folder)
    server, _ = open_page(fleet, store, folder, PageSettings(listen="127.0.0.1:0"), lambda: CLAIM)
    try:
        wait_for(lambda: server.port)
        accounts = Accounts(folder)
        if claimed:
            accounts.claim(accounts.new_claim(), OWNER)
            accounts.set_viewer(VIEWER)
        cookies = {role: accounts.log_in(each, "test") for role, each in (("", VIEWER), ("owner", OWNER)) if claimed}
        yield SimpleNamespace(fleet=fleet, store=store, address=server.address, accounts=accounts, cookies=cookies)
    finally:
        server.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("fleet")
    with served(folder) as made, closing(FleetWriter(folder)) as made.writer:
        yield made


def client(page: Any, role: str = "owner") -> Client:
    made = Client(page.address, page.cookies[role])
    made.csrf = page.accounts.of_session(page.cookies[role]).csrf
    return made


def test_before_it_has_an_owner_it_says_how_to_become_it(tmp_path: Path) -> None:
    with served(tmp_path, claimed=False) as page, Client(page.address) as stranger:
        page.fleet.found = [device("north")]
        shown = stranger.get("/")
        assert (shown.status_code, CLAIM in shown.text, "north" in shown.text) == (403, True, False)


def test_those_that_are_not_well_come_first_and_in_the_first_sentence(page: Any) -> None:
    page.fleet.found = [
        *(device(f"d{each}") for each in range(37)),
        device("west", "ill", reason="the journal cannot be written"),
        device("south", "offline"),
        device("north", "silent", heard_at=NOW - 3 * 3600 - 5, doubts=("3 messages were no JSON, last 02:14",)),
    ]
    with client(page) as owner:
        shown = owner.get("/").text
        first = re.sub(r"</?bdi>", "", shown.partition('class="sum">')[2].partition("</p>")[0])
        assert re.fullmatch(
            r"37 of 40 devices are well; north is silent, last heard 3\.0 h ago; south is offline since .+; "
            r"west is not well\.",
            first,
        )
        names = re.findall(r"<h2><a [^>]+><bdi>(.+?)</bdi>", shown)
        assert names[:4] == ["north", "south", "west", "d0"]
        for words in ("The broker 10.0.0.1:8883 does not answer.", "3 messages were no JSON", "journal cannot be"):
            assert words in shown


def test_a_thousand_devices_are_found_by_page_and_by_name(page: Any) -> None:
    page.fleet.found = [device(f"d{each:04}") for each in range(1000)]
    with client(page) as owner:
        seen = [re.findall(r"<bdi>(d\d+)</bdi>", owner.get(f"/?page={each}").text) for each in range(1, 6)]
        assert {len(each) for each in seen} == {DEVICES}
        assert len(set().union(*seen)) == 1000
        assert re.findall(r"<bdi>(d\d+)</bdi>", owner.get("/?q=D012&page=99").text) == [f"d012{n}" for n in range(10)]


def test_only_the_owner_sees_where_a_device_is(page: Any) -> None:
    where = Site("beehives", 46.05123, 14.50123)
    page.fleet.found = [device("north", site=where, stats={"site": {"latitude": 46.05123}}), device("south")]
    with client(page) as owner, client(page, "") as viewer:
        assert 'href="/map"' in owner.get("/").text
        assert "46.05123, 14.50123" in owner.get("/device?name=north").text
        assert ">north</text>" in owner.get("/map").text
        for place in ("/", "/device?name=north", "/events", "/map"):
            shown = viewer.get(place)
            assert shown.status_code == (403 if place == "/map" else 200)
            assert not re.search(r'46\.05|14\.50|beehives|href="/map"', shown.text)
        page.fleet.found = [device("south")]
        assert 'href="/map"' not in owner.get("/").text


def test_what_a_device_says_is_text_and_nothing_else(page: Any) -> None:
    evil = '"><script>alert(1)</script>'
    site, camera = Site(evil, 1.0, 2.0), Camera(evil, False, f"{evil}\u202e", evil, NOW)
    page.fleet.found = [
        device(evil, "ill", reason=evil, version=evil, model=evil, doubts=(evil,), cameras=(camera,), site=site),
        device(".."),
    ]
    event = happen(page, evil, 1, camera=evil, species=evil, detail=evil, zones=(evil,))
    with client(page) as owner:
        for place in ("/", f"/device?name={quote(evil)}", "/events", f"/events/{event}", "/map"):
            shown = owner.get(place)
            assert shown.status_code == 200
            assert "&lt;script&gt;" in shown.text
            assert "<script>" not in shown.text
            assert "\u202e" not in re.sub("<bdi>[^<]*</bdi>", "", shown.text)
        assert 'href="/device?name=.."' in owner.get("/").text
        assert "<h1><bdi>..</bdi></h1>" in owner.get("/device?name=..").text


def test_the_owner_alone_removes_a_device(page: Any) -> None:
    page.fleet.found = [device("north"), device("south")]
    with client(page) as owner, client(page, "") as viewer:
        assert "/forget" not in viewer.get("/device?name=north").text
        assert viewer.change("/forget", {"name": "north"}).status_code == 403
        assert owner.change("/forget", {"name": "north"}).status_code == 303
        assert [each.name for each in page.fleet.found] == ["south"]
        assert owner.get("/device?name=north").status_code == 404


def test_events_are_filtered_and_go_back_page_by_page(page: Any) -> None:
    page.fleet.found = [device("north"), device("south")]
    ids = [happen(page, "back" if each % 2 else "front", each) for each in range(140)]
    happen(page, "front", 140, kind="camera", label="covered", captured_at="1970-01-01T00:00:07Z")
    with client(page) as owner:
        seen, place = [], "/events?device=back&kind=bear"
        while place:
            shown = owner.get(place).text
            seen += re.findall(r'href="/events/(\d+)"', shown)
            older = re.search(r'href="([^"]+)" rel="next"', shown)
            place = older[1].replace("&amp;", "&") if older else ""
        assert seen == [str(each) for each in ids[139::-2]]
        doubtful = owner.get("/events?kind=camera").text
        assert "something before the lens" in doubtful
        assert "clock was not right" in doubtful
        assert owner.get("/events?kind=wolf").status_code == 400


def test_a_store_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "fleet.db").write_bytes(b"this is no database " * 500)
    with served(tmp_path) as page, client(page) as owner:
        shown = owner.get("/events")
        assert shown.status_code == 503
        assert f"{tmp_path / 'fleet.db'}" in shown.text


def test_pictures_are_private_and_sent_once(page: Any) -> None:
    there, gone, none = (happen(page, "eye", each, picture) for each, picture in enumerate((JPEG, JPEG, None)))
    page.store.picture(page.store.happening(gone)).unlink()
    with client(page) as owner, Client(page.address) as stranger:
        for place, wide in (("/thumb", 320), ("/picture", 1280)):
            found = owner.get(f"{place}/{there}.jpg")
            image: Any = cv2.imdecode(np.frombuffer(found.content, np.uint8), cv2.IMREAD_COLOR)
            assert image.shape[1] == wide
            assert found.headers["Cache-Control"] == "private, no-cache"
            assert owner.get(found.url, headers={"If-None-Match": found.headers["ETag"]}).status_code == 304
            assert stranger.get(found.url, headers={"Accept": "*/*"}).status_code == 401
            for other in (gone, none, 10**9, "x"):
                assert owner.get(f"{place}/{other}.jpg").status_code == 404


def at(*places: tuple[float, float]) -> list[Device]:
    return [device(f"device {each}", site=Site(None, *where)) for each, where in enumerate(places)]


def test_the_map_is_to_scale_on_both_sides_of_the_antimeridian() -> None:
    drawn = draw(at((-17.0, 179.9), (-17.0, -179.9), (-16.9, 180.0), (91.0, 0.0), (math.nan, 0.0), (0.0, 181.0)))
    assert drawn
    west, east, north = drawn.dots
    assert (west.x, east.x) == (MARGIN, WIDTH - MARGIN)
    assert north.x == pytest.approx(WIDTH / 2, abs=0.2)
    assert north.y < west.y == east.y
    km = 0.2 * 111.2 * math.cos(math.radians(16.95))
    assert drawn.bar / (east.x - west.x) == pytest.approx(float(drawn.bar_words.removesuffix(" km")) / km, rel=0.01)
    one = draw(at((46.0, -0.1)))
    assert one
    assert [(each.x, each.y) for each in one.dots] == [(WIDTH / 2, HEIGHT / 2)]
    assert one.bar_words == "200 m"
    assert draw([device("north")]) is None


def test_names_on_the_map_lie_over_no_other_name_or_dot() -> None:
    many = draw(at(*((46 + (each * 37 % 100) / 500, 14 + each / 500) for each in range(100))))
    assert many
    spots = [(each.label_x, each.label_y, FONT * 0.6 * len(each.label)) for each in many.dots if each.label]
    assert len(spots) > 10
    for number, (left, base, wide) in enumerate(spots):
        for x, y, other in spots[number + 1 :]:
            assert abs(y - base) >= FONT or x >= left + wide or left >= x + other
        for dot in many.dots:
            beside = dot.x - DOT >= left + wide or dot.x + DOT <= left
            assert beside or dot.y - DOT >= base or dot.y + DOT <= base - FONT


@pytest.mark.slow
@pytest.mark.needs_tool("chromium")
def test_in_a_browser_it_fits_a_small_phone_and_renews_itself(page: Any) -> None:
    site = Site("hives", 46.0, 14.0)
    page.fleet.found = [device("n" * 64, "silent", site=site), device("south", site=replace(site, latitude=46.1))]
    event = happen(page, "n" * 64, 1, JPEG, camera="c" * 60, detail="d" * 300, zones=("z" * 60,))
    with chromium() as browser:
        window = browser.new_context(viewport={"width": 320, "height": 640}).new_page()
        faults: list[str] = []
        window.on("console", lambda each: faults.append(each.text) if each.type in {"error", "warning"} else None)
        window.on("pageerror", lambda each: faults.append(str(each)))
        window.goto(f"{page.address}/login")
        window.fill("#passphrase", OWNER)
        window.click("button.main")
        for place in ("/", f"/device?name={'n' * 64}", "/events", f"/events/{event}", "/map", "/access"):
            window.goto(f"{page.address}{place}")
            assert window.evaluate("document.documentElement.scrollWidth") == 320, place
            window.evaluate(AXE.read_text())
            assert window.evaluate(FAULTS) == [], place
        window.goto(f"{page.address}/")
        window.focus("a[href='/device?name=south']")
        page.fleet.found = [device("south", "offline"), *page.fleet.found[:1]]
        window.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        window.wait_for_function("() => document.querySelector('.sum').textContent.includes('south is offline')")
        assert window.evaluate("document.activeElement.getAttribute('href')") == "/device?name=south"
        assert faults == []
