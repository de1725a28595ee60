"""Whether a bear has left, or only nobody sees it: a camera that shows nothing new must not read as a bear gone.

The decision ends a happening when its bear was not seen for some seconds. While the camera itself may be why, that end
is held back; when the camera's trouble is told, every open happening is told to be over with that as the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge.decide.verdict import Verdict
from edge.schema import Frame, TroubleKind

UNSEEING: frozenset[TroubleKind] = frozenset({"gone", "frozen", "black", "white", "covered"})  # no bear is seen then
SAME_S = 1.0  # the same picture for so long shows nothing new
SURE_S = 6.0  # of new pictures, until one has had the time to be found again, or to be missed
MOST_HELD_S = 30.0  # an end is held back


class Unseen:
    """Verdicts of each frame in, those to be told out; one for each camera. Times: the frames' clock, seconds."""

    def __init__(self) -> None:
        self._open: dict[int, Verdict] = {}  # happenings by number: the last that was told of each
        self._held: dict[int, tuple[float, Verdict]] = {}  # ends, and since when they are held back
        self._shut: dict[int, Verdict] = {}  # told to be over, though the decision still follows them
        self._sure_at = 0.0  # from when on what is seen can be trusted

    def __call__(self, verdicts: Sequence[Verdict], frame: Frame, *, seeing: bool) -> list[Verdict]:
        """What to tell now; ``seeing``: nothing is known to be wrong with the camera, this frame aside."""
        if not seeing or frame.same_s >= SAME_S:
            self._sure_at = frame.time + SURE_S
        sure = frame.time >= self._sure_at
        told = [verdict for verdict in verdicts if self._told_now(verdict, frame.time, sure)]
        for number, (since, verdict) in list(self._held.items()):
            if sure or frame.time - since >= MOST_HELD_S:
                del self._held[number], self._open[number]
                told.append(verdict)
        if sure and self._shut:
            lasting = [replace(last, type="update", onset_s=None, escalated=None) for last in self._shut.values()]
            told += [self._opened(verdict) for verdict in lasting]
        return told

    def shut(self, ended: Sequence[Verdict] = ()) -> list[Verdict]:
        """The ends of all that is open, for nobody sees it; ``ended``: those of happenings the decision has closed."""
        ends = {verdict.happening: verdict for verdict in (*(held for _, held in self._held.values()), *ended)}
        for number in ends:
            self._shut.pop(number, None)
        for number, last in self._open.items():
            if number not in ends:
                self._shut[number] = last
                ends[number] = replace(last, type="end", onset_s=None, unknown=False, zones=(), escalated=None)
        told = [ends[number] for number in self._open]
        self._open.clear()
        self._held.clear()
        return told

    def forget(self) -> None:
        """Nobody watches any more."""
        self._shut.clear()

    def _told_now(self, verdict: Verdict, now: float, sure: bool) -> bool:
        number = verdict.happening
        if verdict.type == "end":
            self._shut.pop(number, None)
            if number not in self._open:
                return False  # that was told
            if not sure:
                self._held[number] = now, verdict
                return False
            del self._open[number]
            self._held.pop(number, None)
            return True
        if number in self._shut and not verdict.alarms and not sure:
            self._shut[number] = verdict  # the same old picture
            return False
        self._opened(verdict)
        return True

    def _opened(self, verdict: Verdict) -> Verdict:
        self._held.pop(verdict.happening, None)
        self._shut.pop(verdict.happening, None)
        self._open[verdict.happening] = verdict
        return verdict
