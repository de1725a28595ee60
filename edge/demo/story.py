"""The story of the bundled clip while it is watched: each animal that passes, and how like a bear it looked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from edge.record.trace import Moment
from edge.schema import BoxXYWH

TRUTH = Path(__file__).with_name("demo.json")
COVERED = 0.5  # of an animal lies in a place: the place's score is the animal's too


class Story:
    """Prints one line for each animal that is no bear, once it has gone or the bear comes: from then on scores mix.

    It is a trace: give it every moment of a watcher of the bundled clip. ``then`` is the trace that was there before.
    """

    def __init__(self, say: Callable[[str], object], then: Callable[[Moment], object] | None = None) -> None:
        truth = json.loads(TRUTH.read_text(encoding="utf-8"))
        self._say, self._then = say, then
        self._boxes: list[dict[str, BoxXYWH]] = truth["boxes"]
        self._fps = float(truth["fps"])
        bear_s = truth["bear_in_view_s"]
        self._until = {name: min(until, bear_s) for name, (_, until) in truth["intervals_s"].items() if name != "bear"}
        self._best: dict[str, tuple[float, float]] = {}  # the highest score, and when it was
        self._alarmed: set[str] = set()

    def __call__(self, moment: Moment) -> None:
        """Take one frame in."""
        if self._then:
            self._then(moment)
        for name, until in list(self._until.items()):
            if moment.time >= until:
                del self._until[name]
                self._say(self._line(name))
        here = self._boxes[min(round(moment.time * self._fps), len(self._boxes) - 1)]
        alarms = {event.track for event in moment.events if event.kind == "bear" and event.type == "new"}
        for name in self._until.keys() & here.keys():
            seen = [region.bear for region in moment.scored if _share(here[name], region.box_xywh) >= COVERED]
            self._best[name] = max([self._best.get(name, (-1.0, 0.0)), *((bear, moment.time) for bear in seen)])
            if any(s.track in alarms and _share(here[name], s.box_xywh) > 0 for s in moment.evidence_states):
                self._alarmed.add(name)

    def _line(self, name: str) -> str:
        score, time_s = self._best.get(name, (-1.0, 0.0))
        if score < 0:
            return f"{name}: not looked at, no alarm"
        outcome = "ALARM" if name in self._alarmed else "no alarm"
        return f"{name}: highest score {score:.2f} at {time_s:.0f} s, {outcome}"


def _share(box: BoxXYWH, place: BoxXYWH) -> float:
    """Return the share of ``box`` that lies in ``place``, 0 to 1."""
    across = min(box[0] + box[2], place[0] + place[2]) - max(box[0], place[0])
    down = min(box[1] + box[3], place[1] + place[3]) - max(box[1], place[1])
    return max(across, 0.0) * max(down, 0.0) / (box[2] * box[3])
