"""Events on the page: the list and its filters, one event with its evidence, and what is refused."""

from __future__ import annotations

import http.client
import re
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from edge.errors import PictureError
from edge.page import events
from edge.page.guard import COOKIE
from edge.record import database
from edge.record.history import JournalReader
from edge.record.review import TAKEN_BACK
from edge.schema import Event, utc_text
from tests.helpers.page_world import OWNER, Client, World, page_world, wait_for
from tests.helpers.phone_web import MODULES, chromium
from tests.helpers.state_folder import NIGHT, RUN, StateFolder

pytestmark = pytest.mark.slow

AXE = MODULES / "axe-core" / "axe.min.js"
FAULTS = "async () => (await axe.run(document)).violations.map(({ id, nodes }) => [id, ...nodes.map((n) => n.html)])"
CARD = re.compile(r'data-id="(\w+)"')
A, B, C = "a1" * 16, "b2" * 16, "c3" * 16


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("events")
    with page_world(folder, trace=folder / "trace.bin") as made:
        yield made


@pytest.fixture(scope="module")
def owner(world: World) -> Iterator[Client]:
    with world.client() as made:
        yield made


@pytest.fixture(scope="module")
def viewer(world: World) -> Iterator[Client]:
    with world.client("viewer") as made:
        yield made


@pytest.fixture(scope="module")
def bear(world: World) -> str:
    """A bear that is over, with its clip on the disk."""
    id_ = world.bear()
    wait_for(lambda: list(world.evidence.rglob(f"*{id_[:8]}/clip.mp4")), 60.0)
    return id_


@pytest.fixture
def state(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateFolder:
    """A journal of the test's own that the page reads."""
    made = StateFolder(tmp_path / "state")
    monkeypatch.setattr(world.alarm, "state", made.folder)
    return made


def cards(client: Client, place: str = "/events") -> list[str]:
    """Return the first two characters of each event that is listed, in order."""
    return [id_[:2] for id_ in CARD.findall(client.get(place).text)]


def folder_of(world: World, id_: str) -> Path:
    return next(world.evidence.rglob(f"*{id_[:8]}"))


def link(text: str, name: str) -> str | None:
    found = re.search(rf'href="([^"]+)"[^>]*>{name}<', text)
    return found[1].replace("&amp;", "&") if found else None


def fill(state: StateFolder, count: int) -> None:
    """Write as many bears into the journal, one event each."""
    with closing(database.connect(state.path)) as db:
        db.execute("BEGIN")
        for number in range(count):
            at = utc_text(NIGHT + timedelta(minutes=number))
            event = Event("bear", "new", f"{number:032x}", 1000 + number, RUN, "yard", at, label="brown_bear")
            db.execute(
                "INSERT INTO events(event_id, kind, type, camera, boot_id, seq, captured_at, json)"
                " VALUES(?, 'bear', 'new', 'yard', ?, ?, ?, ?)",
                (event.id, RUN, event.seq, at, event.to_json()),
            )
        db.execute("COMMIT")


# The list.


def test_the_list_shows_the_newest_first_with_all_that_is_known(viewer: Client, state: StateFolder) -> None:
    row = state.bear(A, zones=("hives",), quiet="outside the schedule", clock_synced=False)
    for channel, how in (("ntfy", "done"), ("mqtt", "waiting"), ("webhook", "parked")):
        state.delivery(row, channel, state=how)
    state.event(B, "new", 3600.0, kind="camera", camera="gate", label="gone", detail="gate: no picture for 30 s")
    state.event(C, "new", 7200.0, kind="health", camera="", label="disk", detail="disk: 10 MB are free")
    state.sql("INSERT INTO reviews(event_id, verdict, at) VALUES(?, 'wrong', ?)", A, utc_text(NIGHT))
    client = viewer
    assert cards(client) == ["c3", "b2", "a1"]
    text = client.get("/events?kind=bear").text
    at = f"{NIGHT.astimezone():%a %d %b %Y, %H:%M:%S}?"
    words = ("Brown bear", at, "yard", "42 s", "in hives", "score 0.98", "no noise", "reviewed: no bear")
    for word in (*words, "1 delivered", "1 waiting", "1 refused", "the clock was not synchronised"):
        assert word in text
    assert "Camera: no picture" in client.get("/events?kind=camera").text
    assert "Disk: 10 MB are free." in client.get("/events?kind=health").text


def test_what_is_unusual_of_a_bear_stands_below_its_name(viewer: Client, state: StateFolder) -> None:
    state.bear(A, species="bear (brown bears are unusual in US-GA)")
    for place in ("/events", f"/events/{A}"):
        text = viewer.get(place).text
        assert re.search(r">Bear<", text)
        assert "rown bears are unusual in US-GA" in text


def test_filters_choose_by_camera_label_kind_day_and_review(owner: Client, state: StateFolder) -> None:
    state.bear(A, camera="gate")
    state.bear(B, 86_400.0, label="black_bear")
    state.event(C, "new", 2 * 86_400.0, kind="camera", label="gone")
    for id_, verdict in ((B, "wrong"), (A, "wrong"), (A, TAKEN_BACK)):
        state.sql("INSERT INTO reviews(event_id, verdict, at) VALUES(?, ?, ?)", id_, verdict, utc_text(NIGHT))
    day = f"{NIGHT.astimezone():%Y-%m-%d}"
    asked = {
        "camera=gate": ["a1"], "camera=elsewhere": [], "label=black_bear": ["b2"], "kind=camera": ["c3"],
        "reviewed=yes": ["b2"], "reviewed=no": ["a1"], f"day={day}": ["a1"], "camera=yard&kind=bear": ["b2"],
        "camera=&kind=&label=&reviewed=&day=": ["c3", "b2", "a1"],
    }  # fmt: skip
    client = owner
    assert {query: cards(client, f"/events?{query}") for query in asked} == asked


def test_a_day_means_the_time_that_was_corrected_later(owner: Client, state: StateFolder) -> None:
    state.run(B, offset_s=86_400.0, synced_at=utc_text(NIGHT + timedelta(days=1, hours=1)))
    state.event(B, "new", boot_id=B, clock_synced=False)
    days = [f"/events?day={(NIGHT + timedelta(days=after)).astimezone():%Y-%m-%d}" for after in (0, 1)]
    assert [cards(owner, each) for each in days] == [[], ["b2"]]


def test_pages_lead_to_every_event_once_and_back(owner: Client, state: StateFolder) -> None:
    fill(state, 120)
    client, place, seen = owner, "/events?kind=bear", list[str]()
    visited = []
    while place:
        text = client.get(place).text
        visited.append(CARD.findall(text))
        seen += visited[-1]
        last, place = place, link(text, "Older") or ""
    assert seen == [f"{number:032x}" for number in reversed(range(120))]
    back = link(client.get(last).text, "Newer")
    assert back
    assert "kind=bear" in back
    assert CARD.findall(client.get(back).text) == visited[1]


def test_the_newest_page_costs_the_same_with_fifty_thousand_events(tmp_path: Path) -> None:
    """The steps that SQLite takes for it are counted: they do not grow with the journal."""
    cost = {}
    for count in (1_000, 50_000):
        state = StateFolder(tmp_path / str(count))
        fill(state, count)
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        with JournalReader(state.path) as journal:
            journal._db.set_progress_handler(step, 10)
            assert len(journal.incidents(limit=51)) == 51
        cost[count] = steps
    assert cost[50_000] < 1.1 * cost[1_000]


@pytest.mark.parametrize("query", ["day=2026-13-45", "day=9999-12-31", "kind=wolf", "reviewed=perhaps"])
def test_what_cannot_be_meant_is_said_in_a_sentence(owner: Client, query: str, state: StateFolder) -> None:
    state.bear(A)
    answer = owner.get(f"/events?{query}")
    assert answer.status_code == 400
    assert repr(query.partition("=")[2])[1:-1] in answer.text
    assert CARD.findall(answer.text) == []


def test_a_journal_that_is_empty_missing_or_damaged_is_a_sentence(owner: Client, state: StateFolder) -> None:
    client = owner
    assert "Nothing has happened yet" in client.get("/events").text
    state.path.unlink()
    assert "Nothing has happened yet" in client.get("/events").text
    assert client.get(f"/events/{A}").status_code == 404
    state.path.write_bytes(b"nonsense" * 1000)
    for place in ("/events", f"/events/{A}", f"/thumb/{A}.jpg"):
        answer = client.get(place)
        assert (answer.status_code, "damaged" in answer.text) == (503, True), place


def test_a_damaged_entry_is_counted_and_the_others_are_shown(owner: Client, state: StateFolder) -> None:
    state.bear(A)
    state.sql("UPDATE events SET json = '{' WHERE id = ?", state.bear(B, 60.0))
    text = owner.get("/events").text
    assert "One entry of the journal cannot be read" in text
    assert [id_[:2] for id_ in CARD.findall(text)] == ["b2", "a1"]


# One event.


def test_an_event_shows_its_pictures_its_course_and_who_was_notified(owner: Client, bear: str) -> None:
    text = owner.get(f"/events/{bear}").text
    for name in ("alarm.jpg", "crop.jpg", "clip.mp4", "event.json"):
        assert f"/evidence/{bear}/{name}" in text
    assert ">plain.jpg</a> (" in text
    assert text.count("plain.jpg") == 2, "as a file, not as another picture"
    assert "<polyline" in text
    assert 'href="/events" aria-current="page"' in text
    for word in ("Began", "Over", "Its way", f"/review?event={bear}", "Clip of ", "No message over a network was sent"):
        assert word in text


def test_messages_are_shown_with_the_answer_of_the_other_side(owner: Client, state: StateFolder) -> None:
    row = state.bear(A)
    state.delivery(row, "webhook example:443", state="parked", error="404 <gone>", attempts=3)
    text = owner.get(f"/events/{A}").text
    assert "webhook example:443" in text
    assert "refused" in text
    assert "3 attempts, tried no more: 404 &lt;gone&gt;" in text


def test_a_viewer_sees_all_and_changes_nothing(viewer: Client, world: World, bear: str) -> None:

    text = viewer.get(f"/events/{bear}").text
    assert "alarm.jpg" in text
    assert "Lock" not in text
    assert 'href="/review"' not in text
    assert "/review?" not in text
    assert viewer.change(f"/events/{bear}/lock", {"locked": "yes"}).status_code == 403
    for place in (f"/evidence/{bear}/alarm.jpg", f"/thumb/{bear}.jpg", f"/events/{bear}/evidence.zip"):
        assert viewer.get(place).status_code == 200
        with world.client("") as nobody:
            assert nobody.get(place, headers={"Accept": "*/*"}).status_code == 401


def test_the_owner_locks_evidence_and_unlocks_it(owner: Client, world: World, bear: str) -> None:
    mark = folder_of(world, bear) / "keep"
    for locked in ("yes", "no"):
        assert owner.change(f"/events/{bear}/lock", {"locked": locked}).headers["Location"] == f"/events/{bear}"
        assert mark.exists() == (locked == "yes")
        assert ("never deleted" in owner.get(f"/events/{bear}").text) == (locked == "yes")


def test_evidence_that_was_deleted_cannot_be_locked(owner: Client, state: StateFolder) -> None:
    state.bear(A, evidence=str(state.folder / "evidence" / "2026-11-24" / "x" / "alarm.jpg"))

    text = owner.get(f"/events/{A}").text
    assert "deleted to make room, or never written" in text
    assert "no picture to review" in text
    assert "Review it" not in text
    answer = owner.change(f"/events/{A}/lock", {"locked": "yes"})
    assert (answer.status_code, "no evidence" in answer.text) == (409, True)


def test_the_zip_holds_the_event_and_its_evidence(owner: Client, world: World, bear: str) -> None:
    answer = owner.get(f"/events/{bear}/evidence.zip")
    assert f'filename="bear-alarm-{bear[:8]}.zip"' in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(BytesIO(answer.content)) as made:
        assert made.testzip() is None
        files = {Path(name).name: made.read(name) for name in made.namelist()}
    for name in ("alarm.jpg", "clip.mp4"):
        assert files[name] == (folder_of(world, bear) / name).read_bytes()
    assert bear in files["events.jsonl"].decode()


def test_why_is_answered_from_the_trace(
    owner: Client, world: World, bear: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, place = owner, f"/events/{bear}?why=1"
    assert f"ALARM, event {bear[:8]}" in client.get(place).text
    monkeypatch.setattr(world.alarm, "settings", replace(world.alarm.settings, trace=None))
    assert "trace: trace.bin" in client.get(place).text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process say when it is to go")
def test_an_explanation_that_is_killed_for_its_memory_is_a_sentence(
    owner: Client, bear: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nuntil grep -q 1000 /proc/self/oom_score_adj; do sleep 0.05; done\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr("edge.page.events.sys.executable", str(killed))
    assert "The explanation ended with exit code -9." in owner.get(f"/events/{bear}?why=1").text


def test_why_an_event_is_not_in_the_trace_is_a_sentence(owner: Client, state: StateFolder, bear: str) -> None:
    state.bear(A)
    assert A in owner.get(f"/events/{A}?why=1").text.partition('class="problem"')[2]


# Files.


def test_files_come_in_ranges_and_only_once(owner: Client, world: World, bear: str) -> None:
    client, place = owner, f"/evidence/{bear}/clip.mp4"
    data = (folder_of(world, bear) / "clip.mp4").read_bytes()
    whole = client.get(place)
    assert whole.content == data
    assert (whole.headers["Content-Type"], whole.headers["Cache-Control"]) == ("video/mp4", "private, no-cache")
    part = client.get(place, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])
    for again in (place, f"/thumb/{bear}.jpg"):
        tag = client.get(again).headers["ETag"]
        same = client.get(again, headers={"If-None-Match": tag})
        assert (same.status_code, same.content) == (304, b"")


@pytest.mark.parametrize(
    "name",
    ["..", "%2e%2e", "../../state/page.json", "..%2f..%2f..%2fstate%2fpage.json", "..%5c..%5cpage.json", "alarm.jpg%00",
     "%00", "%2fetc%2fpasswd", "/etc/passwd", "C:%5cWindows", "keep", ".hidden.jpg", "linked.jpg", "%ff%fe", ""],
)  # fmt: skip
def test_nothing_but_an_events_own_files_is_sent(owner: Client, name: str, world: World, bear: str) -> None:
    folder = folder_of(world, bear)
    (folder / ".hidden.jpg").write_bytes(b"half written")
    with linked(folder / "linked.jpg", world.state / "page.json"):
        address = urlsplit(world.address)
        asking = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        cookie = {"Cookie": f"{COOKIE}={owner.cookies[COOKIE]}"}
        asking.request("GET", f"/evidence/{bear}/{name}", headers=cookie)
        answer = asking.getresponse()
        body = answer.read()
        asking.close()
    assert answer.status == 404
    assert b"owner" not in body


@contextmanager
def linked(link: Path, target: Path) -> Iterator[None]:
    link.symlink_to(target)
    yield
    link.unlink()


def test_a_file_of_no_known_type_is_only_downloaded(owner: Client, world: World, bear: str) -> None:
    page = folder_of(world, bear) / "note.html"
    page.write_text("<script>alert(1)</script>")
    answer = owner.get(f"/evidence/{bear}/note.html")
    page.unlink()
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_lists_pictures_are_small(owner: Client, bear: str) -> None:
    answer = owner.get(f"/thumb/{bear}.jpg")
    image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[1] == 320
    assert owner.get(f"/thumb/{A}.jpg").status_code == 404


def test_small_pictures_are_kept_within_their_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in paths:
        cv2.imwrite(str(path), noise)
    made = events.Thumbnails()
    monkeypatch.setattr(events, "THUMBS_BYTES", 2 * len(made(paths[0], "1")))
    made(paths[1], "1")
    made(paths[0], "1")
    made(paths[2], "1")
    for path in paths:
        path.unlink()
    assert made(paths[0], "1") == made(paths[2], "1")
    with pytest.raises(PictureError):
        made(paths[1], "1")


def test_a_picture_that_is_damaged_is_a_sentence(owner: Client, state: StateFolder) -> None:
    state.bear(A, evidence=state.evidence(A))
    answer = owner.get(f"/thumb/{A}.jpg")
    assert (answer.status_code, "not a picture" in answer.text) == (404, True)


# In a browser.


@contextmanager
def browsing(world: World, **options: Any) -> Iterator[Any]:
    """Yield a browser's page that is logged in as the owner."""
    with chromium() as browser, browser.new_context(**options) as context:
        cookie = world.accounts.log_in(OWNER, "test")
        context.add_cookies([{"name": COOKIE, "value": cookie, "url": world.address}])
        yield context.new_page()


@pytest.mark.needs_tool("chromium")
def test_with_keys_alone_from_the_list_to_a_clip_that_plays(world: World, bear: str) -> None:
    with browsing(world) as page:
        page.goto(f"{world.address}/events?camera=yard")
        page.locator(".event img").first.evaluate("image => image.decode()")
        while page.evaluate("document.activeElement.closest('.event')?.dataset.id") != bear:
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/events/{bear}")
        page.locator("video").focus()
        page.keyboard.press("Space")
        wait_for(lambda: page.evaluate("document.querySelector('video').currentTime > 0.2"))
        page.evaluate("document.querySelector('video').currentTime = 2")
        wait_for(lambda: page.locator("video").evaluate("video => video.currentTime >= 2 && !video.seeking"))
        page.locator("#path").press("Space")
        assert not page.locator(".event-main svg").is_visible()


@pytest.mark.needs_tool("chromium")
@pytest.mark.skipif(not AXE.is_file(), reason="run `npm ci` in edge/phone/web first")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_core_finds_nothing_and_320_pixels_are_enough(scheme: str, world: World, bear: str) -> None:
    with browsing(world, color_scheme=scheme, viewport={"width": 320, "height": 700}) as page:
        for place in ("/events", "/events?kind=bear", "/events?day=nonsense", f"/events/{bear}?why=1"):
            page.goto(world.address + place)
            page.evaluate(AXE.read_text())
            assert page.evaluate(FAULTS) == [], place
            assert page.evaluate("document.documentElement.scrollWidth") == 320, place
            small = "[...document.querySelectorAll('main button, main .button, main select')]"
            assert page.evaluate(
                f"{small}.every((each) => each.hidden || !each.offsetParent || each.offsetHeight >= 44)"
            )


@pytest.mark.needs_tool("chromium")
def test_the_filter_works_without_javascript(world: World, state: StateFolder) -> None:
    state.bear(A)
    state.event(B, "new", 60.0, kind="camera", label="gone")
    with browsing(world, java_script_enabled=False) as page:
        page.goto(f"{world.address}/events")
        page.locator("summary").click()
        page.get_by_label("Kind").select_option("bear")
        page.get_by_role("button", name="Show").click()
        assert "kind=bear" in page.url
        assert page.locator(".event").count() == 1
        assert page.get_by_label("Kind").input_value() == "bear"


@pytest.mark.needs_tool("chromium")
def test_new_events_appear_on_top_and_the_focus_stays(world: World, state: StateFolder) -> None:
    state.event(A, "new", label="brown_bear", score=0.9)
    with browsing(world) as page:
        page.goto(f"{world.address}/events")
        page.locator(".event a").focus()
        state.event(A, "end", 42.0, label="brown_bear", score=0.9)
        state.bear(B, 60.0)
        page.evaluate("document.dispatchEvent(new CustomEvent('alarm-status', { detail: { events: 7 } }))")
        wait_for(lambda: page.evaluate("document.querySelectorAll('.event').length === 2"))
        shown = page.locator(".event").evaluate_all("all => all.map((each) => each.dataset.id)")
        assert shown == [B, A]
        assert page.evaluate("document.activeElement.closest('.event').dataset.id") == A
        assert "42 s" in page.locator(".event").last.inner_text()
        assert page.get_by_role("status").inner_text() == "One new event."
        state.bear(C, 120.0)
        page.evaluate("document.dispatchEvent(new Event('alarm-lost'))")  # it was started again
        page.evaluate("document.dispatchEvent(new CustomEvent('alarm-status', { detail: { events: 7 } }))")
        wait_for(lambda: page.locator(".event").count() == 3)
