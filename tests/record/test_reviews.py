"""What a person says of an alarm: on the way to the running alarm, in the list, and after the next start."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from edge.alarm import REVIEWS_EVERY_S, Alarm, ReviewPoller
from edge.alert.events import EventPublisher
from edge.decide.repeat_alarms import KEPT_S, TIMES
from edge.errors import BearAlarmError
from edge.record import database
from edge.record.database import NAME
from edge.record.history import JournalReader
from edge.record.journal import Journal
from edge.record.review import Review, pass_on
from edge.record.run import EventFactory
from edge.schema import Event, Frame, utc_text
from edge.settings import AlertSettings, Camera, EvidenceSettings, Settings
from edge.watch import Watcher
from tests.alarm.test_watch import RULE, Colours, scene
from tests.decide.test_repeat_alarms import BOX
from tests.helpers.fake_camera import LiveYard, soon
from tests.helpers.state_folder import NIGHT, StateFolder, events_of
from tests.helpers.tiny import BEAR_COLOUR
from tests.helpers.yard import yard_model

A, B, C = "a1" * 16, "b2" * 16, "c3" * 16
SAID = Review("wrong", utc_text(NIGHT + timedelta(hours=6)))


@pytest.fixture
def state(tmp_path, time_zone, monkeypatch):
    time_zone("Europe/Berlin")
    monkeypatch.setenv("COLUMNS", "100")
    return StateFolder(tmp_path / "state")


@pytest.fixture
def ask(state, capsys):
    return partial(events_of, state, capsys)


def older(folder):
    """A journal as the version before reviews left it, with one event."""
    folder.mkdir()
    with closing(database.connect(folder / NAME)) as db:
        db.execute("PRAGMA journal_mode = WAL").close()
        for statement in database.MIGRATIONS[0].split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        event = Event("bear", "new", A, 1, "0f" * 16, "yard", utc_text(NIGHT), box_xywh=BOX)
        db.execute(
            "INSERT INTO events(event_id, kind, type, camera, boot_id, seq, captured_at, json)"
            " VALUES(?, 'bear', 'new', 'yard', ?, 1, ?, ?)", (A, event.boot_id, event.captured_at, event.to_json()),
        )  # fmt: skip
    return folder


def version(folder):
    with closing(database.connect(folder / NAME)) as db:
        return database.version(db)


def test_the_alarm_brings_an_older_journal_to_this_version_in_place(tmp_path):
    folder = older(tmp_path / "state")
    with JournalReader(folder / NAME) as read:
        assert [(one.id, one.review) for one in read.incidents()] == [(A, None)]
    assert version(folder) == 1  # who only reads changes nothing
    journal = Journal(folder, run=EventFactory())
    assert journal.durable
    assert pass_on(folder, [A], SAID) is None
    assert [(said.event.id, said.verdict, said.at) for said in journal.reviews()] == [
        (A, "wrong", NIGHT + timedelta(hours=6))
    ]
    journal.close()
    assert version(folder) == database.VERSION
    with JournalReader(folder / NAME) as read:
        assert [(one.id, one.review) for one in read.incidents()] == [(A, SAID)]


def test_a_command_leaves_an_older_journal_as_it_is_for_an_older_alarm_may_go_on_with_it(tmp_path):
    folder = older(tmp_path / "state")
    before = (folder / NAME).read_bytes()
    assert "older version" in (pass_on(folder, [A], SAID) or "")
    assert (folder / NAME).read_bytes() == before


def test_a_journal_of_a_later_version_is_left_as_it_is(state):
    state.sql(f"PRAGMA user_version = {database.VERSION + 1}")
    assert "newer version" in (pass_on(state.folder, [A], SAID) or "")


def test_without_a_journal_nobody_is_to_hear_of_it(tmp_path):
    assert pass_on(tmp_path, [A], SAID) is None
    assert list(tmp_path.iterdir()) == []


def test_reviews_outlive_a_damaged_journal_and_go_with_their_event(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.journal.KEEP_EVENTS", 1)
    run = EventFactory()
    journal = Journal(tmp_path, run=run)
    for number in range(3):
        journal(replace(run.event("bear", "new", f"id{number}", "yard"), box_xywh=BOX))
    pass_on(tmp_path, ["id0", "id2", "no such event"], SAID)
    assert [said.event.id for said in journal.reviews()] == ["id0", "id2"]
    journal._disk._suspect = "it is said to be damaged"
    journal.beat()
    assert (tmp_path / "quarantine").is_dir()
    assert [said.event.id for said in journal.reviews()] == ["id2"]
    assert [said.event.id for said in journal.reviews(1000)] == ["id2"]  # fewer rows than were known: another journal
    journal.close()


class Yard:
    """A camera's watcher before a stump that is taken for a bear whenever it is uncovered; and its journal."""

    def __init__(self, folder):
        self.usual_s, self.event = 0.0, ""  # until the alarm of its first event, and that one's id
        self.run = EventFactory()
        self.journal = Journal(folder, run=self.run)
        self.told: list[Event] = []
        self.began = datetime.now(UTC)
        self.start()

    def start(self):
        """As after a restart: the watcher knows nothing."""
        publisher = EventPublisher([lambda event: self.told.append(self.journal(event))], run=self.run)
        colours = Colours()
        self.watcher = Watcher(colours, RULE, publisher, scan=colours.scan)
        self.reviews = ReviewPoller(self.journal, [self.thread("yard")], ("brown_bear",))

    def thread(self, camera) -> Any:
        return SimpleNamespace(camera=SimpleNamespace(name=camera), watcher=self.watcher)

    def __call__(self, from_s, to_s, *, stump):
        """Frames of so many seconds after the beginning; the seconds until the alarm, if there was one."""
        picture = scene()
        if stump:
            cv2.rectangle(picture, (30, 60), (250, 300), BEAR_COLOUR, -1)
        before = len(self.told)
        self.watcher(
            Frame(picture, at, self.began + timedelta(seconds=at), "yard", int(at * 10), time.monotonic())
            for at in (from_s + i / 10 for i in range(round((to_s - from_s) * 10)))
        )
        new = [event for event in self.told[before:] if event.type == "new"]
        after_s = [(datetime.fromisoformat(event.captured_at) - self.began).total_seconds() - from_s for event in new]
        return min(after_s, default=None)

    def said(self, verdict, after_s, label=None):
        """A person's word, so many seconds after the beginning; looked for as the alarm does."""
        review = Review(verdict, utc_text(self.began + timedelta(seconds=after_s)), label)
        assert pass_on(self.journal.folder, [self.told[0].id], review) is None
        self.reviews.look()

    @property
    def twice_s(self):
        """Seconds until the alarm where it takes twice the evidence, which grows by the cap a second."""
        return self.usual_s + (TIMES - 1.0) * RULE.alarm_at / RULE.cap

    @property
    def spots(self):
        repeat_alarms = self.watcher.decider.repeat_alarms
        assert repeat_alarms
        return [spot for spot in repeat_alarms._spots if spot.wrongs]


@pytest.fixture
def yard(tmp_path):
    made = Yard(tmp_path)
    made.usual_s = made(0.0, 5.0, stump=True)
    assert made.usual_s is not None
    made.event = made.told[0].id
    yield made
    made.reviews.close(1.0)
    made.journal.close()


def test_wrong_makes_the_spot_need_twice_the_evidence(yard):
    yard.said("wrong", 60.0)
    assert yard(600.0, 605.0, stump=True) == pytest.approx(yard.twice_s, abs=0.3)
    assert [spot.wrongs for spot in yard.spots] == [{yard.event: pytest.approx(60.0, abs=0.01)}]


@pytest.mark.parametrize(("verdict", "label"), [("confirmed", None), ("unsure", None), ("relabelled", "brown_bear")])
def test_another_verdict_takes_a_wrong_back(yard, verdict, label):
    yard.said("wrong", 60.0)
    yard.said(verdict, 70.0, label)
    assert yard(600.0, 605.0, stump=True) == pytest.approx(yard.usual_s, abs=0.11)


def test_a_wrong_that_is_taken_back_no_longer_counts(yard):
    yard.said("wrong", 60.0)
    assert pass_on(yard.journal.folder, [yard.event], None) is None
    yard.reviews.look()
    assert yard(600.0, 605.0, stump=True) == pytest.approx(yard.usual_s, abs=0.11)


def test_what_is_called_something_that_is_no_bear_was_wrong(yard):
    yard.said("relabelled", 60.0, "fox")
    assert yard(600.0, 605.0, stump=True) == pytest.approx(yard.twice_s, abs=0.3)


@pytest.mark.parametrize(("since_s", "holds"), [(600.0, True), (KEPT_S - 60.0, True), (KEPT_S + 60.0, False)])
def test_after_a_restart_a_wrong_younger_than_a_day_still_counts(yard, since_s, holds):
    yard.said("wrong", 60.0)
    yard.start()
    yard.reviews.look()
    took_s = yard(60.0 + since_s, 65.0 + since_s, stump=True)
    assert took_s == pytest.approx(yard.twice_s if holds else yard.usual_s, abs=0.3)


def test_a_word_from_before_the_clock_was_set_back_counts_from_now_on(yard):
    yard.said("wrong", 30 * KEPT_S)
    assert yard(600.0, 605.0, stump=True) == pytest.approx(yard.twice_s, abs=0.3)
    assert [spot.wrongs for spot in yard.spots] == [{yard.event: pytest.approx(600.0, abs=0.2)}]


def test_the_journal_is_looked_into_once_a_second_and_new_words_are_handed_on_once(yard):
    looks = []
    yard.reviews.look = lambda: looks.append(1)  # type: ignore[method-assign]
    done = yard.reviews._worker.done
    for tick in range(25):  # two and a half seconds of the alarm's loop
        yard.reviews.tick(100.0 + tick / 10)
        until = time.monotonic() + 30.0
        while tick % 10 == 0 and yard.reviews._worker.done <= done + tick // 10 and time.monotonic() < until:
            time.sleep(0.005)
    assert REVIEWS_EVERY_S <= 1.0
    assert len(looks) == 3


def test_a_camera_that_is_watched_again_gets_all_reviews(yard):
    yard.said("wrong", 60.0)
    yard.reviews.close(1.0)
    yard.start()
    yard.reviews.look()
    yard(600.0, 601.0, stump=False)
    assert [list(spot.wrongs) for spot in yard.spots] == [[yard.event]]


def test_a_review_reaches_no_other_camera(yard):
    yard.reviews._threads = [yard.thread("bin")]
    yard.said("wrong", 60.0)
    yard(600.0, 601.0, stump=False)
    assert yard.spots == []


def test_a_running_alarm_hears_a_person_and_so_does_the_next_one(tmp_path):
    with LiveYard() as live:
        settings = Settings(
            cameras=(Camera("yard", live.url),),
            alerts=AlertSettings(bell=False),
            evidence=EvidenceSettings(keep=False),
            model=str(yard_model(tmp_path / "tiny.onnx")),
            state=tmp_path / "state",
            waits=True,
        )
        for said in (partial(pass_on, tmp_path / "state", [A], replace(SAID, at=utc_text(datetime.now(UTC)))), None):
            alarm = Alarm(settings)
            alarm.start()
            assert soon(lambda alarm=alarm: alarm.status().cameras[0].frames > 0)
            if said:
                assert alarm.alerting
                assert alarm.alerting.journal
                alarm.alerting.journal(replace(alarm.run.event("bear", "new", A, "yard"), box_xywh=BOX))
                alarm.tick(time.monotonic())
                assert said() is None
            repeat_alarms = alarm.threads[0].watcher.decider.repeat_alarms

            def heard(alarm=alarm, repeat_alarms=repeat_alarms):
                alarm.tick(time.monotonic())
                return [spot.wrongs for spot in repeat_alarms._spots]

            assert soon(heard)
            assert list(heard()[0]) == [A]
            alarm.stop_cameras()
            alarm.close(5.0)


def test_the_command_writes_the_row_that_the_alarm_reads(state, ask):
    state.bear(A, evidence=state.evidence(A, **{"event.json": json.dumps({"id": A}).encode()}))
    ask("review", "a1", "--wrong")
    folder = next((state.folder / "evidence").glob("*/*"))
    ask("review", str(folder), "--label", "fox")
    journal = Journal(state.folder, run=EventFactory())
    assert [(said.event.id, said.verdict, said.label) for said in journal.reviews()] == [
        (A, "wrong", None), (A, "relabelled", "fox")
    ]  # fmt: skip
    journal.close()


def test_a_review_that_the_alarm_does_not_get_is_saved_and_that_is_logged(state, ask, caplog):
    state.bear(A, evidence=state.evidence(A))
    state.sql("DROP TABLE reviews")
    state.sql("PRAGMA user_version = 1")
    assert "reviewed: no bear" in ask("review", "a1", "--wrong")
    assert "does not get it" in caplog.text
    assert "reviewed: no bear" in ask()


def test_list_and_show_have_what_was_decided_and_what_waits(state, ask):
    for number, id_ in enumerate((A, B)):
        state.bear(id_, number * 600.0, evidence=state.evidence(id_))
    state.bear(C, 1200.0)  # without a picture nobody can say
    state.event("d4" * 16, "new", 1800.0, kind="camera", label="gone", detail="no picture")
    ask("review", "a1", "--wrong", "--by", "anna", "--note", "a stump")
    lines = {line.split()[1][:2]: line for line in ask().splitlines()[1:]}
    assert {id_ for id_, line in lines.items() if "reviewed: no bear" in line} == {"a1"}
    assert "no bear, by anna" in " ".join(ask("show", "a1").split())
    assert "a stump" in ask("show", "a1")
    facts = json.loads(ask("show", "a1", "--json"))["review"]
    assert (facts["verdict"], facts["by"], facts["label"]) == ("wrong", "anna", None)
    assert json.loads(ask("show", "b2", "--json"))["review"] is None
    assert [one["id"] for one in json.loads(ask("--unreviewed", "--json"))["happenings"]] == [B]
    ask("review", "b2", "--confirmed")
    assert json.loads(ask("--unreviewed", "--json"))["happenings"] == []
    with pytest.raises(BearAlarmError, match="only bears"):
        ask("--unreviewed", "--kind", "camera")


def test_what_was_decided_is_known_when_the_evidence_is_gone(state, ask):
    state.bear(A, evidence=state.evidence(A))
    ask("review", "a1", "--label", "fox")
    for path in sorted((state.folder / "evidence").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert "reviewed: fox" in ask()
    assert ask("--unreviewed") == ""


@pytest.mark.parametrize("zone", ["America/Anchorage", "Asia/Tokyo", "UTC"])
def test_every_time_that_show_gives_has_its_day_and_its_zone(state, ask, time_zone, zone):
    time_zone(zone)
    row = state.bear(A, lasts_s=7 * 3600.0)
    state.delivery(row, "ntfy", attempts=2)
    said = ask("show", "a1")
    times = [datetime.fromisoformat(word.rstrip(",")) for word in _times(said)]
    assert {at.astimezone(UTC) for at in times} == {NIGHT, NIGHT + timedelta(hours=7)}
    assert said.count(":07") == len(times)


def _times(said):
    words = said.split()
    return [f"{day} {at}" for day, at in itertools.pairwise(words) if day.startswith("2026-")]
