"""Measure each ingredient of the recipe on trail cameras that the network never saw: one is left out at a time.

    BEAR_ALARM_PICTURES=PICTURES python tests/proofs/prove_recipe.py [--epochs 1] [--only NAME] [--at-once 2] -- OPTIONS

Each row is a training of one fold (`train --fold 1/3`), short unless --epochs says otherwise, judged before its export.
The last rows add pictures of the user's own camera, here the one over a railway: seven without a bear, ten with one, or
both, of 19 and 21 May; what is judged is the morning of 30 May. TRAIN OPTIONS say which sources are kept out.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.detect.crops import cut
from edge.detect.frame_scan import frame_of
from edge.pictures import read_picture
from tests.conftest import PICTURES
from train.data.catalog import read_catalog
from train.data.pictures import Picture, is_bear
from train.data.table import MANIFEST
from train.evaluate.far_bears import BINS, benchmark_scores
from train.evaluate.trail_cameras import MIN_PX, level, part_of
from train.learn.inference import CONTEXT, ask_crops, ask_frame
from train.learn.run import Run, read_run
from train.metrics.rates import threshold_at

VARIANTS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "no crops shown smaller, in another place": {"zoom_out": 0.0},
    "no crops with the field's look": {"degraded": 0.0},
    "no distillation": {"distill": 0.0},
    "all layers trained": {"frozen": 0.0},
    "the trained weights alone": {"untouched": 0.0},
    "three quarters of the untouched weights": {"untouched": 0.75},
}
OWN: dict[str, tuple[int, int]] = {  # pictures of the own camera: without a bear, with one
    "and seven pictures of the own camera, no bear": (7, 0),
    "and ten bears of the own camera": (0, 10),
    "and both": (7, 10),
}
WITHOUT_SOURCE = "without the source of most bears"  # of the frames of trail cameras; all of its frames are judged
SOURCE = "mtitenko5/bear-classifier-project"
RAILWAY, LEARNED, JUDGED = "ktosiu/Bear-Detection", ("2013-05-19", "2013-05-21"), "2013-05-30"
RATE = 0.02  # of a fold's frames without a bear: fewer are less than three
FOLD = "1/3"


def pictures_with_own(folder: Path, without: int, bears: int) -> Path:
    """Make a folder of the same pictures, some of the railway's as a camera of the user's own."""
    for entry in PICTURES.iterdir():
        if entry.name != MANIFEST:
            (folder / entry.name).symlink_to(entry)
    with (PICTURES / MANIFEST).open(newline="", encoding="utf-8") as table:
        reader = csv.DictReader(table)
        rows = list(reader)
    left = {True: bears, False: without}
    for number, row in enumerate(rows):
        bear = row["label"] != "no_bear"
        if (
            row["source_repo"] == RAILWAY
            and any(day in row["group_id"] for day in LEARNED)
            and "full frame" not in row["note"]
            and left[bear]
        ):
            left[bear] -= 1
            row |= {"source_repo": "own camera", "group_id": f"own {number}", "condition": "camera trap"}
    with (folder / MANIFEST).open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, reader.fieldnames or [])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def trained(name: str, folder: Path, epochs: int, options: Sequence[str], threads: int) -> str:
    """Train one variant in a process of its own, judge it, and return its row."""
    recipe, run = folder / "recipe.json", folder / "run"
    recipe.write_text(json.dumps({"epochs": epochs} | VARIANTS.get(name, {})))
    pictures = folder / "pictures"
    if name in OWN:
        pictures.mkdir()
        pictures_with_own(pictures, *OWN[name])
    else:
        pictures = PICTURES
    words = ["train", str(pictures), "--out", str(run), "--fold", FOLD, "--recipe", str(recipe), *options]
    if name == WITHOUT_SOURCE:
        words += ["--test", SOURCE]
    subprocess.run(
        [sys.executable, "-m", "edge", *words],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    return judged(name, read_run(run), pictures)


def judged(name: str, run: Run, pictures: Path) -> str:
    """Return a run's row: bears of the fold it never saw, and of the railway's morning."""
    parts = run.split(read_catalog(pictures))
    tested = parts["test"]
    trail = [row for row in tested if part_of(row) == "trail camera"]
    others = np.array([each for row in trail if not is_bear(row.label) for each in whole(run, row)])
    limit = threshold_at(others, RATE)
    bears = [row for row in trail if is_bear(row.label)]
    windows = [row for row in tested if part_of(row) == "far window" and JUDGED in row.group]
    found = [sum(each >= limit for row in some for each in whole(run, row)) for some in (bears, windows)]
    at_boxes = [sum(at_box(run, row) >= 0 for row in some) for some in (bears, windows)]
    cells = [f"{found[0]} of {len(bears)}", f"{at_boxes[0]} of {len(bears)}", f"{at_boxes[1]} of {len(windows)}"]
    cells += [" / ".join(f"{100 * each:.0f}" for each in far(run, parts["tune"]))]
    return f"| {name} | {' | '.join(cells)} |"


def whole(run: Run, row: Picture) -> Iterator[float]:
    """Yield the surest window's log-odds of a frame, levelled as the benchmark does; none of one that is too small."""
    image = read_picture(row.file)
    if is_bear(row.label) or max(image.shape[:2]) >= MIN_PX:
        rule = run.frame
        logits, _ = ask_frame(run.net, run.backbone, frame_of(level(image), rule.sides[0], rule.windows), rule.windows)
        yield float(run.net.bear_odds(torch.from_numpy(logits)).max())


def at_box(run: Run, row: Picture) -> float:
    """Return the log-odds of the crop at the largest true box."""
    image = read_picture(row.file)
    largest = max(row.boxes, key=lambda box: box[2] * box[3])
    logits = ask_crops(run.net, run.backbone, cut(image, largest, run.recipe.size, CONTEXT)[None])
    return float(run.net.bear_odds(torch.from_numpy(logits))[0])


def far(run: Run, tuned: Sequence[Picture]) -> Iterator[float]:
    """Yield recall of the tuning part's animals made far, by size, where 1 % of all sizes' others pass."""

    def score(crops: NDArray[np.uint8]) -> NDArray[np.floating]:
        return run.net.bear_odds(torch.from_numpy(ask_crops(run.net, run.backbone, crops))).numpy()

    made = benchmark_scores(score, tuned, size=run.recipe.size, context=CONTEXT).made
    limit = threshold_at(made.score[~made.bear], 0.01)
    for name in BINS:
        some = made.in_bin(name)
        yield float((some.score[some.bear] >= limit).mean())


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--only", action="append")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("options", nargs="*")
    options = parser.parse_args()
    if not (PICTURES / MANIFEST).is_file():
        print(f"{PICTURES}: no table of pictures, nothing was measured; name a folder in BEAR_ALARM_PICTURES")
        return
    names = options.only or [*VARIANTS, WITHOUT_SOURCE, *OWN]
    threads = max(1, (os.cpu_count() or 1) // options.at_once)
    print("| recipe | bears found, 2 % of the others pass | at true boxes | railway, at true boxes | made far, 1 % |")
    print("|---|---|---|---|---|", flush=True)
    with TemporaryDirectory() as temporary, ThreadPoolExecutor(options.at_once) as pool:
        folders = [Path(temporary) / str(number) for number in range(len(names))]
        for folder in folders:
            folder.mkdir()
        every = ([each] * len(names) for each in (options.epochs, options.options, threads))
        for row in pool.map(trained, names, folders, *every):
            print(row, flush=True)


if __name__ == "__main__":
    main()
