"""Measure an idle 1280x720 frame with its decoding, through our sources, against the shortest script that does it.

    python tests/proofs/prove_decode.py

The floor: cv2.VideoCapture decodes in full, a grey picture of 320x180, one difference. Ours: the source, motion and the
whole loop of the alarm, of which the timed look at the whole frame is switched off here (it has a proof of its own),
so no frame is scored. Both read the same films by turns, in one process with one thread; medians of CPU time. The films
are a clearing with a sensor's noise. After that the demo's alarms, decoded small and decoded in full.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.events import EventPublisher
from edge.camera import DEMO, open_source
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.schema import Event, Frame
from edge.watch import Watcher
from tests.helpers import stage

SECONDS = 30.0
FPS = 10
QUALITY = 4  # of MJPEG, 2 to 31: some 150 kB a frame, as USB cameras send
FILMS = {
    "MJPEG 4:2:2": ("mjpeg", "yuvj422p", "avi"),
    "MJPEG 4:2:0": ("mjpeg", "yuvj420p", "avi"),
    "H.264": ("libx264", "yuv420p", "mp4"),
}


def write(path: Path, pictures: Iterator[Any], codec: str, form: str, size_wh: tuple[int, int] = (1280, 720)) -> Path:
    """Write a film of BGR pictures."""
    options = {"qmin": str(QUALITY), "qmax": str(QUALITY)} if codec == "mjpeg" else {"preset": "veryfast", "crf": "16"}
    with av.open(str(path), "w") as film:
        stream: Any = film.add_stream(codec, rate=FPS, options=options)
        (stream.width, stream.height), stream.pix_fmt = size_wh, form
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format=form)
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    return path


class Floor:
    """The shortest script: decode in full, grey and small, one difference."""

    def __init__(self, path: Path) -> None:
        self.video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        self.last = np.zeros((180, 320), np.uint8)

    def __call__(self) -> bool:
        """Take one frame; False at the end."""
        read, image = self.video.read()
        if read:
            small = cv2.resize(image, (320, 180), interpolation=cv2.INTER_LINEAR)
            grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
            cv2.absdiff(grey, self.last)
            self.last = grey
        return read


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of this process's CPU."""
    started = time.process_time_ns()
    work()
    return (time.process_time_ns() - started) / 1e6


def idle(path: Path, classifier: Classifier) -> tuple[float, float, int]:
    """Return the medians of our frame and of the floor, ms, and the number of frames scored."""
    floor, floors, ours = Floor(path), list[float](), list[float]()
    watcher = Watcher(classifier, Rule.from_card(classifier.card), EventPublisher([]))
    watcher.scan_timer.due = lambda *_, **__: False  # type: ignore[method-assign]

    def by_turns() -> Iterator[Frame]:
        """Give each frame; the floor's turn is not counted as ours."""
        started = time.process_time_ns()
        for frame in source:
            yield frame
            del frame
            ours.append((time.process_time_ns() - started) / 1e6)
            floors.append(timed(floor))
            started = time.process_time_ns()

    with open_source(str(path), fps=FPS) as source:
        watcher(by_turns())
    return median(ours), median(floors), watcher.stats.crops


def alarms(path: Path, classifier: Classifier, *, full: bool) -> tuple[list[Event], int]:
    """Return the events of a film and how many crops were scored; ``full``: motion sees what is decoded in full."""
    events: list[Event] = []
    watcher = Watcher(classifier, Rule.from_card(classifier.card), EventPublisher([events.append]))
    with open_source(str(path), fps=FPS) as source:
        watcher(replace(frame, luma=None) if full else frame for frame in source)
    return events, watcher.stats.crops


def main() -> None:
    """Print two tables, in Markdown."""
    cv2.setNumThreads(1)
    classifier = Classifier(BUNDLED)
    with tempfile.TemporaryDirectory() as folder:
        print("| an idle 1280x720 frame, decoded | ms of one core | its floor, ms | ratio | scored |")
        print("|---|---|---|---|---|")
        for name, (codec, form, end) in FILMS.items():
            still = (frame.image for frame in stage.film(SECONDS, []))
            path = write(Path(folder) / f"idle.{end}", still, codec, form)
            ours, floor, scored = idle(path, classifier)
            print(f"| {name}, {path.stat().st_size / SECONDS / FPS / 1000:.0f} kB | {ours:.2f} | {floor:.2f} "
                  f"| {ours / floor:.2f} | {scored} |")  # fmt: skip
        print("\n| the demo as | motion sees | alarms at, s | ends at, s | crops |")
        print("|---|---|---|---|---|")
        for name, (codec, form, end) in FILMS.items():
            with av.open(str(DEMO)) as demo:
                pictures = (frame.to_ndarray(format="bgr24") for frame in demo.decode(video=0))
                path = DEMO if end == "mp4" else write(Path(folder) / f"demo.{end}", pictures, codec, form)
            for full, words in ((True, "the full picture"), (False, "the small one")):
                events, crops = alarms(path, classifier, full=full)
                at = {kind: [event.media_time_s for event in events if event.type == kind] for kind in ("new", "end")}
                print(f"| {name} | {words} | {at['new']} | {at['end']} | {crops} |")


if __name__ == "__main__":
    main()
