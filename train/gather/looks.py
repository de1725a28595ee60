"""What pictures are compared by: grey, small, and held in memory as far as it goes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.schema import Picture

SIDE_PX = 64  # of the coarse look
FINE_PX = 256  # of the fine look
PATCH_PX = 5  # that the fine look is smoothed over
MOST_BYTES = 128 << 20  # of looks that are held: 2,000 pictures


@dataclass(frozen=True)
class Look:
    """What is kept of a picture to compare it by: grey, small."""

    grey: NDArray[np.uint8]  # (FINE_PX, FINE_PX)

    @classmethod
    def of(cls, image: Picture) -> Look:
        """From a picture, uint8 (H, W, 3) BGR of any size."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return cls(np.asarray(cv2.resize(grey, (FINE_PX, FINE_PX), interpolation=cv2.INTER_AREA), np.uint8))

    @property
    def coarse(self) -> NDArray[np.float32]:
        """The whole at a glance, (SIDE_PX, SIDE_PX), 0 to 255."""
        small = cv2.resize(self.grey.astype(np.float32), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.float32)

    @property
    def fine(self) -> NDArray[np.float32]:
        """Each patch of PATCH_PX by PATCH_PX as its mean, (FINE_PX, FINE_PX), 0 to 255."""
        return np.asarray(cv2.blur(self.grey.astype(np.float32), (PATCH_PX, PATCH_PX)), np.float32)

    @property
    def screen(self) -> NDArray[np.uint8]:
        """Every fourth patch of ``fine`` in both directions, which together cover it; rounded, flat, SIDE_PX².

        Its order is such that any beginning of it is spread over the whole picture.
        """
        step = FINE_PX // SIDE_PX
        return np.rint(self.fine[step // 2 :: step, step // 2 :: step]).astype(np.uint8).ravel()[SPREAD]


SPREAD = np.random.default_rng(0).permutation(SIDE_PX * SIDE_PX)


class Looks:
    """The looks of pictures by name; those used last are held, others opened again. ``opened``: None where it is gone.

    Holds ``most_bytes`` at most.
    """

    def __init__(self, opened: Callable[[str], Look | None], most_bytes: int = MOST_BYTES) -> None:
        self._open, self._most = opened, max(1, most_bytes // (FINE_PX * FINE_PX))
        self._held: OrderedDict[str, Look] = OrderedDict()

    def __call__(self, name: str) -> Look | None:
        """A picture's look, None where it cannot be opened."""
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
        """A picture that there is no more."""
        self._held.pop(name, None)
