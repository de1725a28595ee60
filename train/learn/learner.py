"""Train a Learner on DataLoaders, close to the pretrained network; its loss and its metrics."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import numpy as np
import torch

# Imported for what they add to Learner: to_channelslast, to_fp16, no_bar.
from fastai.callback import channelslast as _channelslast  # noqa: F401
from fastai.callback import fp16 as _fp16  # noqa: F401
from fastai.callback import progress as _progress  # noqa: F401
from fastai.callback.core import Callback
from fastai.callback.schedule import ParamScheduler, combined_cos
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.metrics import AccumMetric
from fastai.torch_core import set_seed
from torch import Tensor, nn
from torch.nn import functional as F

from train.data.pictures import ALARM_LABELS, BEAR_ANY, LABELS, TRAINING_LABELS
from train.learn.callbacks import (
    Checkpoint,
    DegradeCrops,
    History,
    KnowledgeDistillation,
    WeightAverage,
    read_checkpoint,
    resume,
)
from train.learn.distributed import first, rank, together
from train.learn.network import Backbone, BearNet, fold_batch_norms, interpolate_weights
from train.learn.recipe import Recipe
from train.metrics.calibration import ALARM_COLUMNS

AVERAGE_DECAY = 0.99  # of the moving average of the weights, for each step
DISTILL_TEMPERATURE = 2.0  # softens both outputs for distillation


def train_learner(
    dls: DataLoaders,
    body: nn.Module,
    head: nn.Linear,
    recipe: Recipe,
    backbone: Backbone,
    progress: Callback | None,
    history: list[dict[str, float]],
    checkpoint: Path | None = None,
) -> Learner:
    """Train all layers that are not frozen, then move the weights part of the way back to the pretrained ones.

    ``history`` gets a row of figures for each epoch. ``checkpoint``: the file for each epoch's state; if it exists,
    training continues from it. Raises OptionError if it cannot be read.
    """
    learn = make_learner(dls, body, head, recipe)
    untouched = copy.deepcopy(learn.model)
    average, done = WeightAverage(AVERAGE_DECAY, recipe.epochs), 0
    if recipe.fp16:
        learn.to_fp16()
    if checkpoint is not None and checkpoint.exists():
        done = resume(learn, average, history, read_checkpoint(checkpoint))
    if progress is not None:
        progress.done = done
    callbacks: list[Callback] = [History(history), average, *([progress] if progress and first() else [])]
    callbacks += [Checkpoint(checkpoint, average, history, recipe.seed + rank(), done)]
    if recipe.pretrained and recipe.distill > 0:
        callbacks += [KnowledgeDistillation(copy.deepcopy(untouched))]
    if recipe.degraded:
        callbacks += [DegradeCrops(recipe.degraded, backbone, recipe.seed + rank(), done)]
    with learn.no_bar(), learn.no_logging(), together(learn):
        learn.fit(recipe.epochs - done, cbs=[one_cycle(learn, recipe, done), *callbacks])
    if recipe.fp16:
        learn.to_fp32()
    learn.model.cpu()
    if recipe.pretrained:
        interpolate_weights(learn.model, untouched, recipe.untouched)
    learn.model.requires_grad_(True).eval()
    return learn


def make_learner(dls: DataLoaders, body: nn.Module, head: nn.Linear, recipe: Recipe) -> Learner:
    """Make a Learner over a BearNet, ready to train."""
    if recipe.pretrained:
        fold_batch_norms(body)
        freeze_first(body, recipe.frozen)
    net = BearNet(body, head, LABELS, ALARM_LABELS)
    loss = BearLoss(net, recipe.distill if recipe.pretrained else 0.0)
    return Learner(dls, net, loss_func=loss, metrics=metrics(net), splitter=halves).to_channelslast(use_amp=False)


def freeze_first(body: nn.Module, share: float) -> None:
    """Freeze a share of the convolutions, from the input on."""
    layers = [module for module in body.modules() if isinstance(module, nn.Conv2d)]
    kept = {id(layer) for layer in layers[: round(share * len(layers))]}
    for module in body.modules():
        if id(module) in kept:
            module.requires_grad_(False)


def halves(net: BearNet) -> list[list[nn.Parameter]]:
    """Return fastai's parameter groups: the body, the head."""
    return [list(net.body.parameters()), list(net.head.parameters())]


def one_cycle(learn: Learner, recipe: Recipe, done: int) -> ParamScheduler:
    """Make fastai's one-cycle schedule (Smith 2018) of a whole training, of which ``done`` epochs are done."""
    if learn.opt is None:
        learn.create_opt()
    learn.opt.set_hyper("lr", slice(recipe.lr_body, recipe.lr_head) if recipe.pretrained else recipe.lr_head)
    highest = np.array([hyper["lr"] for hyper in learn.opt.hypers])
    whole = {
        "lr": combined_cos(0.25, highest / 25, highest, highest / 1e5),
        "mom": combined_cos(0.25, *learn.moms),
    }
    behind = done / recipe.epochs
    return ParamScheduler(
        {name: lambda at, of=schedule: of(behind + at * (1 - behind)) for name, schedule in whole.items()}
    )


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch: the same machine and versions then give the same model."""
    set_seed(seed, reproducible=True)
    torch.use_deterministic_algorithms(True, warn_only=True)


class LabelLoss(nn.Module):
    """-log of the allowed labels' summed probability; a picture known only as "bear" allows every alarm label.

    fastai asks a loss for ``reduction``, ``activation`` and ``decodes``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reduction = "mean"
        self.allowed = allowed_labels()

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss (N,), or its mean, of label logits (N, L) and targets (N,) into TRAINING_LABELS."""
        log_p = torch.log_softmax(logits.float(), dim=1)  # half precision is not enough for a log of a sum
        wrong = ~self.allowed.to(logits.device)[targets]
        loss = -torch.logsumexp(log_p.masked_fill(wrong, -1e4), dim=1)
        return loss if self.reduction == "none" else loss.mean()

    def activation(self, logits: Tensor) -> Tensor:
        """Return probabilities (N, L) of label logits (N, L)."""
        return torch.softmax(logits, dim=1)

    def decodes(self, probabilities: Tensor) -> Tensor:
        """Return the index (N,) of the most probable label."""
        return probabilities.argmax(dim=1)


class BearLoss(LabelLoss):
    """Label loss of raw logits, plus distillation from the untouched network.

    Distillation: KL divergence of the 1,000-class outputs at temperature T, times T squared (Hinton et al. 2015).
    """

    def __init__(self, net: BearNet, distill: float):
        super().__init__()
        self.label_logits, self.distill = net.label_logits, distill
        self.teacher: Tensor | None = None  # (N, 1000), set by KnowledgeDistillation while training

    def forward(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Return mean loss of raw logits (N, 1000) and targets (N,) into TRAINING_LABELS."""
        raw = raw.float()
        loss = super().forward(self.label_logits(raw), targets)
        if self.teacher is None or self.distill == 0:
            return loss
        t = DISTILL_TEMPERATURE
        kept = F.kl_div(
            torch.log_softmax(raw / t, dim=1),
            torch.log_softmax(self.teacher.float() / t, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        return loss + self.distill * t * t * kept


def allowed_labels() -> Tensor:
    """Return a mask (training labels, labels) of the right answers for each training label."""
    rows = [
        [label == name or (name == BEAR_ANY and label in ALARM_LABELS) for label in LABELS] for name in TRAINING_LABELS
    ]
    return torch.tensor(rows)


def error_rate(logits: Tensor, targets: Tensor) -> float:
    """Return the share of pictures whose most probable label is wrong."""
    best = logits.argmax(dim=1)
    return float((~allowed_labels()[targets, best]).float().mean())


def bear_recall(logits: Tensor, targets: Tensor) -> float:
    """Return the share of bears with p(bear) > 0.5."""
    return _share_of_bears(logits, targets, bears=True)


def false_positive_rate(logits: Tensor, targets: Tensor) -> float:
    """Return the share of others with p(bear) > 0.5."""
    return _share_of_bears(logits, targets, bears=False)


def _share_of_bears(logits: Tensor, targets: Tensor, *, bears: bool) -> float:
    bear = torch.softmax(logits, dim=1)[:, ALARM_COLUMNS].sum(dim=1)
    chosen = bear[allowed_labels()[:, ALARM_COLUMNS].any(dim=1)[targets] == bears]
    return float((chosen > 0.5).float().mean()) if len(chosen) else 0.0


FIGURES = (error_rate, bear_recall, false_positive_rate)  # of label logits (N, L) and targets (N,)


def metrics(net: BearNet) -> list[AccumMetric]:
    """Make fastai metrics of ``FIGURES`` that take a network's raw logits."""

    def of_raw(figure: Callable[[Tensor, Tensor], float]) -> Callable[[Tensor, Tensor], float]:
        return wraps(figure)(lambda raw, targets: figure(net.label_logits(raw), targets))

    return [AccumMetric(of_raw(figure), flatten=False) for figure in FIGURES]
