"""What runs beside fastai's training loop: frozen statistics, averaged weights, an early end, figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastai.callback.core import Callback, CancelFitException
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def bare(model: nn.Module) -> nn.Module:
    """The network itself, where a wrapper for several processes is around it."""
    inner: nn.Module = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    return inner


class FrozenStatistics(Callback):
    """Keeps every batch norm's running statistics: a few thousand pictures would spoil them."""

    def before_train(self) -> None:
        """Put the batch norms into evaluation mode."""
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


class WeightAverage(Callback):
    """Exponential moving average of the weights, taken over when the fit ends (Polyak & Juditsky 1992).

    The tuning part is scored with the average too: that is what will be used.
    """

    order = 12  # inside whatever wraps the model for several processes

    def __init__(self, decay: float):
        self.decay = decay

    def before_fit(self) -> None:
        """Start the average at the present weights; it reaches back over a fifth of the fit at most."""
        steps = self.n_epoch * len(self.dls.train)
        decay = max(min(self.decay, 1 - 5 / max(steps, 1)), 0.0)
        self.average = AveragedModel(bare(self.model), multi_avg_fn=get_ema_multi_avg_fn(decay))

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

    def state(self) -> dict[str, Tensor]:
        """A copy of the averaged weights."""
        return {name: value.clone() for name, value in self.average.module.state_dict().items()}

    def after_fit(self) -> None:
        """Take the averaged weights."""
        bare(self.model).load_state_dict(self.average.module.state_dict())
        del self.average


class EarlyStop(Callback):
    """Ends the fit after ``patience`` epochs without a smaller tuning loss, and takes the best epoch's weights.

    Prechelt 1998, "Early stopping - but when?". ``said`` gets one sentence when it ends the fit.
    """

    order = 61  # after the recorder, and in after_fit after the average

    def __init__(self, average: WeightAverage, patience: int, said: Callable[[str], None]):
        self.average, self.patience, self.said = average, patience, said

    def before_fit(self) -> None:
        """Nothing is best yet."""
        self.smallest, self.epoch_of_best = float("inf"), 0
        self.best: dict[str, Tensor] = {}

    def after_epoch(self) -> None:
        """Keep the weights when they are better; end the fit when they have not been for long enough."""
        loss = float(self.recorder.final_record[1])
        if loss < self.smallest:
            self.smallest, self.epoch_of_best, self.best = loss, self.epoch, self.average.state()
        elif self.epoch - self.epoch_of_best >= self.patience:
            self.said(
                f"stopped after epoch {self.epoch + 1} of {self.n_epoch}: the tuning loss was smallest "
                f"({self.smallest:.4f}) in epoch {self.epoch_of_best + 1}, whose weights are taken"
            )
            raise CancelFitException

    def after_fit(self) -> None:
        """Take the best epoch's weights."""
        if self.best:
            bare(self.model).load_state_dict(self.best)
        self.best = {}


class Progress(Callback):
    """Tells how far training is: ``advance()`` a batch, ``say(text)`` an epoch."""

    order = 60  # after the recorder

    def __init__(self, advance: Callable[[], None], say: Callable[[str], None]):
        self.advance, self.say = advance, say

    def after_batch(self) -> None:
        """One training batch further."""
        if self.training:
            self.advance()

    def after_epoch(self) -> None:
        """The epoch's figures."""
        stage = "all layers" if self.opt.frozen_idx == 0 else "head only"
        figures = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in epoch_figures(self).items())
        self.say(f"{stage}, epoch {self.epoch + 1}/{self.n_epoch}  {figures}")


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
