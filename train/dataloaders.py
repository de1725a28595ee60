"""Catalogue -> fastai DataLoaders: crops from boxes, random-resized crops, the field's look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from fastai.data.block import CategoryBlock, DataBlock, TransformBlock
from fastai.data.core import DataLoaders, TfmdDL
from fastai.data.transforms import IndexSplitter, IntToFloatTensor, Normalize
from fastai.vision.augment import RandomResizedCrop, aug_transforms
from fastai.vision.core import PILImage
from fasttransform import Transform

from train.backbones import Backbone
from train.catalog import TRAINING_LABELS, is_bear
from train.catalog import Picture as Row
from train.field import degrade
from train.pictures import Example, PictureCache, examples_of

DEGRADED_SHARE = 0.5
# How often each kind of picture is drawn in an epoch, whatever its number.
KIND_SHARES = {"bear": 0.40, "teddy_bear": 0.10, "no_bear": 0.50}


class OpenExample(Transform):
    """Example -> PILImage."""

    def __init__(self, cache: PictureCache):
        super().__init__()
        self.read = cache

    def encodes(self, example: Example) -> PILImage:
        """The example's pixels, RGB."""
        return PILImage.create(np.ascontiguousarray(self.read(example)[..., ::-1]))


class FieldLook(Transform):
    """Degrades a share of the training crops as the field does (``train.field``), after the crop."""

    order = 2  # RandomResizedCrop is 1
    split_idx = 0  # training only

    def __init__(self, share: float = DEGRADED_SHARE):
        super().__init__()
        self.share = share

    def encodes(self, image: PILImage) -> PILImage:
        """The picture, degraded with probability ``share``; draws from numpy's seeded generator."""
        rng = np.random.default_rng(np.random.randint(2**31))
        if rng.random() >= self.share:
            return image
        bgr = np.ascontiguousarray(np.asarray(image)[..., ::-1])
        return PILImage.create(np.ascontiguousarray(degrade(bgr, rng)[..., ::-1]))


def get_label(example: Example) -> str:
    """The example's label."""
    return example.label


def block(backbone: Backbone, split_at: int, size: int, cache: PictureCache) -> DataBlock:
    """The DataBlock: the first ``split_at`` items train, the rest tune."""

    def after(items: Sequence[Example]) -> tuple[list[int], list[int]]:
        return IndexSplitter(list(range(split_at, len(items))))(items)

    return DataBlock(
        blocks=(
            TransformBlock(type_tfms=[OpenExample(cache)], batch_tfms=[IntToFloatTensor]),
            CategoryBlock(vocab=list(TRAINING_LABELS), sort=False),
        ),
        get_y=get_label,
        splitter=after,
        item_tfms=[RandomResizedCrop(size, min_scale=0.35, ratio=(0.6, 1.67)), FieldLook()],
        batch_tfms=[
            *aug_transforms(
                max_rotate=10.0, max_zoom=1.15, max_lighting=0.3, max_warp=0.15, p_affine=0.5, p_lighting=0.6
            ),
            Normalize.from_stats(list(backbone.mean), list(backbone.std), cuda=False),
        ],
    )


class BalancedDL(TfmdDL):
    """Draws ``per_epoch`` examples an epoch, with replacement, by weight (numpy's seeded generator)."""

    def __init__(self, dataset: Any = None, weights: Sequence[float] = (), per_epoch: int = 0, **kwargs: Any):
        self.weights, self.per_epoch = np.asarray(weights, float), per_epoch
        super().__init__(dataset=dataset, **kwargs)

    def get_idxs(self) -> list[int]:
        """Positions in the set, one a draw; in order and once each where there are no weights (tuning)."""
        if not self.per_epoch:
            order: list[int] = super().get_idxs()
            return order
        return list(np.random.choice(len(self.weights), self.per_epoch, p=self.weights / self.weights.sum()))

    def __len__(self) -> int:
        # The last, partial training batch is dropped.
        return self.per_epoch // self.bs if self.per_epoch else super().__len__()


def make_dataloaders(
    train: Sequence[Row],
    tune: Sequence[Row],
    backbone: Backbone,
    *,
    batch: int,
    per_epoch: int,
    size: int,
    cache: PictureCache | None = None,
) -> DataLoaders:
    """Training and tuning DataLoaders; an epoch draws ``per_epoch`` examples, balanced by kind.

    Everything runs in this process (no workers): the cache of decoded pictures is shared and the
    order of random draws is fixed.
    """
    learn_from, tune_on = examples_of(train), examples_of(tune)
    db = block(backbone, len(learn_from), size, cache or PictureCache())
    datasets = db.datasets([*learn_from, *tune_on])
    drawing = {"weights": sampling_weights(learn_from), "per_epoch": max(per_epoch, batch)}
    dls: DataLoaders = datasets.dataloaders(
        bs=batch,
        dl_type=BalancedDL,
        dl_kwargs=(drawing, {}),
        num_workers=0,
        device=torch.device("cpu"),
        after_item=db.item_tfms,
        after_batch=db.batch_tfms,
    )
    return dls


def sampling_weights(examples: Sequence[Example]) -> list[float]:
    """A weight an example such that the kinds are drawn as ``KIND_SHARES`` says."""
    kinds = ["bear" if is_bear(example.label) else example.label for example in examples]
    counts = Counter(kinds)
    return [KIND_SHARES[kind] / counts[kind] for kind in kinds]
