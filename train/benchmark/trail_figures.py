"""The figures of the trail-camera benchmark, from its frames alone: x of n, each with a 95 % interval over cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from train.benchmark.trail_cameras import Frame
from train.metrics import AtRate, Rate, clustered_rate, recall_at, threshold_at

RATES = (0.005, 0.01, 0.02)  # of the others that may pass
LEAST_PASSED = 3  # false alarms that a rate must allow: on fewer a threshold hangs on chance
RATE = 0.01  # of the rows by light, size and what hides the bear
NO_END = 10**9
SIZES_PX = (0, 27, 45, 90, 180, NO_END)
FAR_SIZES_PX = (45, 27, 0)


@dataclass(frozen=True)
class Row:
    """Some frames at the models' own thresholds, and where 1 % of all others pass."""

    what: str
    own: Rate
    at_rate: Rate | None  # None where the others are too few for the rate


@dataclass(frozen=True)
class TrailFigures:
    """All figures of one model, or of the folds of one recipe pooled."""

    models: tuple[str, ...]
    rates: dict[str, AtRate]  # "1 %" -> recall there; only rates that three false alarms support
    bears: tuple[Row, ...]
    others: tuple[Row, ...]  # taken for a bear
    at_boxes: tuple[Row, ...]  # crops at the true boxes, at the crop threshold; ``at_rate`` is None
    beside: Rate | None  # frames with a bear in which something that touches no box is taken for one, own threshold
    far: tuple[Row, ...]  # the far camera
    missed: tuple[tuple[str, str], ...]  # bears below the threshold of 1 %: file, light and what hides it; best first
    decide: tuple[str, ...]  # the others that decide that threshold, the highest first


def trail_figures(frames: Iterable[Frame]) -> TrailFigures:
    """Make every figure; scores of several models are pooled as they are."""
    frames = list(frames)
    bears, others = (
        [one for one in frames if one.part == "trail camera" and one.bear == bear] for bear in (True, False)
    )
    scores, passing = (np.array([one.score for one in side], float) for side in (bears, others))
    of, other_of = (np.array([one.camera for one in side], str) for side in (bears, others))
    rates = {
        f"{100 * rate:g} %": at
        for rate in RATES
        if supported(rate, len(others)) and (at := recall_at(scores, passing, of, other_of, rate)) is not None
    }
    limit = threshold_at(passing, RATE) if supported(RATE, len(others)) else None
    found, taken = ({what: list(some) for what, some in parts} for parts in (_bears(bears), _others(others)))
    far = [one for one in frames if one.part.startswith("far")]
    boxed = [one for one in bears if one.boxes]
    by_score = sorted((one for one in bears if limit is not None and one.score < limit), key=lambda one: -one.score)
    top = sorted(others, key=lambda one: -one.score)[: int(RATE * len(others)) + 1] if limit is not None else []
    return TrailFigures(
        models=tuple(dict.fromkeys(one.model for one in frames)),
        rates=rates,
        bears=tuple(_rows(found, limit)),
        others=tuple(_rows(taken, limit)),
        at_boxes=tuple(_at_boxes(bears)),
        beside=clustered_rate(
            [any(score >= one.threshold for score in one.beside) for one in boxed], [one.camera for one in boxed]
        ),
        far=tuple(_rows({what: list(some) for what, some in _far(far)}, limit)),
        missed=tuple((one.file, " ".join((one.light, *one.hidden))) for one in by_score),
        decide=tuple(one.file for one in top),
    )


def supported(rate: float, others: int) -> bool:
    """Return True if so many others allow this rate at least ``LEAST_PASSED`` false alarms."""
    return rate * others >= LEAST_PASSED - 1e-9


def in_words(low: float, high: float) -> str:
    """Say a span of sizes: ``45 to 89 px``."""
    return f"{low:g} px and more" if high == NO_END else f"{low:g} to {high - 1:g} px"


def _bears(bears: Sequence[Frame]) -> Iterator[tuple[str, Iterable[Frame]]]:
    yield "all", bears
    for light in ("colour", "flash", "grey", "infrared"):
        yield (
            {"flash": "flash at night", "grey": "grey by day"}.get(light, light),
            [b for b in bears if b.light == light],
        )
    yield "grey or infrared by the table", [one for one in bears if one.grey]
    for low, high in pairwise(SIZES_PX):
        yield in_words(low, high), [one for one in bears if low <= one.side_px < high]
    if any(one.hidden for one in bears):
        for what in ("rim", "grass", "blur", "haze", "dark", "overexposed", "small"):
            yield f"hidden by: {what}", [one for one in bears if what in one.hidden]
        yield "hidden by nothing", [one for one in bears if not one.hidden]
    yield from _squashed(bears)


def _others(others: Sequence[Frame]) -> Iterator[tuple[str, Iterable[Frame]]]:
    yield "all", others
    for what, grey in (("colour", False), ("grey or infrared", True)):
        yield what, [one for one in others if one.grey == grey]
    yield "night", [one for one in others if one.night]
    yield "hogs, cattle and dogs", [one for one in others if one.dark_animal]
    yield from _squashed(others)


def _squashed(frames: Sequence[Frame]) -> Iterator[tuple[str, Iterable[Frame]]]:
    yield "squashed to 256 × 256", [one for one in frames if one.squashed]
    yield "not squashed", [one for one in frames if not one.squashed]


def _far(far: Sequence[Frame]) -> Iterator[tuple[str, Iterable[Frame]]]:
    for low, high in pairwise((NO_END, *FAR_SIZES_PX)):
        windows = [one for one in far if one.part == "far window" and high <= one.side_px < low]
        yield f"far camera, windows, {in_words(high, low)}", windows
    yield "far camera, whole frames", [one for one in far if one.part == "far frame"]


def _rows(parts: dict[str, list[Frame]], limit: float | None) -> Iterator[Row]:
    """Yield a row for each part that holds frames."""

    def rate(some: Sequence[Frame], passes: Callable[[Frame], bool]) -> Rate | None:
        return clustered_rate([passes(one) for one in some], [one.camera for one in some])

    for what, some in parts.items():
        own = rate(some, lambda one: one.alarm)
        if own is not None:
            yield Row(what, own, None if limit is None else rate(some, lambda one: one.score >= limit))


def _at_boxes(bears: Sequence[Frame]) -> Iterator[Row]:
    kinds = {"all", "colour", "grey or infrared by the table", *(in_words(*span) for span in pairwise(SIZES_PX))}
    for what, some in _bears(bears):
        boxes = [(score >= one.box_threshold, one.camera) for one in some for score in one.boxes]
        found = clustered_rate([hit for hit, _ in boxes], [where for _, where in boxes])
        if found is not None and what in kinds:
            yield Row(what, found, None)
