"""The crops that calibrate and judge an export: clean and degraded, seeded, from one part of the split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.pictures import read_picture
from export.verify import MIN_CROPS
from train.catalog.picture import Picture as Row
from train.catalog.picture import is_bear
from train.learning.pictures import Track
from train.learning.probe import CONTEXT, crops_of

CALIBRATION_CROPS = 400


@dataclass(frozen=True, eq=False)
class CropSet:
    """Crops of one part of the split with their truth."""

    crops: NDArray[np.uint8]  # (N, size, size, 3) BGR
    labels: tuple[str, ...]
    bears: NDArray[np.bool_]  # (N,)
    pictures: NDArray[np.int64]  # (N,) which picture each came from
    degraded: NDArray[np.bool_]  # (N,)
    sources: tuple[str, ...]

    def where(self, chosen: NDArray[np.bool_]) -> CropSet:
        """The crops where ``chosen``."""
        labels = tuple(label for label, keep in zip(self.labels, chosen, strict=True) if keep)
        return CropSet(
            self.crops[chosen], labels, self.bears[chosen], self.pictures[chosen], self.degraded[chosen], self.sources
        )


def collect(
    rows: Iterable[Row],
    size: int,
    seed: int,
    bear_copies: int,
    other_copies: int,
    follow: Callable[[Any], Iterator[Row]],
) -> CropSet:
    """Clean crops and degraded copies of every picture; seeded a picture, so that order does not matter."""
    crops, labels, pictures, degraded, sources = [], [], [], [], set()
    for number, row in enumerate(follow(list(rows))):
        copies = bear_copies if is_bear(row.label) else other_copies
        rng = np.random.default_rng([seed, number])
        cut = crops_of(row, read_picture(row.file), size, CONTEXT, rng, degraded=copies)
        crops += cut
        labels += [row.label] * len(cut)
        pictures += [number] * len(cut)
        degraded += [n >= len(cut) - copies for n in range(len(cut))]
        sources.add(row.source)
    return CropSet(
        np.stack(crops),
        tuple(labels),
        np.array([is_bear(label) for label in labels]),
        np.array(pictures, np.int64),
        np.array(degraded),
        tuple(sorted(sources)),
    )


def collect_for_parity(rows: list[Row], size: int, seed: int, track: Track) -> CropSet:
    """At least MIN_CROPS degraded crops of the test groups, half of them bears' where there are enough pictures."""
    bears = sum(is_bear(row.label) for row in rows)
    bear_copies = max(2, -(-MIN_CROPS // (2 * max(bears, 1))))
    other_copies = max(2, -(-MIN_CROPS // (2 * max(len(rows) - bears, 1))))
    found = collect(rows, size, seed, bear_copies, other_copies, lambda items: track(items, "crops of the test part"))
    return found.where(found.degraded)


def calibration_crops(tune: CropSet, seed: int) -> NDArray[np.uint8]:
    """A seeded draw of degraded and clean tuning crops for the int8 ranges."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(tune.crops))
    degraded = [n for n in order if tune.degraded[n]][: CALIBRATION_CROPS * 3 // 4]
    clean = [n for n in order if not tune.degraded[n]][: CALIBRATION_CROPS - len(degraded)]
    return tune.crops[[*degraded, *clean]]
