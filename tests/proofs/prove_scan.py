"""What a look at the whole of a 1280x720 frame costs beside a crop, and beside the tiles that were looked at before.

    python tests/proofs/prove_scan.py [MODEL]

All by turns in one process on one thread; medians of its CPU time. MODEL: a file of card version 2.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.crops import cut_all
from edge.detect.frame_scan import FrameScanner, frame_of
from edge.schema import WHOLE, BoxXYWH
from tests.helpers.stage import place

cv2.setNumThreads(1)
ROUNDS = 15
SIDES = (448, 512, 640)


def tiles() -> list[BoxXYWH]:
    """The whole frame, 3 squares of its height and 15 of half of it, overlapping by a third: 19, as before."""
    large = [(x / 1280, 0.0, 720 / 1280, 1.0) for x in np.linspace(0, 560, 3)]
    small = [(x / 1280, y / 720, 360 / 1280, 0.5) for y in np.linspace(0, 360, 3) for x in np.linspace(0, 920, 5)]
    return [WHOLE, *large, *small]


def main() -> None:
    """Print a table, in Markdown."""
    classifier = Classifier(Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLED)
    scanner, image, rule = FrameScanner(classifier), np.array(place()), classifier.card.frame
    if rule is None:
        sys.exit(f"{classifier.path}: a file of card version 1 knows no frame scan; name another")
    crop = cut_all(image, tiles()[:1], classifier.size)
    works: dict[str, Callable[[], object]] = {
        "a crop": lambda: classifier(crop),
        "19 tiles, cut and scored": lambda: classifier(cut_all(image, tiles(), classifier.size)),
        "the frame scan, from the frame to the boxes": lambda: scanner(image),
    }
    for side in SIDES:
        frame = frame_of(image, side, rule.windows)[None]
        works[f"its pass at {frame.shape[2]} × {frame.shape[1]}"] = lambda frame=frame: classifier.windows(frame)  # type: ignore[misc]
    took: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name in random.sample(list(works), len(works)):
            started = time.thread_time()
            works[name]()
            took[name].append(1000.0 * (time.thread_time() - started))
    cost = {name: median(each) for name, each in took.items()}
    print("| 1280 × 720 | ms of one core | crops |\n|---|---|---|")
    for name, each in cost.items():
        print(f"| {name} | {each:.1f} | {each / cost['a crop']:.1f} |")


if __name__ == "__main__":
    main()
