"""The crops that out-of-domain scores are fitted and compared on: in-domain ones of a part, and outsiders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.detect.crops import cut
from edge.pictures import read_picture
from edge.schema import WHOLE, Picture
from train.data.outsiders import COVERED, Outsider, cover_lens, in_domain
from train.data.pictures import Picture as Row
from train.learning.backbones import Backbone
from train.learning.network import BearNet
from train.learning.pictures import Track
from train.learning.probe import CONTEXT, crops_of
from train.ood.features import Features, features_of

MOST_TO_FIT = 1500  # training pictures a method is fitted on; more moved no figure
MOST_OF_A_KIND = 300  # outsiders of one kind
COVERED_LENSES = 200
ROUND = 64  # pictures decoded before the network looks at their crops: memory stays small


@dataclass(frozen=True, eq=False)
class Sample:
    """Crops as the network sees them, and what they are of."""

    features: Features
    labels: tuple[str, ...]
    degraded: NDArray[np.bool_]  # (N,)
    pictures: NDArray[np.int64]  # (N,) which picture each is of

    def where(self, chosen: NDArray[np.bool_]) -> Sample:
        """The crops where ``chosen`` (N,)."""
        labels = tuple(label for label, keep in zip(self.labels, chosen, strict=True) if keep)
        return Sample(self.features.where(chosen), labels, self.degraded[chosen], self.pictures[chosen])


def sample_domain(
    net: BearNet, backbone: Backbone, rows: Sequence[Row], size: int, seed: int, track: Track, words: str, most: int = 0
) -> Sample:
    """In-domain crops of ``rows``, clean and degraded; outsiders are left out. ``most`` pictures, 0 for all."""
    rows = in_domain(rows)
    if most and len(rows) > most:
        chosen = np.random.default_rng([seed, 1]).choice(len(rows), most, replace=False)
        rows = [rows[n] for n in sorted(chosen)]
    labels, degraded, pictures, parts, waiting = [], [], [], [], list[Picture]()
    for number, row in enumerate(track(rows, words)):
        rng = np.random.default_rng([seed, 2, number])
        crops = crops_of(row, read_picture(row.file), size, CONTEXT, rng, degraded=1)
        waiting += crops
        labels += [row.label] * len(crops)
        degraded += [False] * (len(crops) - 1) + [True]
        pictures += [number] * len(crops)
        if len(waiting) >= ROUND:
            parts.append(features_of(net, backbone, np.stack(waiting)))
            waiting = []
    return Sample(_together(net, backbone, parts, waiting), tuple(labels), np.array(degraded, bool), np.array(pictures))


def sample_outsiders(
    net: BearNet,
    backbone: Backbone,
    outsiders: Sequence[Outsider],
    plain: Sequence[Row],
    size: int,
    seed: int,
    track: Track,
) -> tuple[Sample, NDArray[np.bool_]]:
    """One whole crop of each outsider, labelled by kind, and of ``plain`` pictures behind a covered lens; who was seen.

    A kind of more than ``MOST_OF_A_KIND`` pictures is drawn from, unseen pictures first.
    """
    chosen: list[Outsider] = []
    rng = np.random.default_rng([seed, 3])
    for kind in sorted({one.kind for one in outsiders}):
        these = [one for one in outsiders if one.kind == kind]
        order = sorted(rng.permutation(len(these)), key=lambda n: these[n].seen)
        chosen += [these[n] for n in sorted(order[:MOST_OF_A_KIND])]
    covered = [plain[n] for n in rng.permutation(len(plain))[:COVERED_LENSES]]
    chosen += [Outsider(COVERED, row.file, False) for row in covered]
    parts, waiting = [], list[Picture]()
    for number, one in enumerate(track(chosen, "looking at outsiders")):
        crop = cut(read_picture(one.file), WHOLE, size, CONTEXT)
        waiting.append(cover_lens(crop, np.random.default_rng([seed, 4, number])) if one.kind == COVERED else crop)
        if len(waiting) >= ROUND:
            parts.append(features_of(net, backbone, np.stack(waiting)))
            waiting = []
    count = len(chosen)
    kinds = tuple(one.kind for one in chosen)
    sample = Sample(_together(net, backbone, parts, waiting), kinds, np.zeros(count, bool), np.arange(count))
    return sample, np.array([one.seen for one in chosen], bool)


def _together(net: BearNet, backbone: Backbone, parts: list[Features], waiting: list[Picture]) -> Features:
    import torch

    if waiting:
        parts = [*parts, features_of(net, backbone, np.stack(waiting))]
    if not parts:
        return features_of(net, backbone, np.empty((0, 8, 8, 3), np.uint8))
    return Features(
        torch.cat([part.pooled for part in parts]),
        torch.cat([part.energy for part in parts]),
        torch.cat([part.top for part in parts]),
    )
