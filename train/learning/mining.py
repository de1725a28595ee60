"""What is no bear and looks like one to the network in training is drawn oftener (hard negatives)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from fastai.callback.core import Callback
from numpy.typing import NDArray
from torch import nn

from edge.crops import fit
from train.catalog.picture import is_bear
from train.learning.backbones import Backbone
from train.learning.callbacks import bare
from train.learning.field import degrade
from train.learning.network import BearNet
from train.learning.pictures import Example, PictureCache
from train.learning.probe import ask
from train.learning.together import first

EVERY = 2  # epochs


def harder(weights: NDArray[np.floating], bear: NDArray[np.floating], strength: float) -> NDArray[np.float64]:
    """Drawing weights (N,) raised by (1 + strength · √p(bear)), their sum as before.

    The root keeps a few absurd pictures from taking over (online hard example mining: Shrivastava et al. 2016).
    """
    raised = np.asarray(weights, np.float64) * (1 + strength * np.sqrt(np.clip(bear, 0, 1)))
    total = raised.sum()
    return np.asarray(raised * (np.sum(weights) / total) if total > 0 else raised, np.float64)


class MineHard(Callback):
    """Every second epoch asks the network about all training pictures without a bear, and weighs them anew."""

    def __init__(
        self,
        strength: float,
        examples: Sequence[Example],
        cache: PictureCache,
        backbone: Backbone,
        size: int,
        seed: int,
    ):
        self.strength, self.examples, self.cache = strength, examples, cache
        self.backbone, self.size, self.seed = backbone, size, seed
        self.others = [n for n, example in enumerate(examples) if not is_bear(example.label)]

    def before_fit(self) -> None:
        """Remember the weights as they were."""
        loader = self.dls.train
        self.loader = getattr(loader, "dl", loader)  # inside what splits batches among processes
        self.plain = np.array(self.loader.weights)

    def before_epoch(self) -> None:
        """Weigh anew; the process that draws for all is the first."""
        if self.epoch % EVERY or not first() or not self.others:
            return
        rng = np.random.default_rng((self.seed, self.epoch))
        crops = np.stack([degrade(fit(self.cache(self.examples[n]), self.size), rng) for n in self.others])
        net = bare(self.model)
        assert isinstance(net, BearNet)
        was: dict[nn.Module, bool] = {module: module.training for module in net.modules()}
        logits, _ = ask(net, self.backbone, crops)
        for module, training in was.items():
            module.training = training
        bear = torch.softmax(torch.from_numpy(logits), dim=1)[:, net.alarm].sum(dim=1).numpy()
        weights = self.plain.copy()
        weights[self.others] = harder(weights[self.others], bear, self.strength)
        self.loader.weights = weights

    def after_fit(self) -> None:
        """Leave the loader as it was."""
        self.loader.weights = self.plain
        del self.loader
