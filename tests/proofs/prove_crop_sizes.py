"""Recall, false alarms and cost of the model with crops made smaller than its input, by the size of the crop's square.

    BEAR_ALARM_PICTURES=PICTURES python tests/proofs/prove_crop_sizes.py [--clips]

The bundled int8 file takes any input that is a multiple of 32 pixels. Judged on the test part of its own split (the
split is made again and compared with the card): animals made far, real bears of a trail camera (true boxes, moved and
scaled a little), whole pictures, windows of trail cameras' frames, and what moves in clips without a bear. For every
input size and bin of squares a threshold is fitted on the tuning part, at which as many crops without a bear pass as at
the card's own with the default input. The gate is that of ``export``: at most one point of recall lost, upper 95 %
bound. With --clips the whole alarm also watches the demo and the clips, small squares at a smaller input.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.camera import open_source
from edge.detect.card import logit, sigmoid
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.crops import cut, square
from edge.detect.motion import MotionFinder
from edge.pictures import read_picture
from edge.schema import WHOLE, BoxXYWH, Picture, Region, Score
from export.verify import MAX_RECALL_LOSS, Answers, recall_loss
from tests.conftest import PICTURES
from tests.proofs.prove_own_yard import SEED, TEST, TUNE
from train.data.catalog import read_catalog
from train.data.pictures import Picture as Row
from train.data.pictures import is_bear
from train.data.split import Split, split_catalog, write_split
from train.data.table import MANIFEST
from train.evaluate.clips import Clip, read_clips, watch_clip
from train.evaluate.far_bears import views
from train.evaluate.subjects import bear_score, is_trail, sort_out
from train.metrics.rates import lowest_threshold, threshold_at, wilson

DEFAULT, *SMALLER = SIZES = (224, 192, 160, 128, 96)  # sides of the input, pixels
BINS = ((12, 27), (27, 45), (45, 90), (90, 160), (160, 10_000))  # side of the square that is cut, pixels
MOVED = 5  # moved copies of a trail camera's bear, beside its true box
WINDOWS = 10  # squares of a trail camera's frame without a bear
EVERY_S = 0.4  # what moves in a clip is cut so often
BATCH = 32
ROUNDS = 60  # of the cost
HEAD = """\
| square (px) | input (px) | bears found at the card's threshold | false alarms there | bears found, calibrated \
| false alarms there | the trail camera's bears found, calibrated \
| bears lost, won, upper bound of the lost recall (%) | bears found at 1 % false alarms |
|---|---|---|---|---|---|---|---|---|"""
DEMO = Path(__file__).parents[2] / "edge" / "demo" / "demo.mp4"


class Look(NamedTuple):
    """One crop at every input size."""

    source: str
    kind: str
    bear: bool
    picture: str  # crops of one picture are not independent
    side_px: float  # of the square that is cut
    crops: list[Picture]


@dataclass(frozen=True, eq=False)
class Looks:
    """Scores of crops, one row each."""

    source: NDArray[np.str_]
    kind: NDArray[np.str_]
    bear: NDArray[np.bool_]
    picture: NDArray[np.int64]
    side_px: NDArray[np.float64]
    score: NDArray[np.float64]  # (N, input sizes), bear probabilities

    def of(self, chosen: NDArray[np.bool_]) -> Looks:
        """Return the rows where ``chosen``."""
        return Looks(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def between(self, low: float, high: float) -> Looks:
        """Return the rows of squares from ``low`` up to ``high`` pixels."""
        return self.of((self.side_px >= low) & (self.side_px < high))


def scored(classifier: Classifier, looks: Iterable[Look]) -> Looks:
    """Score every crop at every input size."""
    ask, about, found, left = bear_score(classifier), list[Look](), list[NDArray[np.floating]](), iter(looks)
    while batch := list(islice(left, BATCH)):
        sized = zip(*(look.crops for look in batch), strict=True)
        found.append(np.stack([ask(np.stack(crops)) for crops in sized], axis=1))
        about += [look._replace(crops=[]) for look in batch]
    return Looks(
        np.array([look.source for look in about]),
        np.array([look.kind for look in about]),
        np.array([look.bear for look in about]),
        np.unique([look.picture for look in about], return_inverse=True)[1].astype(np.int64),
        np.array([look.side_px for look in about]),
        np.concatenate(found).astype(np.float64),
    )


def looks_at(rows: list[Row], context: float) -> Iterator[Look]:
    """Yield the crops of one part of the split."""
    source_of = {str(row.file): row.source for row in rows}
    for same in zip(*(views(sort_out(rows), size, context, SEED) for size in SIZES), strict=True):
        first = same[0]
        side_px = first.side_px * context
        yield Look(
            source_of[first.picture], "made far", first.bear, first.picture, side_px, [view.crop for view in same]
        )
    for row in rows:
        trail, rng = is_trail(row), np.random.default_rng([SEED, zlib.crc32(row.file.name.encode())])
        if is_bear(row.label) and trail and not row.boxes:
            continue
        image = read_picture(row.file)
        height, width = image.shape[:2]
        boxes: list[BoxXYWH] = [WHOLE]
        if trail and is_bear(row.label):
            boxes = [box for true in row.boxes for box in (true, *(moved(true, rng) for _ in range(MOVED)))]
        elif trail:
            sides = np.exp(rng.uniform(np.log(BINS[0][0]), np.log(min(width, height)), WINDOWS)) / context
            boxes = [
                (*rng.uniform(0, (1 - side / width, 1 - side / height)), side / width, side / height) for side in sides
            ]
        for box in boxes:
            kind = "trail camera" if trail else "whole picture"
            yield look_at(row.source, kind, is_bear(row.label), str(row.file), image, box, context)


def look_at(source: str, kind: str, bear: bool, name: str, image: Picture, box: BoxXYWH, context: float) -> Look:
    """Cut one region at every input size."""
    side = side_of(image, box, context)
    return Look(source, kind, bear, name, side, [cut(image, box, size, context) for size in SIZES])


def side_of(image: Picture, box: BoxXYWH, context: float) -> float:
    """Return the longer side in pixels of what ``cut`` takes of the picture."""
    size_wh = (image.shape[1], image.shape[0])
    return max(size_wh if box == WHOLE else square(box, size_wh, context)[2:])


def moved(box: BoxXYWH, rng: np.random.Generator) -> BoxXYWH:
    """Return a box as motion may give it: scaled by 0.9 to 1.25, and moved by a tenth at most."""
    left, top, width, height = box
    scale, (right, down) = rng.uniform(0.9, 1.25), rng.uniform(-0.1, 0.1, 2)
    x, y = left + width * (0.5 + right - scale / 2), top + height * (0.5 + down - scale / 2)
    return x, y, width * scale, height * scale


def looks_of_motion(clips: Iterable[Clip], context: float) -> Iterator[Look]:
    """Yield what moves in clips without a bear."""
    for clip in clips:
        motion, last = MotionFinder(), -EVERY_S
        with open_source(str(clip.file)) as source:
            for frame in source:
                regions = motion(frame).regions
                if frame.time - last < EVERY_S or not regions:
                    continue
                last = frame.time
                for region in regions:
                    name = clip.file.name
                    yield look_at(name, "motion in a clip", False, name, frame.image, region.box_xywh, context)


def split_again(classifier: Classifier) -> Split | None:
    """Make the bundled model's split again; None if these are not the pictures it was made from."""
    catalog = read_catalog(PICTURES)
    split = split_catalog(catalog, SEED, tune=TUNE, test=TEST)
    with tempfile.TemporaryDirectory() as scratch:
        digest = write_split(split, catalog.root, Path(scratch) / "split.csv")
    return split if digest == classifier.card.digests["split_sha256"] else None


def matched(tune: Looks, column: int, limit: float) -> float:
    """Fit the threshold where no more tuning crops without a bear pass than at ``limit`` with the default input."""
    passed = int((tune.score[~tune.bear, 0] >= limit).sum())
    return lowest_threshold(tune.score[:, column], tune.bear, passed)


def share(hits: NDArray[np.bool_]) -> str:
    """Write x of n, with Wilson's interval in percent."""
    rate = wilson(int(hits.sum()), len(hits))
    return "–" if rate is None else f"{rate.k} of {rate.n} ({100 * rate.low:.0f}–{100 * rate.high:.0f})"


def rows_of(bin_px: tuple[int, int], tune: Looks, test: Looks, limit: float) -> Iterator[str]:
    """Yield a row of the table for each input size."""
    tune, test = tune.between(*bin_px), test.between(*bin_px)
    reference = Answers(test.score[:, 0], limit)
    for column, size in enumerate(SIZES):
        score = test.score[:, column]
        own = Answers(score, limit if column == 0 else matched(tune, column, limit))
        one = score >= threshold_at(score[~test.bear], 0.01)
        trail = test.bear & (test.kind == "trail camera")
        cells = [share((score >= limit)[test.bear]), share((score >= limit)[~test.bear])]
        cells += [share(own.hit[test.bear]), share(own.hit[~test.bear]), share(own.hit[trail])]
        gate = "–"
        if column:
            _, upper = recall_loss(reference, own, test.bear, test.picture)
            lost, won = (
                int((test.bear & ok & ~other).sum())
                for ok, other in ((reference.hit, own.hit), (own.hit, reference.hit))
            )
            gate = f"{lost}, {won}, {100 * upper:.1f}: {'ok' if upper <= MAX_RECALL_LOSS else 'FAILS'}"
        yield f"| {bin_px[0]}–{bin_px[1]} | {size} | {' | '.join(cells)} | {gate} | {share(one[test.bear])} |"


def deciding(tune: Looks, test: Looks, limit: float, column: int) -> str:
    """Name the sources of the bears that a smaller input loses, and of the crops that newly pass for one."""
    lost, new = Counter[str](), Counter[str]()
    for bin_px in BINS[:-1]:
        part = test.between(*bin_px)
        default, score = part.score[:, 0] >= limit, part.score[:, column]
        lost.update(part.source[part.bear & default & (score < matched(tune.between(*bin_px), column, limit))])
        new.update(part.source[~part.bear & ~default & (score >= limit)])
    gone, added = ("; ".join(f"{name} {count}" for name, count in some.most_common(6)) for some in (lost, new))
    return f"- {SIZES[column]} px: bears lost of {gone}. False alarms added, uncalibrated, of {added}."


def cost_rows(classifier: Classifier) -> Iterator[str]:
    """Yield the cost of a crop at each input size, over that of the default: alone, and in a batch of four."""
    image = np.random.default_rng(SEED).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    spent: dict[tuple[int, int], list[int]] = {}
    for _ in range(ROUNDS):
        for size in SIZES:
            for count in (1, 4):
                started = time.thread_time_ns()
                classifier(np.stack([cut(image, (0.4, 0.4, 0.05, 0.08), size)] * count))
                spent.setdefault((size, count), []).append(time.thread_time_ns() - started)
    for size in SIZES:
        ratios = (median(spent[size, count]) / median(spent[DEFAULT, count]) for count in (1, 4))
        yield f"| {size} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |"


class Sized(Classifier):
    """The model with a smaller input for small squares, and the bear's log-odds moved by ``shift`` there."""

    def __init__(self, size: int, most_px: float, shift: float) -> None:
        super().__init__(BUNDLED)
        self.small, self.most_px, self.shift = size, most_px, shift

    def score(self, image: Picture, regions: Sequence[Region]) -> list[Score]:
        """Return what the model says of each region, in the same order."""
        return [self._of_one(image, region) for region in regions]

    def _of_one(self, image: Picture, region: Region) -> Score:
        small = side_of(image, region.box_xywh, self.card.crop.context) < self.most_px
        self.size = self.small if small else DEFAULT
        [score] = super().score(image, [region])
        return replace(score, bear=sigmoid(logit(score.bear) + self.shift)) if small and self.shift else score


def alarms(classifier: Classifier, clips: Iterable[Clip]) -> Iterator[str]:
    """Watch the demo and the clips; yield those with an alarm, and its times."""
    for file in (DEMO, *(clip.file for clip in clips)):
        events = watch_clip(classifier, file).events
        times = [event.media_time_s or 0.0 for event in events if (event.kind, event.type) == ("bear", "new")]
        if times:
            yield f"{file.stem}: {', '.join(f'{time:.1f}' for time in times)}"


def main() -> None:
    """Print tables, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", action="store_true")
    options = parser.parse_args()
    if not (PICTURES / MANIFEST).is_file():
        print(f"{PICTURES}: no table of pictures, nothing was measured; name a folder in BEAR_ALARM_PICTURES")
        return
    cv2.setNumThreads(1)
    classifier = Classifier(BUNDLED)
    limit, context = classifier.card.thresholds["crop"].value, classifier.card.crop.context
    split = split_again(classifier)
    if split is None:
        print(f"{PICTURES}: nothing was measured, for these are not the pictures that {classifier.name} was made from")
        return
    clips = read_clips(PICTURES / "videos" / "videos.csv")
    quiet = [clip for clip in clips if not clip.has_bear]
    tune = scored(classifier, looks_at(split["tune"], context))
    test = scored(classifier, chain(looks_at(split["test"], context), looks_of_motion(quiet, context)))
    print(f"{classifier.name}, {len(tune.bear):,} tuning crops, {len(test.bear):,} test crops\n")
    print(HEAD)
    for bin_px in BINS:
        print("\n".join(rows_of(bin_px, tune, test, limit)))
    print(f"\nSquares below {BINS[-1][0]} px:\n")
    for column in range(1, len(SIZES)):
        print(deciding(tune, test, limit, column))
    print("\n| input (px) | cost of one crop | of four in a batch |\n|---|---|---|")
    print("\n".join(cost_rows(classifier)), flush=True)
    if options.clips:
        print("\n| input of small squares (px) | clip: alarms (s) |\n|---|---|")
        small = tune.between(BINS[0][0], BINS[-1][0])
        for column, size in enumerate(SIZES):
            shift = logit(limit) - logit(matched(small, column, limit)) if column else 0.0
            print(f"| {size} | {'; '.join(alarms(Sized(size, BINS[-1][0], shift), clips))} |", flush=True)


if __name__ == "__main__":
    main()
