"""Stages on the page: each camera's, the owner's choice, and the question about a bear on every page."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from edge.alert.confirmation import SHOWN_S, Question
from edge.decide.stages import NOT_YET
from edge.page import common, live, stages
from edge.page.guard import COOKIE
from edge.record.media_store import sample_path
from edge.record.review import Review, pass_on, write_review
from edge.rollout import SHADOW
from edge.schema import utc_text
from edge.settings import AlertSettings, Camera, StageSettings
from tests.helpers.page_world import OWNER, World, page_world, wait_for
from tests.helpers.phone_web import chromium
from tests.page.test_live import AXE, FAULTS, listening


@pytest.fixture(scope="module")
def shadow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    alerts = AlertSettings(bell=False, on_alarm="true")
    with page_world(
        tmp_path_factory.mktemp("shadow"), cameras=(Camera("yard", "", stage="shadow"),), alerts=alerts
    ) as made:
        yield made


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[World]:
    with page_world(
        tmp_path, cameras=(Camera("yard", "", stage="supervised"),), stages=StageSettings(answer_s=110.0)
    ) as made:
        yield made


def plain(html: str) -> str:
    """Return the words of a page, with single spaces."""
    return " ".join(re.sub(r"<[^>]+>", "", re.sub(r"</d[dt]>", " ", html)).replace("&nbsp;", " ").split())


NUMBERS = itertools.count()  # of random frames


def reviewed(world: World, right: int, wrong: int, frames: int) -> None:
    """Have the yard raise alarms and keep random frames, and a person review them."""
    alarm, now = world.alarm, datetime.now(UTC)
    assert alarm.alerting
    assert alarm.alerting.journal
    for _ in range(frames):
        path = sample_path(world.evidence, "yard", now, next(NUMBERS))  # two calls may be in one second
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        write_review(path, Review("wrong", utc_text(now)))
    for number in range(right + wrong):
        id_ = uuid4().hex
        alarm.alerting.journal(alarm.run.event("bear", "new", id_, "yard", model=alarm.classifier.name))
        review = Review("confirmed" if number < right else "wrong", utc_text(now))
        assert pass_on(world.state, [id_], review) is None


def gate(world: World) -> Any:
    assert world.alarm.alerting
    return world.alarm.alerting.confirmations


def asked(world: World) -> Question:
    """Have a bear stand before the camera until it waits for an answer; it stays."""
    world.yard.bear = True
    found: Question = wait_for(lambda: gate(world).open)[0]
    return found


def test_a_shadow_camera_is_marked_on_every_page(shadow: World) -> None:
    for role in ("owner", "viewer"):
        with shadow.client(role) as client:
            for place in ("/", "/events", "/health", "/settings", "/stages"):
                assert f"{SHADOW} from yard." in plain(client.get(place).text)
            assert f"Watching. {SHADOW}" in client.get("/").text
            assert "! The alarm watches, and reaches nobody from yard" in client.get("/health").text
            with listening(client) as states:
                state = next(states)
            assert (state["shadow"], state["cameras"][0]["stage"]) == ("yard", "shadow")


def test_a_bear_in_shadow_says_that_it_reached_nobody_and_its_review_counts(shadow: World) -> None:
    with shadow.client() as owner, listening(owner) as states:
        shadow.yard.bear = True
        assert next(state for state in states if state["alarm"])["silent"] == SHADOW.removeprefix("SHADOW: ")
        id_ = shadow.bear()
        for place in ("/events", f"/events/{id_}"):
            assert "in shadow: it reached nobody" in owner.get(place).text
        page = plain(owner.get("/stages").text)
        for what in ("Right alarms", "Bears found", "Random frames"):
            assert f"{what} none yet" in page
        unit = wait_for(lambda: re.search(r'name="unit" value="([^"]+)"', owner.get(f"/review?event={id_}").text))
        owner.change("/review", {"unit": unit[1], "verdict": "confirmed"})
        wait_for(lambda: "Right alarms 1 of 1 (100 %); at least 21 %" in plain(owner.get("/stages").text))


def test_a_bear_that_reached_people_once_shadow_was_over_says_nothing_of_shadow(shadow: World) -> None:
    alerting = shadow.alarm.alerting
    assert alerting
    id_ = "c0" * 16
    bear = partial(shadow.alarm.run.event, "bear", id_=id_, camera="yard", label="brown_bear", score=0.9)
    place = f"/events/{id_}"
    with shadow.client() as owner:
        alerting.publish(bear("new", stage="shadow"))
        wait_for(lambda: "in shadow: it reached nobody" in owner.get(place).text)
        alerting.publish(bear("update", stage="autonomous", escalated="rising score"))
        alerting.publish(bear("end", stage="autonomous"))
        wait_for(lambda: "in shadow: it reached nobody" not in owner.get(place).text)
        assert "no noise" not in owner.get(place).text


def test_the_owner_alone_chooses_and_the_choice_holds_at_once(shadow: World) -> None:
    rollout, publisher = shadow.alarm.rollout, shadow.alarm.threads[0].watcher.publisher
    assert rollout
    at = rollout.standing("yard").reminds_at
    assert at
    with shadow.client() as owner, shadow.client("viewer") as viewer:
        seen, own = viewer.get("/stages").text, owner.get("/stages").text
        assert f"You are reminded on {at.astimezone().day} {at.astimezone():%B %Y}." in plain(seen)
        assert "As its config says." in seen
        assert "Choose supervised" in own
        assert "Choose" not in seen
        form = {"camera": "yard", "stage": "supervised"}
        assert viewer.change("/stages", form).status_code == 403
        for wrong in ({"stage": "brave"}, {"camera": "barn"}):
            answer = owner.change("/stages", form | wrong)
            assert answer.status_code == 400
            assert next(iter(wrong.values())) in answer.text
        assert rollout.standing("yard").entry.stage == "shadow"
        assert owner.change("/stages", form).headers["Location"] == "/stages?done=yard"
        assert publisher.stage == "supervised"
        page = plain(owner.get("/stages?done=yard").text)
        assert "yard is supervised now." in page
        assert re.search(r"supervised Chosen by owner\. .* shadow As its config says\.", page)
        assert "! Then nobody hears of a bear at this camera." in page
        assert "SHADOW" not in plain(viewer.get("/").text.partition('id="shadow"')[2].partition("hidden>")[0])
        owner.change("/stages", form | {"stage": "shadow"})


def test_the_way_to_the_next_stage_and_the_offer(tmp_path: Path) -> None:
    stages = StageSettings(answer_s=45.0, unanswered="silence")
    cameras = (Camera("yard", "", stage="supervised", stage_lock=True),)
    with page_world(tmp_path, cameras=cameras, stages=stages) as world, world.client() as owner:
        reviewed(world, right=14, wrong=1, frames=12)
        page = wait_for(lambda: "At least 33 more" in (text := owner.get("/stages").text) and text)
        assert '<progress max="60" value="27"' in page
        for words in (
            "10 more alarms reviewed as right",
            "Right alarms 14 of 15 (93 %); at least 70 %, and 80 % is asked for",
            "Of several reviews of one picture the last one counts",
            "It stays SILENT until somebody says yes.",
            "Random frames 12 reviewed, none with a bear that was missed: at most 24 %, and 10 % may be",
            "Locked in the config",
            "! It has not earned this yet.",
            "What is a random frame? A picture without an alarm, kept at random: 4 a day of each camera.",
        ):
            assert words in plain(page)
        assert "has earned" not in page
        assert plain(page).count("33 more") == 1
        reviewed(world, right=16, wrong=0, frames=28)
        page = wait_for(lambda: "yard has earned this stage" in (text := owner.get("/stages").text) and text, 120.0)
        assert "yard: Choose autonomous" in page
        assert "It has not earned this" not in page
        with world.client("viewer") as viewer:
            assert "The owner may choose it." in viewer.get("/stages").text
        notices = wait_for(lambda: "has earned" in (text := owner.get("/events?kind=notice").text) and text)
        assert "Change of stage" in notices
        assert "going on" not in notices
        owner.change("/stages", {"camera": "yard", "stage": "autonomous"})
        rollout = world.alarm.rollout
        assert rollout
        wait_for(lambda: rollout.standing("yard").entry.after != NOT_YET)  # what comes from now on counts
        reviewed(world, right=0, wrong=1, frames=0)
        wait_for(lambda: "Most wrong in a row 1; with 3 the alarm says so" in plain(owner.get("/stages").text))


def test_a_camera_of_the_command_line_has_no_stages(tmp_path: Path) -> None:
    with page_world(tmp_path) as world, world.client() as owner:
        page = owner.get("/stages").text
        assert "This camera has no stages" in page
        assert "Choose another stage" not in page
        assert 'class="badge stage" href="/stages" hidden' in owner.get("/").text


def test_the_owner_alone_gets_what_answers_a_question(supervised: World) -> None:
    question = asked(supervised)
    program = {"Authorization": f"Bearer {supervised.accounts.new_token('monitor', 'review')}"}
    place = f"/answer/{question.token}"
    with supervised.client() as owner, supervised.client("viewer") as viewer, supervised.client("") as other:
        assert f'action="{place}"' in owner.get("/health").text
        with listening(owner) as states:
            first = next(states)["questions"]
            assert [(each["camera"], each["answer"]) for each in first] == [("yard", place)]
            assert next(state for state in states if state["questions"][0]["words"] != first[0]["words"])
        other.headers.update(program)
        for client in (viewer, other):
            with listening(client) as states:
                (seen,) = next(states)["questions"]
            page = client.get("/health").text
            assert "Without an answer it sounds in" in page
            assert question.token not in f"{page}{seen}"
            assert "<button name=" not in page
        gate(supervised).answer(question.token, "no", "anna")
        with listening(owner) as states:
            (seen,) = next(states)["questions"]
        assert (seen["head"], seen["words"], seen["answer"]) == ("anna said no bear", "It stays silent.", "")
        supervised.yard.bear = False
        wait_for(lambda: "anna said no bear" in (page := owner.get("/health").text) and ", gone since" in page)
        assert question.settled_at
        question.settled_at -= SHOWN_S
        assert "anna said" not in owner.get("/health").text


# In a browser.


@contextmanager
def browsing(world: World, **more: Any) -> Iterator[Any]:
    """The page in chromium, 320 pixels wide, with the owner's session; an error in a script fails the test."""
    pytest.importorskip("playwright")
    with chromium() as browser, closing(browser.new_context(viewport={"width": 320, "height": 800}, **more)) as context:
        cookie = {"name": COOKIE, "value": world.accounts.log_in(OWNER, "test"), "url": world.address}
        context.add_cookies([cookie])
        page, wrong = context.new_page(), list[str]()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        yield page
        assert not wrong


def check_looks(page: Any) -> None:
    """Check accessibility in light and dark, and that nothing is wider than the screen."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate(AXE.read_text())
        assert page.evaluate(FAULTS) == []
        assert page.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.needs_tool("chromium")
@pytest.mark.alone
@pytest.mark.skipif(not AXE.is_file(), reason="run `npm ci` in edge/phone/web first")
def test_a_question_comes_by_itself_and_a_key_answers_it(supervised: World) -> None:
    world = supervised
    with browsing(world) as page:
        page.goto(f"{world.address}/review")
        page.locator("#misses summary").click()
        page.locator("#note").fill("a bear at the hives")
        question = asked(world)
        words = page.locator("#questions .words").first
        words.wait_for()
        before = words.inner_text()
        wait_for(lambda: words.inner_text() != before)
        buttons = page.locator("#questions button")
        assert min(each.bounding_box()["height"] for each in buttons.all()) >= 44
        check_looks(page)
        page.get_by_role("button", name="Yes, a bear").first.focus()
        page.keyboard.press("Enter")
        wait_for(lambda: question.answer == "yes")
        page.get_by_text("owner said yes, a bear").wait_for()
        assert not buttons.first.is_visible()
        assert page.locator("#questions .event").first.get_attribute("href") == f"/events/{question.event.id}"
        assert page.locator("#note").input_value() == "a bear at the hives"
        world.yard.bear = False
        page.locator("#questions .seen", has_text=", gone since").wait_for()
        assert question.settled_at
        question.settled_at -= SHOWN_S
        page.locator("#questions section").wait_for(state="detached")


@pytest.mark.needs_tool("chromium")
@pytest.mark.alone
def test_a_question_that_is_over_says_so_and_without_scripts_it_is_answered_too(supervised: World) -> None:
    world = supervised
    question = asked(world)
    with browsing(world) as page:
        page.goto(f"{world.address}/health", wait_until="domcontentloaded")
        page.route("**/answer/*", lambda route: route.fulfill(status=409, json={"error": "this was answered already"}))
        page.get_by_role("button", name="No bear").first.click()
        page.get_by_text("this was answered already").wait_for()
    with browsing(world, java_script_enabled=False) as page:
        page.goto(f"{world.address}/health")
        page.get_by_role("button", name="No bear").first.click()
        page.get_by_text("owner said no bear").wait_for()
        assert page.url == f"{world.address}/health"
    assert question.answer == "no"


@pytest.mark.needs_tool("chromium")
@pytest.mark.alone
@pytest.mark.skipif(not AXE.is_file(), reason="run `npm ci` in edge/phone/web first")
def test_the_owner_chooses_with_the_keyboard(shadow: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(place: str) -> object:
        time.sleep(3.0 * live.POLL_S)  # the page that is left hears of the choice first
        return common.back_to(place)

    monkeypatch.setattr(stages, "back_to", late)
    rollout = shadow.alarm.rollout
    assert rollout
    with browsing(shadow) as page:
        page.goto(f"{shadow.address}/stages")
        page.locator("#shadow").wait_for()
        for each in ("Choose another stage", "What happened to its stage"):
            page.locator("summary", has_text=each).focus()
            page.keyboard.press("Enter")
        check_looks(page)
        page.get_by_role("button", name="yard: Choose supervised").focus()
        page.keyboard.press("Enter")
        page.get_by_text("yard is supervised now.").wait_for()
        page.wait_for_url(f"{shadow.address}/stages")  # loaded again, it says so no more
        assert not page.locator("#shadow").is_visible()
        rollout.choose("yard", "shadow", "anna")
        page.locator("#shadow").wait_for()  # by itself, on every page
        page.locator(".stage-now.shadow").wait_for()
