"""Test vectors for the frame scan in the browser: sizes, windows, where a bear is, and whole scans by dice.

    python -m tests.helpers.make_phone_scan

writes edge/phone/web/test/vectors/frame_scan.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.frame_scan import FrameScanner, frame_of, share_in, where, windows_of

FILE = Path(__file__).parents[2] / "edge" / "phone" / "web" / "test" / "vectors" / "frame_scan.json"
SEED = 7
PICTURES_WH = ((1280, 720), (640, 480), (720, 1280), (1920, 1080), (480, 640), (100, 100), (1000, 30), (352, 288))
SIDES = (448, 384, 320)
MAPS_WH = ((7, 7), (14, 8), (10, 7), (8, 14), (12, 7))


def vectors() -> dict[str, Any]:
    """Make everything in the file."""
    dice = np.random.default_rng(SEED)
    card = Classifier(BUNDLED).card
    assert card.frame is not None
    sizes = card.frame.windows
    pictures = [(np.zeros((height, width, 3), np.uint8), side) for width, height in PICTURES_WH for side in SIDES]
    frames = [
        {"picture": each.shape[1::-1], "side": side, "frame": frame_of(each, side, sizes).shape[1::-1]}
        for each, side in pictures
    ]
    places = []
    for width, height in MAPS_WH:
        windows = windows_of((height, width), sizes)
        for spread in (0.6, 1.5, 4.0):
            heat = blob(dice, width, height, spread)
            window = windows[dice.integers(len(windows))]
            box = where(heat, window)
            shares = share_in(box, windows).tolist()
            places.append({**told(heat), "window": window.tolist(), "box": box, "shares": shares})
    flat = np.full((8, 14), 0.25, np.float32)
    window = windows_of(flat.shape, sizes)[3]
    places.append({**told(flat), "window": window.tolist(), "box": where(flat, window), "shares": []})
    return {
        "windows": sizes,
        "labels": card.labels,
        "frames": frames,
        "grids": [{"map": [14, 8], "windows": windows_of((8, 14), (5, 7)).tolist()}],
        "places": places,
        "scans": [scan(dice, card, *size) for size in ((14, 8), (14, 10), (10, 7), (8, 14)) for _ in range(3)],
    }


def scan(dice: np.random.Generator, card: Any, width: int, height: int) -> dict[str, Any]:
    """Answer of a network by dice to one picture, and the bears that the frame scan makes of it."""
    heat = blob(dice, width, height, 1.5) + blob(dice, width, height, 1.0)
    windows = windows_of((height, width), card.frame.windows)
    around = np.array([heat[round(y * height) :, round(x * width) :][:7, :7].max() for x, y, _, _ in windows])
    bears = np.clip(around * dice.uniform(0.2, 0.9) + dice.normal(0, 0.02, len(windows)), 0.001, 0.98)
    shares = dice.dirichlet((4, 2, 1), len(windows))
    rows = np.round(np.column_stack([shares * bears[:, None], 0.3 * (1 - bears), 0.7 * (1 - bears)]), 5)
    rows = rows.astype(np.float32)
    ood = round(float(dice.uniform(0.5, 1.5)), 4)
    answer = rows[None], heat[None], np.array([ood], np.float32)
    stub = cast(Classifier, SimpleNamespace(card=card, windows=lambda frames: answer))
    picture = np.zeros((height * 40, width * 40, 3), np.uint8)
    return {
        **told(heat),
        "picture": picture.shape[1::-1],
        "rows": [[round(float(each), 5) for each in row] for row in rows],
        "ood": ood,
        "scores": [
            {"box": score.region.box_xywh, "bear": score.bear, "label": score.label}
            for score in FrameScanner(stub)(picture)
        ],
        "beside_crops": [score.bear for score in FrameScanner(stub).beside_crops(picture)],
    }


def blob(dice: np.random.Generator, width: int, height: int, spread: float) -> NDArray[np.float32]:
    """Map of bears with one hill, four decimals."""
    y, x = np.mgrid[0:height, 0:width]
    middle_x, middle_y = dice.uniform(0, width), dice.uniform(0, height)
    hill = np.exp(-((x - middle_x) ** 2 + (y - middle_y) ** 2) / (2 * spread**2))
    return np.round(hill + dice.normal(0, 0.02, hill.shape), 4).astype(np.float32)


def told(heat: NDArray[np.float32]) -> dict[str, Any]:
    """A map as the file has it."""
    return {"map": heat.shape[::-1], "heat": [round(float(each), 4) for each in heat.ravel()]}


def as_text(found: dict[str, Any]) -> str:
    """JSON, one case a line, so that a change shows."""
    parts = []
    for name, value in found.items():
        if value and isinstance(value[0], dict):
            rows = ",\n".join("  " + json.dumps(short(each), separators=(",", ":")) for each in value)
            parts.append(f' "{name}": [\n{rows}\n ]')
        else:
            parts.append(f' "{name}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def short(value: Any) -> Any:
    """The same with nine decimals."""
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, dict):
        return {name: short(each) for name, each in value.items()}
    return [short(each) for each in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    FILE.write_text(as_text(vectors()), encoding="utf-8")
