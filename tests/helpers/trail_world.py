"""Trail cameras for tests: frames of red bears and green others in a table, models that know them, runs of folds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.helpers.benchmark_pool import make_pool, painted, write_model
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR
from train.data.catalog import read_catalog
from train.data.split import Fold, split_catalog, write_split
from train.evaluate.held_out import split_digest

BEARS, OTHERS = 12, 320


def trail_pool(folder: Path) -> Path:
    """``make_pool`` and frames of trail cameras: 12 bears, each of its own, others of eight, two that do not count."""
    make_pool(folder, bears=12, others=14)
    lines = (folder / "MANIFEST.csv").read_text().splitlines()
    rows = [f"{lines[0]},condition", *(f"{line}," for line in lines[1:])]
    boxes = (folder / "boxes.csv").read_text().splitlines()

    def add(name: str, image: np.ndarray, label: str, group: str, note: str, grey: int = 0) -> None:
        cv2.imwrite(str(folder / name), image)
        rows.append(f",{name},{label},cards,{group},CC0,{grey},{note},camera trap")

    for number in range(BEARS):
        frame = painted(NO_BEAR_COLOUR, number, 300, 400)
        frame[100:200, 100:240] = painted(BEAR_COLOUR, number, 100, 140)
        add(f"trail-bear{number}.jpg", frame, "black_bear", f"bear {number}", "", number % 2)
        boxes.append(f"trail-bear{number}.jpg,bear,0.25,0.333333333,0.6,0.666666667")
    for number in range(OTHERS):
        note = ("fox", "wild hog", "deer; at night")[number % 3]
        add(f"trail{number}.jpg", painted(NO_BEAR_COLOUR, number, 150, 200), "no_bear", f"place {number % 8}", note)
    add("thumb.jpg", painted(BEAR_COLOUR, 1, 60, 80), "no_bear", "place 1", "fox")
    add("found.jpg", painted(BEAR_COLOUR, 2, 150, 200), "no_bear", "web foxes", "fox")
    (folder / "MANIFEST.csv").write_text("\n".join(rows) + "\n")
    (folder / "boxes.csv").write_text("\n".join(boxes) + "\n")
    return folder


def fold_runs(folder: Path, pictures: Path, count: int = 3, *, blind: bool = False) -> Path:
    """Runs ``fold-1`` … with ``split.csv`` and ``bear.onnx``, as training and export leave them."""
    catalog = read_catalog(pictures)
    for number in range(1, count + 1):
        run = folder / f"fold-{number}"
        run.mkdir(parents=True)
        split = split_catalog(catalog, 7, tune=["coco"], test=["web"], fold=Fold(number, count))
        write_split(split, catalog.root, run / "split.csv")
        digests = {"split_sha256": split_digest(run / "split.csv")}
        write_model(run / "bear.onnx", blind=blind, name=f"fold{number}", source="cards", digests=digests)
    return folder
