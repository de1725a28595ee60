"""Test vectors for the phone's crops, motion and camera check: pictures by formula, and what is expected of each.

    python -m tests.helpers.make_phone_vectors

writes crops.json, motion.json and camera_check.json to edge/phone/web/test/vectors. The formulas are those of
tests/helpers/make_motion_vectors.py, and those below; edge/phone/web/test/formula.ts repeats them.
"""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detect.camera_check import CameraCheck, FaultDebouncer, View
from edge.detect.crops import cut, fit_to, square
from edge.detect.motion import MotionFinder
from edge.schema import WHOLE, BoxXYWH, CameraFault, Frame, TroubleKind
from tests.helpers import make_motion_vectors
from tests.helpers.make_motion_vectors import SETTINGS, WALL, Step, coloured, ground, noise

FOLDER = Path(__file__).parents[2] / "edge" / "phone" / "web" / "test" / "vectors"
FILES = ("crops.json", "motion.json", "camera_check.json")
SEED = 7
EVERY = 151  # of a crop's bytes one in so many is kept
SIZE_WH = (130, 77)  # of the camera check's pictures: their blocks and cells end between pixels

Vectors = dict[str, Any]


def speckled(size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture of which each byte is another: uint8 (H, W, 3) BGR."""
    y, x = np.mgrid[0 : size_wh[1], 0 : size_wh[0]].astype(np.int64)
    n = (x * 374761393 + y * 668265263) % 2**32
    n = ((n ^ (n >> 13)) * 1274126177) % 2**32
    return np.stack([(n >> shift) & 255 for shift in (8, 16, 24)], axis=-1).astype(np.uint8)


PICTURES = {"coloured": coloured, "speckled": speckled}
HALVES: list[tuple[tuple[int, int], BoxXYWH, float]] = [
    ((101, 75), (0.5, 0.5, 0.25, 0.25), 1.0),
    ((102, 50), (0.25, 0.25, 0.25, 0.5), 1.0),
    ((100, 60), (0.125, 0.25, 0.125, 0.125), 1.0),
    ((64, 40), (0.0, 0.0, 0.40625, 0.25), 1.25),
    ((64, 64), (0.1953125, 0.1953125, 0.265625, 0.265625), 1.0),
    ((64, 64), (0.2109375, 0.2109375, 0.265625, 0.265625), 1.0),
]  # where numbers end in a half


def crop_vectors() -> Vectors:
    """Rectangles, and crops of them."""
    rng = random.Random(SEED)
    squares = [_rectangle(*each) for each in HALVES]
    for size_wh in ((1280, 720), (720, 1280), (640, 480), (37, 300)):
        for _ in range(30):
            left, top = rng.random(), rng.random()
            box = (left, top, rng.random() * (1 - left), rng.random() * (1 - top))
            squares.append(_rectangle(size_wh, box, rng.choice((1.0, 1.2, 1.5))))
    # By rectangle: smaller and larger than the crop, by whole factors, and cut off by the picture.
    asked: list[tuple[str, tuple[int, int], BoxXYWH, int, float]] = [
        ("speckled", (448, 448), WHOLE, 224, 1.0),
        ("speckled", (448, 672), WHOLE, 224, 1.0),
        ("speckled", (288, 192), WHOLE, 96, 1.0),
        ("speckled", (256, 384), WHOLE, 64, 1.0),
        ("speckled", (320, 160), WHOLE, 224, 1.0),
        ("speckled", (150, 400), WHOLE, 224, 1.0),
        ("speckled", (225, 224), WHOLE, 224, 1.0),
        ("speckled", (224, 224), WHOLE, 224, 1.0),
        ("coloured", (1280, 720), WHOLE, 224, 1.0),
        ("coloured", (1280, 720), (0.3, 0.2, 0.46875, 0.4), 224, 1.0),
        ("coloured", (1280, 720), (0.3, 0.2, 0.02, 0.03), 224, 1.5),
        ("speckled", (640, 360), (0.7, 0.6, 0.3, 0.4), 224, 1.2),
        ("speckled", (640, 360), (0.1, 0.0, 0.9, 1.0), 160, 1.5),
        ("speckled", (640, 360), (0.4, 0.4, 0.001, 0.001), 224, 1.0),
        ("speckled", (200, 90), (0.0, 0.0, 0.9, 1.0), 128, 1.2),
        ("coloured", (30, 9), (0.1, 0.1, 0.5, 0.5), 224, 1.2),
    ]
    crops = []
    for name, size_wh, box, size, context in asked:
        crop = cut(PICTURES[name](size_wh), box, size, context)
        crops.append({"picture": name, "size_wh": size_wh, "box": box, "size": size, "context": context} | _kept(crop))
    fits = []
    for name, size_wh, to_wh in (
        ("coloured", (1280, 720), (448, 256)),
        ("speckled", (640, 480), (448, 256)),
        ("speckled", (480, 640), (448, 256)),
        ("speckled", (320, 180), (448, 256)),
        ("speckled", (400, 300), (600, 100)),
        ("speckled", (720, 540), (240, 180)),
    ):
        fits.append(
            {"picture": name, "size_wh": size_wh, "to_wh": to_wh} | _kept(fit_to(PICTURES[name](size_wh), to_wh))
        )
    return {"every": EVERY, "squares": squares, "crops": crops, "fits": fits}


def _rectangle(size_wh: tuple[int, int], box: BoxXYWH, context: float) -> Vectors:
    return {"size_wh": size_wh, "box": box, "context": context, "rectangle": square(box, size_wh, context)}


def _kept(picture: NDArray[np.uint8]) -> Vectors:
    flat = picture.ravel()
    return {"sum": int(flat.sum()), "bytes": base64.b64encode(flat[::EVERY].tobytes()).decode("ascii")}


def motion_cases() -> Iterator[tuple[str, Vectors, list[Step]]]:
    """Name, masks and steps of what happens at random; the cases of make_motion_vectors.py come one by one."""
    mask = {"masks": [[[0.0, 0.6], [0.3, 0.5], [0.4, 1.0], [0.0, 1.0]], [[0.8, 0.0], [1.0, 0.0], [1.0, 0.3]]]}
    for seed in range(4):
        rng = random.Random(seed)
        boxes: list[list[int]] = []
        steps: list[Step] = []
        view, times = [0, 0], 10
        for _ in range(30):
            boxes = [[x + rng.randint(-2, 3), y + rng.randint(-1, 1), *rest] for x, y, *rest in boxes]
            if rng.random() < 0.5:
                at = [rng.randint(-2, 60), rng.randint(-2, 32), rng.randint(2, 12), rng.randint(2, 9)]
                boxes = [*boxes, [*at, rng.choice((0, 15, 230, 255))]][-9:]
            if seed % 2:
                view = [min(max(at + rng.randint(-2, 2), -5), 5) for at in view]
            if seed >= 2 and rng.random() < 0.4:
                times = min(max(times + rng.randint(-1, 3), 8), 30)
            steps.append({"boxes": boxes, "view": view, "light": [times, 10, 0]})
        yield f"at random, {seed}", mask if seed in (1, 2) else {}, steps
    yield "two jumps, and as before", {}, [{"view": [80 * far, 20 * far]} for far in (0, 0, 0, 1, 1, 2, 2, 2, 0, 0)]
    yield "it goes on in small steps", {}, [{"view": [31 * min(i, 2) + 2 * i, i]} for i in range(22)]
    dusk = [{"light": [times, 20, 0]} for times in range(20, 5, -1)]
    yield "dusk and dawn", {}, [*dusk, *reversed(dusk), *({"light": [20 + 2 * i, 20, 0]} for i in range(14))]


def motion_vectors() -> Vectors:
    """Motion where much happens together."""
    told = []
    for name, masks, steps in motion_cases():
        finder = MotionFinder(SETTINGS, [tuple((x, y) for x, y in mask) for mask in masks.get("masks", ())])
        done = []
        for index, step in enumerate(steps):
            luma = make_motion_vectors.picture(step, index)
            frame = Frame(np.zeros((36, 64, 3), np.uint8), index / 10, WALL, "vectors", index, luma=luma)
            said = make_motion_vectors.expected(finder, frame)
            kept = {key: value for key, value in said.items() if key not in ("background", "deviation")}
            done.append({"time": index / 10, **step, "sum": int(luma.sum()), "expect": kept})
        told.append({"name": name, **masks, "steps": done})
    return {"cases": told}


# Little is where it was, and half of it.
ASIDE = {"pushed": (4, 2), "nudged": (3, 2)}


@cache
def scene(name: str, size_wh: tuple[int, int]) -> NDArray[np.int64]:
    """Background of the camera, without noise: levels (h, w)."""
    y, x = np.mgrid[0 : size_wh[1], 0 : size_wh[0]].astype(np.int64)
    if name in ASIDE:
        x, y = x + ASIDE[name][0], y + ASIDE[name][1]
    usual = ground(x, y) + 60 * ((x // 17 + y // 13) % 2)  # a board of dark and bright fields, for edges
    if name in ("blurred", "drops"):  # the mean of 9 x 9, rounded down; drops show another view as well
        wide = np.pad(scene("turned", size_wh) if name == "drops" else usual, 4, mode="edge")
        parts = [wide[j : j + size_wh[1], i : i + size_wh[0]] for j in range(9) for i in range(9)]
        return np.sum(parts, axis=0) // 81
    if name == "fog":
        return 130 + usual // 8
    if name == "turned":
        return ground(2 * y, x) + 60 * ((x // 11 + y // 19) % 2)
    if name in ("sparse", "other sparse"):  # hardly anything to compare
        board = scene("turned", size_wh) if name == "other sparse" else usual
        return np.where((x < 28) & (y >= 15) & (y < 37), board, 120)
    if name == "clock":  # it is black, and the camera writes the time into it
        return np.where((y < 3) | (y >= 74), 6 + usual // 10, 6)
    levels = {"black": 6, "white": 252, "covered": 120}
    if name in levels:
        return np.full_like(usual, levels[name])
    if name == "blinded":  # a lamp in four fifths of the picture, and more
        return np.where(x < 115, 254, usual)
    return usual * 6 // 10 if name == "dim" else usual


def grey(name: str, size_wh: tuple[int, int], index: int) -> NDArray[np.float32]:
    """The picture of one second: float32 (h, w)."""
    y, x = np.mgrid[0 : size_wh[1], 0 : size_wh[0]].astype(np.int64)
    return (scene(name, size_wh) + noise(x, y, index)).clip(0, 255).astype(np.float32)


# Each scene and how often it is seen, once a second; in "slowly" every 10 seconds.
SEQUENCES: dict[str, list[tuple[str, int]]] = {
    "black, white, covered and blinded": [
        ("usual", 6), ("black", 4), ("usual", 2), ("white", 4), ("usual", 2), ("covered", 4), ("usual", 2),
        ("blinded", 4), ("usual", 3), ("black", 2), ("usual", 3), ("clock", 4),
    ],
    "begun blurred": [("blurred", 1), ("usual", 61), ("blurred", 64)],
    "drops on the lens": [("usual", 62), ("drops", 30)],
    "never at rest": [("usual", 61), *(("turned", 4), ("pushed", 4)) * 4],
    "hardly anything to compare": [("sparse", 62), ("other sparse", 24)],
    "slowly": [("usual", 8), ("nudged", 40), ("pushed", 3), ("usual", 4)],
    "blurred": [("usual", 62), ("dim", 5), ("blurred", 64), ("fog", 3), ("usual", 4)],
    "turned, and back": [("usual", 62), ("turned", 84), ("usual", 24)],
    "turned too soon to be missed": [("usual", 20), ("turned", 30)],
    "pushed aside": [("usual", 62), ("pushed", 24)],
    "something passes": [("usual", 61), ("turned", 12), ("usual", 4), ("turned", 12), ("usual", 2)],
}  # fmt: skip
VIEWS: list[tuple[str, tuple[int, int]]] = [("usual", (320, 180)), ("turned", (320, 426)), ("blurred", SIZE_WH)]
PROBES = (0, 7, 40, 71, 100, 143)  # of the 144 blocks
MEASURES = ("mean", "structure", "contrast", "sharpness")


def camera_check_vectors() -> Vectors:
    """Measures of single pictures, faults second by second, and reports of faults."""
    views = []
    for name, size_wh in VIEWS:
        view = View.at(grey(name, size_wh, 0))
        told: Vectors = {each: [round(float(getattr(view, each).flat[i]), 5) for i in PROBES] for each in MEASURES}
        pixels = [i * (view.edges.size - 1) // 20 for i in range(21)]
        told["edges"] = [[i, round(float(view.edges.flat[i]), 5)] for i in pixels]
        views.append({"scene": name, "size_wh": size_wh} | told)
    sequences = []
    for name, parts in SEQUENCES.items():
        check, faults = CameraCheck(), []
        shown = [each for each, count in parts for _ in range(count)]
        for second, each in enumerate(shown):
            found = check(grey(each, SIZE_WH, second), float(second * (10 if name == "slowly" else 1)))
            faults.append([[fault.kind, measured(fault)] for fault in found])
        sequences.append({"name": name, "scenes": parts, "faults": faults})
    return {
        "about": "A fault's value is rounded as in its sentence: to 1, and a likeness to 0.01.",
        "size_wh": SIZE_WH,
        "probes": PROBES,
        "views": views,
        "sequences": sequences,
        "debounced": [*(debounced(seed) for seed in range(6)), flickering()],
    }


def measured(fault: CameraFault) -> float:
    """The number in a fault's sentence."""
    found = re.search(r"\((?:brightness |likeness )?(\d+(?:\.\d+)?)", fault.detail) or re.search(
        r"\((\d+) %", fault.detail
    )
    if found is None:
        raise ValueError(f"no number in {fault.detail!r}")
    return float(found.group(1))


def debounced(seed: int) -> Vectors:
    """Faults at random, and what is reported of them; ids are numbered in the order of their first report."""
    rng, debouncer = random.Random(seed), FaultDebouncer()
    kinds: tuple[TroubleKind, ...] = ("gone", "frozen", "black", "white", "covered", "blurred", "moved")
    present: set[TroubleKind] = set()
    time, ids, steps = 0.0, dict[str, int](), []
    for value in range(90):
        time = round(time + rng.choice((0.5, 1.0, 1.0, 2.0, 5.0, 20.0, 40.0 if seed % 2 else 1.0)), 1)
        # Most faults stay for some seconds: seldom is one of them begun or ended.
        for kind in kinds:
            if rng.random() < (0.35 if kind in present else 0.08):
                present ^= {kind}
        faults = [CameraFault(kind, str(value)) for kind in kinds if kind in present]
        reports = debouncer(faults, time)
        steps.append(_step(time, faults, reports, ids) | {"now": [fault.kind for fault in debouncer.now]})
    return {"steps": steps, "close": _step(time + 1, [], debouncer.close(time + 1), ids)}


def flickering() -> Vectors:
    """A fault that comes back soon after each end, until ends take no longer, and one that is gone for long."""
    debouncer, ids, time, steps = FaultDebouncer(), dict[str, int](), 0.0, []
    for dt in (*((2.0,) * 3 + (50.0,) * 7) * 10, *(2.0,) * 3, 300.0, 601.0, *(2.0,) * 3, *(1.0,) * 5):
        time += dt
        faults = [CameraFault("frozen", "1")] if dt == 2 else []
        reports = debouncer(faults, time)
        steps.append(_step(time, faults, reports, ids) | {"now": [fault.kind for fault in debouncer.now]})
    return {"steps": steps, "close": _step(time + 1, [], debouncer.close(time + 1), ids)}


def _step(time: float, faults: list[CameraFault], reports: Any, ids: dict[str, int]) -> Vectors:
    told = []
    for each in reports:
        number = ids.setdefault(each.id, len(ids))
        told.append([each.type, number, each.trouble.kind, int(each.trouble.detail), round(each.lasted_s, 3)])
    return {"time": time, "faults": [[each.kind, int(each.detail)] for each in faults], "reports": told}


def vectors() -> dict[str, Vectors]:
    """Return the content of each file by its name."""
    return dict(zip(FILES, (crop_vectors(), motion_vectors(), camera_check_vectors()), strict=True))


def as_text(found: Vectors) -> str:
    """JSON, one item of a list a line, so that a change shows."""
    parts = []
    for key, value in found.items():
        rows = [json.dumps(each, separators=(",", ":")) for each in value] if isinstance(value, list) else None
        said = json.dumps(value) if rows is None else "[\n  " + ",\n  ".join(rows) + "\n ]"
        parts.append(f' "{key}": {said}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    cv2.setNumThreads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, content in vectors().items():
        (FOLDER / file).write_text(as_text(content), encoding="utf-8")
