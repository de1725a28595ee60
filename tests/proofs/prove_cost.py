"""What one 1280x720 frame costs on one core, idle and active, next to its floor, interleaved in one run.

    python tests/proofs/prove_cost.py

The floor is what nobody can do without: a small grey picture and one difference for an idle frame; for an active one
also cutting one crop and one inference. Medians of the thread's own CPU time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.events import EventPublisher
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.crops import cut
from edge.watch import Watcher
from tests.helpers import stage

cv2.setNumThreads(1)


def timed(work: Callable[[], Any]) -> float:
    """Milliseconds of this thread's CPU."""
    started = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - started) / 1e6


def main() -> None:
    """Print a table, in Markdown."""
    classifier = Classifier(BUNDLED)
    frames = list(stage.film(20.0, [stage.bear(8.0, 19.0)]))
    last = np.zeros((180, 320), np.float32)

    def grey(image: Any) -> Any:
        small = cv2.cvtColor(cv2.resize(image, (320, 180), interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2GRAY)
        return small.astype(np.float32)

    def floor_idle(image: Any) -> None:
        nonlocal last
        now = grey(image)
        np.abs(now - last)
        last = now

    def floor_active(image: Any) -> None:
        floor_idle(image)
        classifier(cut(image, (0.4, 0.5, 0.17, 0.2), classifier.size)[None])

    costs: dict[int, list[float]] = {}
    floors: tuple[list[float], list[float]] = ([], [])
    told: list[Any] = []

    def interleaved() -> Any:
        for frame in frames:
            floors[0].append(timed(lambda: floor_idle(frame.image)))  # noqa: B023
            floors[1].append(timed(lambda: floor_active(frame.image)))  # noqa: B023
            before = watcher.stats.crops
            started = time.thread_time_ns()
            yield frame
            costs.setdefault(watcher.stats.crops - before, []).append((time.thread_time_ns() - started) / 1e6)

    watcher = Watcher(classifier, Rule.from_card(classifier.card), EventPublisher([told.append]))
    watcher(interleaved())
    idle, active = median(costs[0]), median(costs[1])
    print("| a 1280x720 frame, reading it not counted | ms of one core | its floor, ms | ratio |")
    print("|---|---|---|---|")
    print(f"| idle: nothing moves, {len(costs[0])} frames | {idle:.2f} | {median(floors[0]):.2f} "
          f"| {idle / median(floors[0]):.1f} |")  # fmt: skip
    print(f"| active: one crop, {len(costs[1])} frames | {active:.2f} | {median(floors[1]):.2f} "
          f"| {active / median(floors[1]):.1f} |")  # fmt: skip
    print(f"\n{len([event for event in told if event.type == 'new'])} alarm; crops a frame: "
          f"{ {crops: len(found) for crops, found in sorted(costs.items())} }")  # fmt: skip


if __name__ == "__main__":
    main()
