"""What changes a whole picture though nothing in it moved: its light, and the camera swaying on its pole.

``docs/motion.md`` writes the arithmetic out; ``tests/motion_vectors.json`` holds a phone's version to it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]  # (h, 320), 0 to 255
Seen = NDArray[np.uint8]  # (h, 320), 1 where a pixel counts, 0 under a mask

STEP = 4  # light and sway are judged on every 4th row and column
REACH_PX = 4  # how far the picture may sway, on the small picture
CAP = 20.0  # a larger difference says no more: what moves in the picture must not drag the whole along
LEAST_SPREAD = 6.0  # grey levels between dark and bright parts, below which no gain can be told
LEAST_CHANGE = 0.02  # of the gain; what is less the middle of all differences has explained
WHITE = 250.0  # what is whiter is as white in any light
PARTS = 16  # the sway is told in sixteenths of a pixel


def middle(change: Grey, seen: Seen | None) -> np.float32:
    """The lower median of every 4th row and column, 0 where all of it is masked."""
    sample = change[::STEP, ::STEP]
    values = sample.ravel() if seen is None else sample[seen[::STEP, ::STEP] > 0]
    return _lower_median(values) if len(values) else np.float32(0)


def relit(background: Grey, grey: Grey, seen: Seen | None) -> tuple[np.float32, np.float32] | None:
    """Gain and offset that make the background look like ``grey``; None where light alone cannot be it.

    A line through the medians of the darkest and the brightest third (Tukey's resistant line, 1971), so
    that what moved does not bend it.
    """
    was, now = background[::STEP, ::STEP], grey[::STEP, ::STEP]
    # It would flatten the line.
    tells = (was < WHITE) & (now < WHITE)
    if seen is not None:
        tells &= seen[::STEP, ::STEP] > 0
    was, now = was[tells], now[tells]
    third = len(was) // 3
    if not third:
        return None
    ordered = np.sort(was)
    dark, bright = was <= ordered[third], was >= ordered[len(was) - 1 - third]
    spread = _lower_median(was[bright]) - _lower_median(was[dark])
    if spread < LEAST_SPREAD:
        return None
    gain = (_lower_median(now[bright]) - _lower_median(now[dark])) / spread
    if abs(gain - 1) < LEAST_CHANGE:
        return None
    return gain, _lower_median(now - gain * was)


def sway(background: Grey, grey: Grey, seen: Seen | None) -> tuple[float, float] | None:
    """How far right and down the picture lies of the background in its light, in pixels; None beyond 3.

    Every whole shift up to 4 is tried and the best refined by a parabola through its neighbours' costs.
    """
    height, width = background.shape
    if min(height, width) < 4 * REACH_PX:
        return None
    rows, columns = slice(REACH_PX, height - REACH_PX, STEP), slice(REACH_PX, width - REACH_PX, STEP)
    was = background[rows, columns]
    counts = None if seen is None else seen[rows, columns]
    shifts = range(-REACH_PX, REACH_PX + 1)
    costs = np.empty((len(shifts), len(shifts)))
    for j, down in enumerate(shifts):
        band = grey[REACH_PX + down : height - REACH_PX + down : STEP]
        for i, right in enumerate(shifts):
            off = np.minimum(np.abs(band[:, REACH_PX + right : width - REACH_PX + right : STEP] - was), CAP)
            costs[j, i] = np.vdot(off, off if counts is None else off * counts)
    j, i = divmod(int(costs.argmin()), len(shifts))
    if not (0 < i < len(shifts) - 1 and 0 < j < len(shifts) - 1):
        return None
    x, y = shifts[i] + _lowest(*costs[j, i - 1 : i + 2]), shifts[j] + _lowest(*costs[j - 1 : j + 2, i])
    return math.floor(x * PARTS + 0.5) / PARTS, math.floor(y * PARTS + 0.5) / PARTS


def steadied(grey: Grey, shift: tuple[float, float]) -> tuple[Grey, Seen]:
    """The picture moved back by ``shift`` (bilinear, borders repeated), and 1 where it has pixels to show."""
    height, width = grey.shape
    right, x_part, xs = _taps(width, shift[0])
    down, y_part, ys = _taps(height, shift[1])
    across = grey[:, right] * np.float32(1 - x_part) + grey[:, np.minimum(right + 1, width - 1)] * np.float32(x_part)
    back = across[down] * np.float32(1 - y_part) + across[np.minimum(down + 1, height - 1)] * np.float32(y_part)
    return back, np.outer(ys, xs).view(np.uint8)


def _taps(length: int, shift: float) -> tuple[NDArray[np.intp], float, NDArray[np.bool_]]:
    """For each pixel of a row the left one of the two to mix, the right one's share, and whether both exist."""
    whole = int(np.floor(shift))
    at = np.arange(length) + whole
    exists = (at >= 0) & (at + (shift > whole) < length)
    return at.clip(0, length - 1), shift - whole, exists


def _lowest(before: float, at: float, after: float) -> float:
    """Where a parabola through three costs one apart is lowest, from the middle one: -0.5 to 0.5."""
    bend = before - 2 * at + after
    return min(max((before - after) / (2 * bend), -0.5), 0.5) if bend > 0 else 0.0


def _lower_median(values: Grey) -> np.float32:
    half = (len(values) - 1) // 2
    return np.float32(np.partition(values, half)[half])
