"""A run's network as a fastai Learner over whole pictures, so that fastai can rank them by loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from fastai.callback import progress as _progress  # noqa: F401  # shows a bar where a notebook shows one
from fastai.data.block import CategoryBlock, DataBlock, TransformBlock
from fastai.data.core import DataLoaders
from fastai.data.transforms import IndexSplitter, IntToFloatTensor, Normalize
from fastai.learner import Learner
from fastai.vision.core import PILImage
from fasttransform import Transform

from edge.detect.crops import cut
from edge.pictures import read_picture
from edge.schema import WHOLE, BoxXYWH
from edge.schema import Picture as Image
from train.data.pictures import TRAINING_LABELS, Picture
from train.learn.inference import CONTEXT
from train.learn.learner import LabelLoss
from train.learn.predict import groups
from train.learn.run import Run

BATCH = 32


def view_of(picture: Picture) -> BoxXYWH:
    """What the network looks at of a picture: its largest box, else the whole."""
    return max(picture.boxes, key=lambda box: box[2] * box[3], default=WHOLE)


class OpenView(Transform):
    """A picture's file -> the view the network looks at, as a PILImage of ``size`` pixels square."""

    def __init__(self, pictures: Mapping[Path, Picture], size: int):
        super().__init__()
        self.pictures, self.size = pictures, size

    def encodes(self, file: Path) -> PILImage:
        """Raises PictureError when the file is gone or damaged."""
        seen: Image = cut(read_picture(file), view_of(self.pictures[file]), self.size, CONTEXT)
        return PILImage.create(np.ascontiguousarray(seen[..., ::-1]))


def ranking_learner(run: Run, train: Sequence[Picture], tune: Sequence[Picture]) -> Learner:
    """A Learner over ``run``'s network whose two sets are these pictures as they are, nothing augmented."""
    pictures = {picture.file: picture for picture in (*train, *tune)}
    tuning = list(range(len(train), len(train) + len(tune)))
    block = DataBlock(
        blocks=(
            TransformBlock(type_tfms=[OpenView(pictures, run.recipe.size)], batch_tfms=[IntToFloatTensor]),
            CategoryBlock(vocab=list(TRAINING_LABELS), sort=False),
        ),
        get_y=lambda file: pictures[file].label,
        splitter=IndexSplitter(tuning),
        batch_tfms=[Normalize.from_stats(list(run.backbone.mean), list(run.backbone.std), cuda=False)],
    )
    files = [picture.file for picture in (*train, *tune)]
    dls: DataLoaders = block.dataloaders(files, bs=BATCH, num_workers=0, device=torch.device("cpu"))
    return Learner(dls, run.learner.model, loss_func=LabelLoss(), splitter=groups)
