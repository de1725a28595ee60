"""What is left of an alarm: pictures, the best crop, a clip and the event, in one folder; all cameras through one."""

import json
import random
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.alert.events import EventPublisher
from edge.detect.zones import parse_polygon
from edge.errors import OptionError
from edge.pictures import read_picture
from edge.record.clip import ClipMaker
from edge.record.media_store import own_still
from edge.record.recorder import ClipJob, MediaWriter
from edge.schema import Event, Packet, VideoBuffer
from edge.settings import CameraSettings
from edge.watch import Watcher
from tests.alarm.test_watch import RULE, Colours, walk
from tests.helpers.h264 import filmed
from tests.helpers.magenta import MAGENTA, magenta
from tests.helpers.notes import note_of
from tests.helpers.tiny import BEAR_COLOUR

BEAR = (6.0, 9.0, BEAR_COLOUR, 100, 60)
SKY = "0,0 1,0 1,0.2 0,0.2"
QUICK: dict[str, Any] = {"reserve_mb": 0.0, "negatives_per_day": 0.0}
CLOSE_S = 60.0  # a busy machine may take long to encode


def watch(writer, frames, settings=None, scorer=None):
    """Every event that was told, in order."""
    told: list[Event] = []
    masks = settings.masks if settings else ()
    publisher = EventPublisher([told.append], model="test@1", evidence=writer.camera(masks, context=1.1))
    Watcher(scorer or Colours(), RULE, publisher, settings)(frames)
    return told


def test_an_alarm_leaves_a_folder_with_all_that_was_seen(tmp_path):
    writer = MediaWriter(tmp_path / "evidence", **QUICK)
    new, *updates, end = watch(writer, walk(24, BEAR))
    assert writer.close(CLOSE_S)
    folder = tmp_path / "evidence" / "2026-01-01" / f"000000-yard-{new.id[:8]}"
    assert new.evidence == end.evidence == str(folder / "alarm.jpg")
    names = {"alarm.jpg", "plain.jpg", "crop.jpg", "clip.mp4", "event.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert own_still(new) == folder / "alarm.jpg"
    assert [own_still(event) for event in (*updates, end)] == [None] * (len(updates) + 1)
    still = read_picture(folder / "alarm.jpg")
    x, y, _, h = new.box_xywh
    plain = read_picture(folder / "plain.jpg")
    beside = slice(round((y + h / 2) * 360) - 5, round((y + h / 2) * 360) + 5), round(x * 640) - 1
    assert still.shape == plain.shape == (360, 640, 3)
    red, bare = (np.array(image[beside], int) for image in (still, plain))
    assert (red[:, 2] - red[:, 1]).min() > 60  # the frame around it
    assert (bare[:, 2] - bare[:, 1]).max() < 60  # for a blind review

    text = (folder / "event.json").read_text()
    assert Event.from_json(text) == replace(end, latency_ms=None)
    at = [step[0] for step in json.loads(text)["path"]]
    lefts = [step[1] * 640 for step in json.loads(text)["path"] if step[5] and step[5] > 0.5]
    assert at == sorted(at)
    assert at[0] == 0.0
    assert lefts[0] < 180 < lefts[-1]  # it walked from 100 to 280


def test_the_clip_begins_before_the_alarm_and_ends_after_the_bear_has_gone(tmp_path):
    writer = MediaWriter(tmp_path, **QUICK)
    new, *_ = watch(writer, walk(24, BEAR))
    assert writer.close(CLOSE_S)
    folder = Path(new.evidence).parent
    clip = json.loads((folder / "event.json").read_text())["clips"]
    assert clip == [{"file": "clip.mp4", "from_s": pytest.approx(-5.0, abs=1.1)}]
    shown = played(folder / "clip.mp4")
    red = [(frame[..., 2].astype(int) - frame[..., 1]).max() > 120 for frame in shown]
    assert not red[0]
    assert not red[-1]
    assert sum(red) == pytest.approx(3.0 * 5, abs=3)  # three seconds at five frames a second
    assert len(shown) == pytest.approx(5 + 13 * 5, abs=8)


def played(path):
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames


def test_the_crop_is_the_best_look_with_nothing_drawn_on_it_and_a_note_of_what_it_is(tmp_path):
    def comes_nearer():
        for frame in walk(9):
            grown = round(30 + 12 * max(0.0, frame.time - 3.0))
            if 3.0 <= frame.time < 7.0:
                left = 100 + round(40 * (frame.time - 3.0))
                cv2.rectangle(frame.picture, (left, 200), (left + grown, 200 + grown), BEAR_COLOUR, -1)
            yield frame

    writer = MediaWriter(tmp_path, clips=False, **QUICK)
    new, *_ = watch(writer, comes_nearer())
    assert writer.close(CLOSE_S)
    crop = Path(new.evidence).with_name("crop.jpg")
    note, picture = note_of(crop), read_picture(crop)
    assert note["camera"] == "yard"
    assert note["score"] > 0.8
    assert note["media_time_s"] > new.media_time_s  # a later look was better
    assert picture.shape[0] == picture.shape[1] >= 60
    middle = picture[picture.shape[0] // 2, picture.shape[1] // 2]
    assert np.abs(middle.astype(int) - BEAR_COLOUR).max() < 25


@pytest.mark.parametrize("camera", ["pictures", "mjpeg", "h264"])
def test_what_is_masked_is_black_in_everything_that_is_kept(tmp_path, monkeypatch, camera):
    monkeypatch.setattr("edge.record.recorder.DICE", random.Random(1))
    sky = parse_polygon(SKY, "--mask")
    writer = MediaWriter(tmp_path, full=True, reserve_mb=0, negatives_per_day=1e5)
    below = (6.0, 9.0, BEAR_COLOUR, 100, 60)
    frames = {"pictures": loud(high(walk(90, below)), 72), "mjpeg": mjpeg(loud(high(walk(90, below)), 64))}
    frames["h264"] = h264(loud(high(walk(90, below)), 64))
    new, *_ = watch(writer, frames[camera], CameraSettings(masks=(sky,)))
    assert writer.close(CLOSE_S)
    folder = Path(new.evidence).parent
    negatives = list((tmp_path / "negatives").rglob("*.jpg"))
    assert negatives
    annotated = read_picture(folder / "alarm.jpg")[:, 320:]  # where nothing is drawn
    whole = [read_picture(path) for path in (folder / "full.jpg", *negatives)]
    plain = read_picture(folder / "plain.jpg")
    clip = played(folder / "clip.mp4")
    assert len(clip) > 50
    assert plain[: round(0.19 * plain.shape[0])].max() < 24  # coarser than the others, it rings at the mask's edge
    for picture in (annotated, *whole, *clip):
        height = picture.shape[0]
        assert picture[: round(0.19 * height)].max() < 12
        assert picture[round(0.25 * height) :].mean() > 40
    crop = read_picture(folder / "crop.jpg")
    assert crop[:3].max() < 12  # it reaches into the mask
    assert crop.mean() > 40
    for picture in (annotated, *whole, plain, crop, *clip):
        assert magenta(picture) < 50


def loud(frames, rows):
    """Magenta in the uppermost rows, which masks cover."""
    for frame in frames:
        frame.picture[:rows] = MAGENTA
        yield frame


def mjpeg(frames):
    """The frames of a camera that compresses each."""
    for frame in frames:
        data = cv2.imencode(".jpg", frame.picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
        yield replace(frame, picture=read(data), jpeg=data)


def read(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def h264(frames):
    """The frames of a camera that gives video."""
    found = list(frames)
    packets, video = filmed((frame.picture for frame in found), fps=10.0), VideoBuffer()
    for frame in found:
        while packets and packets[0].decode_time <= frame.time + 0.2:
            video.add(packets.pop(0))
        yield replace(frame, video=video)


def high(frames):
    """The bear stands half in the masked sky."""
    for frame in frames:
        picture = np.roll(frame.picture, -140, axis=0) if frame.time < 20 else frame.picture
        yield replace(frame, picture=picture)


def test_an_update_brings_a_picture_only_where_it_shows_more(tmp_path):
    class Doubtful(Colours):
        """Sure of the bear from second 12 on."""

        def __init__(self):
            super().__init__()
            self.frames = 0

        def score(self, image, regions):
            self.frames += 1
            self.factor = 0.9 if self.frames < 80 else 1.4
            return super().score(image, regions)

    writer = MediaWriter(tmp_path, clips=False, **QUICK)
    told = watch(writer, walk(30, (2.0, 28.0, BEAR_COLOUR, 20, 20)), scorer=Doubtful())
    assert writer.close(CLOSE_S)
    updates = [event for event in told if event.type == "update"]
    better = next(event for event in updates if event.escalated or event.score > told[0].score)
    assert Path(better.evidence).name == f"alarm-{better.seq}.jpg"
    own = [picture for event in told if (picture := own_still(event))]
    assert {Path(event.evidence) for event in told} == set(own) == set(tmp_path.rglob("alarm*.jpg"))
    assert len(own) < len(told)  # an end has none of its own


def test_a_folder_that_takes_nothing_is_logged_once_and_again_when_it_does(tmp_path, caplog):
    root = tmp_path / "evidence"
    writer = MediaWriter(root, clips=False, **QUICK)
    (root / "2026-01-01").write_text("in the way")
    first = watch(writer, walk(12, BEAR))
    wait_until(writer.problem)
    second = watch(writer, walk(12, BEAR))
    wait_until(lambda: writer.failures >= len(first) + len(second))
    assert [event.type for event in first] == ["new", "end"]
    assert not Path(second[0].evidence).exists()
    assert second[-1].evidence is None  # nothing lies there
    assert caplog.text.count("evidence is not kept") == 1
    assert "cannot be written (Not a directory)" in (writer.problem() or "")
    (root / "2026-01-01").unlink()
    watch(writer, walk(12, BEAR))
    wait_until(lambda: writer.problem() is None)
    third = watch(writer, walk(12, BEAR))
    assert writer.close(CLOSE_S)
    assert Path(third[0].evidence).is_file()
    assert "evidence is kept again" in caplog.text


def test_a_disk_that_has_room_again_is_noticed_without_an_alarm(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("edge.record.recorder.RETRY_S", 0.0)
    writer = MediaWriter(tmp_path, clips=False, **QUICK)
    writer.store.reserve_bytes = 10**18
    watch(writer, walk(12, BEAR))
    wait_until(writer.problem)
    assert "stay free; make room there" in (writer.problem() or "")
    writer.store.reserve_bytes = 0
    wait_until(lambda: writer.problem() is None)
    assert writer.close(CLOSE_S)
    assert "evidence is kept again" in caplog.text
    assert caplog.text.count("evidence is not kept") == 1


def wait_until(holds, patience_s=20.0):
    changed = threading.Event()
    for _ in range(round(patience_s / 0.02)):
        if holds():
            return
        changed.wait(0.02)
    raise AssertionError("it never came true")


def test_frames_that_wait_to_become_clips_are_bounded(tmp_path, monkeypatch, caplog):
    gate = threading.Event()

    class Slow(ClipMaker):
        def __call__(self, *_):
            return not gate.wait(30)

    monkeypatch.setattr("edge.record.recorder.ClipMaker", Slow)
    writer = MediaWriter(tmp_path, **QUICK)
    jobs = [
        ClipJob(tmp_path / str(i), tmp_path / str(i) / "clip.mp4", (Packet(bytes(10**7), 0.0, 0.0, key=True),) * 2, ())
        for i in range(4)
    ]
    for job in jobs:
        writer.make_clip(job)
    assert caplog.text.count("clip.mp4: no clip is made, for too many others wait to be") == 2
    assert writer.failures == 2
    gate.set()
    assert writer.close(CLOSE_S)


def test_evidence_in_a_place_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="cannot keep evidence"):
        MediaWriter(tmp_path / "file")


def test_keeping_evidence_that_fails_never_reaches_the_alarm(tmp_path, caplog, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("ours")

    writer = MediaWriter(tmp_path, **QUICK)
    monkeypatch.setattr("edge.record.recorder.EventRecorder.keep_crop", broken)
    monkeypatch.setattr("edge.record.recorder.compressed", broken)
    told = watch(writer, walk(24, BEAR))
    assert [event.type for event in told] == ["new", "end"]
    assert (
        sum(
            "internal error while keeping evidence" in record.message
            for record in caplog.records
            if record.levelno >= 30
        )
        == 1
    )


def test_the_alarm_does_not_load_what_makes_clips():
    code = "import sys, edge.record.recorder, edge.alert.events; print({'av', 'onnxruntime'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
