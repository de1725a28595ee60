"""The web app's journal and event list in a browser: reloads, full and broken storage, reviews, export, keyboard."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from tests.helpers.command import bear_alarm
from tests.helpers.feedback_evidence import table
from tests.helpers.phone_web import WEB, Site, bundle, chromium

pytestmark = pytest.mark.needs_tool("chromium", "node")

APP = """
import { showEvents } from "./src/event_list";
import { Journal } from "./src/journal";
import { textsFor } from "./src/text";

const picture = async (kilobytes: number) => {
  const canvas = new OffscreenCanvas(160, 120);
  const context = canvas.getContext("2d")!;
  context.fillStyle = "#7a5";
  context.fillRect(0, 0, 160, 120);
  const jpeg = await canvas.convertToBlob({ type: "image/jpeg" });
  // Random bytes behind the picture's end, for the browser may compress what it stores.
  const padding = new Uint8Array(Math.max(1024 * kilobytes - jpeg.size, 0));
  for (let n = 0; n < padding.length; n += 65536) crypto.getRandomValues(padding.subarray(n, n + 65536));
  return new Blob([jpeg, padding], { type: "image/jpeg" });
};
const event = (id: number, type: string, seconds: number, more = {}) => ({
  kind: "bear", type, id: id.toString(16).padStart(32, "0"), seq: journal.nextSeq(), boot_id: journal.bootId,
  camera: "yard", captured_at: new Date(Date.UTC(2026, 0, 1, 3) + 1000 * (60 * id + seconds)).toISOString(),
  clock_synced: null, track: 1, label: "brown_bear", score: 0.8, top_score: 0.8 + seconds / 100,
  box_xywh: [0.1, 0.2, 0.3, 0.4], media_time_s: null,
  latency_ms: 1, onset_s: 1, durable: false, model: "bear@1", evidence: null, detail: null, zones: ["hives"],
  escalated: null, file: null, quiet: null, schema_version: 1, ...more,
});
const note = { camera: "yard", captured_at: "2026-01-01T03:00:00.000Z", media_time_s: null, label: "brown_bear",
  score: 0.9, frame_wh: [160, 120], box_xywh: [0.1, 0.2, 0.3, 0.4] };
const add = async (event: any, full: Blob | null = null, crop: Blob | null = null) =>
  journal.add({ event, full, crop, cropNote: crop ? note : null } as any);
const incident = async (id: number, kilobytes = 10) => {
  await add(event(id, "new", 0), await picture(kilobytes), await picture(1));
  await add(event(id, "end", 9));
};
const show = (language = "en") => showEvents(document.querySelector("section")!, journal, textsFor([language]).text);
const troubles: (string | null)[] = [];
const reviews: unknown[] = [];
const journal = await Journal.open();
journal.onTrouble = (trouble) => troubles.push(trouble);
journal.onReview = (reviewed) => reviews.push(reviewed);
Object.assign(globalThis, { journal, picture, event, add, incident, show, troubles, reviews, ready: true });
"""
HTML = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Events</title><link rel="stylesheet" href="app.css"><link rel="icon" href="data:,">
<main><section class="panel cover"></section></main><script type="module" src="app.js"></script></html>"""
FOUND = """async () => Promise.all((await journal.incidents(1000)).map(async (each) => {
  const { full, crop } = await journal.pictures(each.id);
  return { ...each, size: (crop ?? full)?.byteLength ?? 0 };
}))"""

# Databases open, and nothing is reported before `release`.
HELD = """
Object.assign(globalThis, { held: [], holding: true, closes: 0, release: () => held.splice(0).forEach((go) => go()) });
const { open } = IDBFactory.prototype;
IDBFactory.prototype.open = function (...given) {
  const request = open.apply(this, given);
  if (!holding) return request;
  request.addEventListener = (type, listener, ...more) => {
    const later = (event) => held.push(() => listener(event));
    EventTarget.prototype.addEventListener.call(request, type, type === "success" ? later : listener, ...more);
  };
  return request;
};
const { close } = IDBDatabase.prototype;
IDBDatabase.prototype.close = function () { closes += 1; close.call(this); };
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("host")
    bundle(APP, folder / "app.js")
    (folder / "index.html").write_text(HTML)
    (folder / "app.css").write_bytes((WEB / "static" / "app.css").read_bytes())
    served = Site(folder)
    yield served
    served.close()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A fresh profile."""
    made = browser.new_context(accept_downloads=True, viewport={"width": 400, "height": 800})
    yield made
    made.close()


def opened(context: Any, site: Site, before: str = "") -> Any:
    """A page with the journal."""
    window = context.new_page()
    if before:
        window.add_init_script(before)
    window.goto(site.address)
    window.wait_for_function("globalThis.ready")
    return window


def reload(window: Any) -> None:
    window.reload()
    window.wait_for_function("globalThis.ready")


@pytest.fixture
def window(context: Any, site: Site) -> Any:
    return opened(context, site)


def found(window: Any) -> list[dict[str, Any]]:
    """All incidents, the newest first."""
    incidents: list[dict[str, Any]] = window.evaluate(FOUND)
    return incidents


def quota(window: Any, site: Site, size: int | None) -> None:
    """Let the browser give so many bytes; None: as many as there are."""
    origin = site.address.removesuffix("/bears/app/")
    more = {} if size is None else {"quotaSize": size}
    window.context.new_cdp_session(window).send("Storage.overrideQuotaForOrigin", {"origin": origin} | more)


def test_an_incident_outlives_the_page(window: Any) -> None:
    window.evaluate("incident(1)")
    window.evaluate("incident(2)")
    boot, seq = window.evaluate("[journal.bootId, journal.nextSeq()]")
    assert seq == 5
    reload(window)
    newest, oldest = found(window)
    assert [event["type"] for event in newest["events"]] == ["new", "end"]
    assert all(event["durable"] for event in newest["events"])
    assert newest["began"] > oldest["began"]
    assert {key: newest[key] for key in ("state", "label", "lastedS", "zones", "review")} == {
        "state": "over",
        "label": "brown_bear",
        "lastedS": 9,
        "zones": ["hives"],
        "review": None,
    }
    assert newest["topScore"] == pytest.approx(0.89)
    assert newest["size"] == pytest.approx(1024, rel=0.5), "the crop is what is shown"
    assert window.evaluate("journal.nextSeq()") == 5, "of those that were kept, it goes on"
    assert window.evaluate("journal.bootId") != boot
    assert window.evaluate("journal.incidents(1)")[0]["id"] == newest["id"]


def test_pictures_that_come_later_join_their_event(window: Any) -> None:
    window.evaluate("async () => { globalThis.first = event(1, 'new', 0); await add(first); }")
    window.evaluate("async () => add(first, await picture(20), await picture(5))")
    window.evaluate("async () => add(event(1, 'update', 3), await picture(30), await picture(7))")
    [incident] = found(window)
    assert [event["type"] for event in incident["events"]] == ["new", "update"]
    sizes = window.evaluate(
        "async (id) => { const p = await journal.pictures(id); return [p.full, p.crop].map((b) => b.byteLength); }",
        incident["id"],
    )
    assert sizes == [20 * 1024, 7 * 1024], "the frame of the alarm stays, the best crop replaces the one before"
    assert incident["bytes"] == 27 * 1024


def test_messages_that_come_at_once_keep_their_order(window: Any) -> None:
    window.evaluate("""async () => {
      const large = await picture(400);
      await Promise.all([add(event(1, 'new', 0), large, large), add(event(1, 'update', 1)), add(event(1, 'end', 2))]);
    }""")
    [incident] = found(window)
    assert [event["type"] for event in incident["events"]] == ["new", "update", "end"]
    assert incident["bytes"] == 2 * 400 * 1024


def test_a_page_that_dies_leaves_its_bear_cut_off(context: Any, window: Any, site: Site) -> None:
    window.evaluate("async () => { await add(event(1, 'new', 0)); await journal.note('detector', 'new', 'stopped'); }")
    other = opened(context, site)
    assert [each["state"] for each in [*found(window), *found(other)]] == ["going on"] * 4
    window.close()
    other.wait_for_function("async () => (await journal.incidents(1))[0].state === 'cut off'")


def test_a_review_holds_and_is_handed_on(window: Any) -> None:
    window.evaluate("incident(1)")
    id_ = found(window)[0]["id"]
    window.evaluate("(id) => journal.review(id, 'wrong')", id_)
    assert [each["event"] for each in window.evaluate("journal.reviews()")] == [id_]
    window.evaluate("(id) => journal.review(id, 'wrong')", id_)
    assert len(found(window)[0]["reviews"]) == 1, "the same again is no other"
    window.evaluate("(id) => journal.review(id, { label: 'fox' })", id_)
    assert window.evaluate("journal.reviews()")[0]["wrong"] is True
    window.evaluate("(id) => journal.review(id, 'confirmed')", id_)
    assert window.evaluate("journal.reviews()") == []
    assert [each["wrong"] for each in window.evaluate("reviews")] == [True, True, True, False]
    reload(window)
    review = found(window)[0]["review"]
    assert (review["verdict"], review["label"]) == ("confirmed", None)
    assert [each["verdict"] for each in found(window)[0]["reviews"]] == ["wrong", "relabelled", "confirmed"]


def test_a_review_older_than_a_day_holds_nothing_back(window: Any) -> None:
    window.evaluate("incident(1)")
    window.evaluate("(id) => journal.review(id, 'wrong')", found(window)[0]["id"])
    window.evaluate("() => { const now = Date.now(); Date.now = () => now + 25 * 3600e3; }")
    assert window.evaluate("journal.reviews()") == []


def test_notes_of_the_app_are_health_events_that_end(window: Any) -> None:
    for kind, type_, detail in (
        ("hidden", "new", "not in front"),
        ("detector", "new", "stopped"),
        ("hidden", "end", "in front again, in other words"),
    ):
        window.evaluate("(note) => journal.note(...note)", [kind, type_, detail])
    states = {each["events"][0]["label"]: (each["state"], each["events"]) for each in found(window)}
    assert {label: state for label, (state, _) in states.items()} == {"hidden": "over", "detector": "going on"}
    assert [each["type"] for each in states["hidden"][1]] == ["new", "end"]
    assert {each["events"][0]["kind"] for each in found(window)} == {"health"}


def test_settings_outlive_the_page(window: Any) -> None:
    assert window.evaluate("journal.setting('zones') === undefined")
    window.evaluate("journal.set('zones', [{ name: 'hives' }])")
    window.evaluate("journal.set('loud', false)")
    reload(window)
    assert window.evaluate("journal.setting('zones')") == [{"name": "hives"}]
    assert window.evaluate("journal.setting('loud')") is False


def test_a_full_storage_loses_the_oldest_pictures_that_nobody_reviewed(window: Any, site: Site) -> None:
    quota(window, site, 12_000_000)
    window.evaluate("incident(1, 500)")
    window.evaluate("async () => journal.review((await journal.incidents(1))[0].id, 'confirmed')")
    window.evaluate("async () => { for (let n = 2; n <= 30; n++) await incident(n, 500); }")
    incidents = found(window)
    assert len(incidents) == 30, "no line is lost"
    with_pictures = [30 - number for number, each in enumerate(incidents) if each["bytes"]]
    assert with_pictures[0] == 30
    assert with_pictures[-1] == 1, "what was reviewed stays"
    assert 3 <= len(with_pictures) < 25
    assert with_pictures[:-1] == list(range(30, 31 - len(with_pictures), -1)), "of the others the newest"
    assert window.evaluate("journal.trouble") is None


def test_a_storage_that_takes_nothing_is_told_and_what_came_is_kept_until_it_does(window: Any, site: Site) -> None:
    quota(window, site, 1)
    window.evaluate("incident(1)")
    window.evaluate("incident(2, 300)")
    window.evaluate("journal.set('loud', false)")
    assert window.evaluate("troubles") == ["full"]
    assert window.evaluate("journal.setting('loud')") is False
    assert [each["state"] for each in found(window)] == ["over", "over"]
    assert [event["durable"] for event in found(window)[0]["events"]] == [False, False]
    assert found(window)[0]["size"] > 0
    window.evaluate("async () => journal.review((await journal.incidents(1))[0].id, 'wrong')")
    quota(window, site, None)
    window.evaluate("incident(3)")
    assert window.evaluate("troubles") == ["full", None]
    reload(window)
    assert window.evaluate("journal.setting('loud')") is False
    assert [each["review"] and each["review"]["verdict"] for each in found(window)] == [None, "wrong", None]
    assert [event["durable"] for each in found(window) for event in each["events"]] == [True] * 6
    assert all(each["bytes"] for each in found(window)[:2])


@pytest.mark.parametrize("why", ["refused", "none", "of a later version"])
def test_without_a_database_everything_is_kept_in_memory(context: Any, site: Site, why: str) -> None:
    before = {
        "refused": "IDBFactory.prototype.open = () => { throw new DOMException('private', 'SecurityError'); }",
        "none": "Object.defineProperty(globalThis, 'indexedDB', { value: undefined })",
        "of a later version": "",
    }[why]
    if why == "of a later version":
        opened(context, site).evaluate("""() => new Promise((done) => {
          indexedDB.open('bear-alarm', 99).onsuccess = ({ target }) => done(target.result.close());
        })""")
    window = opened(context, site, before)
    assert window.evaluate("journal.trouble") == "broken"
    window.evaluate("incident(1)")
    window.evaluate("async () => journal.review((await journal.incidents(1))[0].id, 'wrong')")
    window.evaluate("journal.set('loud', true)")
    [incident] = found(window)
    assert (incident["state"], incident["review"]["verdict"], incident["size"] > 0) == ("over", "wrong", True)
    assert window.evaluate("journal.setting('loud')") is True
    assert len(window.evaluate("journal.reviews()")) == 1


def test_a_database_that_is_deleted_under_it_is_made_anew(window: Any) -> None:
    window.evaluate("incident(1)")
    window.evaluate("new Promise((done) => indexedDB.deleteDatabase('bear-alarm').onsuccess = done).then(() => null)")
    window.evaluate("incident(2)")
    assert window.evaluate("journal.trouble") is None
    reload(window)
    assert len(found(window)) == 1


def test_a_database_that_opens_late_holds_nothing_up_and_gets_what_waited(context: Any, site: Site) -> None:
    window = opened(context, site)
    window.evaluate("journal.set('loud', false)")
    window.close()
    window = opened(context, site, HELD)
    assert window.evaluate("journal.trouble") == "broken"
    began = window.evaluate("performance.now()")
    window.evaluate("async () => { journal.setting('quick'); await incident(1); await show(); }")
    assert window.evaluate("performance.now()") - began < 3000, "only the first one waits for it"
    assert found(window)[0]["events"][0]["durable"] is False
    assert window.evaluate("held.length") == 1
    window.evaluate("release()")
    window.wait_for_function("journal.trouble === null")
    assert window.evaluate("journal.setting('loud')") is False, "what is stored is known from then on"
    assert [event["durable"] for event in found(window)[0]["events"]] == [True, True]
    assert window.evaluate("troubles") == [None]


def test_a_database_that_does_not_open_is_asked_for_again(context: Any, site: Site) -> None:
    window = opened(context, site, HELD)
    window.evaluate("incident(1)")
    window.evaluate("() => { globalThis.holding = false; }")
    window.evaluate("journal.retry()")
    window.wait_for_function("journal.trouble === null")
    assert [event["durable"] for event in found(window)[0]["events"]] == [True, True]
    assert window.evaluate("closes") == 0
    window.evaluate("release()")
    window.wait_for_function("closes === 1")  # the one that came late
    window.evaluate("incident(2)")
    assert [len(each["events"]) for each in found(window)] == [2, 2]
    assert window.evaluate("troubles") == [None]


def test_what_waits_is_written_when_it_is_asked_for(window: Any, site: Site) -> None:
    window.evaluate("""() => {
      globalThis.put = IDBObjectStore.prototype.put;
      IDBObjectStore.prototype.put = () => { throw new DOMException("worn out", "UnknownError"); };
    }""")
    window.evaluate("incident(1)")
    assert window.evaluate("troubles") == ["broken"]
    window.evaluate("journal.retry()")
    assert window.evaluate("troubles") == ["broken"]
    window.evaluate("() => { IDBObjectStore.prototype.put = put; }")
    window.evaluate("journal.retry()")
    assert window.evaluate("troubles") == ["broken", None]
    reload(window)
    [incident] = found(window)
    assert ([event["type"] for event in incident["events"]], incident["size"] > 0) == (["new", "end"], True)


def test_no_more_than_the_events_it_may_have(window: Any) -> None:
    window.evaluate("""async () => {
      for (let id = 1; id <= 45; id++) {
        for (let n = 0; n < 120; n++) void add(event(id, n < 119 ? 'update' : 'end', n / 100));
        await journal.set('x', id);
      }
      await journal.deleteExported();
    }""")
    count = sum(len(each["events"]) for each in found(window))
    assert 4500 <= count <= 5000 + 20
    assert int(found(window)[0]["id"], 16) == 45


# The list.


def test_the_list_shows_what_happened_and_takes_reviews_by_keyboard(window: Any) -> None:
    window.evaluate(
        "async () => { await incident(1); await incident(2); await add(event(3, 'new', 0), await picture(9)); }"
    )
    window.evaluate("journal.note('hidden', 'new', 'detail for the export')")
    window.evaluate("show()")
    items = window.locator(".event").all_inner_texts()
    assert len(items) == 4
    assert "Not watched: the app was not in front." in items[0]
    assert "detail for the export" not in items[0]
    assert "likely a bear (80 %) · in hives · still going on" in items[1]
    assert "likely a bear (89 %) · in hives · lasted 9 s" in items[2]
    window.locator(".event button").nth(3).focus()
    window.keyboard.press("Enter")
    first = window.locator(".event").nth(2)
    first.get_by_text("Reviewed: A bear").wait_for()
    assert window.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true", "the focus stays"
    first.get_by_role("combobox").select_option("boar")
    first.get_by_text("Reviewed: Wild boar").wait_for()
    assert first.locator("button[aria-pressed=true]").count() == 0
    window.evaluate("show('de')")
    assert window.locator(".event").nth(2).get_by_text("Beurteilt: Wildschwein").count() == 1
    assert found(window)[2 - 1]["review"] is None


def test_an_open_list_shows_what_is_new_and_leaves_the_rest_alone(window: Any) -> None:
    window.evaluate("async () => { for (let n = 1; n <= 6; n++) await incident(n); await show(); }")
    select = window.locator(".event").nth(3).get_by_role("combobox")
    select.focus()
    select.evaluate("(select) => { globalThis.chosen = select; select.value = 'fox'; }")  # and has not let go of it
    window.evaluate("document.querySelector('section').scrollTop = 900")
    place = select.bounding_box()
    window.evaluate("incident(7)")
    window.wait_for_function("document.querySelectorAll('.event').length === 7")
    window.locator(".event").first.locator("img").wait_for()
    window.locator(".event").first.get_by_text("lasted 9 s").wait_for()
    assert window.evaluate("document.activeElement === chosen && chosen.isConnected")
    assert window.evaluate("chosen.value") == "fox"
    assert select.bounding_box() is not None
    moved = window.evaluate("chosen.getBoundingClientRect().top") - place["y"]
    assert abs(moved) < 2, "what the user reads stays where it is"
    assert window.evaluate("document.images.length") == 7
    window.evaluate("async () => add(event(8, 'new', 0, { kind: 'camera', label: 'black', detail: 'for the export' }))")
    window.locator(".event-camera").get_by_text("The picture is black.").wait_for()
    window.evaluate("show('de')")
    assert "Das Bild ist schwarz." in window.locator(".event-camera").inner_text()
    assert "for the export" not in window.locator(".event-camera").inner_text()


def test_a_list_that_is_not_on_the_screen_reads_nothing(window: Any) -> None:
    window.evaluate("async () => { await show(); document.querySelector('main').hidden = true; await incident(1); }")
    window.wait_for_timeout(300)
    assert window.locator(".event").count() == 0


def test_reviewed_events_are_exported_and_deleted(window: Any, tmp_path: Path) -> None:
    window.evaluate("async () => { await incident(1); await incident(2); await show(); }")
    window.get_by_role("button", name="Export reviewed events").click()
    window.get_by_text("Say what some events show first.").wait_for()
    window.locator(".event").nth(1).get_by_role("button", name="No bear").click()
    window.locator(".event").nth(1).get_by_text("Reviewed: No bear").wait_for()
    with window.expect_download() as download:
        window.get_by_role("button", name="Export reviewed events").click()
    window.get_by_text("1 event is in the zip file.").wait_for()
    assert download.value.suggested_filename.startswith("bear-alarm-events-")
    names = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())).namelist()
    folder = "evidence/2026-01-01-030100-yard-00000000/"
    assert {folder + name for name in ("event.json", "review.json", "full.jpg", "crop.jpg")} < set(names)
    window.get_by_text("Reviewed: No bear, exported").wait_for()
    done = bear_alarm("feedback", "import", download.value.path(), "--into", tmp_path / "data", "--json")
    assert done.returncode == 0, done.stderr
    assert {row["label"] for row in table(tmp_path / "data")} == {"no_bear"}
    window.locator(".event").nth(1).get_by_role("button", name="No bear").click()  # says nothing new
    delete = window.get_by_role("button", name="Delete exported events")
    delete.click()
    asked = window.get_by_role("dialog")
    asked.get_by_text("Check first that you still have the zip file.").wait_for()
    asked.get_by_role("button", name="Cancel").click()
    window.get_by_text("Reviewed: No bear, exported").wait_for()
    delete.click()
    asked.get_by_role("button", name="Delete exported events").click()
    window.get_by_text("1 event was deleted.").wait_for()
    assert [int(each["id"], 16) for each in found(window)] == [2]


def test_a_bear_that_is_still_there_is_not_deleted(window: Any) -> None:
    window.evaluate(
        "async () => { await add(event(1, 'new', 0)); await journal.review(event(1, 'new', 0).id, 'confirmed'); }"
    )
    window.evaluate("journal.markExported([event(1, 'new', 0).id])")
    assert window.evaluate("journal.deleteExported()") == 0
    window.evaluate("add(event(1, 'end', 9))")
    assert window.evaluate("journal.deleteExported()") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_has_no_serious_fault_of_access_and_large_buttons(context: Any, window: Any, scheme: str) -> None:
    window.emulate_media(color_scheme=scheme)
    window.evaluate("async () => { await incident(1); await incident(2); await show(); }")
    window.locator(".event button").first.click()
    window.add_script_tag(path=str(WEB / "node_modules" / "axe-core" / "axe.min.js"))
    faults = window.evaluate(
        """async () => (await axe.run()).violations
          .filter((each) => ['serious', 'critical'].includes(each.impact)).map((each) => each.id)"""
    )
    assert faults == []
    boxes = [each.bounding_box() for each in window.locator("button, select").all()]
    assert len(boxes) == 2 + 2 * 4
    assert min(min(box["width"], box["height"]) for box in boxes) >= 48
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the phone"


def test_pictures_give_their_memory_back(window: Any) -> None:
    window.evaluate("""() => {
      globalThis.held = new Set();
      const { createObjectURL: make, revokeObjectURL: revoke } = URL;
      URL.createObjectURL = (blob) => { const url = make.call(URL, blob); held.add(url); return url; };
      URL.revokeObjectURL = (url) => { held.delete(url); revoke.call(URL, url); };
    }""")
    window.evaluate("async () => { await incident(1); await incident(2); await show(); await show(); }")
    window.wait_for_function(
        "[...document.images].filter((each) => each.complete && each.naturalWidth > 0).length === 2"
    )
    window.wait_for_function("held.size === 0")
