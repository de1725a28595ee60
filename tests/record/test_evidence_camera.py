"""One camera's evidence: what is held in memory while nothing happens, and what an alarm takes from it."""

import json
import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from edge.alert.events import EventPublisher
from edge.decide.alarms import Incident
from edge.detect.tracker import Track
from edge.pictures import decode_picture
from edge.record.recorder import ACTIVE_S, POST_S, PRE_S, CameraRecorder, ClipJob, WriteJob, compressed
from edge.schema import Event, Frame, LazyImage, Region, Score
from tests.alarm.test_watch import scene
from tests.decide import test_alarms
from tests.helpers.meadow import WALL
from tests.helpers.notes import note_of

ID = "abcdef0123456789"
BOX = (0.4, 0.5, 0.1, 0.2)
SMALL = scene(160, 90)


class FakeWriter:
    """Takes jobs, and keeps them in lists."""

    full, pre_s, post_s = False, PRE_S, POST_S

    def __init__(self, folder, negatives_per_day):
        self.folder, self.negatives_per_day = folder, negatives_per_day
        self.jobs: list[WriteJob] = []
        self.clips: list[ClipJob] = []
        self.trouble: str | None = None

    def write(self, job):
        self.jobs.append(job)

    def make_clip(self, clip):
        self.clips.append(clip)

    def problem(self):
        return self.trouble


def camera(tmp_path, *, clips=True, negatives_per_day=0.0):
    writer: Any = FakeWriter(tmp_path, negatives_per_day)
    return CameraRecorder(writer, (), 1.0, clips=clips), writer


def frame(at, picture=SMALL, **more):
    return Frame(picture, at, WALL + timedelta(seconds=at), "yard", round(at * 10), **more)


def frames(begin, end, fps=10.0, **more):
    return [frame(begin + i / fps, **more) for i in range(round((end - begin) * fps))]


def event(type_="new", seq=1, score=0.9, track=1, **more):
    return Event(
        "bear", type_, ID, seq, "run", "yard", "2026-01-01T00:00:00.000Z", track=track, score=score,
        box_xywh=BOX, **more,
    )  # fmt: skip


def bear(at):
    """The open incident of the event, seen at a time."""
    incident = Incident(
        track=1, tracks={1}, label="brown_bear", score=0.9, top_score=0.9, published_score=0.9, published_at=at,
        box_xywh=BOX, seen_at=at, again_s=30.0, began_at=at, noise_at=at, noise_score=0.9, there_at=at, id=ID,
    )  # fmt: skip
    incident.surest = Track(1, BOX, at, at, now=score(0.9))
    return incident


def score(bear):
    return Score(Region(BOX, "motion"), (bear, 1 - bear), bear, "brown_bear", 0.0)


def tell(evidence, what, at):
    evidence.place(what, at)
    evidence.add(what, at, (), ())


def look(evidence, found, bears=lambda at: (), **more):
    for each in found:
        evidence.look(each, moving=bool(bears(each.time)), incidents=bears(each.time), **more)


def files(sink):
    return [path.name for job in sink.jobs for path, _ in job.files]


def test_while_nothing_moves_one_frame_a_second_is_held_and_five_while_something_does(tmp_path):
    evidence, _ = camera(tmp_path)
    look(evidence, frames(0, 20))
    assert 5 <= len(evidence.ring) <= 6
    look(evidence, frames(20, 30), lambda at: (bear(at),))
    assert 25 <= len(evidence.ring) <= 26
    times = [shot.time for shot in evidence.ring.packets()]
    assert np.diff(times).min() >= ACTIVE_S - 0.02


def test_five_frames_a_second_is_kept_on_average_whatever_the_camera_gives(tmp_path):
    for fps in (6.0, 7.0, 12.5, 25.0, 30.0):
        evidence, _ = camera(tmp_path)
        look(evidence, frames(0, 30, fps=fps), lambda at: (bear(at),))
        assert 22 <= len(evidence.ring) <= 27, fps


def test_without_clips_nothing_is_held(tmp_path):
    evidence, sink = camera(tmp_path, clips=False)
    look(evidence, frames(0, 5))
    tell(evidence, event(), frame(5.0))
    look(evidence, frames(5, 40))
    assert evidence.ring is None
    assert sink.clips == []
    assert "alarm.jpg" in files(sink)


def test_the_cameras_own_picture_is_taken_where_there_is_one(tmp_path):
    own = b"\xff\xd8" + bytes(1000)
    assert compressed(frame(0.0, jpeg=own)) is own
    assert compressed(frame(0.0, jpeg=bytes(10**6))) != bytes(10**6)  # a trail camera's still
    made = decode_picture(compressed(frame(0.0, scene(1281, 721))), "a shot")
    assert made.shape == (360, 640, 3)


def test_colours_that_are_not_worked_out_yet_are_not_while_nothing_happens(tmp_path):
    asked = []

    def later():
        asked.append(1)
        return scene()

    evidence, _ = camera(tmp_path)
    luma = np.full((360, 640), 90, np.uint8)
    look(evidence, [frame(at, LazyImage(later, (640, 360)), luma=luma) for at in (0.0, 1.0, 2.0)])
    assert (len(evidence.ring), asked) == (3, [])
    later_on = [frame(at, LazyImage(later, (640, 360)), luma=luma) for at in (3.0, 3.5)]
    look(evidence, later_on, lambda at: (bear(at),))
    assert (len(evidence.ring), len(asked)) == (5, 2)


def test_a_clip_ends_ten_seconds_after_the_bear_was_last_seen(tmp_path):
    evidence, sink = camera(tmp_path)
    look(evidence, frames(0, 20))
    tell(evidence, event(), frame(20.0))
    look(evidence, frames(20, 25), lambda at: (bear(at),))
    assert evidence.busy == {sink.jobs[0].unit}
    look(evidence, frames(25, 30))
    tell(evidence, event("end", 2), frame(30.0))
    look(evidence, frames(30, 34.8))
    assert sink.clips == []
    look(evidence, frames(34.8, 50))
    (clip,) = sink.clips
    assert (clip.path.name, clip.unit) == ("clip.mp4", sink.jobs[0].unit)
    assert 15.0 <= clip.packets[0].time < 16.1
    assert 34.6 <= clip.packets[-1].time <= 35.1
    assert evidence.busy == set()


def test_a_bear_that_stays_is_filmed_for_a_minute(tmp_path):
    evidence, sink = camera(tmp_path)
    look(evidence, frames(0, 10))
    tell(evidence, event(), frame(10.0))
    look(evidence, frames(10, 130), lambda at: (bear(at),))
    (clip,) = sink.clips
    assert clip.packets[-1].time - clip.packets[0].time <= 60.1
    assert clip.packets[-1].time > 64.0
    assert evidence.busy  # the event goes on


def test_when_the_source_has_ended_the_clip_is_made_of_what_there_is(tmp_path):
    evidence, sink = camera(tmp_path)
    look(evidence, frames(0, 6))
    last = frame(6.0)
    tell(evidence, event(), last)
    look(evidence, [last])
    tell(evidence, event("end", 2), last)
    assert [clip.path.name for clip in sink.clips] == ["clip.mp4"]


def test_what_was_cut_off_is_finished_at_the_end(tmp_path):
    evidence, sink = camera(tmp_path)
    look(evidence, frames(0, 6))
    tell(evidence, event(), frame(6.0))
    evidence.finish()
    evidence.finish()
    assert len(sink.clips) == 1


def test_a_bear_found_again_after_its_clip_gets_another_in_the_same_folder(tmp_path):
    evidence, sink = camera(tmp_path)
    look(evidence, frames(0, 6))
    tell(evidence, event(), frame(6.0))
    look(evidence, frames(6, 12))
    tell(evidence, event("end", 2), frame(12.0))
    look(evidence, frames(12, 60))
    tell(evidence, event("update", 7), frame(60.0))
    look(evidence, frames(60, 75))
    assert [clip.path.name for clip in sink.clips] == ["clip.mp4", "clip-7.mp4"]
    assert len({clip.unit for clip in sink.clips}) == 1


def test_another_track_beside_the_lost_one_is_the_same_bear(tmp_path):
    evidence, sink = camera(tmp_path)
    stage = test_alarms.Stage()
    told: list[Event] = []
    publisher = EventPublisher([told.append], evidence=evidence)
    near, far = (0.4, 0.05, 0.1, 0.2), (0.0, 0.7, 0.05, 0.05)
    for each in frames(0, 27):
        stage.time, before = each.time, len(stage.told)
        seen = (BOX,) if 6 <= each.time < 8 else (near, far) if 8 <= each.time < 16 else ()
        stage.frame([test_alarms.score(box, 0.9) for box in seen])
        for decision, _ in stage.told[before:]:
            publisher.bear(each, decision)
        evidence.look(each, moving=True, incidents=stage.decider.open_incidents)
        if each.time < 25.5:
            assert sink.clips == []  # seen until 16
    first, other = [event.id for event in told if event.type == "new"]
    assert sorted(clip.unit.name[-8:] for clip in sink.clips) == sorted([first[:8], other[:8]])
    states = [make() for job in sink.jobs for path, make in job.files if path.name == "event.json"]
    (end,) = [found for state in states if (found := json.loads(state))["id"] == first and found["type"] == "end"]
    path = [(at, y) for at, _, y, *_ in end["path"]]
    assert {y for at, y in path if at < 1.0} == {0.5}
    assert {y for at, y in path if at > 3.0} == {0.05}


def test_while_none_can_be_written_an_event_names_its_own_picture_and_no_earlier_one(tmp_path):
    evidence, sink = camera(tmp_path)
    sink.trouble = "the disk is full"
    own = Path(evidence.place(event(), frame(1.0)))  # the disk may be well again by the time it is written
    assert own.name == "alarm.jpg"
    assert Path(evidence.place(event("update", 2), frame(2.0))).name == "alarm-2.jpg"
    assert evidence.place(event("end", 3), frame(3.0)) is None
    sink.trouble = None
    assert Path(evidence.place(event("update", 4), frame(4.0))).name == "alarm-4.jpg"
    assert Path(evidence.place(event("end", 5), frame(5.0))).name == "alarm-4.jpg"


def test_a_whole_day_keeps_a_few_frames_without_a_bear_at_random_moments(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.recorder.DICE", random.Random(5))
    evidence, sink = camera(tmp_path, clips=False, negatives_per_day=4.0)
    scores = [score(0.1), score(0.3)]
    look(evidence, frames(0, 10 * 86_400, fps=0.1), scores=scores)
    assert 25 <= len(sink.jobs) <= 55
    ((path, make),) = sink.jobs[0].files
    assert path.parent.parent == tmp_path / "negatives"
    assert path == sink.jobs[0].unit
    path.parent.mkdir(parents=True)
    path.write_bytes(make())
    note = note_of(path)
    assert (note["camera"], note["score"], note["box_xywh"], note["label"]) == ("yard", 0.3, list(BOX), "brown_bear")
    moments = [job.unit.name[:6] for job in sink.jobs]
    assert len(set(moments)) > 0.9 * len(moments)


def test_a_frame_shortly_before_an_alarm_is_no_negative(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.recorder.DICE", random.Random(1))
    evidence, sink = camera(tmp_path, clips=False, negatives_per_day=86_400.0)
    scores = [score(0.1)]
    look(evidence, frames(0, 20), scores=scores)
    tell(evidence, event(), frame(20.0))
    look(evidence, frames(20, 60), lambda at: (bear(at),), scores=scores)
    tell(evidence, replace(event("end", 2)), frame(60.0))
    look(evidence, frames(60, 85), scores=scores)
    assert not [job for job in sink.jobs if job.unit.suffix == ".jpg"]
    look(evidence, frames(85, 150), scores=scores)
    assert [job for job in sink.jobs if job.unit.suffix == ".jpg"]
