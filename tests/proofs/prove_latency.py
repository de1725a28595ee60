"""Measure an alarm's latency: from the frame handed over to the sink, and from a bear's first frame to its alarm.

    python tests/proofs/prove_latency.py

Films of a clearing at 10 frames a second with a bear that walks in clearly visible, and the demo; each through the real
model. What ``latency_ms`` counts, as the thread's CPU time, beside one crop's inference in the same process;
``onset_s`` beside what the rule needs at least: two scored frames or h/c seconds, whichever is longer. In the demo the
first frame that supports the alarm shows a nose at the rim (0.52, little above the threshold), and the bear is clearly
visible in the next: from there on it takes 0.6 s. Then one film again, each time a frame later, until every frame
between two timed scans was the alarm's: where a scan falls into it, the alarm waits for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.events import EventPublisher
from edge.camera import open_source
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.frame_rate import SCAN_EVERY_S
from edge.detect.motion import Motion
from edge.schema import Event, Frame, Region
from edge.watch import Watcher
from tests.helpers import stage

cv2.setNumThreads(1)
FPS = 10.0
STAMPS = ("european-bear", "bear")
LENGTHS = (160.0, 220.0, 300.0)
Ms = list[float]


class Clock:
    """Counts the loop's CPU time from each frame on."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.crop = np.zeros((1, classifier.size, classifier.size, 3), np.uint8)
        self.inference: Ms = []
        self.started = 0.0

    def frames(self, film: Iterable[Frame]) -> Iterator[Frame]:
        """Yield a film's frames, each after one inference."""
        for frame in film:
            started = time.thread_time()
            self.classifier(self.crop)
            self.started = time.thread_time()
            self.inference.append(1000.0 * (self.started - started))
            yield frame

    def watch(self, film: Iterable[Frame]) -> Iterator[tuple[Event, float, list[str]]]:
        """Watch a film; yield its alarms, the milliseconds each took, and the kinds of what was scored in its frame."""
        found: list[tuple[Event, float]] = []
        regions: dict[int, list[str]] = {}

        def told(event: Event) -> None:
            if event.type == "new":
                found.append((event, 1000.0 * (time.thread_time() - self.started)))

        watcher = Watcher(self.classifier, Rule.from_card(self.classifier.card), EventPublisher([told]))
        find = watcher.find

        def noted(frame: Frame, motion: Motion) -> list[Region]:
            chosen = find(frame, motion)
            regions[round(1000 * frame.time)] = [region.kind for region in chosen]
            return chosen

        watcher.find = noted  # type: ignore[method-assign]
        watcher(self.frames(film))
        for event, took_ms in found:
            yield event, took_ms, regions[round(1000 * (event.media_time_s or 0.0))]


def walks(stamp: str, length_px: float, later_s: float = 0.0) -> Iterator[Frame]:
    """A bear that walks in from the left and stands."""
    times, xs = (2.0 + later_s, 4.0 + later_s), (-length_px, 640.0)
    return stage.film(6.0 + later_s, [stage.animal(stamp, times, xs, length_px)], fps=FPS)


def main() -> None:
    """Print a table, in Markdown."""
    clock = Clock(Classifier(BUNDLED))
    films = {f"{stamp}, {length:.0f} px": walks(stamp, length) for stamp in STAMPS for length in LENGTHS}
    least_s = max(1.0 / FPS, Rule.from_card(clock.classifier.card).seconds_at_best)
    latencies: Ms = []
    print("| a bear at 10 frames a second | scored in the frame | frame to alarm, ms of CPU | onset, s | limit, s |")
    print("|---|---|---|---|---|")
    with open_source("demo", fps=FPS) as demo:
        for name, film in {**films, "the demo": iter(demo)}.items():
            for event, took_ms, kinds in clock.watch(film):
                latencies.append(took_ms)
                print(f"| {name} | {', '.join(kinds)} | {took_ms:.1f} | {event.onset_s:.2f} | {least_s:.2f} |")
    p95, once = float(np.percentile(latencies, 95)), float(np.median(clock.inference))
    phases = [index / FPS for index in range(round(SCAN_EVERY_S * FPS))]
    turns = [clock.watch(walks(STAMPS[0], LENGTHS[1], later_s)) for later_s in phases]
    took = [(took_ms, "scan" in kinds) for turn in turns for _, took_ms, kinds in turn]
    print(f"\np95 {p95:.1f} ms; one crop's inference {once:.1f} ms; the difference {p95 - once:.1f} ms")
    every, scanned = [each for each, _ in took], [each for each, scan in took if scan]
    print(f"each frame between two scans: {len(every)} alarms, {len(scanned)} with a scan in their frame; "
          f"p95 {np.percentile(every, 95):.1f} ms, with a scan {np.median(scanned):.1f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
