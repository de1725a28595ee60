"""The page Review: one picture, one verdict, the next; for people, with and without JavaScript, and for programs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from edge.page.guard import COOKIE
from edge.record import review_queue
from edge.record.event_folders import evidence_of
from edge.record.history import JournalReader, PastEvent
from edge.record.misses import read_misses
from edge.record.review import read_review, review_path
from edge.schema import Event
from tests.helpers.feedback_evidence import imported
from tests.helpers.page_world import OWNER, Client, World, page_world, wait_for
from tests.helpers.phone_web import MODULES, chromium
from tests.helpers.review_units import alarm, frame, picture

AXE = MODULES / "axe-core" / "axe.min.js"
JSON = {"Accept": "application/json"}
YESTERDAY = f"{datetime.now() - timedelta(days=1):%Y-%m-%d}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, page_world(tmp_path_factory.mktemp("review")) as made:
        patch.setattr(review_queue, "REFRESH_S", 0.0)
        yield made


@pytest.fixture
def root(world: World) -> Path:
    """An empty folder of evidence."""
    for each in world.evidence.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    return world.evidence


@pytest.fixture
def owner(world: World) -> Iterator[Client]:
    with world.client() as client:
        yield client


KEY = re.compile(r'name="unit" value="(\w+)"')


def waiting(client: httpx.Client, *have: str) -> dict[str, Any]:
    """Return what a program gets to review next."""
    answer = client.get("/review/next.json", params={"have": ",".join(have)}, headers=JSON)
    assert answer.status_code == 200
    return dict(answer.json())


def said(client: Client, **form: str) -> dict[str, Any]:
    """Return the answer to a verdict."""
    answer = client.change("/review", form, headers=JSON)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_an_alarm_is_reviewed_without_a_script_taken_back_and_imported(
    world: World, root: Path, owner: Client, tmp_path: Path
) -> None:
    id_ = world.bear()

    def known() -> PastEvent:
        with JournalReader(world.state / "journal.db") as journal:
            return journal.find(id_)

    [evidence] = evidence_of(known(), world.state)
    wait_for((evidence.folder / "clip.mp4").exists, 60.0)
    page = owner.get("/review").text
    key = waiting(owner)["unit"]["id"]
    assert f'src="/review/{key}.jpg"' in page
    assert owner.get(f"/review/{key}.jpg").content == (evidence.folder / "plain.jpg").read_bytes()

    answer = owner.change("/review", {"unit": key, "verdict": "wrong"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/review")
    after = owner.get("/review").text
    assert "You said: no bear. The alarm said: brown bear" in after
    assert "Nothing waits for a review" in after
    review = known().review
    assert review
    assert review.verdict == "wrong"
    assert json.loads(review_path(evidence.folder).read_bytes())["by"] == "owner"

    owner.change("/review", {"what": "undo"})
    assert "Taken back: no bear." in owner.get("/review").text
    assert known().review is None
    assert read_review(evidence.folder) is None

    said(owner, unit=key, verdict="confirmed")
    result = imported(root, tmp_path / "data")
    assert set(result.pictures) == {"bear_any"}
    assert result.verdicts == {"confirmed": 1}


def test_the_link_of_an_event_shows_that_event_and_once_reviewed_says_so(root: Path, owner: Client) -> None:
    old, _ = alarm(root, 40), alarm(root, 41)  # the newest comes first
    place = f"/review?event={Event.from_json((old / 'event.json').read_text()).id}"
    key = KEY.search(owner.get(place).text)
    assert key
    said(owner, unit=key[1], verdict="wrong")
    assert review_path(old).exists()
    text = owner.get(place).text
    assert "it was reviewed already" in text
    other = KEY.search(text)
    assert other
    assert other[1] == waiting(owner)["unit"]["id"]


def test_before_the_verdict_nothing_says_what_the_alarm_said(root: Path, owner: Client) -> None:
    alarm(root, 12, camera="hidden-name", score=0.8765)
    one = owner.get("/review").text
    two = json.dumps(waiting(owner))
    shutil.rmtree(root / "2026-11-24")
    sample = frame(root, 12, camera="hidden-name")
    other = owner.get("/review").text
    for text in (one, two, other):
        for word in (
            "hidden-name",
            "0.8765",
            "0.88",
            "brown bear 0",
            "03:12",
            "04:12",
            "2026-11-24",
            "alarm.jpg",
            "negatives",
            sample.stem,
        ):
            assert word not in text
    keys = [json.loads(two)["unit"]["id"], waiting(owner)["unit"]["id"]]
    forms = [text.split('id="open"')[1].split("<form")[0] for text in (one, other)]
    assert forms[0].replace(keys[0], "KEY") == forms[1].replace(keys[1], "KEY"), "both are shown in the same form"


def test_a_missed_bear_on_a_random_frame_is_called_so(root: Path, owner: Client) -> None:
    sample = frame(root, 1)
    answer = said(owner, unit=waiting(owner)["unit"]["id"], verdict="confirmed")
    assert "There was no alarm: it was missed" in answer["words"]
    assert (answer["left"], answer["today"], answer["undo"] > 0) == (0, 1, True)
    review = read_review(sample)
    assert review
    assert review.verdict == "confirmed"


def test_it_may_be_called_something(root: Path, owner: Client) -> None:
    unit = alarm(root, 1)
    assert "You said: wild boar." in said(owner, unit=waiting(owner)["unit"]["id"], label="wild_boar")["words"]
    review = read_review(unit)
    assert review
    assert (review.verdict, review.label) == ("relabelled", "wild_boar")


def test_what_looks_the_same_is_one_decision_or_one_by_one(root: Path, owner: Client) -> None:
    stump = [alarm(root, number, picture(5)) for number in range(3)]
    unit = waiting(owner)["unit"]
    assert len(unit["alike"]) == 2
    page = owner.get("/review").text
    assert '<span id="count">2</span> that look the same' in page
    assert all(owner.get(f"/review/{key}.jpg").status_code == 200 for key in unit["alike"])
    owner.change("/review", {"unit": unit["id"], "alike": " ".join(unit["alike"]), "what": "apart"})
    assert waiting(owner)["unit"]["alike"] == []
    said(owner, unit=unit["id"], alike=" ".join(unit["alike"]), verdict="wrong")
    assert all(review_path(each).exists() for each in stump)


def test_one_of_several_alike_is_decided_alone_by_its_own_link_and_while_it_goes_on(
    world: World, root: Path, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [Event.from_json((alarm(root, number, picture(5)) / "event.json").read_text()).id for number in range(50, 53)]
    assert len(waiting(owner)["unit"]["alike"]) == 2
    going_on = SimpleNamespace(open_incidents=[SimpleNamespace(id=ids[2])])
    with monkeypatch.context() as patch:
        patch.setattr(world.alarm.threads[0].watcher, "decider", going_on)
        assert waiting(owner)["unit"]["alike"] == []
        assert len(waiting(owner, waiting(owner)["unit"]["id"])["unit"]["alike"]) == 1
    assert 'name="alike" value=""' in owner.get(f"/review?event={ids[0]}").text
    assert len(waiting(owner)["unit"]["alike"]) == 1


def test_what_is_said_of_a_verdict_is_said_once(root: Path, owner: Client) -> None:
    for number in range(2):
        alarm(root, number)
    owner.change("/review", {"unit": "gone", "verdict": "wrong"})
    assert "Not saved" in owner.get("/review").text
    assert "Not saved" not in owner.get("/review").text


def test_two_people_at_once(world: World, root: Path, owner: Client) -> None:
    alarm(root, 1)
    with world.client() as other:
        key = waiting(owner)["unit"]["id"]
        assert waiting(other)["unit"]["id"] == key
        assert not said(owner, unit=key, verdict="wrong")["failed"]
        answer = said(other, unit=key, verdict="confirmed")
        assert answer["failed"]
        assert answer["words"].startswith("Not saved: somebody else reviewed it meanwhile")
        assert said(other, what="undo")["words"] == "There is nothing to take back."


def test_a_program_reviews_with_its_token(world: World, root: Path) -> None:
    unit = alarm(root, 1)
    tokens = {scope: world.accounts.new_token(f"bot {scope}", scope) for scope in ("view", "review")}  # type: ignore[arg-type]
    for scope, allowed in (("view", False), ("review", True)):
        headers = JSON | {"Authorization": f"Bearer {tokens[scope]}"}
        with httpx.Client(base_url=world.address, headers=headers, trust_env=False) as client:
            answer = client.get("/review/next.json")
            assert answer.status_code == (200 if allowed else 403)
            key = answer.json()["unit"]["id"] if allowed else "0"
            answer = client.post("/review", json={"unit": key, "verdict": "wrong"})
            assert answer.status_code == (200 if allowed else 403)
    review = read_review(unit)
    assert review
    assert review.by == "bot review"


def test_a_viewer_hears_that_only_the_owner_reviews(world: World, root: Path) -> None:
    alarm(root, 1)
    with world.client("viewer") as viewer:
        answer = viewer.get("/review")
        assert answer.status_code == 403
        assert "Only the owner reviews" in answer.text
        assert "<img" not in answer.text
        assert viewer.get("/review/next.json", headers=JSON).json() == {"error": "only the owner reviews"}
        assert viewer.change("/review", {"verdict": "wrong"}).status_code == 403


@pytest.mark.parametrize("form", [{"verdict": "nonsense"}, {"verdict": ""}, {"label": "No Word!"}])
def test_a_verdict_that_is_none_is_refused(root: Path, owner: Client, form: dict[str, str]) -> None:
    unit = alarm(root, 1)
    answer = owner.change("/review", {"unit": waiting(owner)["unit"]["id"]} | form)
    assert answer.status_code == 400
    assert "This review cannot be used" in answer.text
    assert not review_path(unit).exists()
    assert owner.get("/review/0123456789abcdef.jpg").status_code == 404


def test_where_no_pictures_are_kept_it_says_so(world: World, owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.alarm, "writer", None)
    assert "so there is nothing to review" in owner.get("/review").text


def test_a_miss_is_reported_kept_and_listed(world: World, root: Path, owner: Client) -> None:
    at = datetime.now().astimezone().replace(second=0, microsecond=0) - timedelta(hours=5)
    form = {"camera": "yard", "day": f"{at:%Y-%m-%d}", "time": f"{at:%H:%M}", "note": "at the <third> hive"}
    answer = owner.change("/review/miss", form)
    assert answer.headers["Location"] == "/review#misses"
    [miss] = read_misses(root)
    assert (miss.camera, miss.note, miss.by) == ("yard", "at the <third> hive", "owner")
    assert datetime.fromisoformat(miss.at) == at.astimezone(UTC)
    assert "at the &lt;third&gt; hive" in owner.get("/review").text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera": "moon"}, "is none of yard; choose one of them"),
        ({"day": "yesterday"}, "is no date and time; give 2026-11-24 and 04:12"),
        ({"day": "2999-01-01"}, "is still to come"),
        ({"note": "x" * 2001}, "the note has 2001 characters; 2000 are the most"),
    ],
)
def test_a_miss_that_cannot_be_is_refused(root: Path, owner: Client, change: dict[str, str], words: str) -> None:
    form = {"camera": "yard", "day": YESTERDAY, "time": "04:12", "note": ""} | change
    answer = owner.change("/review/miss", form, headers=JSON)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert read_misses(root) == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    pytest.importorskip("playwright")
    with chromium() as started:
        yield started


def opened(browser: Any, world: World, **options: Any) -> Any:
    """Return the page Review in a browser that is logged in; an error in its script fails the test."""
    context = browser.new_context(**({"viewport": {"width": 1200, "height": 800}} | options))
    cookie = {"name": COOKIE, "value": world.accounts.log_in(OWNER, "test"), "url": world.address}
    context.add_cookies([cookie])
    page = context.new_page()
    page.goto(f"{world.address}/review")
    return page


def shown(page: Any) -> str:
    return str(page.locator("input[name=unit]").input_value())


def ready(page: Any) -> None:
    """Wait until the next picture is there: a key before that decides nothing."""
    page.locator("#desk:not([aria-busy])").wait_for()


@pytest.mark.needs_tool("chromium")
def test_keys_alone_decide_undo_and_go_on(world: World, root: Path, browser: Any) -> None:
    folders = [alarm(root, number) for number in range(5, 0, -1)]  # the newest first
    page = opened(browser, world)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    words = page.locator("#words")
    keys = []
    for key, verdict in (("ArrowLeft", "no bear"), ("ArrowRight", "a bear"), ("Space", "not clear")):
        keys.append(shown(page))
        page.keyboard.press(key)
        words.get_by_text(f"You said: {verdict}.").wait_for()
        ready(page)
        assert shown(page) != keys[-1]
    assert page.locator("#left").text_content() == "2"
    assert page.locator("#today").text_content() == "3"
    page.keyboard.press("u")
    words.get_by_text("Taken back: not clear.").wait_for()
    page.keyboard.press("u")
    words.get_by_text("Taken back: a bear.").wait_for()
    page.locator(f"input[name=unit][value='{keys[1]}']").wait_for(state="attached")
    page.keyboard.press("l")
    page.keyboard.press("Enter")  # the first of the menu
    words.get_by_text("You said: fox.").wait_for()
    page.locator(f"input[name=unit][value='{keys[2]}']").wait_for(state="attached")
    reviews = [read_review(folder) for folder in folders]
    assert [review and (review.label or review.verdict) for review in reviews] == ["wrong", "fox", None, None, None]
    page.keyboard.press("z")
    assert page.locator("#zoom").get_attribute("aria-pressed") == "true"
    for left in (2, 1, 0):
        ready(page)
        page.keyboard.press("ArrowLeft")
        page.locator("#left").get_by_text(str(left), exact=True).wait_for()
    page.get_by_text("Nothing waits for a review.").wait_for()
    assert all(review_path(folder).exists() for folder in folders)
    page.wait_for_load_state()
    page.keyboard.press("u")
    page.locator("#picture").wait_for()
    assert [review_path(folder).exists() for folder in folders] == [True] * 4 + [False]
    assert not faults
    page.context.close()


@pytest.mark.needs_tool("chromium")
def test_a_tap_or_a_click_does_the_same_and_space_then_means_not_sure(world: World, root: Path, browser: Any) -> None:
    folders = [alarm(root, number) for number in (2, 1)]
    page = opened(browser, world)
    page.get_by_role("button", name="A bear").click()
    page.locator("#words").get_by_text("You said: a bear.").wait_for()
    ready(page)
    page.keyboard.press("Space")
    page.get_by_text("Nothing waits for a review.").wait_for()
    reviews = [read_review(folder) for folder in folders]
    assert [review and review.verdict for review in reviews] == ["confirmed", "unsure"]
    page.context.close()


@pytest.mark.needs_tool("chromium")
def test_what_cannot_be_saved_is_said_and_the_next_comes(world: World, root: Path, browser: Any) -> None:
    folders = [alarm(root, number) for number in (2, 1)]
    page = opened(browser, world)
    first = shown(page)
    review_path(folders[0]).write_text("{")
    page.keyboard.press("ArrowLeft")
    page.locator("#words.problem").get_by_text("Not saved").wait_for()
    ready(page)
    assert shown(page) != first
    page.context.close()


@pytest.mark.needs_tool("chromium")
def test_a_picture_that_did_not_come_once_is_shown_later(world: World, root: Path, browser: Any) -> None:
    folders = [alarm(root, number) for number in (2, 1)]
    page = opened(browser, world)
    wait_for(lambda: page.evaluate("ahead.length"))
    page.route("**/review/*.jpg", lambda route: route.fulfill(status=503))
    alarm(root, 0)
    page.keyboard.press("ArrowLeft")
    page.locator("#words.problem").get_by_text("The alarm does not answer").wait_for()
    page.unroute("**/review/*.jpg")
    page.keyboard.press("ArrowLeft")
    page.locator("#left").get_by_text("1", exact=True).wait_for()
    ready(page)
    assert all(review_path(folder).exists() for folder in folders)
    assert page.locator("#picture").is_visible()
    page.context.close()


@pytest.mark.needs_tool("chromium")
@pytest.mark.skipif(not AXE.is_file(), reason="run `npm ci` in edge/phone/web first")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_for_everybody_on_every_screen(
    world: World, root: Path, owner: Client, browser: Any, scheme: str
) -> None:
    for number in range(30, 33):
        alarm(root, number, picture(5))
    miss = {"camera": "yard", "day": YESTERDAY, "time": "04:12", "note": "honey" * 40}
    assert owner.change("/review/miss", miss).status_code == 303
    page = opened(browser, world, viewport={"width": 320, "height": 640}, color_scheme=scheme, bypass_csp=True)
    for summary in page.locator("summary").all():
        summary.click()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 320
    for button in page.locator(".verdicts button").all():
        box = button.bounding_box()
        assert box["height"] >= 64
        assert box["width"] >= 136, "half of the width"
    heights = [each.bounding_box()["height"] for each in page.locator("main button, main summary").all()]
    assert min(heights) >= 44
    page.add_script_tag(path=str(AXE))
    found = page.evaluate(
        "axe.run(document).then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))"
    )
    assert found == []
    page.context.close()
