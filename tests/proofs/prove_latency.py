"""How long an alarm takes: from the frame handed over to the sink, and from the first frame of a bear to its alarm.

    python tests/proofs/prove_latency.py

Films of a clearing at 10 frames a second with a bear that walks in clearly visible, and the demo; each through the real
model. ``latency_ms`` beside one crop's inference in the same process; ``onset_s`` beside what the rule needs at least:
two scored frames or h/c seconds, whichever is longer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.events import EventPublisher
from edge.camera import open_source
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.schema import Event, Frame
from edge.watch import Watcher
from tests.helpers import stage

cv2.setNumThreads(1)
FPS = 10.0
STAMPS = ("european-bear", "bear")
LENGTHS = (160.0, 220.0, 300.0)
Ms = list[float]


def handed_over(frames: Iterable[Frame], beside: Callable[[], object]) -> Iterator[Frame]:
    """The frames as a camera hands them over, after other work."""
    for frame in frames:
        beside()
        yield replace(frame, handed_over=time.monotonic())


def walks(stamp: str, length_px: float) -> Iterator[Frame]:
    """A bear that walks in from the left and stands."""
    times, xs = (2.0, 4.0), (-length_px, 640.0)
    return stage.film(6.0, [stage.animal(stamp, times, xs, length_px)], fps=FPS)


def main() -> None:
    """Print a table, in Markdown."""
    classifier = Classifier(BUNDLED)
    rule = Rule.from_card(classifier.card)
    crop = np.zeros((1, classifier.size, classifier.size, 3), np.uint8)
    inference: Ms = []

    def infer() -> None:
        started = time.monotonic()
        classifier(crop)
        inference.append(1000.0 * (time.monotonic() - started))

    films = {f"{stamp}, {length:.0f} px": walks(stamp, length) for stamp in STAMPS for length in LENGTHS}
    least_s = max(1.0 / FPS, rule.seconds_at_best)
    latencies: Ms = []
    print("| a bear at 10 frames a second | latency of the alarm, ms | onset, s | at best, s |\n|---|---|---|---|")
    with open_source("demo", fps=FPS) as demo:
        for name, film in [*films.items(), ("the demo", demo)]:
            events: list[Event] = []
            Watcher(classifier, rule, EventPublisher([events.append]))(handed_over(film, infer))
            own = [event for event in events if event.type == "new"]
            latencies += [event.latency_ms or 0.0 for event in own]
            for event in own:
                print(f"| {name} | {event.latency_ms:.1f} | {event.onset_s:.2f} | {least_s:.2f} |")
    p95, once = float(np.percentile(latencies, 95)), float(np.median(inference))
    print(f"\nlatency p95 {p95:.1f} ms; one crop's inference {once:.1f} ms; the difference {p95 - once:.1f} ms")


if __name__ == "__main__":
    main()
