"""Benchmarks of far bears: held-out animals made far (A), and real bears of trail cameras at their true boxes (B).

A's crops show a subject so far away that it is a given number of pixels long. Only the camera degrades them: lens and
sensor average the light of an area (INTER_AREA), the animal is in another place, the file is JPEG. Darkness, blur,
noise and infrared are left to training (``train.learn.augmentation``): a benchmark with the same code would only
measure how well that was learned. Figures: recall at 1 % false positives, AUC, false positives by animal, x of n.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detect.classifier import Classifier
from edge.detect.crops import cut
from edge.errors import PictureError
from edge.pictures import read_picture
from edge.schema import WHOLE, BoxXYWH
from edge.schema import Picture as Image
from train.data.pictures import Picture, is_bear
from train.evaluate.subjects import Score, Subjects, as_jpeg, bear_score, kind_of, longer_side, sort_out
from train.metrics.rates import AtRate, Auc, Rate, clustered_auc, clustered_rate, recall_at, threshold_at, wilson

# Range of the subject's longer side in pixels, log-uniform.
BINS: dict[str, tuple[float, float]] = {
    "<27 px": (16.0, 27.0),
    "27-45 px": (27.0, 45.0),
    "45-90 px": (45.0, 90.0),
    ">90 px": (90.0, 160.0),
}

MIN_CROPS = 300  # in each bin, of bears and of others
JPEG_QUALITY = (60, 90)  # as of trail and network cameras
RIM = 0.08  # blended edge, as a share of the subject's shorter side
AROUND = 2.0  # the rendered place's side over the subject's longer side
READ = 64  # decoded pictures in memory


@dataclass(frozen=True)
class View:
    """One crop of the benchmark, with its facts."""

    crop: Image  # (size, size, 3) BGR
    bin: str
    bear: bool
    picture: str  # the original picture: crops of one are not independent
    kind: str  # animal, toy, or the bear's label
    side_px: float


def bin_of(side_px: float) -> str:
    """Find the size bin of a box by its longer side in pixels."""
    return next((name for name, (_, most) in list(BINS.items())[:-1] if side_px < most), list(BINS)[-1])


def views(subjects: Subjects, size: int, context: float, seed: int) -> Iterator[View]:
    """Make benchmark A's crops, the same for every model with this input ``size`` and crop ``context``.

    Each subject occurs equally often in a bin, for at least ``MIN_CROPS`` crops; nothing is enlarged. If only some
    subjects are large enough for a bin, they occur more often; if none is, the bin has too few crops. Pictures that
    cannot be read are skipped.
    """
    read = reader()
    for side in (subjects.bears, subjects.others):
        boxes = sum(max(len(picture.boxes), 1) for picture in side)
        copies = -(-MIN_CROPS // boxes)
        made: dict[str, Counter[Path]] = {name: Counter() for name in BINS}
        for picture in side:
            for view in of_picture(
                picture, subjects.places, read, size, context, seed, dict.fromkeys(BINS, (0, copies))
            ):
                made[view.bin][picture.file] += 1
                yield view
        more = {
            name: (copies, copies + -(-(MIN_CROPS - found.total()) * copies // found.total()))
            for name, found in made.items()
            if 0 < found.total() < MIN_CROPS
        }
        for picture in side:
            reached = {name: wanted for name, wanted in more.items() if made[name][picture.file]}
            if reached:
                yield from of_picture(picture, subjects.places, read, size, context, seed, reached)


def of_picture(
    picture: Picture,
    places: Sequence[Picture],
    read: Callable[[Path], Image],
    size: int,
    context: float,
    seed: int,
    wanted: Mapping[str, tuple[int, int]],
) -> Iterator[View]:
    """Make the crops of one picture in each bin, for a range of copy numbers; none if it is unreadable."""
    try:
        image = read(picture.file)
    except PictureError:
        return
    for number, box in enumerate(picture.boxes or (WHOLE,)):
        subject = take(image, box)
        for name, copies in wanted.items():
            low, high = BINS[name]
            for copy in range(*copies):
                # Seeded by picture, box, bin and copy, so that another picture changes no crops.
                rng = np.random.default_rng(
                    [seed, zlib.crc32(picture.file.name.encode()), number, list(BINS).index(name), copy]
                )
                side_px = float(np.exp(rng.uniform(np.log(low), np.log(high))))
                if side_px > max(subject.shape[:2]):
                    side_px = float(max(subject.shape[:2]))
                    if side_px < low:
                        continue
                place = _place(places, picture, read, rng)
                if place is None:
                    continue
                yield View(
                    crop=render(subject, place, side_px, size, context, rng),
                    bin=name,
                    bear=is_bear(picture.label),
                    picture=str(picture.file),
                    kind=picture.named or picture.label if is_bear(picture.label) else kind_of(picture),
                    side_px=side_px,
                )


def real_views(pictures: Sequence[Picture], size: int, context: float) -> Iterator[View]:
    """Make benchmark B's crops: trail-camera bears, cut at their true boxes."""
    for picture in pictures:
        try:
            image = read_picture(picture.file)
        except PictureError:
            continue
        for box in picture.boxes:
            side_px = longer_side(box, image)
            crop = cut(image, box, size, context)
            name = str(picture.file)
            yield View(crop, bin_of(side_px), True, name, picture.named or picture.label, side_px)


def take(image: Image, box_xywh: BoxXYWH) -> Image:
    """Cut the box's pixels, uint8 (h, w, 3)."""
    height, width = image.shape[:2]
    left, top, w, h = box_xywh
    x, y = min(round(left * width), width - 1), min(round(top * height), height - 1)
    return image[y : max(y + 1, round((top + h) * height)), x : max(x + 1, round((left + w) * width))]


def render(subject: Image, place: Image, side_px: float, size: int, context: float, rng: np.random.Generator) -> Image:
    """Render ``subject``, ``side_px`` long, in ``place``, and cut it as the alarm cuts a region: (size, size, 3).

    The place keeps its scale: a random window of ``AROUND`` times the subject.
    """
    scale = side_px / max(subject.shape[:2])
    w, h = (max(4, round(length * scale)) for length in (subject.shape[1], subject.shape[0]))
    small = cv2.resize(subject, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
    if rng.random() < 0.5:
        small = small[:, ::-1]
    scene = window(place, round(max(w, h) * AROUND), rng).astype(np.float32)
    side = scene.shape[0]
    x, y = (side - w) // 2, (side - h) // 2
    alpha = feather(h, w)
    scene[y : y + h, x : x + w] = alpha * small + (1 - alpha) * scene[y : y + h, x : x + w]
    shown = np.clip(np.rint(scene), 0, 255).astype(np.uint8)
    photograph = as_jpeg(shown, int(rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1)))
    return cut(photograph, (x / side, y / side, w / side, h / side), size, context)


def feather(height: int, width: int) -> np.ndarray:
    """Return the subject's weight, 1 inside and falling towards its rim: (height, width, 1)."""
    rim = max(1.0, RIM * min(height, width))
    across, down = (np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) for n in (width, height))
    alpha = np.minimum(np.clip(across / rim, 0, 1)[None, :], np.clip(down / rim, 0, 1)[:, None])
    return alpha[..., None].astype(np.float32)


def window(place: Image, side: int, rng: np.random.Generator) -> Image:
    """Take a random square window (side, side, 3) of a place, mirrored at its borders if it is too small."""
    height, width = place.shape[:2]
    down, right = max(0, side - height), max(0, side - width)
    if down or right:
        place = np.asarray(cv2.copyMakeBorder(place, 0, down, 0, right, cv2.BORDER_REFLECT_101), np.uint8)
        height, width = place.shape[:2]
    x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    return place[y : y + side, x : x + side].copy()


def reader() -> Callable[[Path], Image]:
    """Return a ``read_picture`` with a cache: places are few and used many times."""
    return lru_cache(maxsize=READ)(read_picture)


def _place(
    places: Sequence[Picture], subject: Picture, read: Callable[[Path], Image], rng: np.random.Generator
) -> Image | None:
    """Return a random readable place for a subject, other than the subject itself."""
    for index in rng.permutation(len(places)):
        if places[index].file == subject.file:
            continue
        try:
            return read(places[index].file)
        except PictureError:
            continue
    return None


SEED = 20261128
BATCH = 32
NO_CROP = np.empty((0, 0, 3), np.uint8)  # in a view after it was scored

Follow = Callable[[Iterable[View]], Iterable[View]]  # a progress bar around the crops, or plain iter


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of some crops, one row each."""

    score: NDArray[np.float64]  # (N,) bear probability
    bear: NDArray[np.bool_]  # (N,)
    picture: NDArray[np.int64]  # (N,) number of the original picture
    bin: tuple[str, ...]
    kind: tuple[str, ...]
    side_px: NDArray[np.float64]  # (N,)

    def where(self, chosen: NDArray[np.bool_]) -> Scores:
        """Return the rows where ``chosen``."""
        kept = np.flatnonzero(chosen)

        def some(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[row] for row in kept)

        return Scores(
            self.score[kept],
            self.bear[kept],
            self.picture[kept],
            some(self.bin),
            some(self.kind),
            self.side_px[kept],
        )

    def in_bin(self, name: str) -> Scores:
        """Return the rows of one size bin."""
        return self.where(np.array([one == name for one in self.bin], bool))

    def of_kind(self, name: str) -> Scores:
        """Return the rows of one kind of subject."""
        return self.where(np.array([one == name for one in self.kind], bool))


@dataclass(frozen=True)
class Benchmark:
    """Both benchmarks' scores of one model."""

    made: Scores  # A
    real: Scores  # B


def benchmark_scores(
    model: Classifier | Score,
    pictures: Iterable[Picture],
    *,
    size: int = 224,
    context: float = 1.1,
    seed: int = SEED,
    follow: Follow = iter,
) -> Benchmark:
    """Score both benchmarks of held-out ``pictures``; a Classifier has its own ``size`` and ``context``.

    The crops depend only on pictures, size, context and seed, so two models get the same ones, in the same order.
    Raises CatalogError if no bears or no other animals fill the frame.
    """
    if isinstance(model, Classifier):
        size, context = model.size, model.card.crop.context
    score = bear_score(model) if isinstance(model, Classifier) else model
    subjects = sort_out(pictures)
    return Benchmark(
        made=score_views(score, follow(views(subjects, size, context, seed))),
        real=score_views(score, real_views(subjects.real, size, context)),
    )


def score_views(score: Score, crops: Iterable[View]) -> Scores:
    """Score crops batch by batch: all of them at once would take a gigabyte."""
    found: list[NDArray[np.floating]] = []
    about: list[View] = []
    for batch in batches(crops):
        found.append(np.asarray(score(np.stack([view.crop for view in batch]))))
        about += [replace(view, crop=NO_CROP) for view in batch]
    names = {name: number for number, name in enumerate(dict.fromkeys(view.picture for view in about))}
    return Scores(
        score=np.concatenate(found).astype(np.float64) if found else np.empty(0),
        bear=np.array([view.bear for view in about], bool),
        picture=np.array([names[view.picture] for view in about], np.int64),
        bin=tuple(view.bin for view in about),
        kind=tuple(view.kind for view in about),
        side_px=np.array([view.side_px for view in about], np.float64),
    )


def batches(crops: Iterable[View]) -> Iterator[list[View]]:
    """Yield ``BATCH`` crops at a time."""
    some: list[View] = []
    for view in crops:
        some.append(view)
        if len(some) == BATCH:
            yield some
            some = []
    if some:
        yield some


RATE = 0.01
TARGETS = {"27-45 px": 0.85, "45-90 px": 0.95, ">90 px": 0.95}  # targets of recall at 1 %


@dataclass(frozen=True)
class BinFigures:
    """Benchmark A in one size bin."""

    bin: str
    bears: int  # crops
    bear_pictures: int
    others: int
    other_pictures: int
    own: AtRate | None  # at 1 % false positives of the bin's others
    together: AtRate | None  # at 1 % false positives of all bins' others together
    auc: Auc | None
    alarm_recall: Rate | None  # at the card's crop threshold
    alarm_false_positives: Rate | None


@dataclass(frozen=True)
class Real:
    """Benchmark B in one size bin: x of n boxes, as counts because the cameras are few."""

    bin: str
    boxes: int
    at_card: Rate | None
    at_own: Rate | None  # at A's threshold of 1 % false positives in this bin
    at_together: Rate | None


@dataclass(frozen=True)
class Figures:
    """Both benchmarks."""

    bins: tuple[BinFigures, ...]
    kinds: dict[str, dict[str, Rate]]  # kind of subject -> bin -> false positives at ``threshold``
    real: tuple[Real, ...]
    threshold: float  # of 1 % false positives of all bins' others together
    card_threshold: float
    kind_pictures: dict[str, int]  # kind of subject -> number of original pictures
    doubts: tuple[str, ...]  # in words: too few crops or others in a bin, sources that the model has seen


def figures(found: Benchmark, card_threshold: float, rate: float = RATE) -> Figures:
    """Make all figures at ``rate`` false positives, and at the model's own crop threshold."""
    made, real = found.made, found.real
    threshold = threshold_at(made.score[~made.bear], rate)
    bins = tuple(bin_figures(name, made, threshold, card_threshold, rate) for name in BINS)
    kinds: dict[str, dict[str, Rate]] = defaultdict(dict)
    for kind in sorted({kind for kind, bear in zip(made.kind, made.bear, strict=True) if not bear}):
        of_kind = made.of_kind(kind)
        of_kind = of_kind.where(~of_kind.bear)
        for name in BINS:
            inside = of_kind.in_bin(name)
            passed = clustered_rate(inside.score >= threshold, inside.picture)
            if passed is not None:
                kinds[kind][name] = passed
    owns = {one.bin: one.own.threshold for one in bins if one.own is not None}
    boxes = tuple(
        Real(
            bin=name,
            boxes=len(inside.score),
            at_card=count(inside, card_threshold),
            at_own=count(inside, owns[name]) if name in owns else None,
            at_together=count(inside, threshold),
        )
        for name in BINS
        for inside in (real.in_bin(name),)
    )
    pictures = {kind: len(np.unique(made.of_kind(kind).picture)) for kind in kinds}
    return Figures(bins, dict(kinds), boxes, threshold, card_threshold, pictures, tuple(doubts(bins, rate)))


def doubts(bins: Iterable[BinFigures], rate: float) -> Iterator[str]:
    """Yield a sentence for each bin with fewer than ``MIN_CROPS`` crops, and for too few others for ``rate``."""
    few: dict[str, list[str]] = defaultdict(list)
    for one in bins:
        for what, crops, pictures in (
            ("bears", one.bears, one.bear_pictures),
            ("others", one.others, one.other_pictures),
        ):
            if crops < MIN_CROPS:
                yield f"{one.bin}: {crops} crops of {pictures} pictures of {what}, short of {MIN_CROPS}"
        if one.own is not None and one.own.too_few:
            few[f"{one.other_pictures} pictures"].append(one.bin)
    for many, names in few.items():
        wanted = f"too few others for {100 * rate:g} % ({many}, {3 / rate:.0f} are needed)"
        yield f"{', '.join(names)}: {wanted}; on other pictures several times as many may pass this threshold"


def bin_figures(name: str, made: Scores, threshold: float, card_threshold: float, rate: float) -> BinFigures:
    """Make benchmark A's figures in one bin; ``threshold`` is that of all bins together."""
    inside = made.in_bin(name)
    bears, others = inside.where(inside.bear), inside.where(~inside.bear)
    return BinFigures(
        bin=name,
        bears=len(bears.score),
        bear_pictures=len(np.unique(bears.picture)),
        others=len(others.score),
        other_pictures=len(np.unique(others.picture)),
        own=recall_at(bears.score, others.score, bears.picture, others.picture, rate),
        together=at_all(made, bears, others, threshold, rate),
        auc=clustered_auc(bears.score, others.score, bears.picture, others.picture),
        alarm_recall=clustered_rate(bears.score >= card_threshold, bears.picture),
        alarm_false_positives=clustered_rate(others.score >= card_threshold, others.picture),
    )


def at_all(made: Scores, bears: Scores, others: Scores, threshold: float, rate: float) -> AtRate | None:
    """Measure this bin's recall and false positives at the threshold of all bins' others."""
    every = made.where(~made.bear)
    found = recall_at(bears.score, every.score, bears.picture, every.picture, rate)
    passed = clustered_rate(others.score >= threshold, others.picture)
    return None if found is None or passed is None else replace(found, false_positives=passed)


def count(scores: Scores, threshold: float) -> Rate | None:
    """Count the scores at or above a threshold."""
    return wilson(int((scores.score >= threshold).sum()), len(scores.score))
