"""Figures of the far-bear benchmarks: recall at 1 % false positives, AUC, false positives by animal, x of n."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from train.evaluate.far_bears import BINS, Benchmark, Scores
from train.metrics.clustered import clustered_auc, clustered_rate
from train.metrics.rates import Auc, Rate, wilson
from train.metrics.recall import AtRate, recall_at, threshold_at

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
    return Figures(
        bins, dict(kinds), boxes, threshold, card_threshold, pictures, tuple(doubts(bins, found.min_crops, rate))
    )


def doubts(bins: Iterable[BinFigures], min_crops: int, rate: float = RATE) -> Iterator[str]:
    """Yield a sentence for each bin with fewer than ``min_crops`` crops, and for too few others for ``rate``."""
    few: dict[str, list[str]] = defaultdict(list)
    for one in bins:
        for what, crops, pictures in (
            ("bears", one.bears, one.bear_pictures),
            ("others", one.others, one.other_pictures),
        ):
            if crops < min_crops:
                yield f"{one.bin}: {crops} crops of {pictures} pictures of {what}, short of {min_crops}"
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
