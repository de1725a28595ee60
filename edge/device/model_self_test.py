"""A heartbeat of the model: one real inference every so often, whatever the cameras do, and whether it is right."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edge.background import start_thread
from edge.schema import WHOLE, Picture, Region, Score

if TYPE_CHECKING:
    from edge.detect.frame_scan import Scorer

log = logging.getLogger(__name__)

EVERY_S = 20.0  # one crop for ten looks at the whole frame
SIDE_PX = 96
# The same crop in the same session gives the same answer to the last bit; an upset bit in a weight that counts shows.
TOLERANCE = 0.01  # of a probability
TOLERANCE_OOD = 0.05  # of its share, for it has a scale of its own
END_S = 1.0

_WHOLE = Region(WHOLE, "scan")


class ModelSelfTest:
    """Scores one small picture in a thread of its own, every ``every_s`` seconds, and notes when an answer came.

    ``classifier_source`` gives the classifier of now, which may change (a reload). The first answer of each is what
    later ones are held against: a board whose memory or voltage fails gives others.
    """

    def __init__(
        self,
        classifier_source: Callable[[], Scorer],
        every_s: float = EVERY_S,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.every_s = every_s
        self.took_ms: float | None = None  # by the last inference
        self._source = classifier_source
        self._clock = clock
        self._picture = drawn_bear()
        self._scorer: Scorer | None = None
        self._first: Score | None = None
        self._finished_at: float | None = None
        self._problem: str | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, with an inference at once."""
        self._thread = start_thread(self._run, "model self-test")

    def close(self) -> None:
        """Stop; an inference that hangs is left behind."""
        self._over.set()
        if self._thread:
            self._thread.join(END_S)

    def age_s(self, now: float) -> float | None:
        """Return the seconds since an inference last finished, at ``now`` of the clock; None: none has yet."""
        finished_at = self._finished_at
        return None if finished_at is None else max(0.0, now - finished_at)

    def problem(self) -> str | None:
        """Return one sentence while the model fails or answers wrongly; None while all is well."""
        return self._problem

    def beat(self) -> None:
        """Do one inference now, in this thread; whatever goes wrong is kept as the problem."""
        try:
            scorer = self._source()
            began = self._clock()
            (score,) = scorer.score(self._picture, [_WHOLE])
            self._finished_at = self._clock()
        except Exception as error:  # onnxruntime raises classes of its own; it is not counted as finished
            self._note(f"the model fails ({type(error).__name__}: {str(error)[:120]}); start the alarm again")
            return
        self.took_ms = (self._finished_at - began) * 1000.0
        if scorer is not self._scorer:
            self._scorer, self._first = scorer, None
        wrong = _wrong(score, self._first)
        if wrong is None and self._first is None:
            self._first = score
        self._note(wrong)

    def _run(self) -> None:
        while not self._over.is_set():
            self.beat()
            self._over.wait(self.every_s)

    def _note(self, problem: str | None) -> None:
        if problem and not self._problem:
            log.error("%s", problem)
        elif self._problem and not problem:
            log.warning("the model answers as it should again")
        self._problem = problem


def _wrong(score: Score, first: Score | None) -> str | None:
    """Return what is wrong with an answer to the same picture as the first; None: nothing."""
    todo = "this machine computes wrongly: check its power supply and its heat, and start it again"
    if not all(map(math.isfinite, (*score.probabilities, score.bear, score.ood))):
        return f"the model's answer is no number; {todo}"
    if first is None:
        return None
    if len(score.probabilities) != len(first.probabilities):
        return f"the model gives {len(score.probabilities)} probabilities, and gave {len(first.probabilities)}; {todo}"
    off = max(abs(now - then) for now, then in zip(score.probabilities, first.probabilities, strict=True))
    if off > TOLERANCE or abs(score.ood - first.ood) > TOLERANCE_OOD * max(1.0, abs(first.ood)):
        return (
            f"the model's answer to the same picture is another than at the start (off by {off:.3f} and "
            f"{abs(score.ood - first.ood):.2f}); {todo}"
        )
    return None


def drawn_bear() -> Picture:
    """Draw a picture (96, 96, 3) of a bear that is hardly one: an answer near 0 or 1 would hide what has changed."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    grain = np.random.default_rng(1).normal(0.0, 24.0, (SIDE_PX, SIDE_PX, 1))
    picture = np.clip(np.array([60.0, 110.0, 70.0]) + grain, 0, 255).astype(np.uint8)
    body = ((x - 48) / 34) ** 2 + ((y - 54) / 20) ** 2 <= 1.0
    for left, top, radius in ((76, 44, 12), (70, 34, 4), (82, 34, 4)):  # head and ears
        body |= (x - left) ** 2 + (y - top) ** 2 <= radius**2
    for left in (24, 38, 58, 70):
        body |= (x >= left) & (x <= left + 8) & (y >= 66) & (y <= 88)
    picture[body] = (15, 15, 18)
    return picture
