"""What `bear-alarm classify` finds on frames of trail cameras that the model never saw, and what it takes for a bear.

    BEAR_ALARM_PICTURES=PICTURES python tests/prove_trail_cameras.py [--model X.onnx] [--json]

Whole frames, read and judged as `classify` does, at the model's own threshold: the rows whose column ``condition`` says
"camera trap" or "surveillance", and one fixed camera over a railway whose bears are far away. Pictures of sources that
the model's card names are left out. Intervals are over cameras and bursts, as far as the table names them.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from edge.classifier import Classifier
from edge.commands.progress import track
from edge.models import BUNDLED
from edge.pictures import read_picture
from edge.stills import look
from tests.conftest import PICTURES
from train.benchmark.held_out import held_out
from train.catalog.picture import Picture, is_bear
from train.catalog.read import MANIFEST, read_catalog
from train.figures.clustered import clustered_rate
from train.figures.metrics import Rate

CONDITIONS = ("camera trap", "surveillance")
FAR_CAMERA = "ktosiu/Bear-Detection"  # over a railway; its rows are older than the column
FULL_FRAME = "full frame"  # in the note of a row of that camera: the others are windows cut from such frames
NO_END = 10**9
SIZES_PX = (0, 27, 45, 90, 180, NO_END)
THREADS = 2


@dataclass(frozen=True)
class Seen:
    """One frame and what ``classify`` made of it."""

    picture: Picture
    longer_px: int  # the longer side of its largest bear, pixels of the frame; 0 without a box
    bear: float
    alarm: bool

    @property
    def has_bear(self) -> bool:
        """Return True if there is a bear in the frame."""
        return is_bear(self.picture.label)


def trail_pictures(folder: Path) -> list[Picture]:
    """The frames of trail and surveillance cameras, and of the far camera."""
    with (folder / MANIFEST).open(newline="", encoding="utf-8-sig") as table:
        wanted = {folder / row["file"] for row in csv.DictReader(table) if is_frame(row)}
    return [one for one in read_catalog(folder).pictures if one.file in wanted]


def is_frame(row: dict[str, str]) -> bool:
    """Return True for a whole frame of such a camera; windows cut around a bear are not."""
    if row.get("source_repo") == FAR_CAMERA:
        return FULL_FRAME in row.get("note", "")
    return row.get("condition") in CONDITIONS


def judge(classifier: Classifier, picture: Picture) -> Seen:
    """Read and look at one frame as ``bear-alarm classify`` does."""
    image = read_picture(picture.file)
    height, width = image.shape[:2]
    longer = max((max(box[2] * width, box[3] * height) for box in picture.boxes), default=0.0)
    result = look(classifier, image)
    return Seen(picture, round(longer), result.bear, result.alarm)


def figures(seen: Sequence[Seen]) -> dict[str, Rate]:
    """Each figure by its words: k of n with the interval over cameras; those of none are left out."""
    trail = [one for one in seen if one.picture.source != FAR_CAMERA]
    far = [one for one in seen if one.picture.source == FAR_CAMERA]
    bears, others = ([one for one in trail if one.has_bear is bear] for bear in (True, False))
    groups = {"bears found": bears, "no bear, taken for one": others}
    for words, grey in (("in colour", False), ("in grey or infrared", True)):
        groups[f"bears found {words}"] = [one for one in bears if one.picture.grey_or_ir == grey]
        groups[f"no bear, taken for one {words}"] = [one for one in others if one.picture.grey_or_ir == grey]
    for low, high in pairwise(SIZES_PX):
        for words, some in (("bears found", bears), ("railway camera: bears found", far)):
            groups[f"{words}, {low} px and more" if high == NO_END else f"{words}, {low} to {high - 1} px"] = [
                one for one in some if one.has_bear and low <= one.longer_px < high
            ]
    rates = {
        words: clustered_rate([one.alarm for one in some], [one.picture.unit for one in some])
        for words, some in groups.items()
    }
    return {words: rate for words, rate in rates.items() if rate is not None}


def main() -> None:
    """Print a table in Markdown, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not (PICTURES / MANIFEST).is_file():
        print(f"{PICTURES}: no table of pictures, nothing was measured; name a folder in BEAR_ALARM_PICTURES")
        return
    classifier = Classifier(options.model)
    pictures = held_out(trail_pictures(PICTURES), [classifier.card])
    started = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        seen = list(track(pool.map(lambda one: judge(classifier, one), pictures), "looking at frames", len(pictures)))
    threshold = classifier.card.thresholds["frame"].value
    if options.json:
        frames = [
            {"file": one.picture.file.relative_to(PICTURES).as_posix(), "px": one.longer_px, "bear": one.bear}
            for one in seen
        ]
        rates = {words: asdict(rate) for words, rate in figures(seen).items()}
        about = {"model": classifier.name, "threshold": threshold, "figures": rates, "frames": frames}
        print(json.dumps(about, indent=1))
        return
    print(f"{classifier.name} at {threshold:.3f}, whole frames as `bear-alarm classify` looks at them\n")
    print("| what | k of n | share [95 %] |\n|---|---|---|")
    for words, rate in figures(seen).items():
        low, high = 100 * rate.low, 100 * rate.high
        print(f"| {words} | {rate.k} of {rate.n} | {100 * rate.value:.1f} % [{low:.1f}–{high:.1f}] |")
    print(f"{len(pictures)} frames in {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
