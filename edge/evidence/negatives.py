"""A few frames a day that raised no alarm, at random moments: to be reviewed, and for training later."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

from edge.evidence.layout import sample_path
from edge.evidence.papers import Papers
from edge.evidence.picture import Blackout, at_most, jpeg
from edge.schema import Frame, Score, utc_text

DAY_S = 86_400.0
WAIT_S = 30.0  # an alarm within this makes it no negative
WIDTH = 1280
QUALITY = 80


class Negatives:
    """Frames in, now and then the papers of one; ``per_day`` on average, 0 for none.

    A Poisson process has no memory: neither a restart nor the hour of the day changes what is likely next. A moment
    at which a bear is followed passes without a picture.
    """

    def __init__(self, root: Path, per_day: float, hidden: Blackout, dice: random.Random | None = None) -> None:
        self.root = root
        self.per_day = per_day
        self.hidden = hidden
        self._dice = dice or random.Random()
        self._due = math.inf
        self._drawn = False
        self._held: tuple[float, Papers] | None = None  # and until when, seconds

    def __call__(self, frame: Frame, scores: Sequence[Score], *, bear: bool) -> Papers | None:
        """What is to be written now; ``bear``: one is followed, or was a moment ago."""
        if self.per_day <= 0:
            return None
        if not self._drawn:
            self._draw(frame.time)
        if bear:
            self._held = None
            if frame.time >= self._due:
                self._draw(frame.time)
            return None
        found = None
        if self._held and frame.time >= self._held[0]:
            found, self._held = self._held[1], None
        if frame.time >= self._due and scores:
            self._held = self._held or (frame.time + WAIT_S, self._papers(frame, scores))
            self._draw(frame.time)
        return found

    def _draw(self, time: float) -> None:
        self._drawn, self._due = True, time + self._dice.expovariate(self.per_day / DAY_S)

    def _papers(self, frame: Frame, scores: Sequence[Score]) -> Papers:
        best = max(scores, key=lambda score: score.bear)
        note = {
            "camera": frame.camera, "captured_at": utc_text(frame.wall), "media_time_s": frame.media_time_s,
            "label": best.label, "score": round(best.bear, 4),
            "box_xywh": [round(side, 5) for side in best.region.box_xywh], "frame_wh": frame.size_wh,
        }  # fmt: skip
        data = jpeg(at_most(self.hidden(frame.image), WIDTH), QUALITY, note)  # now: a frame is large to hold
        path = sample_path(self.root, frame.camera, frame.wall, self._dice.randrange(1 << 16))
        return Papers(path, ((path, lambda: data),))
