"""What may be wrong with a live camera's frames: what comes is no picture, or the same picture again and again."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from edge.schema import Frame, LazyImage

STEP_PX = 16  # of the sample
MIN_SAME_FRAMES = 3  # two may be the same by chance, or sent twice
FROZEN_S = 5.0  # the same bytes for so long are no living camera
FROZEN_AGAIN_S = 10.0  # and while they go on, it is opened again so often
MAX_FROZEN_AGAIN_S = 300.0
MAX_PATIENCE_S = 60.0  # of a camera that was seen to come back by itself
STEADY_S = 10.0  # what lives for so long after being opened was helped by it
CERTAIN_S = 3.0  # certain for so long it is reported (edge.detect.camera_check)
LIVELY_S = 600.0  # of a picture that lives, in which the patience halves


def frame_fault(frame: object) -> str | None:
    """Return what is wrong with what a source gave, in words; None when nothing is. No ``LazyImage`` is decoded."""
    if not isinstance(frame, Frame):
        return f"gave {type(frame).__name__} and no frame; start the camera again"
    fault = None
    if not isinstance(frame.picture, LazyImage):
        fault = _fault(frame.picture, (None, None, 3), "an 8-bit colour picture")
    return fault or (None if frame.luma is None else _fault(frame.luma, (None, None), "8-bit brightness"))


def _fault(found: object, shape: tuple[int | None, ...], wanted: str) -> str | None:
    if found is None:
        return "gave no picture; start the camera again"
    if not isinstance(found, np.ndarray):
        return f"gave {type(found).__name__} and no picture; start the camera again"
    fits = found.ndim == len(shape) and all(want in {None, have} for want, have in zip(shape, found.shape, strict=True))
    if found.dtype == np.uint8 and fits and found.size:
        return None
    sides = "x".join(str(side) for side in found.shape)
    return f"gave {found.dtype} {sides} instead of {wanted}; set the camera to 8-bit colour, or start it again"


class Stillness:
    """For how long the same bytes have been coming; a living camera's noise differs in most frames.

    It compares a sample, every 16th pixel of every 16th row, and a checksum of the whole only where that is equal.
    At 1280x720 on one core of a server (AMD EPYC): 0.03 ms a frame, 0.4 ms where the sample is equal.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what came before."""
        self.frames = 0  # the same, in a row
        self._sample: NDArray[np.uint8] | None = None
        self._checksum: int | None = None  # kept instead of the picture, whose memory may be used again
        self._since = 0.0

    def __call__(self, frame: Frame, time: float) -> float:
        """Seconds from the first of the same frames to this one. A picture for later is judged by its luma."""
        whole = frame.picture if isinstance(frame.picture, np.ndarray) else frame.luma
        if whole is None:
            self.reset()
            return 0.0
        sample = whole[::STEP_PX, ::STEP_PX]
        if self._sample is None or not np.array_equal(sample, self._sample):
            self._sample, self._checksum = sample.copy(), None
            self._since, self.frames = time, 1
            return 0.0
        checksum = zlib.crc32(np.ascontiguousarray(whole).data)
        if self._checksum not in {None, checksum}:
            self._since, self.frames = time, 0
        self._checksum = checksum
        self.frames += 1
        return time - self._since


class Frozen:
    """Decides whether a camera stands still, and whether to open it again; times in seconds of one clock.

    The first time it is opened again and nothing reported; it is ``certain`` where that was of no use: the same picture
    again, or soon another that stands still. That lasts until two pictures in a row differ.

    An H.264 camera of a still place may send the same bytes for many seconds and be well. So it is opened again at
    ever longer intervals, and a run of the same that ended by itself makes it wait twice as long the next time, until
    the picture has lived for a while. One that was reported, or went on over an opening, was no still place: nothing is
    learnt from it.
    """

    def __init__(self) -> None:
        self._still = Stillness()
        self._patience_s, self._again_s = FROZEN_S, FROZEN_AGAIN_S
        self._time = 0.0  # of the last frame
        self.reset()

    def reset(self) -> None:
        """Forget what was seen: the camera was away for another reason."""
        self._still.reset()
        self._doubted = False
        self._stuck = False  # the same picture after it was opened again
        self._certain_at = 0.0  # since when it is certain
        self.certain = False
        self.frozen_s = 0.0  # for how long the picture has been the same
        self.stood_s = 0.0  # for how long it was, where this frame has ended that and nothing excuses it

    def __call__(self, frame: Frame, time: float, opened: float, number: int) -> bool:
        """Decide whether to open it again, after the frame of this number (1, 2, …) since ``opened``."""
        before_s, self.frozen_s = self.frozen_s, self._still(frame, time)
        passed_s, self._time, self.stood_s = time - self._time, time, 0.0
        if self._still.frames == 1 and number > 1:
            self._lives(before_s, passed_s)
            self._doubted = self._doubted and time - opened < STEADY_S
        elif number == 1:
            self._stuck = self.frozen_s >= FROZEN_S
        if self.frozen_s < self._patience_s or self._still.frames < MIN_SAME_FRAMES:
            return False
        if not self._doubted:
            self._doubted = True
            return True
        self._certain_at = self._certain_at if self.certain else time
        self.certain = True
        if time - opened < self._again_s:
            return False
        self._again_s = min(2 * self._again_s, MAX_FROZEN_AGAIN_S)
        return True

    def _lives(self, before_s: float, passed_s: float) -> None:
        """Note that the picture changed by itself, after so long of the same, and since the frame before (seconds)."""
        reported = self.certain and self._time - self._certain_at >= CERTAIN_S
        if before_s >= FROZEN_S:
            self._again_s = FROZEN_AGAIN_S
            if self._stuck or reported:
                self.stood_s = before_s
            else:
                self._patience_s = min(max(self._patience_s, 2 * before_s), MAX_PATIENCE_S)
        elif before_s == 0.0:
            self._patience_s = max(self._patience_s * 0.5 ** (min(passed_s, 1.0) / LIVELY_S), FROZEN_S)
        self.certain = self._stuck = False
