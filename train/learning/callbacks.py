"""Callbacks of fastai's training loop: the untouched network's answers, the field's look, averaged weights, figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from train.learning.backbones import Backbone
from train.learning.field import degrade


def bare(model: nn.Module) -> nn.Module:
    """The network itself, where a wrapper for several processes is around it."""
    inner: nn.Module = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    return inner


class KeepKnowledge(Callback):
    """Lets the untouched network answer every training batch, for the loss to compare with (Hinton et al. 2015).

    It answers before the field gets at the crops (``FieldLook``): it knows no bear of 30 pixels, and what it says of
    the same bear seen well is what the network should say of it (Lopez-Paz et al. 2016).
    """

    def __init__(self, teacher: nn.Module):
        self.teacher = teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def before_fit(self) -> None:
        """Bring the teacher to where the batches are."""
        self.teacher.to(self.dls.device)

    def before_batch(self) -> None:
        """Ask the teacher about this batch; in half precision, which is enough for it and twice as fast."""
        self.learn.loss_func.teacher = None
        if self.training:
            device = self.xb[0].device.type
            with torch.no_grad(), torch.autocast(device, torch.bfloat16):
                self.learn.loss_func.teacher = self.teacher(self.xb[0])

    def after_fit(self) -> None:
        """Forget the last answers, so that they are not exported."""
        self.learn.loss_func.teacher = None


class FieldLook(Callback):
    """Degrades a share of each training batch as the field does (``train.learning.field``)."""

    order = 1  # KeepKnowledge is 0

    def __init__(self, share: float, backbone: Backbone, seed: int, done: int):
        self.share, self.seed, self.done = share, seed, done
        self.mean, self.std = (torch.tensor(value)[:, None, None] for value in (backbone.mean, backbone.std))

    def before_epoch(self) -> None:
        """Draw the same in the same epoch, whether the training was broken off before it or not."""
        self.rng = np.random.default_rng((self.seed, self.done + self.epoch))

    def before_batch(self) -> None:
        """Degrade some of the pictures (N, 3, H, W)."""
        if not self.training:
            return
        pictures = self.xb[0]
        for number in np.flatnonzero(self.rng.random(len(pictures)) < self.share):
            pictures[number] = self.degraded(pictures[number])

    def degraded(self, picture: Tensor) -> Tensor:
        """Return a normalised picture (3, H, W) as the field would show it."""
        shown = ((picture.detach().cpu() * self.std + self.mean) * 255).clamp(0, 255).byte()
        bgr = np.ascontiguousarray(shown.permute(1, 2, 0).numpy()[..., ::-1])
        rgb = torch.from_numpy(degrade(bgr, self.rng)[..., ::-1].copy()).permute(2, 0, 1)
        return ((rgb.float() / 255 - self.mean) / self.std).to(picture.device)


class WeightAverage(Callback):
    """Exponential moving average of the weights, taken over when the fit ends (Polyak & Juditsky 1992).

    The tuning part is scored with the average too: that is what will be used.
    """

    order = 12  # inside whatever wraps the model for several processes

    def __init__(self, decay: float, epochs: int):
        self.decay, self.epochs = decay, epochs
        self.begun: dict[str, Tensor] | None = None  # the average of an earlier part of the training

    def before_fit(self) -> None:
        """Start the average at the present weights, or where a checkpoint left it.

        It reaches back over a fifth of the training at most.
        """
        steps = self.epochs * len(self.dls.train)
        decay = max(min(self.decay, 1 - 5 / max(steps, 1)), 0.0)
        self.average = AveragedModel(bare(self.model), multi_avg_fn=get_ema_multi_avg_fn(decay))
        if self.begun is not None:
            self.average.load_state_dict(self.begun)

    def after_batch(self) -> None:
        """Move the average after each optimiser step."""
        if self.training:
            self.average.update_parameters(bare(self.model))

    def before_validate(self) -> None:
        """Put the averaged weights in, and the present ones aside."""
        net = bare(self.model)
        self.present = {name: value.clone() for name, value in net.state_dict().items()}
        net.load_state_dict(self.average.module.state_dict())

    def after_validate(self) -> None:
        """Go on with the present ones."""
        bare(self.model).load_state_dict(self.present)
        del self.present

    def after_fit(self) -> None:
        """Take the averaged weights."""
        bare(self.model).load_state_dict(self.average.module.state_dict())
        del self.average


class Progress(Callback):
    """Tells how far training is: ``advance()`` a batch, ``say(text)`` an epoch."""

    order = 60  # after the recorder

    def __init__(self, advance: Callable[[], None], say: Callable[[str], None]):
        self.advance, self.say = advance, say
        self.done = 0  # epochs of an earlier part of the training

    def after_batch(self) -> None:
        """One training batch further."""
        if self.training:
            self.advance()

    def after_epoch(self) -> None:
        """The epoch's figures."""
        figures = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in epoch_figures(self).items())
        self.say(f"epoch {self.done + self.epoch + 1}/{self.done + self.n_epoch}  {figures}")


class History(Callback):
    """Keeps the figures of every epoch in a list."""

    order = 60  # after the recorder

    def __init__(self, rows: list[dict[str, float]]):
        self.rows = rows

    def after_epoch(self) -> None:
        """One row more."""
        self.rows.append(epoch_figures(self))


def epoch_figures(callback: Any) -> dict[str, float]:
    """The recorder's figures of the epoch that just ended: losses and metrics by name."""
    record = callback.recorder
    return {name: float(value) for name, value in zip(record.metric_names[1:-1], record.final_record, strict=False)}
