"""Distillation from the untouched network, which sees each training crop as it is or before the field got at it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from fastai.callback.core import Callback
from torch import Tensor, nn

from train.learning.field import degrade


class KeepKnowledge(Callback):
    """Lets the untouched network answer every training batch, for the loss to compare with (Hinton et al. 2015)."""

    def __init__(self, teacher: nn.Module):
        self.teacher = teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def before_batch(self) -> None:
        """Ask the teacher about this batch."""
        self.learn.loss_func.teacher = None
        if self.training:
            with torch.no_grad():
                self.learn.loss_func.teacher = self.teacher(self.xb[0])

    def after_fit(self) -> None:
        """Forget the last answers, so that they are not exported."""
        self.learn.loss_func.teacher = None


class ClearTeacher(Callback):
    """The teacher answers on the clear crops; after that a share of them is degraded for the student.

    The untouched network does not know a bear of 30 pixels. What it says of the same bear seen well is what the
    student should say of it (Hinton et al. 2015; a better-informed teacher: Lopez-Paz et al. 2016). Without a
    teacher it only degrades.
    """

    def __init__(self, teacher: nn.Module | None, share: float, mean: Sequence[float], std: Sequence[float], seed: int):
        self.keep = KeepKnowledge(teacher) if teacher is not None else None
        self.share, self.rng = share, np.random.default_rng(seed)
        self.mean, self.std = (torch.tensor(value)[:, None, None] for value in (mean, std))

    def before_batch(self) -> None:
        """Ask about the clear batch (N, 3, H, W), then degrade a share of it."""
        self.learn.loss_func.teacher = None
        if not self.training:
            return
        clear = self.xb[0]
        if self.keep is not None:
            with torch.no_grad():
                self.learn.loss_func.teacher = self.keep.teacher(clear)
        seen = clear.clone()
        for number in np.flatnonzero(self.rng.random(len(clear)) < self.share):
            seen[number] = self.degraded(clear[number])
        self.learn.xb = (seen,)

    def degraded(self, picture: Tensor) -> Tensor:
        """A normalised picture (3, H, W), as the field would show it."""
        shown = ((picture.detach().cpu() * self.std + self.mean) * 255).clamp(0, 255).byte()
        bgr = np.ascontiguousarray(shown.permute(1, 2, 0).numpy()[..., ::-1])
        rgb = torch.from_numpy(np.ascontiguousarray(degrade(bgr, self.rng)[..., ::-1])).permute(2, 0, 1)
        return ((rgb.float() / 255 - self.mean) / self.std).to(picture.device)

    def after_fit(self) -> None:
        """Forget the last answers, so that they are not exported."""
        self.learn.loss_func.teacher = None
