"""The recorder: moments as lines, and what is kept of a file and of a live camera."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.detect.motion import Motion
from edge.record.trace import Moment, ScoredRegion, Summary, Trace, TracedEvent, share
from edge.schema import Event, EvidenceState, Frame, Region, Score, utc_text
from tests.alarm.test_watch import GREEN

WALL = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
LEFT = (0.0, 0.4, 0.1, 0.2)


def moment(index=0, *, camera="yard", fps=10, live=True, **more):
    """One frame of a camera at 10 frames a second."""
    at = index / fps
    media_s = None if live else at
    return Moment(camera, index, 500.0 + at, WALL + timedelta(seconds=at), (640, 360), media_s, threshold=0.4, **more)


def look(bear, kind="scan"):
    return ScoredRegion(kind, LEFT, bear, "brown_bear", -1.0)


def standing(sum_, **more):
    return EvidenceState(1, LEFT, 0.8, 0.4, 1.5, sum_, 1.8, **more)


def told(type_="new", id_="ab12cd34" * 4, **more):
    return TracedEvent(type_, id_, track=1, **more)


def kinds(path):
    """Return how many lines of each kind a file has."""
    return Counter(json.loads(line)["kind"] for line in path.read_text().splitlines())


def indexes(path, camera="yard"):
    """The frames whose moments lie in a trace, in the file's order."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["index"] for line in lines if line["kind"] == "moment" and line["camera"] == camera]


def soon(true, seconds=5.0):
    """Wait until something is so, for the worker has a thread of its own."""
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.005)
    assert true()


shares = st.floats(0.0, 1.0)
numbers = st.floats(-1e6, 1e6)
boxes = st.tuples(shares, shares, shares, shares)
regions = st.builds(ScoredRegion, st.sampled_from(["motion", "scan", "track"]), boxes, shares, st.text(), numbers)
tracks = st.builds(
    EvidenceState,
    st.integers(0, 10**6), boxes, st.none() | shares, shares, numbers, numbers, st.floats(0.1, 100.0),
    st.lists(st.text(), max_size=2).map(tuple),
)  # fmt: skip
events = st.builds(
    TracedEvent, st.sampled_from(["new", "update", "end"]), st.text(min_size=1), quiet=st.none() | st.text()
)
moments = st.builds(
    Moment,
    st.text(), st.integers(0, 10**9), numbers, st.datetimes(timezones=st.just(UTC)),
    st.tuples(st.integers(1, 9999), st.integers(1, 9999)), st.none() | st.floats(0, 1e6), st.booleans(), st.booleans(),
    st.none() | shares, st.lists(regions, max_size=3).map(tuple), st.lists(tracks, max_size=3).map(tuple),
    st.lists(events, max_size=2).map(tuple), st.lists(st.text(), max_size=2).map(tuple), st.floats(0, 1e4),
)  # fmt: skip


@given(moments)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_moment_comes_back_from_its_line(made):
    line = made.to_json()
    assert line.isascii()
    assert "\n" not in line
    back = Moment.from_json(line)
    assert back.to_json() == line
    assert (back.camera, back.index, back.events, back.troubles) == (
        made.camera,
        made.index,
        made.events,
        made.troubles,
    )
    assert abs(back.time - made.time) < 0.001
    assert abs(back.wall - made.wall) <= timedelta(milliseconds=1)
    assert [one.kind for one in back.scored] == [one.kind for one in made.scored]
    assert [one.held for one in back.evidence_states] == [one.held for one in made.evidence_states]
    assert all(abs(a.bear - b.bear) < 1e-4 for a, b in zip(back.scored, made.scored, strict=True))


def test_a_line_is_short_and_takes_a_classifier_s_own_numbers():
    bear, ood = np.array([1 / 3, -1.23456], np.float32)
    seen = ScoredRegion("scan", (1 / 3, 0.2, 1 / 3, 0.6), bear, "brown_bear", ood)
    line = moment(123_456, scored=(seen,)).to_json()
    assert '"bear":0.333333,"label":"brown_bear","ood":-1.235' in line
    assert len(line) < 300


def test_what_a_later_version_adds_is_passed_over():
    line = json.loads(moment(3, scored=(look(0.2),)).to_json())
    line["scored"][0] |= {"mood": "shy", "kind": "sonar"}
    line |= {"weather": {"rain": True}}
    back = Moment.from_json(json.dumps(line))
    assert back == moment(3, scored=(look(0.2, "sonar"),))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("half a line", "no line of JSON"),
        ('{"kind":"bear","schema_version":1}', "not a moment"),
        ("[1]", "not a moment"),
        ('{"kind":"moment","schema_version":2}', "schema version 2"),
        ('{"kind":"moment","schema_version":1,"camera":"yard"}', "index: Field required"),
        (moment(1).to_json().replace("500.1", '"soon"'), "time: "),
    ],
)
def test_what_is_no_moment_is_an_error(line, says):
    with pytest.raises(ValueError, match=says):
        Moment.from_json(line)


def test_a_moment_of_a_turn_of_the_loop():
    frame = Frame(GREEN, 7.5, WALL, "yard", 75, media_time_s=7.5)
    score = Score(Region(LEFT, "motion"), (0.7, 0.3), 0.7, "brown_bear", 1.5)
    quiet, at = "outside the schedule", utc_text(WALL)
    event = Event("bear", "new", "id1", 1, "run", "yard", at, track=4, quiet=quiet, zones=("hives",))
    gone = Event("camera", "new", "id2", 2, "run", "yard", utc_text(WALL - timedelta(minutes=3)), detail="no frame")
    motion = Motion((Region(LEFT, "motion"),), reset=True)
    seen = [score], [standing(1.8, alone_at=0.8)], [event, gone]
    live = Moment.of(replace(frame, media_time_s=None), motion, *seen, ["black"], threshold=0.4)
    assert live.events[0].at is None
    assert live.events[1] == TracedEvent("new", "id2", "camera", detail="no frame", at=WALL - timedelta(minutes=3))
    assert Moment.from_json(live.to_json()) == live
    assert json.loads(live.to_json()).keys() >= {"standings", "told"}  # as in the files of older versions
    made = Moment.of(frame, motion, *seen, ["black"], threshold=0.4, frame_ms=3.0)
    assert (made.camera, made.index, made.time, made.size_wh) == ("yard", 75, 7.5, (640, 360))
    assert (made.reset, made.moving, made.media_time_s, made.threshold) == (True, False, 7.5, 0.4)
    assert made.scored == (ScoredRegion("motion", LEFT, 0.7, "brown_bear", 1.5),)
    assert made.events[0] == TracedEvent("new", "id1", "bear", 4, None, "outside the schedule", ("hives",))
    assert made.events[1].at is None  # a file has its own clock
    assert made.troubles == ("black",)
    assert made.strongest
    assert share(made.strongest) == 1.0


def test_of_a_file_every_moment_is_written(tmp_path):
    trace = Trace(tmp_path / "deep" / "t.jsonl")
    for index in range(500):
        trace(moment(index, live=False))
    assert trace.close(5.0)
    assert indexes(trace.path) == list(range(500))
    assert kinds(trace.path) == {"start": 1, "moment": 500, "summary": 1}


def test_of_a_live_camera_what_lies_around_an_event_is_written(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(1200):
        trace(moment(index, events=(told(),) if index == 600 else ()))
    assert trace.close(5.0)
    assert indexes(trace.path) == list(range(300, 701))  # 30 s before, 10 s after


def test_a_mere_update_keeps_its_moment_alone_an_escalation_all_around_it(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.trace.BEFORE_S", 1.0)
    monkeypatch.setattr("edge.record.trace.AFTER_S", 0.5)
    trace = Trace(tmp_path / "t.jsonl")
    happens = {100: told("update"), 300: told("update", escalated="rising score"), 500: told("end")}
    for index in range(800):
        trace(moment(index, events=(happens[index],) if index in happens else ()))
    assert trace.close(5.0)
    assert indexes(trace.path) == [100, *range(290, 306), *range(490, 506)]


def test_a_quiet_hour_leaves_summaries_and_the_most_notable_moments(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.trace.HEARTBEAT_S", 60.0)
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(1500):
        if 700 <= index < 800:
            continue
        scored = (look(0.3 if index == 250 else 0.1),) if index % 5 == 0 else ()
        trace(
            moment(index, scored=scored, evidence_states=(standing(0.9),) if index == 123 else (), troubles=("dark",))
        )
    assert trace.close(5.0)
    assert indexes(trace.path) == [123, 250, 600, 1200]
    lines = [line for line in trace.path.read_text().splitlines() if '"kind":"summary"' in line]
    first, second, last = (Summary.from_json(line) for line in lines)
    assert (first.reason, first.frames, first.crops, first.events, first.moved) == ("heartbeat", 600, 120, 0, 0)
    assert json.loads(lines[0])["told"] == 0  # as in the files of older versions
    assert first.since == WALL
    assert first.until == WALL + timedelta(seconds=59.9)
    assert first.share
    assert (first.share.value, first.share.wall, first.share.box_xywh) == (0.5, moment(123).wall, LEFT)
    assert first.bear
    assert (first.bear.value, first.bear.wall) == (0.3, moment(250).wall)
    assert first.troubles == ("dark",)
    assert first.threshold == 0.4
    assert second.gap_s == pytest.approx(10.1)
    assert second.gap_at == moment(699).wall
    assert last.reason == "the end"
    assert sum(summary.frames for summary in (first, second, last)) == 1400


def test_what_is_in_memory_is_written_when_somebody_asks_once(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(100):
        trace(moment(index))
    trace.flush("asked by the beekeeper")
    soon(lambda: trace.path.exists() and "beekeeper" in trace.path.read_text())
    assert indexes(trace.path) == list(range(100))
    for index in range(100, 110):
        trace(moment(index))
    trace.flush("again")
    assert trace.close(5.0)
    assert indexes(trace.path) == list(range(110))


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no SIGUSR1")
def test_a_signal_may_ask(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    before = signal.signal(signal.SIGUSR1, lambda *_: trace.flush("SIGUSR1"))
    try:
        for index in range(300):
            trace(moment(index))
            if index % 100 == 50:
                os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert trace.close(5.0)
    written = indexes(trace.path)
    assert written == list(range(len(written)))
    assert len(written) > 250


@given(st.integers(1, 400), st.floats(0.5, 30.0), st.integers(1000, 20_000))
@settings(max_examples=20)
def test_memory_is_bounded_in_seconds_and_bytes(tmp_path_factory, count, ring_s, ring_bytes):
    with patch.multiple("edge.record.trace", RING_S=ring_s, RING_BYTES=ring_bytes):
        trace = Trace(tmp_path_factory.mktemp("t") / "t.jsonl")
        for index in range(count):
            trace(moment(index))
        trace.flush("asked")
        assert trace.close(5.0)
    kept = indexes(trace.path)
    assert kept == list(range(kept[0], count)) if kept else ring_bytes < 2000
    assert len(kept) <= ring_s * 10 + 2
    lines = trace.path.read_bytes().splitlines()
    assert sum(len(line) for line in lines if b'"moment"' in line) <= ring_bytes


def test_memory_reaches_back_ten_minutes_or_what_was_asked(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.trace.RING_S", 5.0)
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(200):
        trace(moment(index))
    trace.flush("asked")
    assert trace.close(5.0)
    assert indexes(trace.path) == list(range(149, 200))


def test_several_cameras_share_one_file(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    names = ("yard", "bin", "hives")

    def watch(name):
        for index in range(400):
            trace(moment(index, camera=name, live=False))

    threads = [threading.Thread(target=watch, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trace.close(5.0)
    assert {name: indexes(trace.path, name) for name in names} == {name: list(range(400)) for name in names}
