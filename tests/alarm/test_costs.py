"""Count what a frame costs: a change that makes one dearer has to say so here.

The real model, recorder and journal; frames whose picture is decoded when somebody asks for it, with the brightness
apart, and a mask. Python's own calls are printed and not held to anything.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from dataclasses import replace

import cv2
import pytest

from edge.alert.events import EventPublisher
from edge.camera_thread import CameraThread
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.zones import PrivacyMask
from edge.record.journal import Journal
from edge.record.recorder import MediaWriter
from edge.record.run import EventFactory
from edge.schema import LazyImage
from edge.settings import Camera, CameraSettings
from edge.update.trial import Trial
from edge.watch import Look, Watcher
from tests.alarm.test_watch_setup import Live
from tests.helpers import stage
from tests.helpers.trials import in_step
from tests.update.test_trial import installed

CORNER = ((0.0, 0.0), (0.1, 0.0), (0.1, 0.1), (0.0, 0.1))

# At most in one frame, and in all such frames of the film together, in the loop's own thread: what is done once a
# second must not come to be done in every frame. A number may rise only with a line here that says why.
COSTS = {
    "idle": {  # 53 frames
        "resizes of the full frame": (2, 60),  # the small grey picture; a picture a second for the clip before an alarm
        "masked copies": (1, 7),  # of that picture of the clip
    },
    "active": {  # 82 frames
        "decodes": (1, 90),  # for the crops
        "resizes of the full frame": (2, 130),  # as idle, but five pictures a second for the clip
        "masked copies": (2, 130),  # of these, and for the crops
        "inferences": (1, 90),  # of up to four crops
        "rows": (3, 95),  # what moved, and what is followed beside it
    },
    "with a scan": {  # 5 frames
        "decodes": (1, 6),
        "resizes of the full frame": (3, 18),  # as active, and the scan's own
        "masked copies": (2, 12),  # the crops and the scan share one
        "inferences": (2, 12),  # as active, and the scan's own
        "rows": (4, 12),
    },
}
COUNTED = frozenset(what for limits in COSTS.values() for what in limits)
FSYNCS = 6  # of the files of one alarm: two pictures, a crop and the event; a better crop and the event at its end


class Counted:
    """Counts calls of the thread it was made in."""

    def __init__(self):
        self.found: Counter[str] = Counter()
        self.synced: list[int] = []  # files, by any thread; SQLite's own are not seen here
        self.thread = threading.get_ident()

    def __call__(self, what, more=1):
        if threading.get_ident() == self.thread:
            self.found[what] += more


class Session:
    """An onnxruntime session whose runs are counted."""

    def __init__(self, session, counted):
        self.session, self.counted = session, counted

    def run(self, outputs, given):
        self.counted("inferences")
        self.counted("rows", len(given["crops"]))
        return self.session.run(outputs, given)


@pytest.fixture
def counted(monkeypatch):
    count = Counted()
    resize, fsync, cover = cv2.resize, os.fsync, PrivacyMask.__call__

    def resized(picture, *args, **named):
        count("resizes of the full frame", picture.shape[:2] == stage.SIZE_WH[::-1])
        return resize(picture, *args, **named)

    def synced(file):
        count.synced.append(file)
        return fsync(file)

    def covered(mask, image, rect=None):
        made = cover(mask, image, rect)
        count("masked copies", made is not image and made.shape[:2] == stage.SIZE_WH[::-1])
        return made

    monkeypatch.setattr(cv2, "resize", resized)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(PrivacyMask, "__call__", covered)
    return count


def lazily(frame, counted):
    """The frame as a camera hands it over that gives brightness apart."""

    def make():
        counted("decodes")
        return frame.image

    return replace(frame, picture=LazyImage(make, stage.SIZE_WH), luma=cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY))


@pytest.mark.slow
@pytest.mark.parametrize("tried", [False, True], ids=["alone", "with a new model that is tried beside it"])
def test_each_frame_costs_no_more_than_is_written_here(counted, tmp_path, tried):
    classifier = Classifier(BUNDLED)
    classifier._session = Session(classifier._session, counted)
    run = EventFactory()
    journal = Journal(tmp_path / "state", run=run)
    writer = MediaWriter(tmp_path / "evidence", reserve_mb=0)
    settings = CameraSettings(masks=(CORNER,))
    publisher = EventPublisher([journal], evidence=writer.camera(masks=settings.masks), run=run)
    watcher = Watcher(classifier, Rule.from_card(classifier.card), publisher, settings)
    scan = watcher.scan
    watcher.scan = lambda image: (counted("scans"), scan(image))[1]
    most: dict[str, Counter[str]] = {phase: Counter() for phase in COSTS}
    film: dict[str, Counter[str]] = {phase: Counter() for phase in COSTS}
    frames: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    puts: list[int] = []
    if tried:
        thread = CameraThread(Camera("yard", "film", settings=settings), Live(), watcher)
        trial = Trial([thread], *installed(tmp_path, BUNDLED), classifier)
        in_step(trial)
        put = watcher.trial
        assert put

        def noted(look: Look) -> None:
            puts.append(look.frame.index)
            put(look)

        watcher.trial = noted
    counted.synced.clear()  # of the journal that was made

    def filmed():
        for each in stage.film(14.0, [stage.bear(5.0, 13.0)], fps=10.0):
            frame = lazily(each, counted)
            counted.found.clear()
            sys.setprofile(lambda _, event, __: calls.update([event]))
            yield frame
            sys.setprofile(None)
            here = counted.found
            phase = "with a scan" if here["scans"] else "active" if here["inferences"] else "idle"
            assert publisher.counts["new"] or not counted.synced  # the first is of an alarm's pictures
            frames[phase] += 1
            most[phase] |= here
            film[phase] += here
            calls[phase] += calls.pop("call", 0)

    watcher(filmed())
    if tried:
        assert puts == list(range(140))
        assert not trial.problem()
        trial.close(10.0)
    writer.close(5.0)
    journal.close()
    assert publisher.counts["new"] == 1
    over = {}
    for phase, limits in COSTS.items():
        print(f"{phase}: {frames[phase]} frames, {calls[phase] // frames[phase]} Python calls a frame,")
        print(f"  most in one {dict(most[phase])}, in all {dict(film[phase])}")
        assert frames[phase] > 0
        for what in COUNTED:
            found, allowed = (most[phase][what], film[phase][what]), limits.get(what, (0, 0))
            if found[0] > allowed[0] or found[1] > allowed[1]:
                over[phase, what] = found
    print(f"fsyncs: {len(counted.synced)}")
    assert over == {}
    assert len(counted.synced) <= FSYNCS + tried  # the counts of the trial, at its end
