"""Daily figures of a camera: what a minute measures, how minutes become days in the journal, and what is not used."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import cv2
import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.alert.events import EventPublisher
from edge.detect.card import logit
from edge.detect.motion import small_grey
from edge.record import database
from edge.record.database import NAME, DiskError
from edge.record.days import (
    ENOUGH_MINUTES,
    ENOUGH_S,
    Day,
    Minute,
    MinuteFigures,
    add_days,
    add_up,
    day_of,
    read_days,
    sharpness,
)
from edge.schema import Frame, Region, Score
from edge.watch import Watcher
from tests.alarm.test_watch import BOAR, RULE, Colours, scene, walk
from tests.helpers.day_rows import MODEL, day, journal

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = date(2026, 12, 1)


@pytest.fixture(autouse=True)
def berlin(time_zone):
    time_zone("Europe/Berlin")


def watched(frames, *, above=0.5):
    """The minutes that a watcher gives for frames."""
    found: list[Minute] = []
    watcher = Watcher(Colours(), RULE, EventPublisher())
    watcher.minutes = MinuteFigures(found.append, above)
    watcher(frames)
    return found


def test_the_loop_gives_minutes_with_what_it_saw():
    first, second = watched(walk(122.0, (70.0, 90.0, BOAR, 50, 20), fps=2))
    assert (first.bear, first.size, first.unknown) == (None, None, None)
    assert first.watched_s == pytest.approx(60.0)
    assert math.exp(first.brightness) == pytest.approx(small_grey(scene()).mean(), 1)
    assert second.bear == pytest.approx(logit(0.01))  # nothing red
    assert 60 < math.exp(second.size) < 200
    assert second.unknown == 0.0


def minute_of(scores, *, well=True, grey=None, gap_s=60.0):
    """The minute of two frames."""
    found: list[Minute] = []
    picture = scene()
    figures = MinuteFigures(found.append, 0.5)
    for time in (0.0, gap_s):
        figures(Frame(picture, time, NOON, "yard", 0), grey, scores, night=False, well=well)
    return found[0]


def score(bear=0.5, ood=0.0, kind="motion", box=(0.0, 0.0, 0.5, 0.5)):
    return Score(Region(box, kind), (bear, 1 - bear), bear, "brown_bear", ood)


def test_what_is_no_number_is_no_figure():
    for bad in (score(ood=math.nan), score(ood=math.inf), score(bear=math.nan)):
        found = minute_of([score(), bad], grey=np.zeros((180, 320), np.float32))
        assert (found.bear, found.ood) == (None, None)
        assert (found.brightness, found.sharpness) == (0.0, None)


def test_a_minute_with_a_fault_has_no_figures_and_is_counted():
    found = minute_of([score()], well=False, grey=np.full((180, 320), 99, np.float32))
    assert found == Minute(NOON, False, 10.0, False)  # a camera that was away for a minute was not watched
    assert Day.of(found).faulty_s == 10.0


def test_only_crops_count_the_scan_of_a_frame_is_on_another_scale():
    found = minute_of([score(bear=0.9, ood=1.0), score(bear=0.1, kind="scan")])
    assert found.unknown == 1.0
    assert found.bear == pytest.approx(logit(0.9))
    assert math.exp(found.size) == pytest.approx(320)


def test_dirt_takes_sharpness_and_darkness_does_not():
    picture = scene()

    def measured(image):
        found = sharpness(small_grey(image))
        assert found is not None
        return math.exp(found)

    clear = measured(picture)
    assert measured(cv2.GaussianBlur(picture, (0, 0), 4.0)) < 0.7 * clear
    assert measured((picture * 0.6).astype(np.uint8)) == pytest.approx(clear, rel=0.15)


def minutes(count=30, *, wall=NOON, night=False, **more):
    found = Minute(wall, night, 60.0, True, False, -3.0, 0.7, 4.0, 0.25, 4.5, -0.5)
    return [replace(found, wall=wall + timedelta(minutes=n), bear=-3.0 - n / 7, **more) for n in range(count)]


@given(st.sets(st.integers(0, 30)))
@settings(deadline=None, max_examples=10)
def test_restarts_change_no_day(tmp_path_factory, cuts):
    folder = journal(tmp_path_factory.mktemp("state"))
    whole = [*minutes(10), *minutes(10, night=True), *minutes(10, wall=NOON + timedelta(hours=1))]
    edges = [0, *sorted(cuts), len(whole)]
    for begin, end in pairwise(edges):  # each part by a process of its own
        add_days(folder, add_up("yard", whole[begin:end], MODEL))
    found = read_days(folder, ["yard"], TODAY)
    for (camera, at, night), expected in add_up("yard", whole, MODEL).items():
        assert camera == "yard"
        mine = found[at, night]
        for name in ("watched_s", "busy", "bear", "ood", "size", "unknown", "views", "brightness"):
            assert getattr(mine, name) == pytest.approx(getattr(expected, name)), name
    assert list(found) == [(date(2026, 11, 24), False), (date(2026, 11, 24), True)]


@pytest.mark.parametrize("change", ["moved", "model", "source"])
def test_what_was_before_a_change_is_not_of_that_day(tmp_path, change):
    folder = journal(tmp_path)
    add_days(folder, add_up("yard", minutes(30), MODEL, "rtsp://10.0.0.7"))
    later = minutes(5, wall=NOON + timedelta(hours=2))
    if change == "moved":
        later = [
            *minutes(3, wall=NOON + timedelta(hours=1)),
            Minute(later[0].wall, False, 0.0, True, moved=True),
            *later,
        ]
    model = "other@1" if change == "model" else MODEL
    add_days(folder, add_up("yard", later, model, "rtsp://10.0.0.8" if change == "source" else "rtsp://10.0.0.7"))
    found = read_days(folder, ["yard"], TODAY)[date(2026, 11, 24), False]
    assert (found.watched_s, found.moved) == (300.0, change == "moved")
    assert found.model == model


def test_a_night_belongs_to_its_evening():
    evening, morning = datetime(2026, 11, 24, 22, tzinfo=UTC), datetime(2026, 11, 25, 5, tzinfo=UTC)
    assert day_of(evening, night=True) == day_of(morning, night=True) == date(2026, 11, 24)
    assert day_of(morning, night=False) == date(2026, 11, 25)
    assert day_of(datetime(2026, 11, 24, 23, 30, tzinfo=UTC), night=False) == date(2026, 11, 25)  # local


def test_days_of_a_wrong_clock_are_not_used(tmp_path):
    folder = journal(tmp_path)
    assert add_up("yard", minutes(wall=datetime(1970, 1, 1, tzinfo=UTC)), MODEL) == {}
    rows = {("yard", at, False): day() for at in (date(1970, 1, 2), TODAY, TODAY + timedelta(days=1), date(2090, 1, 1))}
    add_days(folder, rows)
    assert list(read_days(folder, ["yard"], TODAY)) == [(TODAY, False)]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "null",
        '{"watched_s": "long"}',
        '{"bear": NaN}',
        '{"ood": Infinity}',
        '{"looked": [1]}',
        '"\\ud800"',
    ],
)
def test_a_damaged_row_is_not_used_and_said(tmp_path, caplog, line):
    folder = journal(tmp_path)
    add_days(folder, {("yard", TODAY, False): day(), ("yard", TODAY, True): day()})
    with closing(database.connect(folder / NAME)) as db:
        db.execute("UPDATE days SET json = ? WHERE night = 1", (line,))
        db.execute("INSERT INTO days VALUES('yard', 'yesterday', 0, '{}')")
    assert list(read_days(folder, ["yard"], TODAY)) == [(TODAY, False)]
    assert "yard/2026-12-01/1 in the journal are damaged" in caplog.text
    add_days(folder, {("yard", TODAY, True): day()})  # the next minutes take its place
    assert len(read_days(folder, ["yard"], TODAY)) == 2


def test_without_a_journal_there_are_no_days(tmp_path):
    assert read_days(tmp_path, ["yard"], TODAY) == {}
    (tmp_path / NAME).write_bytes(b"this is no journal at all" * 99)
    with pytest.raises(DiskError, match="not a database"):
        read_days(tmp_path, ["yard"], TODAY)


def test_a_day_that_says_too_little_has_no_figures():
    assert set(day().figures) == {"busy", "bear", "ood", "size", "unknown", "brightness", "sharpness"}
    assert Day(MODEL, watched_s=ENOUGH_S - 1).figures == {}
    assert day(faulty=61).figures == {}
    assert set(replace(day(), busy=ENOUGH_MINUTES - 1).figures) == {"busy", "brightness", "sharpness"}
    assert replace(day(), busy=0, views=0, sharp_views=0).figures == {"busy": 0.0}  # nothing came: that counts


def test_how_many_frames_are_looked_at_changes_no_figure_of_how_much_moves():
    fast, slow = (
        add_up("yard", watched(walk(182.0, (70.0, 90.0, BOAR, 50, 20), fps=fps)), MODEL).popitem()[1] for fps in (8, 2)
    )
    assert fast.busy == slow.busy == 1
