"""Drift while the alarm runs: written figures, one notice, what a person did, and what begins again."""

from __future__ import annotations

import math
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from edge.alert.events import EventPublisher
from edge.decide.stages import StageEntry
from edge.detect.camera_check import CameraCheck
from edge.detect.drift import REFERENCE
from edge.drift_watch import FEEDBACK, WRITE_S, DriftWatch, monitors_of
from edge.errors import OptionError
from edge.record import database
from edge.record.database import NAME
from edge.record.days import Day, Minute, add_days, read_days
from edge.record.run import Clock, EventFactory
from edge.record.stage_log import write_stage
from edge.schema import Event
from edge.watch import Watcher
from tests.alarm.test_watch import RULE, Colours
from tests.helpers.day_rows import LAST, MODEL, day, journal, write_days
from tests.helpers.page_world import wait_for
from tests.helpers.tiny import tiny_card

NOW = datetime(2026, 12, 1, 13, tzinfo=UTC)  # the day before and the night before are over
DARKER = "darker than before: is the lens dirty?"
DARK = f"since 21 November {DARKER}"
BRIGHTER = "brighter than before: is there a new lamp, or snow?"


@pytest.fixture(autouse=True)
def utc(time_zone):
    time_zone("UTC")


@pytest.fixture
def folder(tmp_path):
    return journal(tmp_path / "state")


class Place:
    """An alarm's drift watch, looked at by hand."""

    def __init__(self, folder, *cameras, model=MODEL, now=NOW):
        self.now = now
        self.published: list[Event] = []
        self.clock = Clock(lambda: (False, "no time server"), wall=lambda: self.now)
        names = cameras or ("yard",)
        self.watchers = {name: Watcher(Colours(), RULE, EventPublisher(), camera_check=CameraCheck()) for name in names}
        self.drift = DriftWatch(
            self.watchers,
            model=model,
            card=tiny_card(),
            folder=folder,
            run=EventFactory(),
            clock=self.clock,
            publish=self.published.append,
        )
        self.at = 0.0

    def look(self):
        """Have it write and read, and publish what it found; return the words of the notices."""
        self.drift.look()
        before, done = len(self.published), self.drift._worker.done
        self.at += WRITE_S
        self.drift.tick(self.at)  # its thread writes down that people were notified
        wait_for(lambda: self.drift._worker.done > done)
        return [event.detail for event in self.published[before:]]

    def missing(self, figure="brightness", *, night=False):
        """Return how many days of the reference are missing."""
        (found,) = [each for each in self.drift.monitors() if (each.figure, each.night) == (figure, night)]
        return found.course.missing


def test_people_are_notified_once_in_plain_words(folder):
    write_days(folder, dark_days=10)
    place = Place(folder)
    assert place.look() == [f"camera yard: by day {DARK} {FEEDBACK}"]
    (event,) = place.published
    assert (event.kind, event.type, event.label, event.camera) == ("notice", "new", "drift", "yard")
    assert [(each.figure, each.night, each.noticed) for each in place.drift.reports()] == [("brightness", False, False)]
    place.now += timedelta(days=1)
    assert place.look() == []
    again = Place(folder)  # after a restart
    assert again.look() == []
    assert [each.noticed for each in again.drift.reports()] == [True]


def test_an_autonomous_camera_is_advised_and_stays_as_it_is(folder):
    write_days(folder, dark_days=10)
    place = Place(folder)
    place.watchers["yard"].publisher.stage = "autonomous"
    assert "is the lens dirty? Consider the stage supervised. Its " in place.look()[0]
    assert place.watchers["yard"].publisher.stage == "autonomous"


def test_who_looked_begins_a_new_reference_of_that_figure(folder):
    write_days(folder, dark_days=10)
    place = Place(folder)
    place.look()
    with pytest.raises(OptionError, match="no drift of this kind"):
        place.drift.looked("yard", "sharpness", night=False)
    place.drift.looked("yard", "brightness", night=False)
    assert place.drift.reports() == []
    assert (place.missing(), place.missing("sharpness"), place.missing(night=True)) == (REFERENCE, 0, 0)
    with pytest.raises(OptionError, match="load the page again"):
        place.drift.looked("yard", "brightness", night=False)
    place.now += timedelta(days=1)
    place.look()
    add_days(folder, {("yard", NOW.date() + timedelta(days=n), False): day(brightness=math.log(55)) for n in range(30)})
    later = Place(folder, now=NOW + timedelta(days=30))
    assert later.look() == []
    assert later.missing() == 0


def test_a_drift_that_goes_on_is_noticed_again_in_its_new_words(folder):
    write_days(folder, days=40, last=LAST - timedelta(days=30))
    place, said = Place(folder), list[str]()
    for ago in range(29, -1, -1):  # brighter for 15 days, then nearly black
        at = LAST - timedelta(days=ago)
        add_days(folder, {("yard", at, False): day(brightness=math.log(150 if ago >= 15 else 15))})
        place.now = NOW - timedelta(days=ago)
        said += place.look()
        place = Place(folder, now=place.now) if ago % 2 else place  # restarts
    assert said == [
        f"camera yard: by day since 31 October {BRIGHTER} {FEEDBACK}",
        f"camera yard: by day since 16 November {DARKER} {FEEDBACK}",
    ]


def test_a_drift_by_day_and_at_night_is_one_clause_and_an_old_one_has_its_year(folder):
    write_days(folder, days=30, last=LAST - timedelta(days=30))
    write_days(folder, days=30, brightness=math.log(40))
    place = Place(folder, now=NOW + timedelta(days=40))
    assert place.look() == [f"camera yard: by day and at night since 1 November 2026 {DARKER} {FEEDBACK}"]


def test_a_drift_that_is_over_is_reported_no_more(folder):
    write_days(folder, dark_days=10)
    assert Place(folder).look()
    rows = {("yard", NOW.date() + timedelta(days=n), False): day() for n in range(6)}
    add_days(folder, rows)
    after = Place(folder, now=NOW + timedelta(days=6))
    assert after.look() == []
    assert after.drift.reports() == []


@pytest.mark.parametrize("change", ["moved by day", "moved at night", "model", "source"])
def test_what_is_usual_begins_again_with_another_view_model_or_source(folder, change):
    write_days(folder, source="rtsp://10.0.0.7")
    at = LAST - timedelta(days=5)
    if change == "model":
        write_days(folder, days=5, model="other@1")
    elif change == "source":
        write_days(folder, days=5, source="rtsp://10.0.0.8")
    else:
        add_days(folder, {("yard", at, change == "moved at night"): Day(MODEL, moved=True)})
    place = Place(folder)
    place.look()
    # The day on which it was moved has lost what was before: nothing is left of it.
    nights = 4 if change == "moved at night" else 5 if change in {"model", "source"} else 6
    assert (place.missing(), place.missing(night=True)) == (REFERENCE - 5, REFERENCE - nights - (nights == 4))


def test_a_moved_camera_is_heard_of_and_written(folder):
    place = Place(folder)
    minutes = [Minute(NOW + timedelta(minutes=n), False, 60.0, True) for n in range(3)]
    for minute in minutes:
        place.drift._minutes["yard"].append(minute)
    place.drift.take_event(EventFactory().event("camera", "end", "1", "yard", label="moved"))
    place.drift.take_event(EventFactory().event("camera", "new", "2", "yard", label="black"))
    assert [each.moved for each in place.drift._minutes["yard"]] == [False] * 3
    place.drift.take_event(EventFactory().event("camera", "new", "1", "yard", label="moved"))
    place.look()
    (found,) = read_days(folder, ["yard"], NOW.date()).values()
    assert (found.moved, found.watched_s) == (True, 0.0)


def test_a_camera_goes_on_under_another_name(folder):
    write_days(folder, "garden", days=20)
    write_days(folder, "meadow", days=20)
    for name, source in (("garden", "rtsp://10.0.0.7"), ("yard", "rtsp://10.0.0.7"), ("meadow", "rtsp://10.0.0.8")):
        write_stage(folder, StageEntry(name, "shadow", NOW, 0, "test", "", MODEL, source, ""))
    place = Place(folder)
    place.look()
    assert place.missing() == REFERENCE - 20
    both = Place(folder, "yard", "garden")  # a second camera took the name
    both.look()
    assert {each.camera for each in both.drift.monitors()} == {"garden"}


def test_cameras_of_an_unknown_source_are_not_the_same_one(folder):
    write_days(folder, "garden")
    for name in ("garden", "yard"):
        write_stage(folder, StageEntry(name, "shadow", NOW, 0, "test", "", MODEL, "", ""))
    place = Place(folder)
    place.look()
    assert place.drift.monitors() == []


def test_the_source_of_a_camera_is_kept_with_its_days(folder):
    place = Place(folder)
    for number in (7, 8):
        source = f"rtsp://10.0.0.{number}"
        write_stage(folder, StageEntry("yard", "shadow", NOW, 0, "test", "", MODEL, source, ""))
        place.drift._minutes["yard"].append(Minute(NOW, False, 60.0 * number, True))
        place.look()
        (found,) = read_days(folder, ["yard"], NOW.date()).values()
        assert (found.source, found.watched_s) == (source, 60.0 * number)


def test_a_camera_that_is_off_at_night_or_for_days_is_no_drift(folder):
    write_days(folder)
    with closing(database.connect(folder / NAME)) as db:
        db.execute("DELETE FROM days WHERE night = 1")
        db.execute("DELETE FROM days WHERE day LIKE '%5' OR day LIKE '2026-11-1%'")
    place = Place(folder)
    assert place.look() == []
    assert (place.missing(), place.missing(night=True)) == (0, REFERENCE)


def test_a_place_unlike_the_training_pictures_is_noticed_once(folder):
    write_days(folder, days=REFERENCE - 1, unknown=0.6)
    assert Place(folder).look() == []
    write_days(folder, days=REFERENCE + 1, unknown=0.6)
    place = Place(folder)
    (words,) = place.look()
    assert "by day and at night since 9 November much of what moves is unlike the training pictures" in words
    place.drift.looked("yard", "place", night=False)
    assert [(each.figure, each.night) for each in place.drift.reports()] == [("place", True)]
    assert Place(folder).look() == []


def test_a_clock_that_was_never_set_notices_nothing(folder):
    write_days(folder, dark_days=10)
    place = Place(folder, now=datetime(1970, 1, 1, tzinfo=UTC))
    assert place.look() == []
    assert place.drift.monitors() == []
    place.now = NOW  # it is set
    assert len(place.look()) == 1
    place.now = datetime(1970, 1, 1, tzinfo=UTC)
    with pytest.raises(OptionError, match="clock says 1970-01-01, so it was never set; set it, and try again"):
        place.drift.looked("yard", "brightness", night=False)
    place.now = NOW
    assert len(place.drift.reports()) == 1


def test_a_clock_that_is_ahead_uses_no_day_twice(folder):
    write_days(folder, dark_days=10)
    write_days(folder, days=5, last=LAST + timedelta(days=400))
    place = Place(folder)
    assert len(place.look()) == 1


def test_figures_wait_for_a_journal_that_cannot_be_written(tmp_path):
    place = Place(tmp_path / "state")
    place.drift._minutes["yard"].append(Minute(NOW, False, 60.0, True))
    place.drift.look()
    assert "there is no journal yet" in str(place.drift.problem())
    place.drift._minutes["yard"].append(Minute(NOW + timedelta(minutes=1), False, 60.0, True))
    journal(tmp_path / "state")
    place.drift.look()
    assert place.drift.problem() is None
    (found,) = read_days(tmp_path / "state", ["yard"], NOW.date()).values()
    assert found.watched_s == 120.0


def test_what_is_known_is_written_before_the_end(folder):
    place = Place(folder)
    place.drift._minutes["yard"].append(Minute(NOW, False, 60.0, True))
    place.drift.close(5.0)
    assert wait_for(lambda: read_days(folder, ["yard"], NOW.date()))


def test_a_notice_is_written_down_at_once(folder):
    write_days(folder, dark_days=10)
    place = Place(folder)
    place.drift.tick(0.0)
    wait_for(place.drift.reports)
    place.drift.tick(0.1)  # publishes
    wait_for(lambda: any(each.noticed for each in read_days(folder, ["yard"], NOW.date()).values()))


def test_what_was_read_before_a_person_looked_is_not_shown_after(folder, monkeypatch):
    write_days(folder, dark_days=10)
    place = Place(folder)
    place.look()
    read, over = threading.Event(), threading.Event()

    def slow(*given):
        found = monitors_of(*given)
        if not read.is_set():
            read.set()
            over.wait(0.5)
        return found

    monkeypatch.setattr("edge.drift_watch.monitors_of", slow)
    place.now += timedelta(days=1)
    reader = threading.Thread(target=place.drift.look)
    reader.start()
    assert read.wait(5.0)
    place.drift.looked("yard", "brightness", night=False)
    over.set()
    reader.join()
    assert place.drift.reports() == []


def test_a_fault_of_the_watch_itself_is_a_problem(folder, monkeypatch):
    place = Place(folder)
    monkeypatch.setattr("edge.drift_watch.add_up", lambda *_: 1 / 0)
    place.drift.tick(0.0)
    assert "drift failed" in wait_for(place.drift.problem)
