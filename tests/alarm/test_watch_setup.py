"""How `watch` is put together: what each option and each kind of source brings into the loop."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from edge.alarm import ReviewPoller
from edge.alert.alerting import Alerting
from edge.alert.events import EventPublisher
from edge.camera import Source
from edge.camera.folder import FolderSource
from edge.camera.reconnect import ReconnectingSource
from edge.camera_thread import CameraThread, Shared, connect, make_watcher, open_kept
from edge.cli.options import named, names
from edge.decide.schedule import parse_schedule
from edge.detect.classifier import Classifier
from edge.detect.zones import parse_polygon, parse_zone
from edge.errors import OptionError, SourceError
from edge.record.journal import Journal
from edge.record.review import Review, pass_on
from edge.record.run import EventFactory
from edge.schema import WHOLE, CameraFault, Event, Frame, Region, utc_text
from edge.settings import AlertSettings, Camera, CameraSettings
from edge.watch import Watcher
from tests.alarm.test_watch import GREEN, ROOT, RULE, Colours, Scans, walk
from tests.helpers.meadow import WALL
from tests.helpers.tiny import BEAR_COLOUR, tiny_card, write_tiny_model

BEAR = (2.0, 6.0, BEAR_COLOUR, 100, 60)  # walks from x 100 to 340 of 640 at y 200 to 260 of 360
LEFT, RIGHT = "0,0 0.5,0 0.5,1 0,1", "0.7,0 1,0 1,1 0.7,1"


@pytest.fixture
def classifier(tmp_path):
    return Classifier(write_tiny_model(tmp_path / "tiny.onnx", tiny_card()))


def watch(settings=None, rule=RULE, frames=None, **options):
    told: list[Event] = []
    scorer = Colours()
    watcher = Watcher(scorer, rule, EventPublisher([told.append]), settings, scan=scorer.scan, **options)
    watcher(walk(9, BEAR) if frames is None else frames)
    return told, watcher


class Live(Source):
    """A live source with nothing behind it."""

    live = True

    def __init__(self):
        self.name, self.fps = "yard", 10.0
        self.problems: list[str] = []

    def __iter__(self):
        yield from ()

    def close(self):
        pass


def test_outside_the_schedule_a_bear_is_reported_without_a_noise():
    local = WALL.astimezone()
    now, later = ((local + timedelta(hours=hours)).strftime("%H:00") for hours in (0, 2))
    after = (local + timedelta(hours=4)).strftime("%H:00")
    inside, _ = watch(CameraSettings(schedule=parse_schedule(f"daily {now}-{later}")))
    outside, _ = watch(CameraSettings(schedule=parse_schedule(f"daily {later}-{after}")))
    assert [event.alarms for event in inside if event.type == "new"] == [True]
    assert [(event.alarms, event.quiet) for event in outside if event.type == "new"] == [
        (False, "outside the schedule")
    ]


def test_with_zones_only_what_stands_in_one_alarms():
    there, _ = watch(CameraSettings(zones=(parse_zone(f"hives={LEFT}"),)))
    assert next(event.zones for event in there if event.type == "new") == ("hives",)
    elsewhere, _ = watch(CameraSettings(zones=(parse_zone(f"hives={RIGHT}"),)))
    assert elsewhere == []


def test_a_bear_that_stands_in_a_zone_smaller_than_a_tile_alarms():
    standing = GREEN.copy()
    cv2.rectangle(standing, (200, 60), (420, 300), BEAR_COLOUR, -1)
    zone = parse_zone("hive=0.31,0.5 0.36,0.5 0.36,0.6 0.31,0.6")
    told, _ = watch(CameraSettings(zones=(zone,)), frames=walk(3, background=standing))
    assert [event.type for event in told] == ["new", "end"]


def test_nothing_counts_in_a_mask_not_even_for_a_region_that_reaches_into_it():
    standing = GREEN.copy()
    cv2.rectangle(standing, (0, 60), (250, 300), BEAR_COLOUR, -1)
    still = CameraSettings(masks=(parse_polygon("0,0 0.4,0 0.4,1 0,1", "--mask"),))
    assert watch(frames=walk(3, background=standing))[0] != []
    assert watch(still, frames=walk(3, background=standing))[0] == []
    assert watch(CameraSettings(masks=(parse_polygon("0,0 1,0 1,1 0,1", "--mask"),)))[0] == []


def test_the_night_threshold_holds_at_night():
    standing = GREEN.copy()
    cv2.rectangle(standing, (200, 60), (420, 300), BEAR_COLOUR, -1)

    def dark():
        return walk(3, background=(standing // 6).astype(np.uint8))

    class Pale(Colours):
        def score(self, image, regions):
            return super().score(image * np.uint8(6), regions)

    strict = replace(RULE, night_threshold=0.99)
    for rule, expected in ((RULE, True), (strict, False)):
        told: list[Event] = []
        Watcher(Pale(), rule, EventPublisher([told.append]), scan=lambda image: Colours().scan(image * np.uint8(6)))(
            dark()
        )
        assert bool(told) is expected


def test_grey_masks_make_no_night_of_a_bright_day():
    most = CameraSettings(masks=(parse_polygon("0.15,0 1,0 1,1 0.15,1", "--mask"),))
    _, watcher = watch(most, frames=walk(2, background=GREEN))
    assert watcher.night.night is False


def test_the_whole_is_looked_at_in_time_whatever_moves():
    watcher = Watcher(Colours(), RULE, EventPublisher())
    flutter = tuple(Region((0.05 * i, 0.1, 0.04, 0.04), "motion") for i in range(16))
    seen: list[tuple[float, ...]] = []
    scans = []
    for index in range(100):
        frame = Frame(GREEN, index / 10, WALL, "yard", index, media_time_s=index / 10)
        regions = watcher.find(frame, replace(watcher.motion(frame), regions=flutter, reset=False))
        assert sum(region.kind != "scan" for region in regions) <= watcher.budget.most
        watcher.stats.frames += 1
        scans += [frame.time for region in regions if region.kind == "scan"]
        seen += [region.box_xywh for region in regions if region.kind == "motion"]
    assert scans == pytest.approx([0.0, 2.0, 4.0, 6.0, 8.0])
    assert {seen.count(region.box_xywh) for region in flutter} <= set(range(40, 95))  # none is left out for ever


def test_a_trouble_that_lasts_is_over_when_the_watch_ends_even_before_a_first_frame():
    told: list[Event] = []
    watcher = Watcher(Colours(), RULE, EventPublisher([told.append]))

    def frames():
        for second in range(12):
            watcher.report(CameraFault("gone", "yard: no frame"), float(second), "yard")
        yield from ()

    watcher(frames())
    assert [(event.kind, event.type, event.camera) for event in told] == [
        ("camera", "new", "yard"),
        ("camera", "end", "yard"),
    ]


def test_what_is_reported_between_frames_is_not_kept_without_a_trace():
    watcher = Watcher(Colours(), RULE, EventPublisher())
    for second in range(0, 40_000, 20):
        watcher.report(CameraFault("gone", "yard: no frame") if second % 40 else None, float(second), "yard")
        watcher.report(CameraFault("gone", "yard: no frame") if second % 40 else None, second + 10.0, "yard")
    assert watcher._between == []


def alerting(told):
    """Nobody is told but this list."""
    everyone = Alerting(AlertSettings(bell=False), EventFactory())
    everyone.sinks.append(told.append)
    return everyone


def thread_of(source, classifier, everyone):
    """The thread of a camera, as the alarm makes it."""
    camera = Camera(source.name, "0")
    watcher = make_watcher(source, camera, Shared(classifier, everyone.run), everyone.sinks)
    connect(source, watcher)
    return CameraThread(camera, source, watcher)


def test_a_live_camera_has_a_lens_check_a_pace_and_a_budget_and_reports_its_troubles(classifier):
    kept = ReconnectingSource(Live, name="yard")
    told: list[Event] = []
    thread = thread_of(kept, classifier, alerting(told))
    watcher = thread.watcher
    assert not thread.fresh(time.monotonic())  # no frame was looked at yet
    assert watcher.camera_check
    assert watcher.pace
    assert watcher.budget.seconds
    for second in range(10):
        kept.report(CameraFault("gone", "yard: no frame"), 100.0 + second)
    assert [(event.kind, event.type) for event in told] == [("camera", "new")]


def test_each_picture_that_arrives_is_looked_at_whole_and_one_alone_alarms(classifier, tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    source = FolderSource(inbox, name="inbox")
    told: list[Event] = []
    watcher = thread_of(source, classifier, alerting(told)).watcher
    source.close()
    scans = Scans()
    watcher.scorer, watcher.scan = Colours(), scans
    bear = GREEN.copy()
    cv2.rectangle(bear, (100, 100), (300, 330), BEAR_COLOUR, -1)
    empty = [Frame(GREEN, 0.0, WALL, "inbox", 0, 0.0), Frame(GREEN, 0.5, WALL, "inbox", 1, 0.5)]
    watcher(empty)
    assert len(scans.times) == 2
    for visit in range(1, 4):  # the same place, an hour apart, handed over together
        watcher([Frame(bear, 100.0 * visit, WALL, "inbox", visit, 1.0 + visit, discontinuity=True)])
    assert [event.type for event in told if event.alarms] == ["new"] * 3
    assert [event.type for event in told] == ["new", "end"] * 3


def test_where_a_person_said_wrong_one_picture_that_arrives_is_not_enough(classifier, tmp_path):
    """Whatever the clock of the camera that took it says."""
    inbox, state = tmp_path / "inbox", tmp_path / "state"
    inbox.mkdir()
    source, journal = FolderSource(inbox, name="inbox"), Journal(state, run=EventFactory())
    told: list[Event] = []
    thread = thread_of(source, classifier, alerting(told))
    source.close()
    reviews = ReviewPoller(journal, [thread], ("brown_bear",))
    thread.watcher.scorer, thread.watcher.scan = Colours(2.0), Colours(2.0).scan
    bear = GREEN.copy()
    cv2.rectangle(bear, (100, 100), (300, 330), BEAR_COLOUR, -1)
    ahead = datetime.now(UTC) + timedelta(days=3)

    def arrive(at, pictures):
        frames = [Frame(bear, at + n / 2, ahead, "inbox", n, 1.0, discontinuity=n == 0) for n in range(pictures)]
        before = len(told)
        thread.watcher(frames)
        return [event for event in told[before:] if event.alarms]

    (alarm,) = arrive(100.0, 1)
    journal(alarm)
    assert pass_on(state, [alarm.id], Review("wrong", utc_text(datetime.now(UTC)))) is None
    reviews.look()
    assert arrive(200.0, 1) == []
    assert len(arrive(300.0, 2)) == 1
    reviews.close(1.0)
    journal.close()


def test_a_fault_of_ours_is_reported_and_the_camera_is_watched_again():
    told: list[Event] = []
    watcher = Watcher(Colours(), RULE, EventPublisher([told.append]))
    watcher.failed("yard", MemoryError())
    watcher.failed("yard", MemoryError())
    assert [(event.kind, event.type) for event in told] == [("camera", "new")]
    watcher(walk(9, BEAR))
    assert [event.type for event in told if event.kind == "bear"] == ["new", "end"]


def test_names_are_never_the_same():
    assert names(["a/yard.mp4", "b/yard.mp4", "yard-2.mp4"]) == ["yard", "yard-2", "yard-2-2"]


@pytest.mark.parametrize("word", ["rtsp://anna:s3cret@yard/1", "nowhere"])
def test_follow_takes_a_folder_and_tells_no_password(word):
    with pytest.raises(OptionError, match="no folder") as caught:
        open_kept(Camera("x", word, follow=True))
    assert "s3cret" not in str(caught.value)
    with pytest.raises(OptionError, match="give one of them"):
        open_kept(Camera("x", ".", motion_source="rtsp://yard/2", follow=True))


def test_a_name_that_is_no_text_is_one_sentence():
    with pytest.raises(SourceError, match="no text"):
        open_kept(Camera("x", "G\udce4rten.mp4"))


def test_a_whole_frame_hit_does_not_make_everything_one_animal():
    """A bear that stands there from the first frame, found in the whole frame too; a second walks in elsewhere."""
    standing = GREEN.copy()
    cv2.rectangle(standing, (0, 100), (150, 320), BEAR_COLOUR, -1)
    told, _ = watch(frames=walk(12, (5.0, 11.0, BEAR_COLOUR, 560, -20), background=standing))
    assert [event.type for event in told if event.alarms] == ["new", "new"]
    assert WHOLE not in [event.box_xywh for event in told]


def test_the_command_follows_a_folder(tmp_path):
    model, inbox = write_tiny_model(tmp_path / "tiny.onnx", tiny_card()), tmp_path / "inbox"
    inbox.mkdir()
    words = ["watch", "--follow", inbox, "--model", model, "--events", "e.jsonl", "--no-evidence", "--trace", "t.jsonl"]
    picture = np.full((240, 320, 3), BEAR_COLOUR, np.uint8)
    events = tmp_path / "e.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "edge", *map(str, words)], cwd=tmp_path, stderr=subprocess.DEVNULL, env=_environment()
    ) as process:
        try:
            for number in range(120):  # what lies there at the first look is passed over, and nobody sees that look
                cv2.imwrite(str(tmp_path / "part.jpg"), picture)
                (tmp_path / "part.jpg").rename(inbox / f"bear-{number}.jpg")
                time.sleep(0.5)
                if events.exists() and events.read_text().count("\n"):
                    break
        finally:
            process.terminate()
    event = json.loads(events.read_text().splitlines()[0])
    assert (event["kind"], event["type"], event["camera"]) == ("bear", "new", "inbox")
    assert event["file"] in {f"bear-{each}.jpg" for each in range(number + 1)}
    assert (tmp_path / "t.jsonl").exists()


def _environment():
    import os

    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def test_a_source_may_be_given_a_name(tmp_path):
    assert named("yard=rtsp://10.0.0.7/a=b") == ("yard", "rtsp://10.0.0.7/a=b")
    assert named("rtsp://10.0.0.7/yard?x=1") == (None, "rtsp://10.0.0.7/yard?x=1")
    assert names(["rtsp://h/a", "yard=rtsp://h/b", "back yard=0", "1"]) == ["h", "yard", "back yard", "camera1"]
    assert names(["demo", "demo=0"]) == ["demo-2", "demo"]
    (tmp_path / "a=b.avi").touch()
    assert named(str(tmp_path / "a=b.avi"))[0] is None
    with pytest.raises(OptionError, match="two sources are called yard"):
        names(["yard=0", "yard=1"])
