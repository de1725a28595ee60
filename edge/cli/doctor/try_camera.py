"""In a child process: open a camera, and look at what it gives for two seconds."""

from __future__ import annotations

import math
import time
from typing import Any

LOOK_S = 2.0  # from the first frame on
LEAST_STRUCTURE = 0.1  # share of blocks with edges, to judge sharpness by


def main(asks: dict[str, Any]) -> dict[str, Any]:
    """What is to be said of the camera ``asks["source"]``, asked for ``asks["fps"]`` frames a second."""
    from edge.camera import open_source
    from edge.errors import SourceError

    began = time.monotonic()
    found: dict[str, Any] = {"problem": None, "frames": 0}
    try:
        with open_source(asks["source"], fps=asks["fps"], name=asks["name"]) as source:
            found |= {"live": source.live, "open_s": time.monotonic() - began}
            _look(source, found, began)
            found["problems"] = list(source.problems)
    except SourceError as error:
        found["problem"] = str(error)
    return found


def _look(source: Any, found: dict[str, Any], began: float) -> None:
    """Count frames, and judge the last."""
    from edge.camera.live import Stillness

    stillness = Stillness()
    first_at: float | None = None
    frame, frozen_s = None, 0.0
    for frame in source:
        now = time.monotonic()
        if first_at is None:
            first_at = now
            found["first_s"] = now - began
        found["frames"] += 1
        frozen_s = stillness(frame, frame.time)
        if now - first_at >= LOOK_S or (not source.live and frame.time >= LOOK_S):
            break
    if frame is None or first_at is None:
        return
    grey = _grey(frame)
    width, height = frame.size_wh
    looked_s = time.monotonic() - first_at
    found |= {
        "size_wh": [width, height],
        "fps": (found["frames"] - 1) / looked_s if source.live and looked_s > 0 else None,
        "same_s": frozen_s if stillness.frames >= found["frames"] > 2 else 0.0,
        "troubles": _unseen(grey),
        "sharpness": _sharpness(grey),
    }


def _grey(frame: Any) -> Any:
    from edge.detect.motion import small_grey

    return small_grey(frame.image if frame.luma is None else frame.luma)


def _unseen(grey: Any) -> list[str]:
    """Black, white or covered, at one glance: what the alarm would say after some seconds."""
    from edge.detect.camera_check import LensCheck, LensSettings

    at_once = LensSettings(lasts_s=dict.fromkeys(LensSettings().lasts_s, 0.0))
    return [trouble.detail for trouble in LensCheck(at_once)(grey, 0.0)]


def _sharpness(grey: Any) -> float | None:
    """Sharpness of the blocks that have edges, as ``edge.detect.camera_check`` measures it; None if hardly any has."""
    import numpy as np

    from edge.detect.camera_check import BRIGHT, DARK, Look

    look = Look.at(grey)
    edged = (look.mean > DARK) & (look.mean < BRIGHT) & (look.structure >= 2.0)
    if np.mean(edged) < LEAST_STRUCTURE:
        return None
    value = float(np.median(look.sharpness[edged]))
    return value if math.isfinite(value) else None
