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
from fastai.vision.augment import PadMode, RandomResizedCrop, Resize, ResizeMethod, aug_transforms
from fastai.vision.core import PILImage
from fasttransform import Transform

from train.catalog.picture import TRAINING_LABELS, is_bear
from train.catalog.picture import Picture as Row
from train.learning.backbones import Backbone
from train.learning.field import degrade
from train.learning.pictures import Example, PictureCache, examples_of
from train.learning.recipe import Recipe
from train.learning.zoom_out import ZoomOut

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
    """Degrades a share of the training crops as the field does (``train.learning.field``), after the crop."""

    order = 3  # RandomResizedCrop is 1, ZoomOut 2
    split_idx = 0  # training only

    def __init__(self, share: float = 0.5):
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


def block(
    backbone: Backbone, split_at: int, recipe: Recipe, cache: PictureCache, places: Sequence[Example] = ()
) -> DataBlock:
    """The DataBlock: the first ``split_at`` items train, the rest tune. ``places``: pictures without a bear."""

    def after(items: Sequence[Example]) -> tuple[list[int], list[int]]:
        return IndexSplitter(list(range(split_at, len(items))))(items)

    return DataBlock(
        blocks=(
            TransformBlock(type_tfms=[OpenExample(cache)], batch_tfms=[IntToFloatTensor]),
            CategoryBlock(vocab=list(TRAINING_LABELS), sort=False),
        ),
        get_y=get_label,
        splitter=after,
        item_tfms=item_transforms(recipe, cache, places),
        batch_tfms=[
            *batch_transforms(recipe),
            Normalize.from_stats(list(backbone.mean), list(backbone.std), cuda=recipe.fp16),
        ],
    )


def item_transforms(recipe: Recipe, cache: PictureCache, places: Sequence[Example] = ()) -> list[Transform]:
    """What happens to each picture by itself: it becomes a square, a share goes elsewhere and gets the field's look.

    A clear teacher must see it first: then the look comes later, by the batch (``train.learning.teacher``).
    """
    squares = {
        "random": lambda: RandomResizedCrop(recipe.size, min_scale=0.35, ratio=(0.6, 1.67)),
        "crop": lambda: Resize(recipe.size, method=ResizeMethod.Crop),
        "pad": lambda: Resize(recipe.size, method=ResizeMethod.Pad, pad_mode=PadMode.Zeros),
        "squish": lambda: Resize(recipe.size, method=ResizeMethod.Squish),
    }
    field = recipe.augment == "field"
    away = [ZoomOut(recipe.zoom_out, cache, places)] if field and recipe.zoom_out else []
    look = [FieldLook(recipe.degraded)] if field and not recipe.clear_teacher else []
    return [squares[recipe.resize](), *away, *look]


def batch_transforms(recipe: Recipe) -> list[Transform]:
    """What happens to a whole batch: flips, small turns, light; nothing with ``augment`` none."""
    if recipe.augment == "none":
        return []
    return list(
        aug_transforms(max_rotate=10.0, max_zoom=1.15, max_lighting=0.3, max_warp=0.15, p_affine=0.5, p_lighting=0.6)
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
    recipe: Recipe,
    cache: PictureCache | None = None,
) -> DataLoaders:
    """Training and tuning DataLoaders; an epoch draws ``recipe.per_epoch`` examples, balanced by kind.

    Everything runs in this process (no workers): the cache of decoded pictures is shared and the
    order of random draws is fixed.
    """
    learn_from, tune_on = examples_of(train), examples_of(tune)
    places = [example for example in learn_from if example.label == "no_bear"]
    db = block(backbone, len(learn_from), recipe, cache or PictureCache(), places)
    datasets = db.datasets([*learn_from, *tune_on])
    weights = sampling_weights(train, recipe.even_kinds)
    drawing = {"weights": weights, "per_epoch": max(recipe.per_epoch, recipe.batch)}
    dls: DataLoaders = datasets.dataloaders(
        bs=recipe.batch,
        dl_type=BalancedDL,
        dl_kwargs=(drawing, {}),
        num_workers=0,
        device=torch.device("cuda" if recipe.fp16 else "cpu"),
        after_item=db.item_tfms,
        after_batch=db.batch_tfms,
    )
    return dls


def sampling_weights(rows: Sequence[Row], even_kinds: float = 0.0) -> list[float]:
    """A weight an example (``examples_of``) such that the kinds are drawn as ``KIND_SHARES`` says.

    Among pictures without a bear each kind of animal or scene is drawn in proportion to its number to the
    power of 1 - ``even_kinds``: 0 leaves them as many as they are, 1 draws each kind equally often.
    """
    named = [(kind(row), what(row)) for row in rows for _ in row.boxes or (None,)]
    counts = Counter(named)
    raw = [counts[name] ** -even_kinds if name[0] == "no_bear" else 1.0 for name in named]
    totals: Counter[str] = Counter()
    for (share, _), weight in zip(named, raw, strict=True):
        totals[share] += weight  # type: ignore[assignment]
    return [KIND_SHARES[share] * weight / totals[share] for (share, _), weight in zip(named, raw, strict=True)]


def kind(row: Row) -> str:
    """The picture's name in ``KIND_SHARES``."""
    return "bear" if is_bear(row.label) else row.label


def what(row: Row) -> str:
    """What a picture without a bear shows, as its note says: "dog"; its source where there is none."""
    return row.note.partition(":")[0].strip() or row.source
