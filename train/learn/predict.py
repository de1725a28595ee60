"""The Learner in a run's folder: it gives the answers of an exported file, and works as any fastai Learner.

Training needs random crops, ImageNet's logits and a teacher. ``learner.pkl`` needs none of them: ``predict``, and what
fastai builds on it, cut a picture as the alarm does and return the labels' probabilities. Everything here is pickled by
name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback import progress as _progress  # noqa: F401  # shows a bar where a notebook shows one
from fastai.data.core import DataLoaders, Datasets
from fastai.data.transforms import Categorize, Category, IntToFloatTensor, Normalize, ToTensor
from fastai.learner import Learner
from fastai.metrics import AccumMetric
from fastai.torch_core import TensorCategory

# Imported for its side effect: fastai then shows pictures with labels, answers and losses.
from fastai.vision import learner as _vision  # noqa: F401
from fastai.vision.core import PILImage
from fasttransform import Transform
from PIL import Image, ImageOps
from torch import nn

from edge.detect.crops import cut
from edge.errors import CatalogError
from edge.pictures import decode_picture, read_picture
from edge.schema import WHOLE, Picture
from train.data.pictures import ALIASES, IN_WORDS, LABELS, TRAINING_LABELS, label_of
from train.data.pictures import Picture as Row
from train.learn.examples import Example, examples_of
from train.learn.inference import CONTEXT
from train.learn.learner import FIGURES, LabelLoss, halves
from train.learn.network import BearNet, CalibratedNet, find_backbone
from train.learn.recipe import Recipe


class OpenAsAlarm(Transform):
    """Cuts the crop that the alarm would score, a PILImage of ``size`` pixels square.

    A picture is a file's name or content, an RGB array or tensor, or a PIL image; an ``Example`` may name a box in it.
    """

    input_types = object  # fastai skips transforms of other types than the first item's

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def encodes(self, item: object) -> PILImage:
        """Cut the crop. Raises PictureError if a file is gone or damaged."""
        source, box = (item.file, item.box_xywh) if isinstance(item, Example) else (item, WHOLE)
        crop = cut(pixels(source), box, self.size, CONTEXT)
        return PILImage.create(np.ascontiguousarray(crop[..., ::-1]))


def pixels(item: Any) -> Picture:
    """Read any kind of picture that fastai takes, as uint8 (H, W, 3) BGR, upright. Raises PictureError."""
    if isinstance(item, str | Path):
        return read_picture(item)
    if isinstance(item, bytes):
        return decode_picture(item, "the picture")
    image: Image.Image = item if isinstance(item, Image.Image) else PILImage.create(item)
    rgb = ImageOps.exif_transpose(image).convert("RGB")
    return np.ascontiguousarray(np.asarray(rgb, np.uint8)[..., ::-1])


class ReadLabel(Transform):
    """Reads the label of an example, or of a file: the nearest folder that is named by a label."""

    input_types = object

    def __init__(self, aliases: Mapping[str, str]):
        super().__init__()
        self.names = {**ALIASES, **aliases}

    def encodes(self, item: object) -> str:
        """Find the label. Raises CatalogError if no folder is named by one."""
        if isinstance(item, Example):
            return item.label
        found = (label_of(folder.name, self.names) for folder in Path(str(item)).absolute().parents)
        label = next((label for label in found if label), None)
        if label is None:
            raise CatalogError(f"{item}: none of its folders is named by a label; labels are {IN_WORDS}")
        return label


class BearCategory(Categorize):  # type: ignore[misc]
    """fastai's categories for the network's labels.

    A picture known only as "bear" gets the number after the last: it is a target, and never an answer.
    """

    def __init__(self) -> None:
        super().__init__(vocab=list(LABELS), sort=False)

    def encodes(self, label: str) -> TensorCategory:
        """Return the label's number in TRAINING_LABELS."""
        return TensorCategory(TRAINING_LABELS.index(label))

    def decodes(self, number: object) -> Category:
        """Return the label of a number."""
        return Category(TRAINING_LABELS[int(number)])  # type: ignore[call-overload]


class NamedPictures(DataLoaders):  # type: ignore[misc]
    """DataLoaders of an exported Learner: they have the pictures' names, for ``show_results``."""

    def new_empty(self) -> NamedPictures:
        """Return itself: fastai would drop the pictures."""
        return self


def answering_learner(
    net: BearNet,
    temperature: float,
    frame_temperature: float,
    train: Sequence[Row],
    tune: Sequence[Row],
    recipe: Recipe,
    aliases: Mapping[str, str],
) -> Learner:
    """Make a Learner of a trained network that answers as its exported file, with the pictures of two parts."""
    items = [replace(each, file=each.file.absolute()) for each in examples_of([*train, *tune])]
    count = len(examples_of(train))
    opening = [OpenAsAlarm(recipe.size)], [ReadLabel(aliases), BearCategory()]
    pictures = Datasets(items, tfms=opening, splits=(range(count), range(count, len(items))))
    backbone, device = find_backbone(recipe.backbone), torch.device("cuda" if recipe.fp16 else "cpu")
    loaders = pictures.dataloaders(
        bs=recipe.batch,
        num_workers=0,
        drop_last=False,
        device=device,
        after_item=[ToTensor()],
        after_batch=[
            IntToFloatTensor(),
            Normalize.from_stats(list(backbone.mean), list(backbone.std), cuda=recipe.fp16),
        ],
    )
    return Learner(
        NamedPictures(*loaders.loaders, device=device),
        CalibratedNet(net, temperature, frame_temperature),
        loss_func=LabelLoss(),
        metrics=[AccumMetric(figure, flatten=False) for figure in FIGURES],
        splitter=groups,
    )


def groups(net: CalibratedNet) -> list[list[nn.Parameter]]:
    """Return fastai's parameter groups: the body, the head."""
    return halves(net.net)
