"""Pictures for tests of the benchmark, the comparison and the report: bears are red, others green and blue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, TEDDY_COLOUR, WEIGHTS, tiny_card, write_tiny_model

HEAD = "split,file,label,source_repo,group_id,licence,grey_or_ir,note"
# A network for which green is a bear as much as red is: it cannot tell bears from other animals.
BLIND = np.array([[0, 0, 0, 30, 0], [30, 10, 5, 0, 0], [30, 10, 5, 0, 0]], np.float32)


def painted(colour: tuple[int, int, int], seed: int, height: int = 96, width: int = 120) -> np.ndarray:
    """A noisy picture of about one BGR colour."""
    noise = np.random.default_rng(seed).normal(0, 25, (height, width, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def make_pool(folder: Path, bears: int = 6, others: int = 8) -> Path:
    """A folder with a manifest: web bears, foxes, toys, two places, and one trail camera with boxed bears."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []

    def add(name: str, image: np.ndarray, label: str, source: str, note: str, grey: int = 0) -> None:
        cv2.imwrite(str(folder / name), image)
        rows.append(f"test,{name},{label},{source},,CC0,{grey},{note}")

    for number in range(bears):
        species = "brown_bear" if number % 2 else "black_bear"
        add(f"bear{number}.jpg", painted(BEAR_COLOUR, number), species, "web", "web image search")
    for number in range(others):
        add(f"fox{number}.jpg", painted(NO_BEAR_COLOUR, 50 + number), "no_bear", "web", "fox", number % 2)
    add("toy.jpg", painted(TEDDY_COLOUR, 90), "teddy_bear", "web", "web image search")
    add("street.jpg", painted((90, 140, 90), 91), "no_bear", "coco", '"COCO: car, person"')
    add("meadow.jpg", painted((60, 150, 80), 92), "no_bear", "coco", "COCO: cow")
    far = painted(NO_BEAR_COLOUR, 93, 480, 640)
    far[200:230, 300:330] = BEAR_COLOUR
    far[100:160, 400:450] = BEAR_COLOUR
    add("far.png", far, "bear_any", "trail", "trail camera frame")
    (folder / "MANIFEST.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    boxes = (
        "far.png,bear,0.46875,0.416666667,0.515625,0.479166667\nfar.png,bear,0.625,0.208333333,0.703125,0.333333333\n"
    )
    (folder / "boxes.csv").write_text("file,class,x1,y1,x2,y2\n" + boxes)
    return folder


def write_model(
    path: Path,
    *,
    blind: bool = False,
    name: str = "tiny",
    source: str = "elsewhere",
    digests: dict[str, str] | None = None,
) -> Path:
    """A tiny model that was trained on ``source``; a ``blind`` one takes foxes for bears."""
    card = replace(tiny_card(), name=name, counts_by_source={source: 120})
    card = card if digests is None else replace(card, digests=digests)
    if blind:
        golden = tuple(
            replace(vector, probabilities=tuple(float(p) for p in _answer(vector.png))) for vector in card.golden
        )
        card = replace(card, golden=golden)
    return write_tiny_model(path, card, weights=BLIND if blind else WEIGHTS)


def _answer(png: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    logits = picture.astype(np.float32).mean((0, 1)) / 255 @ BLIND
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())
