"""Find copies of a picture: by perceptual hash first, then by comparing the pixels.

The hash is the DCT's (pHash; Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions") of
64 bits as ``imagehash`` computes it, with a generous limit. Pictures with near hashes are compared as grey thumbnails,
shifted and stretched to fit (ECC; Evangelidis and Psarakis 2008, "Parametric Image Alignment Using Enhanced
Correlation Coefficient Maximization"): copies then agree, even if an edge was cut off. A fixed camera's frames agree
everywhere except where something moved, so within one source a small difference makes two pictures. All their hashes
are near, so every frame must be compared with every other: a screen of 4 KB for each, kept in memory, rules out nearly
all pairs without opening a picture again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.schema import Picture
from train.data.gather.offers import need

SIDE_PX = 64  # of the coarse thumbnail
FINE_PX = 256  # of the fine thumbnail
PATCH_PX = 5  # that the fine thumbnail is smoothed over
MAX_THUMBNAILS = 2048  # in memory: 128 MB


@dataclass(frozen=True)
class Thumbnail:
    """A picture, grey and small."""

    grey: NDArray[np.uint8]  # (FINE_PX, FINE_PX)

    @classmethod
    def of(cls, image: Picture) -> Thumbnail:
        """Make the thumbnail of a picture, uint8 (H, W, 3) BGR of any size."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return cls(np.asarray(cv2.resize(grey, (FINE_PX, FINE_PX), interpolation=cv2.INTER_AREA), np.uint8))

    @property
    def coarse(self) -> NDArray[np.float32]:
        """Return it coarser, (SIDE_PX, SIDE_PX), 0 to 255."""
        small = cv2.resize(self.grey.astype(np.float32), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.float32)

    @property
    def fine(self) -> NDArray[np.float32]:
        """Return the mean of each patch of PATCH_PX by PATCH_PX, (FINE_PX, FINE_PX), 0 to 255."""
        return np.asarray(cv2.blur(self.grey.astype(np.float32), (PATCH_PX, PATCH_PX)), np.float32)

    @property
    def screen(self) -> NDArray[np.uint8]:
        """Return every fourth patch of ``fine`` in both directions, rounded and flat: (SIDE_PX²,).

        The order is shuffled: the first few values are spread over the whole picture.
        """
        step = FINE_PX // SIDE_PX
        return np.rint(self.fine[step // 2 :: step, step // 2 :: step]).astype(np.uint8).ravel()[SPREAD]


SPREAD = np.random.default_rng(0).permutation(SIDE_PX * SIDE_PX)


class ThumbnailCache:
    """Thumbnails by the picture's name, at most ``MAX_THUMBNAILS`` in memory: the last used ones stay.

    ``opened`` makes one again, None if the picture is gone.
    """

    def __init__(self, opened: Callable[[str], Thumbnail | None]) -> None:
        self._open = opened
        self._held: OrderedDict[str, Thumbnail] = OrderedDict()

    def __call__(self, name: str) -> Thumbnail | None:
        """Return a picture's thumbnail, None if it cannot be opened."""
        thumbnail = self._held.get(name)
        if thumbnail is None:
            thumbnail = self._open(name)
        if thumbnail is not None:
            self.hold(name, thumbnail)
        return thumbnail

    def hold(self, name: str, thumbnail: Thumbnail) -> None:
        """Keep a thumbnail in memory."""
        self._held[name] = thumbnail
        self._held.move_to_end(name)
        while len(self._held) > MAX_THUMBNAILS:
            self._held.popitem(last=False)

    def forget(self, name: str) -> None:
        """Drop the thumbnail of a picture."""
        self._held.pop(name, None)


NEAR_BITS = 16  # of 64 that may differ between the hashes of copies
MEAN_LEVELS = 8.0  # of 256 that copies may differ on average, light evened out
STRETCH, SHIFT = 0.35, 0.3  # share of a side by which a copy is stretched or shifted at most
EDGE_PX = 6  # of the fitted picture's edge that is not compared
PATCH_LEVELS = 10.0  # of 256 by which no patch of a fixed camera's copies may differ
SCREEN_LEVELS = 11  # the same on the screen, whose levels are rounded
FIRST_PATCHES = 128  # patches of the screen that are compared first: most pairs differ in one of them
AT_ONCE = 256  # pictures that are screened at once


def same_picture(one: Thumbnail, other: Thumbnail, *, fixed_camera: bool) -> bool:
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


def _apart_fitted(one: Thumbnail, other: Thumbnail) -> float:
    """Return the same after ``other`` was shifted and stretched to fit; infinite if it does not fit."""
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
    """The known pictures, by hash. ``thumbnail`` makes one by the picture's name, None if it is gone."""

    def __init__(self, thumbnail: Callable[[str], Thumbnail | None]) -> None:
        self._thumbnails = ThumbnailCache(thumbnail)
        self._names: list[str] = []  # by slot; a removed picture leaves its slot empty
        self._sources: list[str] = []
        self._slots: dict[str, int] = {}
        self._hashes = np.empty(AT_ONCE, np.uint64)  # by slot, and room for more
        self._screens = np.empty((AT_ONCE, SIDE_PX * SIDE_PX), np.uint8)
        self._screened = np.zeros(AT_ONCE, bool)  # whether the slot's screen was made

    def add(self, name: str, source: str, code: int, image: Picture | None = None) -> None:
        """Add a picture, uint8 (H, W, 3) BGR; without ``image`` it is opened when it is needed."""
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
            thumbnail = Thumbnail.of(image)
            self._thumbnails.hold(name, thumbnail)
            self._screens[slot], self._screened[slot] = thumbnail.screen, True

    def forget(self, name: str) -> None:
        """Remove a picture."""
        self._thumbnails.forget(name)
        slot = self._slots.pop(name, None)
        if slot is not None:
            self._names[slot] = ""

    def find(self, image: Picture, code: int, source: str, fixed_camera: bool) -> str | None:
        """Return the name of the nearest picture that this one is a copy of; None if it is new."""
        near = self._near(code)
        if not near:
            return None
        mine = Thumbnail.of(image)
        for first in range(0, len(near), AT_ONCE):
            for slot in self._candidates(near[first : first + AT_ONCE], mine, source if fixed_camera else None):
                other = self._thumbnails(self._names[slot])
                one_camera = fixed_camera and self._sources[slot] == source
                if other is not None and same_picture(mine, other, fixed_camera=one_camera):
                    return self._names[slot]
        return None

    def _candidates(self, slots: list[int], mine: Thumbnail, camera: str | None) -> list[int]:
        """Return the slots that the screens do not rule out as copies, in order."""
        of_camera = [slot for slot in slots if camera is not None and self._sources[slot] == camera]
        for slot in of_camera:
            if not self._screened[slot] and (thumbnail := self._thumbnails(self._names[slot])) is not None:
                self._screens[slot], self._screened[slot] = thumbnail.screen, True
        left = np.array([slot for slot in of_camera if self._screened[slot]], np.intp)
        screen = mine.screen
        for part in (slice(0, FIRST_PATCHES), slice(FIRST_PATCHES, None)):
            theirs = self._screens[left, part]
            apart = np.maximum(theirs, screen[part]) - np.minimum(theirs, screen[part])
            left = left[(apart <= SCREEN_LEVELS).all(axis=1)]
        ruled_out = set(of_camera) - set(left.tolist())
        return [slot for slot in slots if slot not in ruled_out]

    def _near(self, code: int) -> list[int]:
        """Return the slots with near hashes, the nearest first."""
        apart = np.bitwise_xor(self._hashes[: len(self._names)], np.uint64(code)).view(np.uint8).reshape(-1, 8)
        bits = np.unpackbits(apart, axis=1).sum(axis=1)
        order = np.argsort(bits, kind="stable")
        return [slot for slot in order[bits[order] <= NEAR_BITS].tolist() if self._names[slot]]
