"""What one 1280x720 frame costs on one core, idle and active, next to its floor, interleaved in one run.

    python tests/proofs/prove_cost.py

The floor is what nobody can do without: a small grey picture and one difference, for an idle frame with the decoding of
its JPEG; for an active one cutting the same crop and one inference. Each has a picture that was decoded just before it.
Medians of the thread's own CPU time; ratios are medians of each frame's own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.events import EventPublisher
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.crops import cut_all
from edge.schema import Event, Frame, Picture, Score
from edge.watch import Watcher
from tests.helpers import stage

cv2.setNumThreads(1)
IDLE_S, FPS = 24.0, 10.0


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what it gives, and the milliseconds of this thread's CPU that it took."""
    started = time.thread_time_ns()
    found = work()
    return found, (time.thread_time_ns() - started) / 1e6


class Cost:
    """A film in front of a watcher, each frame measured beside its floor."""

    def __init__(self) -> None:
        self.classifier = Classifier(BUNDLED)
        self.events: list[Event] = []
        self.watcher = Watcher(
            self.classifier, Rule.from_card(self.classifier.card), EventPublisher([self.events.append])
        )
        self.scan, self.scan_ms = self.watcher.scan, 0.0
        self.watcher.scan = self.scanned
        self.idle: list[tuple[float, float, float]] = []  # decoding, the floor, the watcher
        self.active: list[tuple[float, float]] = []  # the floor, the watcher
        self.scans: list[float] = []  # while idle
        self.frames = 0  # while idle
        self.last = np.zeros((180, 320), np.float32)

    def scanned(self, image: Picture) -> list[Score]:
        """Scan, and note what it took."""
        found, self.scan_ms = timed(lambda: self.scan(image))
        return list(found)

    def floor(self, image: Picture) -> None:
        """A small grey picture and its difference from the last."""
        small = cv2.cvtColor(cv2.resize(image, (320, 180), interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2GRAY)
        now = small.astype(np.float32)
        np.abs(now - self.last)
        self.last = now

    def crop(self, image: Picture, score: Score) -> None:
        """Cut one crop and score it."""
        context = self.classifier.card.crop.context
        self.classifier(cut_all(image, [score.region.box_xywh], self.classifier.size, context))

    def __call__(self, film: Iterator[Frame]) -> Iterator[Frame]:
        """Yield the frames of a film."""
        before: list[Score] = []
        for frame in film:
            jpeg = cv2.imencode(".jpg", frame.image)[1]
            image, _ = timed(lambda: cv2.imdecode(jpeg, cv2.IMREAD_COLOR))  # noqa: B023
            _, floor_ms = timed(lambda: self.floor(image))  # noqa: B023
            if len(before) == 1:
                _, crop_ms = timed(lambda: self.crop(image, before[0]))  # noqa: B023
            image, decode_ms = timed(lambda: cv2.imdecode(jpeg, cv2.IMREAD_COLOR))  # noqa: B023
            self.scan_ms, crops = 0.0, self.watcher.stats.crops
            started = time.thread_time_ns()
            yield replace(frame, picture=image)
            took_ms = (time.thread_time_ns() - started) / 1e6
            scores = list(self.watcher.seen[1]) if self.watcher.seen else []
            if not self.watcher.tracker.tracks and frame.time < IDLE_S:
                self.frames += 1
                self.scans += [self.scan_ms] if self.scan_ms else []
            if self.watcher.stats.crops == crops:
                self.idle.append((decode_ms, floor_ms, took_ms))
            elif len(scores) == len(before) == 1 and not self.scan_ms:
                self.active.append((floor_ms + crop_ms, took_ms))
            before = scores


def main() -> None:
    """Print a table, in Markdown."""
    cost = Cost()
    cost.watcher(cost(stage.film(IDLE_S + 12.0, [stage.bear(IDLE_S, IDLE_S + 11.0)], fps=FPS)))
    idle = median(decode + own for decode, _, own in cost.idle), median(sum(each[:2]) for each in cost.idle)
    active = median(own for _, own in cost.active), median(floor for floor, _ in cost.active)
    more = median((each[0] + each[2]) / sum(each[:2]) for each in cost.idle)
    most = median(own / floor for floor, own in cost.active)
    print("| a 1280x720 frame | ms of one core | its floor, ms | ratio |\n|---|---|---|---|")
    print(
        f"| idle, read as JPEG: nothing moves, {len(cost.idle)} frames | {idle[0]:.2f} | {idle[1]:.2f} | {more:.2f} |"
    )
    print(f"| active: one crop, {len(cost.active)} frames | {active[0]:.2f} | {active[1]:.2f} | {most:.2f} |")
    each = sum(cost.scans) / cost.frames
    print(f"| the timed scan, spread over {cost.frames} idle frames at {FPS:.0f} a second | {each:.2f} | – | – |")
    news = len([event for event in cost.events if event.type == "new"])
    print(f"\n{news} alarm; {len(cost.scans)} scans of {median(cost.scans):.1f} ms while idle.")


if __name__ == "__main__":
    main()
