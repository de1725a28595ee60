"""The crops that calibrate and judge an export: clean and degraded, seeded, from one part of the split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.verify import MIN_CROPS
from train.data.pictures import Picture as Row
from train.data.pictures import is_bear
from train.learn.dataloaders import Track
from train.learn.inference import CropSet, collect

CALIBRATION_CROPS = 400


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
