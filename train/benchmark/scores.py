"""A model's scores on the benchmark: one pass, kept as plain arrays from which every figure follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.detect.classifier import Classifier
from train.benchmark.subjects import sort_out
from train.benchmark.views import LEAST, View, real_views, views
from train.data.pictures import Picture

SEED = 20261128
BATCH = 32
Score = Callable[[NDArray[np.uint8]], NDArray[np.floating]]  # crops (N, size, size, 3) BGR -> p(bear) (N,)
Follow = Callable[[Iterable[View]], Iterable[View]]  # a progress bar around the crops, or plain iter


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model says of some crops, one row each."""

    score: NDArray[np.float64]  # (N,) bear probability
    bear: NDArray[np.bool_]  # (N,)
    picture: NDArray[np.int64]  # (N,) which original picture
    bin: tuple[str, ...]
    source: tuple[str, ...]
    kind: tuple[str, ...]
    side_px: NDArray[np.float64]  # (N,)

    def where(self, chosen: NDArray[np.bool_]) -> Scores:
        """The rows where ``chosen``."""
        kept = np.flatnonzero(chosen)

        def some(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[row] for row in kept)

        return Scores(
            self.score[kept],
            self.bear[kept],
            self.picture[kept],
            some(self.bin),
            some(self.source),
            some(self.kind),
            self.side_px[kept],
        )

    def in_bin(self, name: str) -> Scores:
        """The rows of one size bin."""
        return self.where(np.array([one == name for one in self.bin], bool))

    def of_kind(self, name: str) -> Scores:
        """The rows of one kind of subject."""
        return self.where(np.array([one == name for one in self.kind], bool))


@dataclass(frozen=True)
class Benchmark:
    """Both benchmarks' scores of one model."""

    made: Scores  # A
    real: Scores  # B
    least: int = LEAST  # crops a bin that A was to have, of bears and of others


def benchmark_scores(
    model: Classifier | Score,
    pictures: Iterable[Picture],
    *,
    size: int = 224,
    context: float = 1.1,
    seed: int = SEED,
    least: int = LEAST,
    follow: Follow = iter,
) -> Benchmark:
    """Scores on both benchmarks of held-out ``pictures``; a Classifier brings its own ``size`` and ``context``.

    The crops depend on pictures, size, context and seed alone, so two models see the same ones, in the same
    order. Raises CatalogError where the pictures hold no bears or no other animals that fill the frame.
    """
    if isinstance(model, Classifier):
        size, context = model.size, model.card.crop.context
    score = bear_score(model) if isinstance(model, Classifier) else model
    subjects = sort_out(pictures)
    return Benchmark(
        made=score_views(score, follow(views(subjects, size, context, seed, least))),
        real=score_views(score, real_views(subjects.real, size, context)),
        least=least,
    )


def bear_score(classifier: Classifier) -> Score:
    """The classifier as a function from crops to bear probabilities."""
    columns = list(classifier.card.alarm_columns)

    def score(crops: NDArray[np.uint8]) -> NDArray[np.floating]:
        return np.minimum(classifier(crops)[0][:, columns].sum(axis=1), 1.0)

    return score


def score_views(score: Score, crops: Iterable[View]) -> Scores:
    """The scores of some crops, cut and scored batch by batch: all of them at once would take a gigabyte."""
    found: list[NDArray[np.floating]] = []
    about: list[View] = []
    for batch in batches(crops):
        found.append(np.asarray(score(np.stack([view.crop for view in batch]))))
        about += [View(NOTHING, *_facts(view)) for view in batch]
    names = {name: number for number, name in enumerate(dict.fromkeys(view.picture for view in about))}
    return Scores(
        score=np.concatenate(found).astype(np.float64) if found else np.empty(0),
        bear=np.array([view.bear for view in about], bool),
        picture=np.array([names[view.picture] for view in about], np.int64),
        bin=tuple(view.bin for view in about),
        source=tuple(view.source for view in about),
        kind=tuple(view.kind for view in about),
        side_px=np.array([view.side_px for view in about], np.float64),
    )


NOTHING = np.empty((0, 0, 3), np.uint8)


def _facts(view: View) -> tuple[str, bool, str, str, str, float]:
    return view.bin, view.bear, view.picture, view.source, view.kind, view.side_px


def batches(crops: Iterable[View]) -> Iterator[list[View]]:
    """``BATCH`` crops at a time."""
    some: list[View] = []
    for view in crops:
        some.append(view)
        if len(some) == BATCH:
            yield some
            some = []
    if some:
        yield some
