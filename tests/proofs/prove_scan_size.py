"""Recall with a smaller frame scan and smaller crops on unseen trail cameras, in float as on a phone.

    BEAR_ALARM_PICTURES=PICTURES python tests/proofs/prove_scan_size.py --runs RUNS

RUNS: a folder with the runs fold-1, fold-2 … of a recipe, as `evaluate --model RUNS` takes it. Bears found, and frames
without one that raise a false alarm: by the scan at the models' own thresholds, where 1 % of those frames pass, and by
crops at the bears' true boxes.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.detect.classifier import Classifier
from tests.conftest import PICTURES
from train.data.catalog import read_catalog
from train.evaluate.held_out import Judge, judges_of
from train.evaluate.trail_cameras import Frame, part_of, score_frames

SIZES = ((448, 224), (384, 192), (320, 160))  # the scan's longer side, a crop's side


def sized(judge: Judge, scan: int, crop: int) -> Judge:
    """Return a judge of frames of trail cameras alone, whose model looks at smaller pictures."""
    classifier = Classifier(judge.classifier.path, in_float=True)
    assert classifier.card.frame
    classifier.card = replace(classifier.card, frame=replace(classifier.card.frame, sides=(scan,)))
    classifier.size = crop
    return Judge(classifier, tuple(each for each in judge.pictures if part_of(each) == "trail camera"))


def row(scan: int, crop: int, frames: list[Frame]) -> str:
    """Return one row of the table."""
    bears, others = [one for one in frames if one.bear], [one for one in frames if not one.bear]
    found, wrong = (sum(one.score >= one.threshold for one in part) for part in (bears, others))
    limit = sorted((one.score for one in others), reverse=True)[len(others) // 100]
    at_one = sum(one.score > limit for one in bears)
    boxes = sum(max(one.boxes, default=0.0) >= one.box_threshold for one in bears)
    return f"| {scan}, {crop} | {found} | {wrong} | {at_one} | {boxes} |"


def main() -> None:
    """Print a table, in Markdown."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--runs", type=Path)
    runs = asked.parse_args().runs
    if runs is None or not PICTURES.is_dir():
        print("nothing was measured: name the folds in --runs and a folder of pictures in BEAR_ALARM_PICTURES")
        return
    judges = judges_of(runs, read_catalog(PICTURES))
    print(
        "| scan, crop (px) | bears found | false alarms | bears found at 1 % | in their boxes |\n|---|---|---|---|---|"
    )
    for scan, crop in SIZES:
        print(row(scan, crop, score_frames([sized(judge, scan, crop) for judge in judges])), flush=True)


if __name__ == "__main__":
    main()
