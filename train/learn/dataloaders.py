"""fastai DataLoaders of the catalogue: crops from boxes, random-resized, some of them in another place."""

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

from edge.schema import Picture
from train.data.pictures import TRAINING_LABELS, is_bear
from train.data.pictures import Picture as Row
from train.learn.augmentation import ZoomOut
from train.learn.examples import Example, PictureCache, examples_of
from train.learn.network import Backbone
from train.learn.recipe import Recipe

# Share of each kind of picture in an epoch, whatever their number; scaled to 1 if a kind is missing.
KIND_SHARES = {
    "bear": 0.25,
    "trail camera's bear": 0.14,
    "teddy_bear": 0.08,
    "no_bear": 0.33,
    "trail camera's no_bear": 0.20,
}


def make_dataloaders(
    train: Sequence[Row],
    tune: Sequence[Row],
    backbone: Backbone,
    recipe: Recipe,
    cache: PictureCache | None = None,
) -> DataLoaders:
    """Make training and tuning DataLoaders; an epoch draws ``recipe.per_epoch`` examples, balanced by kind.

    Everything runs in this process (no workers), so that the cache is shared and the order of random draws is fixed.
    """
    learn_from, tune_on = examples_of(train, windows=True), examples_of(tune)
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
    """Return the weight of each example (``examples_of``), so that kinds are drawn by ``KIND_SHARES``.

    Of cameras' frames without a bear, each group is drawn in proportion to the square root of its size: one camera with
    four hundred frames must not dominate.
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
    """Return the picture's kind in ``KIND_SHARES``."""
    name = "bear" if is_bear(row.label) else row.label
    return f"trail camera's {name}" if row.of_trail_camera and name != "teddy_bear" else name


def block(
    backbone: Backbone, split_at: int, recipe: Recipe, cache: PictureCache, places: Sequence[Example]
) -> DataBlock:
    """Return the DataBlock; the first ``split_at`` items train, the rest tune. ``places``: examples without a bear."""

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
            *batch_transforms(),
            Normalize.from_stats(list(backbone.mean), list(backbone.std), cuda=recipe.fp16),
        ],
    )


def get_label(example: Example) -> str:
    """Return the example's label."""
    return example.label


def item_transforms(recipe: Recipe, cache: PictureCache, places: Sequence[Example] = ()) -> list[Transform]:
    """Return the item transforms: a random square crop, a share of them in another place."""
    away = [ZoomOut(recipe.zoom_out, cache, places)] if recipe.zoom_out else []
    return [RandomResizedCrop(recipe.size, min_scale=0.35, ratio=(0.6, 1.67)), *away]


def batch_transforms() -> list[Transform]:
    """Return the batch transforms: flips, small rotations, light."""
    return list(
        aug_transforms(max_rotate=10.0, max_zoom=1.15, max_lighting=0.3, max_warp=0.15, p_affine=0.5, p_lighting=0.6)
    )


class BalancedDL(TfmdDL):
    """Draws ``per_epoch`` examples for each epoch, with replacement, by weight (numpy's seeded generator)."""

    def __init__(self, dataset: Any = None, weights: Sequence[float] = (), per_epoch: int = 0, **kwargs: Any):
        self.weights, self.per_epoch = np.asarray(weights, float), per_epoch
        super().__init__(dataset=dataset, **kwargs)

    def get_idxs(self) -> list[int]:
        """Draw indices; without weights (tuning) each comes once, in order."""
        if not self.per_epoch:
            order: list[int] = super().get_idxs()
            return order
        return list(np.random.choice(len(self.weights), self.per_epoch, p=self.weights / self.weights.sum()))

    def __len__(self) -> int:
        # The last, partial training batch is dropped.
        return self.per_epoch // self.bs if self.per_epoch else super().__len__()


# Of trail cameras' frames without a bear, training shows parts of any size: what moves there is small.

MIN_WINDOW_PX = 12  # of such a part's side
WINDOW = 0.12, 1.0  # of the shorter side of a frame without a bear: the part that is shown
WHOLE_FRAMES = 0.2  # share of these frames that are shown whole


class OpenExample(Transform):
    """Opens an Example as a PILImage."""

    def __init__(self, cache: PictureCache):
        super().__init__()
        self.read = cache

    def encodes(self, example: Example) -> PILImage:
        """Return the example's pixels, RGB, or a random window of them (numpy's seeded generator)."""
        pixels = self.read(example)
        if example.window and np.random.random() >= WHOLE_FRAMES:
            pixels = random_window(pixels)
        return PILImage.create(np.ascontiguousarray(pixels[..., ::-1]))


def random_window(image: Picture) -> Picture:
    """Return a random square part of an image, of random size."""
    height, width = image.shape[:2]
    side = max(MIN_WINDOW_PX, int(min(height, width) * np.exp(np.random.uniform(*np.log(WINDOW)))))
    side = min(side, height, width)
    top, left = np.random.randint(height - side + 1), np.random.randint(width - side + 1)
    return image[top : top + side, left : left + side]
