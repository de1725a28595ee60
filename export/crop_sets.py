"""Seeded crops that verify an export, and crops that calibrate its int8 form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.verify import MIN_CROPS
from train.data.pictures import Picture as Row
from train.data.pictures import is_bear
from train.learn.examples import Track
from train.learn.inference import EvalCrops

CALIBRATION_CROPS = 400


def parity_crops(rows: list[Row], size: int, seed: int, track: Track[Row]) -> EvalCrops:
    """Cut at least MIN_CROPS degraded crops of the test part, half of them of bears if there are enough pictures."""
    bears = sum(is_bear(row.label) for row in rows)
    of_bears, of_others = (max(2, -(-MIN_CROPS // (2 * max(count, 1)))) for count in (bears, len(rows) - bears))
    shown = track(rows, "crops of the test part")
    found = EvalCrops.of(shown, size, seed, lambda row: of_bears if is_bear(row.label) else of_others)
    return found.where(found.degraded)


def calibration_crops(tune: EvalCrops, seed: int) -> NDArray[np.uint8]:
    """Draw degraded and clean tuning crops, seeded, for the int8 ranges."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(tune.crops))
    degraded = [n for n in order if tune.degraded[n]][: CALIBRATION_CROPS * 3 // 4]
    clean = [n for n in order if not tune.degraded[n]][: CALIBRATION_CROPS - len(degraded)]
    return tune.crops[[*degraded, *clean]]
