"""Pictures cut into folds of whole sources, else of whole groups. Needs no torch."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.errors import CatalogError
from train.data.pictures import Picture, is_bear

FOLDS = 5


def cut_into_folds(pictures: Sequence[Picture], seed: int, count: int = FOLDS) -> tuple[NDArray[np.intp], str]:
    """The fold of each picture, (N,) 0 to ``count`` - 1, and what was kept whole: "source" or "unit" (a group).

    Whatever fold is held out, the rest has bears and others. Raises CatalogError where no such folds exist.
    """
    for by in ("source", "unit"):
        names = [str(getattr(picture, by)) for picture in pictures]
        if len(set(names)) >= count:
            folds = _deal(pictures, names, seed, count)
            if _each_can_learn(pictures, folds, count):
                return folds, by
    raise CatalogError(
        f"too few groups to judge labels by pictures of others: it takes {count} sources, cameras or bursts or more, "
        "bears and others in at least two of them; put each camera's pictures into a sub-folder of its own"
    )


def _deal(pictures: Sequence[Picture], names: Sequence[str], seed: int, count: int) -> NDArray[np.intp]:
    """Whole units, largest first, each to the fold that then is the least full of what the unit brings."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(names):
        members[name].append(number)
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: -len(members[name]))
    bears = np.array([is_bear(picture.label) for picture in pictures])
    total = np.maximum([(~bears).sum(), bears.sum()], 1)
    filled = np.zeros((count, 2))
    folds = np.zeros(len(pictures), np.intp)
    for name in order:
        brings = np.array([(~bears[members[name]]).sum(), bears[members[name]].sum()])
        after = (filled + brings) / total  # (folds, 2)
        fold = int(np.argmin(np.where(brings > 0, after, 0).max(axis=1) + 1e-3 * after.sum(axis=1)))
        filled[fold] += brings
        folds[members[name]] = fold
    return folds


def _each_can_learn(pictures: Sequence[Picture], folds: NDArray[np.intp], count: int) -> bool:
    bears = np.array([is_bear(picture.label) for picture in pictures])
    return all(bears[folds != fold].any() and (~bears[folds != fold]).any() for fold in range(count))
