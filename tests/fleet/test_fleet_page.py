"""The fleet's page: what its owner and its viewers see of devices, events and places, in HTML and in a browser."""

from __future__ import annotations

import json
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
from unittest.mock import patch
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from paho.mqtt.client import MQTTMessage

from edge.alert.mqtt_settings import settings_from_url
from edge.fleet.devices import Device
from edge.fleet.fleet import Fleet
from edge.fleet.map import DOT, FONT, HEIGHT, MARGIN, WIDTH, draw
from edge.fleet.pages import DEVICES, open_page
from edge.fleet.store import MAX_ROWS, FleetStore, FleetWriter
from edge.page.accounts import Accounts
from edge.schema import Event
from edge.settings import PageSettings
from tests.helpers.page_world import OWNER, VIEWER, Client, wait_for
from tests.helpers.phone_web import chromium
from tests.page.test_live import AXE, FAULTS

NOW = time.time()
JPEG = bytes(cv2.imencode(".jpg", np.full((720, 1280, 3), 90, np.uint8))[1])
CLAIM = "bear-alarm page claim --state /somewhere"


def told(fleet: Fleet, name: str, state: str = "well", hours: float = 0.0, **more: Any) -> None:
    """Let the fleet read what a device sent so many hours ago, and look at how it is."""
    stats = {"well": state != "ill", "version": "1.4", "cameras": {"yard": {"fresh": True, "stage": "autonomous"}}}
    sent(fleet, f"{name}/stats", json.dumps(stats | more), hours)
    sent(fleet, f"{name}/available", "offline" if state == "offline" else "online", hours)
    fleet._known[name].look(time.time(), 3600.0 * hours, 600.0)


def sent(fleet: Fleet, topic: str, payload: str, hours: float = 0.0) -> None:
    message = MQTTMessage(topic=f"bears/{topic}".encode())
    message.payload, message.qos = payload.encode(), int(not topic.endswith("stats"))
    fleet._read(message, time.time() - 3600.0 * hours, time.monotonic() - 3600.0 * hours)


def place(latitude: float, longitude: float) -> dict[str, Any]:
    return {"name": "beehives", "latitude": latitude, "longitude": longitude}


def nobody(page: Any) -> Fleet:
    """The page's fleet without a device."""
    fleet: Fleet = page.fleet
    for each in fleet.states():
        fleet.forget(each)
    return fleet


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
    return next(each.id for each in page.store.incidents(device=name) if each.event_id == id_)


@contextmanager
def served(folder: Path, *, claimed: bool = True) -> Iterator[Any]:
    """A page over a fleet that no broker sends to."""
    fleet, store = Fleet(settings_from_url("mqtt://127.0.0.1:1/bears"), folder), FleetStore(folder)
    server, _ = open_page(fleet, PageSettings(listen="127.0.0.1:0"), CLAIM)
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


def test_only_its_log_names_its_folder_before_it_has_an_owner(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("INFO")
    with served(tmp_path, claimed=False) as page, Client(page.address) as stranger:
        told(page.fleet, "north")
        shown = stranger.get("/")
        assert (shown.status_code, "north" in shown.text, CLAIM in caplog.text) == (403, False, True)
        page.accounts.claim(page.accounts.new_claim(), OWNER)
        stray = stranger.get("/login", headers={"Host": "evil.example"})
        assert (stray.status_code, "config" in stray.text) == (421, False)
        for each in (shown, stray, stranger.get("/login"), stranger.get("/claim?code=guess")):
            assert "/somewhere" not in each.text


def test_those_that_are_not_well_come_first_and_in_the_first_sentence(
    page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = nobody(page)
    for each in range(37):
        told(fleet, f"d{each}")
    told(fleet, "west", "ill", reason="the journal cannot be written")
    told(fleet, "south", "offline")
    told(fleet, "north", hours=30.01)
    sent(fleet, "north/events", "[")
    sent(fleet, "stats", "{}")
    monkeypatch.setattr(fleet, "problem", lambda: "localhost:1883: not reached")
    monkeypatch.setattr(fleet, "trouble", lambda: "the disk is full")
    with client(page) as owner:
        shown = owner.get("/").text
        first = re.sub(r"</?bdi>", "", shown.partition('class="summary">')[2].partition("</p>")[0])
        assert re.fullmatch(
            r"37 of 40 devices are well; north is silent, last heard .+, 30 h ago; "
            r"south is offline, last heard \S+, less than a minute ago; west is not well\.",
            first,
        )
        names = re.findall(r"<h2><a [^>]+><bdi>(.+?)</bdi>", shown)
        assert names[:4] == ["north", "south", "west", "d0"]
        for words in (
            "A device publishes to bears itself",
            "<bdi>localhost:1883: not",
            "<bdi>The disk is full",
            "1 of its messages was refused",
            "journal cannot be",
        ):
            assert words in shown
        assert "watching</span> since" not in shown  # the device may have been off in between
        assert re.search(r"Last heard [A-Z]\w\w \d\d [A-Z]\w\w", shown)
        with patch.object(fleet, "devices") as asked:  # of all devices: the menu needs none of it
            assert [owner.get(each).status_code for each in ("/events", "/access")] == [200, 200]
        asked.assert_not_called()


def test_a_bear_that_is_there_now_stands_first(page: Any) -> None:
    fleet = nobody(page)
    for name, state in (("near", "ill"), ("gone", "well"), ("shadowed", "well"), ("lost", "offline")):
        told(fleet, name, state)
    now = 23 * 60  # an hour ago, as happen() counts
    there = happen(page, "near", now)
    happen(page, "near", now - 180)
    happen(page, "gone", now, type="end")
    happen(page, "shadowed", now, stage="shadow")
    happen(page, "lost", now)
    began = datetime.fromtimestamp(page.store.incident(there).began_at)
    with client(page) as owner:
        shown = re.sub(r"</?(bdi|span|strong)>", "", owner.get("/").text.partition("<h1>")[2])
        bears = re.findall(r'class="alarm">(.+?) <a href="(.+?)"', shown)
        assert bears == [(f"BEAR now: yard of near, since {began:%H:%M}", f"/events/{there}")]
        assert shown.index('class="alarm"') < shown.index('class="summary"')


def test_a_thousand_devices_are_found_by_page_and_by_name(page: Any) -> None:
    fleet = nobody(page)
    for each in range(1000):
        told(fleet, f"d{each:04}")
    with client(page) as owner:
        seen = [re.findall(r"<bdi>(d\d+)</bdi>", owner.get(f"/?page={each}").text) for each in range(1, 6)]
        assert {len(each) for each in seen} == {DEVICES}
        assert len(set().union(*seen)) == 1000
        assert re.findall(r"<bdi>(d\d+)</bdi>", owner.get("/?q=D012&page=99").text) == [f"d012{n}" for n in range(10)]


def test_only_the_owner_sees_where_a_device_is(page: Any) -> None:
    fleet = nobody(page)
    told(fleet, "north", site=place(46.05123, 14.50123))
    for name, spot in (("south", (91.0, 0.0)), ("southeast", (0.0, 181.0)), ("southwest", (0.0, 0.0))):
        told(fleet, name, site=place(*spot))
    with client(page) as owner, client(page, "") as viewer:
        assert 'href="/map"' in owner.get("/").text
        assert "46.05123, 14.50123" in owner.get("/device?name=north").text
        shown = owner.get("/map").text
        assert ">north</text>" in shown
        assert "south" not in shown
        for where in ("/", "/device?name=north", "/events", "/map"):
            seen = viewer.get(where)
            assert seen.status_code == (403 if where == "/map" else 200)
            assert not re.search(r'46\.05|14\.50|beehives|href="/map"', seen.text)
        fleet.forget("north")
        assert 'href="/map"' not in owner.get("/").text


def test_on_the_map_those_not_well_are_first_for_the_keyboard_and_lie_on_top(page: Any) -> None:
    fleet = nobody(page)
    for name, state in (("a", "well"), ("b", "offline"), ("c", "ill")):
        told(fleet, name, state, site=place(46.0, 14.0))
    told(fleet, "zero", site=place(0.0, 0.1))
    with client(page) as owner:
        shown = owner.get("/map").text
        drawing = shown.partition('class="small" role="group"')[2].partition("<g ")[0]
        links = re.findall(r'href="/device\?name=(\w+)" (tabindex="-1")?', drawing.replace('aria-hidden="true" ', ""))
        hidden = 'tabindex="-1"'
        assert links == [("b", ""), ("c", ""), ("a", ""), ("c", hidden), ("b", hidden)]
        assert re.findall(r'<li><a href="/device\?name=(\w+)"', shown) == ["b", "c"]
        assert re.search(r"<bdi>zero</bdi></a> says that it is 5,2\d\d km away from the others", shown)


def test_what_a_device_says_is_text_and_nothing_else(page: Any) -> None:
    evil, fleet = '"><script>alert(1)', nobody(page)
    camera = {"fresh": False, "trouble": f"{evil}\u202e", "stage": evil}
    told(fleet, evil, "ill", reason=evil, version=evil, model=evil, cameras={evil: camera}, site=place(1, 2))
    told(fleet, "..")
    event = happen(page, evil, 1, camera=evil, species=evil, detail=evil, zones=(evil,))
    with client(page) as owner:
        for where in ("/", f"/device?name={quote(evil)}", "/events", f"/events/{event}", "/map"):
            shown = owner.get(where)
            assert shown.status_code == 200
            assert "&lt;script&gt;" in shown.text
            assert not re.search("<script>|\u202e", shown.text)
        assert 'href="/device?name=.."' in owner.get("/").text
        assert "<h1><bdi>..</bdi></h1>" in owner.get("/device?name=..").text


def test_the_owner_alone_removes_a_device(page: Any) -> None:
    fleet = nobody(page)
    told(fleet, "north")
    told(fleet, "south")
    with client(page) as owner, client(page, "") as viewer:
        assert "/forget" not in viewer.get("/device?name=north").text
        assert viewer.change("/forget", {"name": "north"}).status_code == 403
        assert owner.change("/forget", {"name": "north"}).status_code == 303
        assert list(fleet.states()) == ["south"]
        assert owner.get("/device?name=north").status_code == 404


def test_events_are_filtered_and_go_back_page_by_page(page: Any) -> None:
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
        happen(page, "front", 141, kind="notice", label="answer")
        assert "<bdi>Answer to a question</bdi>" in owner.get("/events?kind=notice").text


def test_an_event_of_too_many_lines_says_so(page: Any) -> None:
    first, start = happen(page, "long", 0), page.store.rows("long", "long-0")[0]
    with client(page) as owner:
        for many in (MAX_ROWS - 1, MAX_ROWS):
            with page.writer.writing():
                for seq in range(1, many):
                    page.writer.put("long", replace(start, type="update", seq=seq), NOW)
            assert ("And more" in owner.get(f"/events/{first}").text) == (many == MAX_ROWS)


def test_a_store_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "fleet.db").write_bytes(b"this is no database " * 500)
    with served(tmp_path) as page, client(page) as owner:
        shown = owner.get("/events")
        assert shown.status_code == 503
        assert f"{tmp_path / 'fleet.db'}" in shown.text
        assert "fleet.db" in owner.get("/").text  # which shows the devices all the same


def test_a_fault_in_the_menu_is_one_answer_and_one_line_of_the_log(page: Any, caplog: Any) -> None:
    with client(page) as owner, patch("edge.fleet.pages.FleetPage.for_logged_in", side_effect=ValueError):
        shown = owner.get("/")
    assert (shown.status_code, shown.text) == (500, "internal error (ValueError)\n")
    assert caplog.text.count("could not be answered") == 1


def test_accounts_that_cannot_be_read_let_nobody_in_and_the_log_says_why_once(tmp_path: Path, caplog: Any) -> None:
    with served(tmp_path) as page, client(page) as owner:
        (tmp_path / "page.json").write_text("{")
        for _ in range(3):
            shown = owner.get("/")
            assert (shown.status_code, "log says why" in shown.text) == (503, True)
    said = [each for each in caplog.messages if each.startswith("nobody gets in: ")]
    assert len(said) == 1
    assert "page.json" in said[0]


def test_pictures_are_private_and_sent_once(page: Any) -> None:
    there, gone, none = (happen(page, "eye", each, picture) for each, picture in enumerate((JPEG, JPEG, None)))
    page.store.picture(page.store.incident(gone)).unlink()
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
    fleet = Fleet(settings_from_url("mqtt://127.0.0.1:1/bears"), Path("nowhere"))
    for number, where in enumerate(places):
        told(fleet, f"device {number:03}", site=place(*where))
    return fleet.devices()


def test_the_map_is_to_scale_on_both_sides_of_the_antimeridian() -> None:
    drawn = draw(at((-17.0, 179.9), (-17.0, -179.9), (-16.9, 180.0)))
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
    assert draw(at((91.0, 0.0))) is None


def test_a_park_stays_readable_whatever_single_devices_say() -> None:
    park = [(-17.0 + each / 1000, (180.0 + each / 1000) % 360 - 360 * (each >= 0)) for each in range(-20, 20)]
    drawn = draw(at(*park, (0.0, 0.1), (46.0, 14.0)))
    assert drawn
    assert [(each.name, round(km, -2)) for each, km in drawn.far] == [("device 040", 18100), ("device 041", 16500)]
    assert (len(drawn.dots), drawn.bar_words) == (40, "2 km")
    apart = draw(at((46.0, 14.0), (46.1, 14.0), (45.0, 25.0), (45.1, 25.0)))
    assert apart
    assert (len(apart.dots), apart.far) == (4, [])
    hut = draw(at((46.0, 14.0), (46.001, 14.0), (48.0, 14.0)))
    assert hut
    assert (len(hut.dots), hut.far) == (3, [])


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
    fleet = nobody(page)
    told(fleet, "n" * 64, hours=1, site=place(46.0, 14.0))
    told(fleet, "south", site=place(46.1, 14.0))
    event = happen(page, "n" * 64, 1, JPEG, camera="c" * 60, detail="d" * 300, zones=("z" * 60,))
    with chromium() as browser:
        window = browser.new_context(viewport={"width": 320, "height": 640}).new_page()
        faults: list[str] = []
        window.on("console", lambda each: faults.append(each.text) if each.type in {"error", "warning"} else None)
        window.on("pageerror", lambda each: faults.append(str(each)))
        window.goto(f"{page.address}/login")
        window.fill("#passphrase", OWNER)
        window.click("button.main")
        for each in ("/", f"/device?name={'n' * 64}", "/events", f"/events/{event}", "/map", "/access"):
            window.goto(f"{page.address}{each}")
            assert window.evaluate("document.documentElement.scrollWidth") == 320, each
            window.evaluate(AXE.read_text())
            assert window.evaluate(FAULTS) == [], each
            if each == "/map":
                fits = "[...document.querySelectorAll('.map > svg .dot')].filter(e => e.getClientRects().length)"
                sides = window.evaluate(
                    f"{fits}.map(e => [e.getBoundingClientRect().x, e.getBoundingClientRect().right])"
                )
                assert len(sides) == 3
                assert all(0 < left < right < 320 for left, right in sides)
        window.add_init_script("window.setInterval = () => 0")  # it renews itself only where this test says so
        told(fleet, "n" * 64, hours=1, site=place(46.0, 14.0))  # no minute since ends soon: then its words change
        told(fleet, "south", site=place(46.1, 14.0))
        window.goto(f"{page.address}/")
        asked: list[str] = []
        window.on("request", lambda each: asked.append(each.url))
        window.focus("a[href='/device?name=south']")
        window.evaluate("document.querySelector('h1').dataset.first = ''")

        def renew() -> None:
            with window.expect_response("**/"):
                window.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            window.wait_for_timeout(100)

        renew()
        assert window.query_selector("h1[data-first]")  # nothing changed: nothing is taken away
        told(fleet, "south", "offline")
        for use in ("document.querySelector('#q').focus()", "getSelection().selectAllChildren(main)"):
            window.evaluate(f"document.activeElement.blur(); {use}")
            renew()
            assert window.query_selector("h1[data-first]"), use
        window.evaluate("getSelection().removeAllRanges()")
        window.focus("a[href='/device?name=south']")
        renew()
        window.wait_for_function("() => document.querySelector('.summary').innerText.includes('south is offline')")
        assert window.evaluate("document.activeElement.getAttribute('href')") == "/device?name=south"
        window.route("**/", lambda route: None)  # the server hangs
        asked.clear()
        window.evaluate("for (let n = 0; n < 5; n++) document.dispatchEvent(new Event('visibilitychange'))")
        window.wait_for_selector("#lost", state="visible")
        assert asked == [f"{page.address}/"]
        window.unroute("**/")
        renew()
        window.wait_for_selector("#lost", state="hidden")
        told(fleet, "south", "offline", site=place(46.1, 14.0))
        window.goto(f"{page.address}/map")
        window.focus("li a[href='/device?name=south']")  # it is a link of the drawing too
        told(fleet, "north", "offline", site=place(46.2, 14.0))
        with window.expect_response("**/map"):
            window.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        window.wait_for_selector("li a[href='/device?name=north']")
        assert window.evaluate("document.activeElement.matches('li a[href=\"/device?name=south\"]')")
        assert faults == []
        window.route("**/map", lambda route: route.fulfill(status=500, body="<main id=main>internal error</main>"))
        window.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        window.wait_for_selector("#lost", state="visible")
        assert window.inner_text("h1") == "Map"
