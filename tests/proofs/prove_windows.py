"""What a model takes for a bear in small pieces of pictures without one: so leaves, trunks and legs reach the alarm.

    BEAR_ALARM_PICTURES=PICTURES python tests/proofs/prove_windows.py [--model X.onnx] [--source NAME …] [--json]

Twelve squares of 16 to 64 px of each picture, the same for every model (``train.learn.hard_negatives``). Without
--source the pictures are those of the bundled model's test sources. Intervals count pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import itertools

import numpy as np

from edge.cli.output import track
from edge.detect.classifier import BUNDLED, Classifier
from edge.pictures import read_picture
from edge.schema import Region
from tests.conftest import PICTURES
from tests.proofs.prove_benchmarks import TEST_SOURCES
from train.data.catalog import read_catalog
from train.evaluate.text import share
from train.learn.hard_negatives import SEED, small_windows
from train.metrics.rates import clustered_rate

SIDES_PX = 16, 23, 32, 45, 65  # bounds of the rows


def main() -> None:
    """Print a row a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--source", action="append")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not PICTURES.is_dir():
        print(f"{PICTURES}: no folder of pictures, nothing was measured; name one in BEAR_ALARM_PICTURES")
        return
    classifier = Classifier(given.model)
    sources = given.source or TEST_SOURCES
    rows = [row for row in read_catalog(PICTURES).pictures if row.label == "no_bear" and row.source in sources]
    rng = np.random.default_rng(SEED)
    scores, sides, files = [], [], []
    for row in track(rows, "looking at small windows"):
        image = read_picture(row.file)
        size_wh = (image.shape[1], image.shape[0])
        for score in classifier.score(image, [Region(box, "scan") for box in small_windows(size_wh, rng)]):
            scores.append(score.bear)
            sides.append(score.region.box_xywh[2] * size_wh[0])
            files.append(str(row.file))
    score_of, side, file = np.array(scores), np.array(sides), np.array(files)
    limits = {"0.5": 0.5, "card": classifier.card.thresholds["crop"].value}
    table = {}
    for low, high in [*itertools.pairwise(SIDES_PX), (SIDES_PX[0], SIDES_PX[-1])]:
        inside = (side >= low) & (side < high)
        table[f"{low}-{high - 1} px"] = {
            name: clustered_rate(score_of[inside] >= limit, file[inside]) for name, limit in limits.items()
        }
    if given.json:
        found = {name: {at: rate and asdict(rate) for at, rate in row.items()} for name, row in table.items()}
        print(json.dumps({"model": classifier.name, "sources": sources, "limits": limits, "windows": found}, indent=2))
        return
    print(f"{classifier.name}, {len(score_of):,} windows of {len(rows)} pictures without a bear, seed {SEED}")
    print(f"  {'':<10}{'windows':<10}{'p(bear) >= 0.5':<26}at the card's crop threshold ({limits['card']:.3f})")
    for name, rates in table.items():
        half, card = rates["0.5"], rates["card"]
        print(f"  {name:<10}{half.n if half else 0:<10,}{share(half):<26}{share(card)}".rstrip())


if __name__ == "__main__":
    main()
