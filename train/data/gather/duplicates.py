"""Copies of a picture: found by perceptual hash, and only believed after a look at the pixels.

The hash is the DCT's (pHash; Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions") of
64 bits as ``imagehash`` computes it, compared generously. What it calls alike is laid over each other, grey and small,
shifted and stretched to fit (ECC; Evangelidis and Psarakis 2008, "Parametric Image Alignment Using Enhanced
Correlation Coefficient Maximization"): copies then agree, also where an edge was cut off. A fixed camera's frames
agree but for what moved, so that within one source a small place that differs makes two pictures. All their hashes
are near, so that every frame is to be compared with every other: a screen of 4 KB each, held in memory, refutes
nearly all of the pairs, without opening a picture again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.schema import Picture
from train.data.gather.found import need

# What pictures are compared by: grey, small, and held in memory as far as it goes.


SIDE_PX = 64  # of the coarse look
FINE_PX = 256  # of the fine look
PATCH_PX = 5  # that the fine look is smoothed over
MAX_BYTES = 128 << 20  # of looks that are held: 2,000 pictures


@dataclass(frozen=True)
class Look:
    """Fingerprint of a picture: grey and small."""

    grey: NDArray[np.uint8]  # (FINE_PX, FINE_PX)

    @classmethod
    def of(cls, image: Picture) -> Look:
        """From a picture, uint8 (H, W, 3) BGR of any size."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return cls(np.asarray(cv2.resize(grey, (FINE_PX, FINE_PX), interpolation=cv2.INTER_AREA), np.uint8))

    @property
    def coarse(self) -> NDArray[np.float32]:
        """Return the whole at a glance, (SIDE_PX, SIDE_PX), 0 to 255."""
        small = cv2.resize(self.grey.astype(np.float32), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.float32)

    @property
    def fine(self) -> NDArray[np.float32]:
        """Return each patch of PATCH_PX by PATCH_PX as its mean, (FINE_PX, FINE_PX), 0 to 255."""
        return np.asarray(cv2.blur(self.grey.astype(np.float32), (PATCH_PX, PATCH_PX)), np.float32)

    @property
    def screen(self) -> NDArray[np.uint8]:
        """Return every fourth patch of ``fine`` in both directions, which together cover it; rounded, flat, SIDE_PX².

        Its order is such that any beginning of it is spread over the whole picture.
        """
        step = FINE_PX // SIDE_PX
        return np.rint(self.fine[step // 2 :: step, step // 2 :: step]).astype(np.uint8).ravel()[SPREAD]


SPREAD = np.random.default_rng(0).permutation(SIDE_PX * SIDE_PX)


class Looks:
    """The looks of pictures by name; those used last are held, others opened again. ``opened``: None where it is gone.

    Holds ``most_bytes`` at most.
    """

    def __init__(self, opened: Callable[[str], Look | None], max_bytes: int = MAX_BYTES) -> None:
        self._open, self._most = opened, max(1, max_bytes // (FINE_PX * FINE_PX))
        self._held: OrderedDict[str, Look] = OrderedDict()

    def __call__(self, name: str) -> Look | None:
        """Return a picture's look, None where it cannot be opened."""
        look = self._held.get(name)
        if look is None:
            look = self._open(name)
        if look is not None:
            self.hold(name, look)
        return look

    def hold(self, name: str, look: Look) -> None:
        """Hold a look, so that its picture need not be opened."""
        self._held[name] = look
        self._held.move_to_end(name)
        while len(self._held) > self._most:
            self._held.popitem(last=False)

    def forget(self, name: str) -> None:
        """Forget a picture that is gone."""
        self._held.pop(name, None)


NEAR_BITS = 16  # of 64 by which the hashes of copies may differ
MEAN_LEVELS = 8.0  # of 256 that copies may differ on average, light evened out
STRETCH, SHIFT = 0.35, 0.3  # of a side by which a copy may have to be made to fit
EDGE_PX = 6  # of the fitted picture's edge that is not compared
PATCH_LEVELS = 10.0  # of 256 by which no patch of a fixed camera's copies may differ
SCREEN_LEVELS = 11  # the same on the screen, whose levels are rounded
FIRST_GLANCE = 128  # patches of the screen that are looked at first: most pairs differ in one of them
AT_ONCE = 256  # pictures that are screened at once


def same_picture(one: Look, other: Look, *, fixed_camera: bool) -> bool:
    """Return True if two pictures whose hashes are near are copies of each other."""
    if fixed_camera:
        alike = _apart(one.coarse, other.coarse) <= MEAN_LEVELS
        return alike and float(np.abs(one.fine - other.fine).max()) <= PATCH_LEVELS
    return _apart(one.coarse, other.coarse) <= MEAN_LEVELS or _apart_fitted(one, other) <= MEAN_LEVELS


def _apart(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return how many levels two grey pictures differ on average, their light evened out."""
    return float(np.abs(_evened(one) - _evened(other)).mean())


def _evened(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    spread = max(float(grey.std()), 4.0)  # a bare wall stays a bare wall
    return np.asarray((grey - grey.mean()) / spread * 50.0, np.float32)


def _apart_fitted(one: Look, other: Look) -> float:
    """Return the same after ``other`` was moved and stretched to fit; infinite where it cannot be made to fit."""
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-3)
    fit, everywhere = np.eye(2, 3, dtype=np.float32), np.ones((SIDE_PX, SIDE_PX), np.uint8)
    try:
        _, found = cv2.findTransformECC(one.coarse, other.coarse, fit, cv2.MOTION_AFFINE, stop, everywhere, 3)
    except cv2.error:  # nothing to hold on to
        return float("inf")
    if np.abs(found[:, :2] - np.eye(2)).max() > STRETCH or np.abs(found[:, 2]).max() > SHIFT * SIDE_PX:
        return float("inf")
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    fitted = cv2.warpAffine(other.coarse, found, (SIDE_PX, SIDE_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = slice(EDGE_PX, SIDE_PX - EDGE_PX)
    return _apart(one.coarse[inside, inside], np.asarray(fitted[inside, inside], np.float32))


def phash(image: Picture) -> int:
    """Return the perceptual hash, 64 bits. Raises MissingExtraError without imagehash."""
    small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    grey = need("PIL.Image").fromarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
    return int(str(need("imagehash").phash(grey)), 16)


class Duplicates:
    """The pictures there are, by hash. ``look`` opens one by name again, None where it is gone."""

    def __init__(self, look: Callable[[str], Look | None]) -> None:
        self._looks = Looks(look)
        self._names: list[str] = []  # by slot; a picture that was forgotten leaves its slot empty
        self._sources: list[str] = []
        self._slots: dict[str, int] = {}
        self._hashes = np.empty(AT_ONCE, np.uint64)  # by slot, and room for more
        self._screens = np.empty((AT_ONCE, SIDE_PX * SIDE_PX), np.uint8)
        self._screened = np.zeros(AT_ONCE, bool)  # whether the slot's screen was made

    def add(self, name: str, source: str, code: int, image: Picture | None = None) -> None:
        """Remember a picture, uint8 (H, W, 3) BGR; where it is not given, it is opened when it is needed."""
        slot = len(self._names)
        if slot == len(self._hashes):
            self._hashes, self._screens, self._screened = (
                np.concatenate([each, np.zeros_like(each)]) for each in (self._hashes, self._screens, self._screened)
            )
        self._names.append(name)
        self._sources.append(source)
        self._slots[name] = slot
        self._hashes[slot] = code
        if image is not None:
            look = Look.of(image)
            self._looks.hold(name, look)
            self._screens[slot], self._screened[slot] = look.screen, True

    def forget(self, name: str) -> None:
        """Forget a picture that is no longer in the set."""
        self._looks.forget(name)
        slot = self._slots.pop(name, None)
        if slot is not None:
            self._names[slot] = ""

    def find(self, image: Picture, code: int, source: str, fixed_camera: bool) -> str | None:
        """Return the name of a picture that this one is a copy of, the nearest first; None where it is new."""
        near = self._near(code)
        if not near:
            return None
        mine = Look.of(image)
        for first in range(0, len(near), AT_ONCE):
            for slot in self._not_refuted(near[first : first + AT_ONCE], mine, source if fixed_camera else None):
                other = self._looks(self._names[slot])
                one_camera = fixed_camera and self._sources[slot] == source
                if other is not None and same_picture(mine, other, fixed_camera=one_camera):
                    return self._names[slot]
        return None

    def _not_refuted(self, slots: list[int], mine: Look, camera: str | None) -> list[int]:
        """Return those pictures that may be copies by their small grey picture, in order."""
        of_camera = [slot for slot in slots if camera is not None and self._sources[slot] == camera]
        for slot in of_camera:
            if not self._screened[slot] and (look := self._looks(self._names[slot])) is not None:
                self._screens[slot], self._screened[slot] = look.screen, True
        left = np.array([slot for slot in of_camera if self._screened[slot]], np.intp)
        screen = mine.screen
        for part in (slice(0, FIRST_GLANCE), slice(FIRST_GLANCE, None)):
            theirs = self._screens[left, part]
            apart = np.maximum(theirs, screen[part]) - np.minimum(theirs, screen[part])
            left = left[(apart <= SCREEN_LEVELS).all(axis=1)]
        refuted = set(of_camera) - set(left.tolist())
        return [slot for slot in slots if slot not in refuted]

    def _near(self, code: int) -> list[int]:
        """Return the slots whose hashes are near, the nearest first."""
        apart = np.bitwise_xor(self._hashes[: len(self._names)], np.uint64(code)).view(np.uint8).reshape(-1, 8)
        bits = np.unpackbits(apart, axis=1).sum(axis=1)
        order = np.argsort(bits, kind="stable")
        return [slot for slot in order[bits[order] <= NEAR_BITS].tolist() if self._names[slot]]
