"""fastai callbacks of a training: distillation, degraded crops, averaged weights, progress and checkpoints.

An interrupted training continues from its last complete epoch, and gives the same weights as without a break.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from fastai.torch_core import set_seed
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edge.errors import OptionError
from edge.files import replace_whole
from train import first_line
from train.learn.augmentation import degrade
from train.learn.distributed import first, unwrapped
from train.learn.network import Backbone

log = logging.getLogger(__name__)


class KnowledgeDistillation(Callback):
    """Gives the loss the untouched network's answers to every training batch (Hinton et al. 2015).

    The teacher sees the crops before they are degraded (``DegradeCrops``): it knows no bear of 30 pixels, and its
    answer to the clear picture is the target for the degraded one (Lopez-Paz et al. 2016).
    """

    def __init__(self, teacher: nn.Module):
        self.teacher = teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def before_fit(self) -> None:
        """Move the teacher to the batches' device."""
        self.teacher.to(self.dls.device)

    def before_batch(self) -> None:
        """Run the teacher on this batch, in half precision: exact enough, and twice as fast."""
        self.learn.loss_func.teacher = None
        if self.training:
            device = self.xb[0].device.type
            with torch.no_grad(), torch.autocast(device, torch.bfloat16):
                self.learn.loss_func.teacher = self.teacher(self.xb[0])

    def after_fit(self) -> None:
        """Drop the last answers, so that they are not exported."""
        self.learn.loss_func.teacher = None


class DegradeCrops(Callback):
    """Degrades a share of each training batch as a field camera does (``train.learn.augmentation``)."""

    order = 1  # KnowledgeDistillation is 0

    def __init__(self, share: float, backbone: Backbone, seed: int, done: int):
        self.share, self.seed, self.done = share, seed, done
        self.mean, self.std = (torch.tensor(value)[:, None, None] for value in (backbone.mean, backbone.std))

    def before_epoch(self) -> None:
        """Seed each epoch by its number, so that an interruption changes no draw."""
        self.rng = np.random.default_rng((self.seed, self.done + self.epoch))

    def before_batch(self) -> None:
        """Degrade some of the pictures (N, 3, H, W)."""
        if not self.training:
            return
        pictures = self.xb[0]
        for number in np.flatnonzero(self.rng.random(len(pictures)) < self.share):
            pictures[number] = self.degraded(pictures[number])

    def degraded(self, picture: Tensor) -> Tensor:
        """Return a normalised picture (3, H, W), degraded."""
        shown = ((picture.detach().cpu() * self.std + self.mean) * 255).clamp(0, 255).byte()
        bgr = np.ascontiguousarray(shown.permute(1, 2, 0).numpy()[..., ::-1])
        rgb = torch.from_numpy(degrade(bgr, self.rng)[..., ::-1].copy()).permute(2, 0, 1)
        return ((rgb.float() / 255 - self.mean) / self.std).to(picture.device)


class WeightAverage(Callback):
    """Exponential moving average of the weights, used from the end of the fit on (Polyak & Juditsky 1992).

    The tuning part is scored with the average too.
    """

    order = 12  # inside the wrapper for several processes

    def __init__(self, decay: float, epochs: int):
        self.decay, self.epochs = decay, epochs
        self.resumed: dict[str, Tensor] | None = None  # the average in a checkpoint

    def before_fit(self) -> None:
        """Start the average at the present weights, or at a checkpoint's.

        It covers a fifth of the training at most.
        """
        steps = self.epochs * len(self.dls.train)
        decay = max(min(self.decay, 1 - 5 / max(steps, 1)), 0.0)
        self.average = AveragedModel(unwrapped(self.model), multi_avg_fn=get_ema_multi_avg_fn(decay))
        if self.resumed is not None:
            self.average.load_state_dict(self.resumed)

    def after_batch(self) -> None:
        """Move the average after each optimiser step."""
        if self.training:
            self.average.update_parameters(unwrapped(self.model))

    def before_validate(self) -> None:
        """Use the averaged weights, and keep the present ones."""
        net = unwrapped(self.model)
        self.present = {name: value.clone() for name, value in net.state_dict().items()}
        net.load_state_dict(self.average.module.state_dict())

    def after_validate(self) -> None:
        """Use the present weights again."""
        unwrapped(self.model).load_state_dict(self.present)
        del self.present

    def after_fit(self) -> None:
        """Use the averaged weights."""
        unwrapped(self.model).load_state_dict(self.average.module.state_dict())
        del self.average


class Progress(Callback):
    """Reports progress: ``advance()`` for each batch, ``write(text)`` for each epoch."""

    order = 60  # after the recorder

    def __init__(self, advance: Callable[[], None], write: Callable[[str], None]):
        self.advance, self.write = advance, write
        self.done = 0  # epochs before the checkpoint

    def after_batch(self) -> None:
        """Advance by one training batch."""
        if self.training:
            self.advance()

    def after_epoch(self) -> None:
        """Report the epoch's figures."""
        figures = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in epoch_figures(self).items())
        self.write(f"epoch {self.done + self.epoch + 1}/{self.done + self.n_epoch}  {figures}")


class History(Callback):
    """Collects the figures of every epoch in a list."""

    order = 60  # after the recorder

    def __init__(self, rows: list[dict[str, float]]):
        self.rows = rows

    def after_epoch(self) -> None:
        """Add a row."""
        self.rows.append(epoch_figures(self))


def epoch_figures(callback: Any) -> dict[str, float]:
    """Return the recorder's figures of the epoch that just ended: losses and metrics by name."""
    record = callback.recorder
    return {name: float(value) for name, value in zip(record.metric_names[1:-1], record.final_record, strict=False)}


class Checkpoint(Callback):
    """Writes weights, their average, the optimizer and the history after each epoch, and seeds each epoch."""

    order = 70  # after all that changes in an epoch

    def __init__(
        self,
        file: Path | None,
        average: WeightAverage,
        history: list[dict[str, float]],
        seed: int,
        done: int,
    ):
        self.file, self.average, self.history, self.seed, self.done = file, average, history, seed, done

    def before_epoch(self) -> None:
        """Seed each epoch by its number, so that an interruption changes no draw."""
        set_seed(self.seed + 1000 * (self.done + self.epoch), reproducible=True)

    def after_epoch(self) -> None:
        """Write the training's state in one step; if that fails, continue without it."""
        done = self.done + self.epoch + 1
        if self.file is None or not first() or done == self.done + self.n_epoch:
            return
        state = {
            "done": done,
            "model": unwrapped(self.model).state_dict(),
            "average": self.average.average.state_dict(),
            "optimizer": plain(self.opt.state_dict()),
            "history": plain(self.history),
        }
        written = io.BytesIO()
        torch.save(state, written)
        try:
            replace_whole(self.file, written.getvalue())
        except (OSError, OptionError) as error:
            log.warning("%s: cannot be written (%s); an interruption would lose the training so far", self.file, error)


def plain(value: Any) -> Any:
    """Copy a value into tensors, numbers, lists and dictionaries only: they can be loaded without running code."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | torch.Tensor):
        return [plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value


def read_checkpoint(file: Path) -> Mapping[str, Any]:
    """Read the state that ``Checkpoint`` wrote. Raises OptionError."""
    try:
        state: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        return {name: state[name] for name in ("done", "model", "average", "optimizer", "history")}
    except Exception as error:  # whatever a damaged file leads to
        why = f"{type(error).__name__}: {first_line(error)}"
        raise OptionError(f"{file}: cannot be read ({why}); train from the beginning with --force") from None


def resume(learn: Learner, average: WeightAverage, history: list[dict[str, float]], state: Mapping[str, Any]) -> int:
    """Restore a Learner from a checkpoint; return the number of finished epochs."""
    learn.model.load_state_dict(state["model"])
    learn.create_opt()
    learn.opt.load_state_dict(state["optimizer"])
    average.resumed = state["average"]
    history[:] = state["history"]
    return int(state["done"])
