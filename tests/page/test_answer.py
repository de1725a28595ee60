"""Answers to a question: by its link without a log-in, over real HTTP, to a real alarm with a command that waits."""

from __future__ import annotations

import json
import logging
import re
import shlex
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from edge.alert.confirmation import Question
from edge.record.journal import Journal
from edge.settings import AlertSettings, Camera, PageSettings, StageSettings
from tests.helpers.page_world import World, page_world, wait_for
from tests.helpers.phone_web import chromium
from tests.helpers.sink_world import event, lines
from tests.helpers.webhook_server import PostBox
from tests.page.test_live import AXE, FAULTS


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    page = PageSettings(listen="127.0.0.1:0", names=("bees.example.org",))
    with page_world(tmp_path_factory.mktemp("world"), page=page, stages=StageSettings(answer_s=500.0)) as found:
        yield found


@pytest.fixture
def phone(world):
    """A phone that is not logged in: no cookie, no Origin, an address of its own each time."""
    with httpx.Client(base_url=world.address, trust_env=False) as found:
        yield found


@pytest.fixture
def asked(world, request):
    """Return the question about a bear."""
    return ask(world, request.node.name)


def ask(world: World, id_: str) -> Question:
    questions = world.alarm.alerting.confirmations  # type: ignore[union-attr]
    questions(event(id_=id_, stage="supervised", label="brown_bear", score=0.976))
    found = questions.of_event(id_)
    assert found
    return found


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_a_button_of_the_phones_app_answers_without_a_log_in(phone, asked):
    done = phone.post(f"/answer/{asked.token}", content="answer=yes", headers=FORM)
    assert (done.status_code, done.text) == (200, "a phone said yes, a bear: it sounds\n")
    assert (asked.answer, asked.by) == ("yes", "a phone")


def test_a_used_token_an_old_one_and_a_foreign_one_are_one_sentence(world, phone, asked):
    link = f"/answer/{asked.token}"
    assert phone.post(link, content="answer=no", headers=FORM).text == "a phone said no bear: it stays silent\n"
    again = phone.post(link, content="answer=yes", headers=FORM)
    assert (again.status_code, again.text) == (409, "this was answered already: no\n")
    old = ask(world, "old")
    old.until = time.monotonic()
    late = phone.post(f"/answer/{old.token}", content="answer=yes", headers=FORM)
    assert (late.status_code, late.text) == (409, "this answer comes too late; the question is over\n")
    for foreign in ("guess", "%C3%A4", "a" * 500):
        refused = phone.post(f"/answer/{foreign}", content="answer=yes", headers=FORM)
        assert refused.status_code == 404
        assert "no such question" in refused.text
    assert (asked.answer, old.answer) == ("no", None)


def test_no_answer_says_what_to_send_and_a_second_one_how_to_end_the_noise(phone, asked):
    link = f"/answer/{asked.token}"
    assert phone.post(link, content="", headers=FORM).text == "no answer was sent; send answer=yes or answer=no\n"
    phone.post(link, content="answer=yes", headers=FORM)
    again = phone.post(link, content="answer=no", headers=FORM).text
    assert again == "this was answered already: yes; the noise ends by itself, or stop the alarm to end it now\n"


@pytest.mark.parametrize("content", ["", "answer=maybe", "answer=YES", "yes", "a" * 300_000])
def test_what_is_no_answer_changes_nothing(phone, asked, content):
    refused = phone.post(f"/answer/{asked.token}", content=content, headers=FORM)
    assert refused.status_code in (400, 413)
    assert asked.open


def test_a_link_that_is_looked_at_answers_nothing_and_shows_no_more_than_it_must(phone, asked):
    shown = phone.get(f"/answer/{asked.token}", headers={"Accept": "text/html"})
    assert shown.status_code == 200
    assert "Camera yard: brown bear, 98% sure." in shown.text
    assert re.findall(r'<button name="answer" value="(\w+)">', shown.text) == ["no", "yes"]
    assert re.search(r"Seen \d\d:\d\d:\d\d\.", shown.text)
    assert "<img" not in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    assert asked.open
    assert phone.head(f"/answer/{asked.token}").status_code == 200
    assert asked.open


def test_a_browser_that_answers_reads_what_happened_and_may_read_it_again(phone, asked):
    link = f"/answer/{asked.token}"
    done = phone.post(link, data={"answer": "yes"}, headers={"Accept": "text/html"}, follow_redirects=True)
    assert "A phone said yes, a bear: it sounds." in done.text
    assert 'name="answer"' not in done.text


def test_the_owner_answers_from_any_page_and_comes_back_to_it_and_to_no_other_site(world, asked):
    with world.client() as owner:
        done = owner.change(f"/answer/{asked.token}", {"answer": "no", "back": "/health"})
        assert (done.status_code, done.headers["Location"]) == (303, "/health")
        assert (asked.answer, asked.by) == ("no", "owner")
        other = ask(world, "elsewhere")
        done = owner.change(f"/answer/{other.token}", {"answer": "no", "back": "//evil.example/"})
        assert done.headers["Location"] == "/"


def test_a_token_opens_nothing_else(phone, asked):
    for path in ("/", "/events", f"/events/{asked.event.id}", f"/answer/{asked.token}/more"):
        assert phone.get(path).status_code in (401, 404)
    assert phone.post("/access", content=f"answer=yes&token={asked.token}", headers=FORM).status_code == 403
    for name in ("evil.example", "127.0.0.1.evil.example"):
        assert phone.get(f"/answer/{asked.token}", headers={"Host": name}).status_code == 421
    assert asked.open


def test_an_alarm_can_be_answered_while_nobody_gets_in_any_more(world, phone, asked):
    accounts = world.state / "page.json"
    kept = accounts.read_bytes()
    try:
        accounts.write_text("{")
        assert phone.get("/login").status_code == 503
        assert phone.post(f"/answer/{asked.token}", content="answer=yes", headers=FORM).status_code == 200
    finally:
        accounts.write_bytes(kept)


def test_nothing_logs_a_token(phone, world, caplog, asked):
    caplog.set_level(logging.DEBUG)
    assert phone.get("/answer/guess1").status_code == 404
    assert phone.post(f"/answer/{asked.token}", content="answer=no", headers=FORM).status_code == 200
    logged = [each.getMessage() for each in caplog.records if not each.name.startswith("http")]  # not the client's
    assert not any(asked.token in words or "guess1" in words for words in logged)


@pytest.mark.needs_tool("chromium")
def test_on_a_small_phone_two_big_buttons_and_the_time_that_is_left(world):
    pytest.importorskip("playwright")
    questions = world.alarm.alerting.confirmations
    asked = ask(world, "in a browser")
    with chromium() as browser:
        page = browser.new_context(viewport={"width": 320, "height": 640}).new_page()
        page.goto(f"{world.address}/answer/{asked.token}")
        first = int(page.inner_text("#left"))
        wait_for(lambda: int(page.inner_text("#left")) < first)
        for button in page.locator("main button").all():
            box = button.bounding_box()
            assert box["height"] >= 64
            assert box["width"] >= 200
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        if AXE.is_file():
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.evaluate(AXE.read_text())
                assert page.evaluate(FAULTS) == []
        page.get_by_role("button", name="No bear").press("Enter")
        page.wait_for_selector("text=A phone said no bear: it stays silent.")
    assert questions.of_event("in a browser").answer == "no"


def test_the_address_for_other_machines_is_none_on_this_one_alone(world, tmp_path):
    assert world.alarm.alerting.page() == "https://bees.example.org"
    with page_world(tmp_path, page=PageSettings(listen="0.0.0.0:0", allow_http=True)) as open_:
        host, port = str(open_.alarm.alerting.page()).removeprefix("http://").rsplit(":", 1)  # type: ignore[union-attr]
        assert host not in {"0.0.0.0", "127.0.0.1"}
        assert port == open_.address.rpartition(":")[2]


# A bear, from the camera to the command that makes the noise.


@pytest.mark.parametrize(
    ("answer", "unanswered", "sounds"),
    [("yes", "silence", True), ("no", "sound", False), (None, "sound", True), (None, "silence", False)],
)
def test_a_supervised_bear_starts_nothing_before_a_yes_or_the_time_out(tmp_path, answer, unanswered, sounds):
    heard = tmp_path / "heard"
    answer_s = 3.0 if answer is None else 300.0
    with page_world(
        tmp_path,
        cameras=(Camera("yard", "", stage="supervised"),),
        alerts=AlertSettings(bell=False, on_alarm=f"cat >> {shlex.quote(str(heard))}"),
        stages=StageSettings(answer_s=answer_s, unanswered=unanswered),
    ) as world:
        questions = world.alarm.alerting.confirmations  # type: ignore[union-attr]
        world.yard.bear = True
        (question,) = wait_for(lambda: questions.open)
        wait_for(lambda: journal_knows(world, question.event.id))
        assert not heard.exists() or questions._clock() >= question.asked_at + answer_s  # a busy machine
        assert world.alarm.alerting.page() is None, "the page is for this machine alone"  # type: ignore[union-attr]
        if answer:
            link = f"{world.address}/answer/{question.token}"
            assert httpx.post(link, data={"answer": answer}, trust_env=False).status_code == 200
            verdict = {"yes": "confirmed", "no": "wrong"}[answer]
            wait_for(lambda: verdicts(world) == [(question.event.id, verdict)])
        elif sounds:
            wait_for(lambda: question.sounded)
        else:
            wait_for(lambda: not question.waits or question.asked_at + answer_s + 1.0 < questions._clock())
        if sounds:
            assert json.loads(wait_for(lambda: lines(heard))[0])["id"] == question.event.id
        world.yard.bear = False
        said = {
            "yes": "camera yard: a phone said yes, a bear: it sounds",
            "no": "camera yard: a phone said no bear: it stays silent",
            None: f"camera yard: nobody answered within {answer_s:.0f} s, so the alarm sounds",
        }[answer]
        if answer or sounds:
            wait_for(lambda: outcomes(world) == [said])
        evidence, kept = Path(question.event.evidence or "").parent, journal_lines(world)
        assert not any(question.token in text for text in kept)
        assert not any(question.token.encode() in each.read_bytes() for each in evidence.rglob("*") if each.is_file())
    assert heard.exists() == sounds


def test_the_yes_button_of_a_phones_message_makes_the_noise(tmp_path):
    heard = tmp_path / "heard"
    with (
        PostBox() as box,
        page_world(
            tmp_path,
            cameras=(Camera("yard", "", stage="supervised"),),
            alerts=AlertSettings(
                bell=False,
                on_alarm=f"cat >> {shlex.quote(str(heard))}",
                notify=(f"ntfy://bob:hunter22@127.0.0.1:{box.port}/bears",),
            ),
            page=PageSettings(listen="127.0.0.1:0", names=("bees.example.org",)),
            stages=StageSettings(answer_s=300.0),
        ) as world,
    ):
        world.yard.bear = True
        posted = wait_for(lambda: [each for each in box.posted if "X-Actions" in each.headers])
        assert not heard.exists()
        yes = json.loads(posted[0].headers["X-Actions"])[0]
        at = yes["url"].replace("https://bees.example.org", world.address)  # without the proxy
        done = httpx.request(yes["method"], at, content=yes["body"], headers=yes["headers"], trust_env=False)
        assert done.text == "a phone said yes, a bear: it sounds\n"
        wait_for(lambda: lines(heard))


def journal_knows(world: World, id_: str) -> bool:
    return any(id_ in line for line in journal_lines(world))


def outcomes(world: World) -> list[str]:
    found = [json.loads(line) for line in journal_lines(world)]
    return [each["detail"] for each in found if each["kind"] == "notice" and each["label"] == "answer"]


def journal_lines(world: World) -> list[str]:
    with closing(sqlite3.connect(world.state / "journal.db")) as db:
        return [line for (line,) in db.execute("SELECT json FROM events")]


def verdicts(world: World) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(world.state / "journal.db")) as db:
        return list(db.execute("SELECT event_id, verdict FROM reviews"))


def test_an_answer_holds_also_where_the_journal_takes_no_review(tmp_path, caplog):
    heard = tmp_path / "heard"
    with page_world(
        tmp_path,
        cameras=(Camera("yard", "", stage="supervised"),),
        alerts=AlertSettings(bell=False, on_alarm=f"cat >> {shlex.quote(str(heard))}"),
    ) as world:
        journal = world.alarm.alerting.journal  # type: ignore[union-attr]
        assert isinstance(journal, Journal)
        with closing(sqlite3.connect(world.state / "journal.db")) as db:
            db.execute("DROP TABLE reviews")
        asked = ask(world, "bear")
        assert httpx.post(f"{world.address}/answer/{asked.token}", data={"answer": "yes"}, trust_env=False).is_success
        wait_for(lambda: lines(heard))
        wait_for(lambda: "answers failed" in caplog.text)
