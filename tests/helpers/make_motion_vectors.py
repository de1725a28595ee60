"""Test vectors for the motion stage: pictures by formula, and what is expected of each, step by step.

    python -m tests.helpers.make_motion_vectors

writes tests/detect/motion_vectors.json. docs/motion.md tells the arithmetic and how to read the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.detect.motion import MotionFinder, MotionSettings, small_grey
from edge.schema import Frame

FILE = Path(__file__).parents[1] / "detect" / "motion_vectors.json"
SIZE_WH = (64, 36)
SETTINGS = replace(MotionSettings(), width_px=SIZE_WH[0])
PROBES = ((5, 5), (20, 12), (33, 20), (50, 30))  # x, y of the pixels whose background and deviation are told
COLOUR_SIZES_WH = ((128, 72), (100, 60), (64, 36), (48, 80))
WALL = datetime(2026, 1, 1, tzinfo=UTC)
Step = dict[str, Any]


def wave(n: NDArray[np.int64], half: int) -> NDArray[np.int64]:
    """A triangle between 0 and ``half``, one every 2 * half."""
    return np.abs(n % (2 * half) - half)


def ground(x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place without anything in it, 40 to 152, for x and y from -1000 on."""
    x, y = x + 1000, y + 1000
    return 40 + 2 * wave(2 * x + y, 20) + 3 * wave(x - 2 * y + 3000, 14) + wave(5 * x + 7 * y, 30)


def noise(x: NDArray[np.int64], y: NDArray[np.int64], index: int) -> NDArray[np.int64]:
    """-2 to 2, another in every frame; all arithmetic modulo 2**32."""
    n = (x * 374761393 + y * 668265263 + index * 1442695041) % 2**32
    n = ((n ^ (n >> 13)) * 1274126177) % 2**32
    return (n >> 16) % 5 - 2


def picture(step: Step, index: int) -> NDArray[np.uint8]:
    """The picture of one step: uint8 (36, 64)."""
    width, height = SIZE_WH
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    right, down = step.get("view", (0, 0))  # in half pixels
    # Half a pixel is the mean of two, rounded down.
    xs, ys = x + right // 2, y + down // 2
    level = (ground(xs, ys) + ground(xs + right % 2, ys + down % 2)) // 2
    for left, top, w, h, shade in step.get("boxes", ()):
        level = np.where((x >= left) & (x < left + w) & (y >= top) & (y < top + h), shade, level)
    times, by, plus = step.get("light", (1, 1, 0))
    level = level * times // by + plus + noise(x, y, index)
    return level.clip(0, 255).astype(np.uint8)


def coloured(size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture in colour: uint8 (H, W, 3) BGR."""
    y, x = np.mgrid[0 : size_wh[1], 0 : size_wh[0]].astype(np.int64)
    return np.stack([ground(x, y), ground(x + 40, y + 9), ground(x + 11, y + 70)], axis=-1).astype(np.uint8)


def steps(count: int, **same: Any) -> list[Step]:
    """So many steps alike."""
    return [dict(same) for _ in range(count)]


def walking(count: int, left: int, by: int, **same: Any) -> list[Step]:
    """A box of 9 x 6 pixels that goes ``by`` pixels a frame."""
    return [{"boxes": [[left + by * i, 18, 9, 6, 20]], **same} for i in range(count)]


def cases() -> Iterator[tuple[str, float, dict[str, Any], list[Step]]]:
    """Name, frames a second, what is not as usual, and the steps."""
    yield "nothing moves", 10.0, {}, steps(12)
    yield "an animal walks", 10.0, {}, steps(6) + walking(14, 4, 3) + steps(6)
    yield (
        "two animals, one at the edge",
        5.0,
        {},
        (steps(5) + [{"boxes": [[10 + 2 * i, 8, 8, 5, 230], [58, 24, 6, 10, 15]]} for i in range(6)]),
    )
    yield "an animal stops and is absorbed", 1.0, {}, steps(4) + walking(40, 20, 0)
    yield "a mask", 10.0, {"masks": [[[0.0, 0.4], [0.5, 0.4], [0.5, 1.0], [0.0, 1.0]]]}, steps(6) + walking(14, 4, 3)
    yield (
        "the light goes up and down",
        10.0,
        {},
        (steps(6) + [{"light": [10 + i, 10, i]} for i in range(5)] + steps(4, light=[14, 10, 4]) + steps(6)),
    )
    yield "the light is switched on", 10.0, {}, steps(8, light=[1, 3, 0]) + steps(8)
    yield "lightning", 10.0, {}, steps(6) + steps(2, light=[1, 2, 150]) + walking(8, 10, 3)
    yield (
        "the pole sways",
        10.0,
        {},
        (steps(6) + [{**walking(1, 6 + 3 * i, 0)[0], "view": view} for i, view in enumerate(SWAYING)]),
    )
    yield "the pole is bent", 2.0, {}, steps(4) + steps(26, view=[3, 2])
    yield (
        "the camera pans and rests",
        10.0,
        {},
        (steps(4) + [{"view": [14 * i, 6 * i]} for i in range(1, 9)] + steps(14, view=[112, 48])),
    )
    yield (
        "something reaches round the frame",
        10.0,
        {},
        steps(6) + [{"boxes": [[1, 1, 5, 34, 220], [1, 29, 60 - i, 6, 220]]} for i in range(4)],
    )
    yield "the camera was away", 10.0, {}, [*steps(4), *walking(2, 10, 3), {"again": True}, *steps(4)]
    yield (
        "other settings",
        10.0,
        {"settings": {"threshold": 25.0, "max_regions": 1, "background_s": 2.0}},
        (steps(4) + [{"boxes": [[8 + i, 6, 7, 7, 140], [40, 10 + i, 12, 9, 240]]} for i in range(8)]),
    )


SWAYING = [[2, 0], [3, 1], [1, -2], [-2, -1], [-3, 2], [0, 3], [4, 1], [2, -3], [0, 0], [-4, -2]]


def expected(finder: MotionFinder, frame: Frame) -> dict[str, Any]:
    """Return what ``MotionFinder`` says of a frame and remembers of the place."""
    motion, place = finder(frame), finder._place
    assert place is not None
    flags = {name: True for name in ("reset", "moving", "large") if getattr(motion, name)}
    return flags | {
        "regions": [[round(side, 5) for side in region.box_xywh] for region in motion.regions],
        "background": [round(float(place.background[y, x]), 3) for x, y in PROBES],
        "deviation": [round(float(place.deviation[y, x]), 3) for x, y in PROBES],
    }


def vectors() -> dict[str, Any]:
    """Everything the file holds."""
    told = []
    for name, fps, unusual, sequence in cases():
        masks = [tuple((x, y) for x, y in mask) for mask in unusual.get("masks", ())]
        finder = MotionFinder(replace(SETTINGS, **unusual.get("settings", {})), masks)
        done = []
        for index, step in enumerate(sequence):
            luma = picture(step, index)
            frame = Frame(np.zeros((36, 64, 3), np.uint8), index / fps, WALL, "vectors", index, luma=luma)
            frame = replace(frame, discontinuity=step.get("again", False))
            done.append(
                {"time": round(index / fps, 6), **step, "sum": int(luma.sum()), "expect": expected(finder, frame)}
            )
        told.append({"name": name, **unusual, "steps": done})
    greys = []
    for size_wh in COLOUR_SIZES_WH:
        grey = small_grey(coloured(size_wh), SIZE_WH[0])
        probes = [(x, y) for x, y in ((0, 0), (31, 17), (63, grey.shape[0] - 1), (7, 30))]
        values = [round(float(grey[y, x]), 3) for x, y in probes]
        greys.append({"size_wh": size_wh, "height": grey.shape[0], "probes": probes, "values": values})
    return {
        "about": "See docs/motion.md. Tolerances: regions 0.002, background and deviation 0.05, grey values 1.",
        "settings": {"width_px": SIZE_WH[0]},
        "probes": PROBES,
        "small_grey": greys,
        "cases": told,
    }


def as_text(found: dict[str, Any]) -> str:
    """JSON, one step a line, so that a change shows."""
    head = {key: value for key, value in found.items() if key != "cases"}
    lines = []
    for case in found["cases"]:
        rows = ",\n".join("   " + json.dumps(step, separators=(",", ":")) for step in case["steps"])
        start = json.dumps({key: value for key, value in case.items() if key != "steps"})[:-1]
        lines.append(f'  {start}, "steps": [\n{rows}\n  ]}}')
    return json.dumps(head, indent=1)[:-2] + ',\n "cases": [\n' + ",\n".join(lines) + "\n ]\n}\n"


if __name__ == "__main__":
    FILE.write_text(as_text(vectors()), encoding="utf-8")
