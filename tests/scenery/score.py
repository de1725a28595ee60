"""The alarm against the truth of many scenes: does it hear the bear in time, and nothing else?

    python -m tests.scenery.score --seeds 100-119

Frames go into the real watch loop as they are drawn, with no clip between.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.alert.events import EventPublisher
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.frame_scan import Scorer
from edge.errors import BearAlarmError
from edge.schema import BoxXYWH, Event, Frame
from edge.watch import Watcher
from tests.scenery.scene import Scene, Truth

IN_TIME_S = 1.0  # after the bear is fully in view
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Outcome:
    """What the alarm made of one scene."""

    seed: int
    delay_s: float | None  # first alarm on the bear, after it was fully in view; None: none; below 0: sooner
    wrong: tuple[tuple[float, str], ...]  # (seconds, whose box it was) of every alarm that was no bear
    ended: bool  # whether the event was closed after the bear had gone

    @property
    def in_time(self) -> bool:
        """Return whether the bear raised the alarm soon enough."""
        return self.delay_s is not None and self.delay_s <= IN_TIME_S + 1e-6

    @property
    def quiet(self) -> bool:
        """Return whether nothing but the bear raised the alarm."""
        return not self.wrong


def frames_of(scene: Scene) -> Iterator[Frame]:
    """A scene as a camera gives it."""
    for index, shot in enumerate(scene.frames()):
        wall = EPOCH + timedelta(seconds=shot.time_s)
        yield Frame(shot.image, shot.time_s, wall, "demo", index, media_time_s=shot.time_s)


def judge(truth: Truth, events: Iterable[Event]) -> Outcome:
    """Hold the events of one scene against its truth.

    What is told, new or update, is the bear's where its box overlaps the bear's; all else is wrong.
    """
    delay_s: float | None = None
    wrong: list[tuple[float, str]] = []
    ended = False
    for event in events:
        if event.kind != "bear" or event.media_time_s is None:
            continue
        ended = ended or (event.type == "end" and event.media_time_s >= truth.bear_gone_s)
        if event.type == "end":
            continue
        boxes = truth.boxes[min(round(event.media_time_s * truth.fps), len(truth.boxes) - 1)]
        hit = [name for name, box in boxes.items() if event.box_xywh and _overlap(event.box_xywh, box)]
        if "bear" not in hit:
            wrong.append((event.media_time_s, "+".join(hit) or "nothing"))
        elif delay_s is None:
            delay_s = event.media_time_s - truth.bear_fully_in_view_s
    return Outcome(truth.seed, delay_s, tuple(wrong), ended)


def listen(scene: Scene, scorer: Scorer, rule: Rule) -> Outcome:
    """The real loop on one scene, judged."""
    events: list[Event] = []
    Watcher(scorer, rule, EventPublisher([events.append]))(frames_of(scene))
    return judge(scene.truth, events)


def _overlap(one: BoxXYWH, other: BoxXYWH) -> bool:
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return across > 0 and down > 0


def _line(scene: Scene, outcome: Outcome) -> str:
    truth = scene.truth
    heard = "no alarm" if outcome.delay_s is None else f"{outcome.delay_s:+.1f} s"
    wrong = ", ".join(f"{who} at {time_s:.1f} s" for time_s, who in outcome.wrong) or "quiet"
    plot = f"{truth.bear_stamp} {truth.bear_length_px:.0f} px, {truth.mood}"
    return f"seed {outcome.seed}: bear {heard}, else {wrong}, {'ended' if outcome.ended else 'not ended'} ({plot})\n"


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main(argv: list[str] | None = None) -> int:
    """Score a range of seeds from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.scenery.score", description="Score the alarm on demo scenes."
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=_seeds("100-119"), help="one seed or a range, both ends included"
    )
    parser.add_argument("--model", type=Path, default=BUNDLED, help="a .onnx file; default: the one that ships")
    asked = parser.parse_args(argv)
    try:
        classifier = Classifier(asked.model)
    except BearAlarmError as error:
        parser.error(str(error))
    rule = Rule.from_card(classifier.card)
    outcomes = []
    for seed in asked.seeds:
        scene = Scene(seed)
        outcomes.append(listen(scene, classifier, rule))
        sys.stdout.write(_line(scene, outcomes[-1]))
        sys.stdout.flush()
    count = len(outcomes)
    in_time, quiet = sum(o.in_time for o in outcomes), sum(o.quiet for o in outcomes)
    sys.stdout.write(f"{classifier.name}: bear alarmed within {IN_TIME_S:.0f} s in {in_time} of {count}; ")
    sys.stdout.write(f"fox, boar and toy quiet in {quiet} of {count}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
