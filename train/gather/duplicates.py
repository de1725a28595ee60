"""Copies of a picture: found by perceptual hash, and only believed after a look at the pixels.

The hash is the DCT's (pHash; Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions") of
64 bits as ``imagehash`` computes it, compared generously. What it calls alike is laid over each other, grey and small,
shifted and stretched to fit (ECC; Evangelidis and Psarakis 2008, "Parametric Image Alignment Using Enhanced
Correlation Coefficient Maximization"): copies then agree, also where an edge was cut off. A fixed camera's frames
agree but for what moved, so that within one source a small place that differs makes two pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.schema import Picture
from train.gather.extra import need

NEAR_BITS = 16  # of 64 by which the hashes of copies may differ
SIDE_PX = 64  # both pictures are laid over each other at this size
MEAN_LEVELS = 8.0  # of 256 that copies may differ on average, light evened out
STRETCH, SHIFT = 0.35, 0.3  # of a side by which a copy may have to be made to fit
EDGE_PX = 6  # of the fitted picture's edge that is not compared
FINE_PX = 256  # and pictures of one source at this size,
PATCH_PX = 5  # no patch of which may differ
PATCH_LEVELS = 10.0  # by more than this


@dataclass(frozen=True)
class Look:
    """What is kept of a picture to compare it by: grey, small."""

    coarse: NDArray[np.float32]  # (SIDE_PX, SIDE_PX)
    fine: NDArray[np.float32]  # (FINE_PX, FINE_PX), smoothed over a patch

    @classmethod
    def of(cls, image: Picture) -> Look:
        """From a picture, uint8 (H, W, 3) BGR of any size."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        fine = cv2.resize(grey, (FINE_PX, FINE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
        coarse = cv2.resize(fine, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        return cls(np.asarray(coarse, np.float32), np.asarray(cv2.blur(fine, (PATCH_PX, PATCH_PX)), np.float32))


def same_picture(one: Look, other: Look, *, fixed_camera: bool) -> bool:
    """Whether two pictures whose hashes are near are copies of each other."""
    if fixed_camera:
        alike = _apart(one.coarse, other.coarse) <= MEAN_LEVELS
        return alike and float(np.abs(one.fine - other.fine).max()) <= PATCH_LEVELS
    return _apart(one.coarse, other.coarse) <= MEAN_LEVELS or _apart_fitted(one, other) <= MEAN_LEVELS


def _apart(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """How many levels two grey pictures differ on average, their light evened out."""
    return float(np.abs(_evened(one) - _evened(other)).mean())


def _evened(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    spread = max(float(grey.std()), 4.0)  # a bare wall stays a bare wall
    return np.asarray((grey - grey.mean()) / spread * 50.0, np.float32)


def _apart_fitted(one: Look, other: Look) -> float:
    """The same after ``other`` was moved and stretched to fit; infinite where it cannot be made to fit."""
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
    """The perceptual hash, 64 bits. Raises MissingExtraError without imagehash."""
    small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    grey = need("PIL.Image").fromarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
    return int(str(need("imagehash").phash(grey)), 16)


@dataclass
class Duplicates:
    """The pictures there are, by hash. ``look`` opens one by name again, None where it is gone."""

    look: Callable[[str], Look | None]
    _hashes: list[int] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)
    _sources: list[str] = field(default_factory=list)
    _array: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    def add(self, name: str, source: str, code: int) -> None:
        """Remember a picture."""
        self._names.append(name)
        self._sources.append(source)
        self._hashes.append(code)

    def forget(self, name: str) -> None:
        """A picture that is in the set no more."""
        if name in self._names:
            at = self._names.index(name)
            for each in (self._names, self._sources, self._hashes):
                del each[at]
            self._array = np.empty(0, np.uint64)

    def find(self, image: Picture, code: int, source: str, fixed_camera: bool) -> str | None:
        """The name of a picture that this one is a copy of, the nearest first; None where it is new."""
        mine: Look | None = None
        for at in self._near(code):
            other = self.look(self._names[at])
            if other is None:
                continue
            mine = mine or Look.of(image)
            if same_picture(mine, other, fixed_camera=fixed_camera and self._sources[at] == source):
                return self._names[at]
        return None

    def _near(self, code: int) -> Iterable[int]:
        if len(self._array) != len(self._hashes):
            self._array = np.array(self._hashes, np.uint64)
        if not len(self._array):
            return ()
        apart = np.bitwise_xor(self._array, np.uint64(code)).view(np.uint8).reshape(-1, 8)
        bits = np.unpackbits(apart, axis=1).sum(axis=1)
        return [int(at) for at in np.argsort(bits, kind="stable") if bits[at] <= NEAR_BITS]
