"""What a frame costs, counted: a change that makes one dearer has to say so here.

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
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.zones import PrivacyMask
from edge.record.journal import Journal
from edge.record.recorder import MediaWriter
from edge.record.run import EventFactory
from edge.schema import LazyImage
from edge.settings import CameraSettings
from edge.watch import Watcher
from tests.helpers import stage

CORNER = ((0.0, 0.0), (0.1, 0.0), (0.1, 0.1), (0.0, 0.1))

# At most, in the loop's own thread. A number may rise only with a line here that says why.
COSTS = {
    "idle": {
        "resizes of the full frame": 2,  # the small grey picture; a picture a second for the clip before an alarm
    },
    "active": {
        "decodes": 1,  # for the crops
        "resizes of the full frame": 2,  # as idle
        "full-frame copies": 1,  # masked, for the crops
        "inferences": 1,  # of up to four crops
        "rows": 3,  # what moved, and what is followed beside it
    },
    "with a scan": {
        "decodes": 1,
        "resizes of the full frame": 3,  # as idle, and the scan's own
        "full-frame copies": 1,  # the crops and the scan share one
        "inferences": 2,  # as active, and the scan's own
        "rows": 4,
    },
}
COUNTED = frozenset(what for limits in COSTS.values() for what in limits)


class Counted:
    """Counts calls of the thread it was made in; all threads' where ``everywhere``."""

    def __init__(self):
        self.found: Counter[str] = Counter()
        self.thread = threading.get_ident()

    def __call__(self, what, more=1, *, everywhere=False):
        if everywhere or threading.get_ident() == self.thread:
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
        count("fsyncs", everywhere=True)
        return fsync(file)

    def covered(mask, image, rect=None):
        count("full-frame copies", bool(rect is None and mask.masks))
        return cover(mask, image, rect)

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
def test_each_frame_costs_no_more_than_is_written_here(counted, tmp_path):
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
    frames: Counter[str] = Counter()
    calls: Counter[str] = Counter()

    def film():
        for each in stage.film(14.0, [stage.bear(5.0, 13.0)], fps=5.0):
            frame = lazily(each, counted)
            counted.found.clear()
            sys.setprofile(lambda _, event, __: calls.update([event]))
            yield frame
            sys.setprofile(None)
            here = counted.found
            phase = "with a scan" if here["scans"] else "active" if here["inferences"] else "idle"
            assert publisher.counts["new"] or not here["fsyncs"]  # the first is of an alarm's pictures
            frames[phase] += 1
            most[phase] |= here
            calls[phase] += calls.pop("call", 0)

    watcher(film())
    writer.close(5.0)
    journal.close()
    assert publisher.counts["new"] == 1
    for phase, limits in COSTS.items():
        print(f"{phase}: {frames[phase]} frames, {calls[phase] // frames[phase]} Python calls a frame, {most[phase]}")
        assert frames[phase] > 0
        assert {what: most[phase][what] for what in COUNTED if most[phase][what] > limits.get(what, 0)} == {}, phase
