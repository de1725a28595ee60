"""Catalogue -> fastai DataLoaders: crops from boxes, random-resized crops, some of them in another place."""

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

from edge.schema import Picture
from train.data.pictures import TRAINING_LABELS, is_bear
from train.data.pictures import Picture as Row
from train.learning.backbones import Backbone
from train.learning.pictures import Example, PictureCache, examples_of
from train.learning.recipe import Recipe
from train.learning.zoom_out import ZoomOut

# How often each kind of picture is drawn in an epoch, whatever its number; kinds that are not there are left out.
KIND_SHARES = {
    "bear": 0.25,
    "trail camera's bear": 0.14,
    "teddy_bear": 0.08,
    "no_bear": 0.33,
    "trail camera's no_bear": 0.20,
}
FEWEST_PX = 12  # of such a part's side
WINDOW = 0.12, 1.0  # of the shorter side of a frame without a bear: the part that is shown
WHOLE_FRAMES = 0.2  # share of these frames that are shown whole


class OpenExample(Transform):
    """Example -> PILImage."""

    def __init__(self, cache: PictureCache):
        super().__init__()
        self.read = cache

    def encodes(self, example: Example) -> PILImage:
        """Return the example's pixels, RGB, or some window of them; draws from numpy's seeded generator."""
        pixels = self.read(example)
        if example.window and np.random.random() >= WHOLE_FRAMES:
            pixels = some_window(pixels)
        return PILImage.create(np.ascontiguousarray(pixels[..., ::-1]))


def some_window(image: Picture) -> Picture:
    """Return a square part of an image, of any size that shows anything."""
    height, width = image.shape[:2]
    side = max(FEWEST_PX, int(min(height, width) * np.exp(np.random.uniform(*np.log(WINDOW)))))
    side = min(side, height, width)
    top, left = np.random.randint(height - side + 1), np.random.randint(width - side + 1)
    return image[top : top + side, left : left + side]


def get_label(example: Example) -> str:
    """The example's label."""
    return example.label


def block(
    backbone: Backbone, split_at: int, recipe: Recipe, cache: PictureCache, places: Sequence[Example]
) -> DataBlock:
    """Return the DataBlock: the first ``split_at`` items train, the rest tune. ``places``: examples without a bear."""

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
    """Return the transforms of each picture by itself: it becomes a square, and a share goes to another place."""
    squares = {
        "random": lambda: RandomResizedCrop(recipe.size, min_scale=0.35, ratio=(0.6, 1.67)),
        "crop": lambda: Resize(recipe.size, method=ResizeMethod.Crop),
        "pad": lambda: Resize(recipe.size, method=ResizeMethod.Pad, pad_mode=PadMode.Zeros),
        "squish": lambda: Resize(recipe.size, method=ResizeMethod.Squish),
    }
    away = [ZoomOut(recipe.zoom_out, cache, places)] if recipe.augment == "field" and recipe.zoom_out else []
    return [squares[recipe.resize](), *away]


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
    learn_from, tune_on = examples_of(train, windows=recipe.augment == "field"), examples_of(tune)
    places = [example for example in learn_from if example.label == "no_bear"]
    db = block(backbone, len(learn_from), recipe, cache or PictureCache(), places)
    datasets = db.datasets([*learn_from, *tune_on])
    weights = sampling_weights(train)
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


def sampling_weights(rows: Sequence[Row]) -> list[float]:
    """A weight an example (``examples_of``) such that the kinds are drawn as ``KIND_SHARES`` says.

    Of cameras' frames without a bear, each group is drawn in proportion to the root of its number: a camera of
    four hundred frames is not all cameras.
    """
    named = [(kind(row), row.unit) for row in rows for _ in row.boxes or (None,)]
    counts = Counter(named)
    raw = [counts[name] ** -0.5 if name[0] == "trail camera's no_bear" else 1.0 for name in named]
    totals: Counter[str] = Counter()
    for (share, _), weight in zip(named, raw, strict=True):
        totals[share] += weight  # type: ignore[assignment]
    there = sum(KIND_SHARES[share] for share in totals)
    return [KIND_SHARES[share] * weight / totals[share] / there for (share, _), weight in zip(named, raw, strict=True)]


def kind(row: Row) -> str:
    """The picture's name in ``KIND_SHARES``."""
    name = "bear" if is_bear(row.label) else row.label
    return f"trail camera's {name}" if row.of_trail_camera and name != "teddy_bear" else name
