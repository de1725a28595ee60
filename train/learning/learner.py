"""DataLoaders -> trained Learner, keeping what ImageNet knew."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

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
from train.learning.backbones import Backbone
from train.learning.callbacks import FieldLook, History, KeepKnowledge, WeightAverage
from train.learning.checkpoint import Checkpoint, read_checkpoint
from train.learning.network import BearNet, fold_batch_norms, interpolate
from train.learning.recipe import Recipe
from train.learning.together import first, rank, together
from train.metrics import ALARM_COLUMNS

log = logging.getLogger(__name__)


class LabelLoss(nn.Module):
    """-log of the allowed labels' summed probability; a picture known only as "bear" allows every alarm label.

    ``reduction``, ``activation`` and ``decodes`` are what fastai asks a loss for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reduction = "mean"
        self.allowed = allowed_labels()

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of label logits (N, L) and targets (N,) into TRAINING_LABELS: (N,), or its mean."""
        log_p = torch.log_softmax(logits.float(), dim=1)  # half precision is not enough for a log of a sum
        wrong = ~self.allowed.to(logits.device)[targets]
        loss = -torch.logsumexp(log_p.masked_fill(wrong, -1e4), dim=1)
        return loss if self.reduction == "none" else loss.mean()

    def activation(self, logits: Tensor) -> Tensor:
        """Probabilities (N, L) of label logits (N, L)."""
        return torch.softmax(logits, dim=1)

    def decodes(self, probabilities: Tensor) -> Tensor:
        """(N,) index of the most probable label."""
        return probabilities.argmax(dim=1)


class BearLoss(LabelLoss):
    """The labels' loss of raw logits, plus distillation from the untouched network.

    Distillation: KL divergence of the 1,000-class outputs at temperature T, times T squared (Hinton et al. 2015).
    """

    def __init__(self, net: BearNet, distill: float, temperature: float):
        super().__init__()
        self.label_logits = net.label_logits
        self.distill, self.temperature = distill, temperature
        self.teacher: Tensor | None = None  # (N, 1000), set by KeepKnowledge while training

    def forward(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Return mean loss of raw logits (N, 1000) and targets (N,) into TRAINING_LABELS."""
        raw = raw.float()
        loss = super().forward(self.label_logits(raw), targets)
        if self.teacher is None or self.distill == 0:
            return loss
        t = self.temperature
        kept = F.kl_div(
            torch.log_softmax(raw / t, dim=1),
            torch.log_softmax(self.teacher.float() / t, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        return loss + self.distill * t * t * kept


def allowed_labels() -> Tensor:
    """(training labels, labels) mask: which labels are right for each training label."""
    rows = [
        [label == name or (name == BEAR_ANY and label in ALARM_LABELS) for label in LABELS] for name in TRAINING_LABELS
    ]
    return torch.tensor(rows)


def error_rate(logits: Tensor, targets: Tensor) -> float:
    """Share of pictures whose best label is not a right one."""
    best = logits.argmax(dim=1)
    return float((~allowed_labels()[targets, best]).float().mean())


def bear_recall(logits: Tensor, targets: Tensor) -> float:
    """Share of bears with p(bear) > 0.5."""
    return _share_of_bears(logits, targets, bears=True)


def false_positive_rate(logits: Tensor, targets: Tensor) -> float:
    """Share of others with p(bear) > 0.5."""
    return _share_of_bears(logits, targets, bears=False)


def _share_of_bears(logits: Tensor, targets: Tensor, *, bears: bool) -> float:
    bear = torch.softmax(logits, dim=1)[:, ALARM_COLUMNS].sum(dim=1)
    chosen = bear[allowed_labels()[:, ALARM_COLUMNS].any(dim=1)[targets] == bears]
    return float((chosen > 0.5).float().mean()) if len(chosen) else 0.0


FIGURES = (error_rate, bear_recall, false_positive_rate)  # of label logits (N, L) and targets (N,)


def metrics(net: BearNet) -> list[AccumMetric]:
    """``FIGURES`` of the raw logits that a network in training gives, on the tuning part."""

    def of_raw(figure: Callable[[Tensor, Tensor], float]) -> Callable[[Tensor, Tensor], float]:
        return wraps(figure)(lambda raw, targets: figure(net.label_logits(raw), targets))

    return [AccumMetric(of_raw(figure), flatten=False) for figure in FIGURES]


def halves(net: BearNet) -> list[list[nn.Parameter]]:
    """fastai's parameter groups: the body, the head."""
    return [list(net.body.parameters()), list(net.head.parameters())]


def freeze_first(body: nn.Module, share: float) -> None:
    """Leave a share of the convolutions, from the input on, as they are; with them what lies between."""
    layers = [module for module in body.modules() if isinstance(module, nn.Conv2d)]
    kept = {id(layer) for layer in layers[: round(share * len(layers))]}
    for module in body.modules():
        if id(module) in kept:
            module.requires_grad_(False)


def make_learner(dls: DataLoaders, body: nn.Module, head: nn.Linear, recipe: Recipe) -> Learner:
    """A Learner over a BearNet, ready to train."""
    if recipe.pretrained:
        fold_batch_norms(body)
        freeze_first(body, recipe.frozen)
    net = BearNet(body, head, LABELS, ALARM_LABELS)
    loss = BearLoss(net, recipe.distill if recipe.pretrained else 0.0, recipe.distill_temperature)
    return Learner(dls, net, loss_func=loss, metrics=metrics(net), splitter=halves).to_channelslast(use_amp=False)


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
    """Train all layers that are not frozen; then go part of the way back.

    ``history`` gets a row of figures an epoch. ``checkpoint``: the file that each epoch's state is written to; where
    it is there already the training goes on from it. Raises OptionError where it cannot be read.
    """
    learn = make_learner(dls, body, head, recipe)
    untouched = copy.deepcopy(learn.model)
    average, done = WeightAverage(recipe.average_decay, recipe.epochs), 0
    if recipe.fp16:
        learn.to_fp16()
    if checkpoint is not None and checkpoint.exists():
        done = resume(learn, average, history, read_checkpoint(checkpoint))
    if progress is not None:
        progress.done = done
    callbacks: list[Callback] = [History(history), average, *([progress] if progress and first() else [])]
    callbacks += [Checkpoint(checkpoint, average, history, recipe.seed + rank(), done)]
    if recipe.pretrained and recipe.distill > 0:
        callbacks += [KeepKnowledge(copy.deepcopy(untouched))]
    if recipe.augment == "field" and recipe.degraded:
        callbacks += [FieldLook(recipe.degraded, backbone, recipe.seed + rank(), done)]
    with learn.no_bar(), learn.no_logging(), together(learn):
        learn.fit(recipe.epochs - done, cbs=[one_cycle(learn, recipe, done), *callbacks])
    if recipe.fp16:
        learn.to_fp32()
    learn.model.cpu()
    if recipe.pretrained:
        interpolate(learn.model, untouched, recipe.untouched)
    learn.model.requires_grad_(True).eval()
    return learn


def one_cycle(learn: Learner, recipe: Recipe, done: int) -> ParamScheduler:
    """fastai's one-cycle policy (Smith 2018) over a whole training, of which ``done`` epochs lie behind."""
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


def resume(learn: Learner, average: WeightAverage, history: list[dict[str, float]], state: Mapping[str, Any]) -> int:
    """Put a Learner where a checkpoint left it; returns the epochs that are done."""
    learn.model.load_state_dict(state["model"])
    learn.create_opt()
    learn.opt.load_state_dict(state["optimizer"])
    average.begun = state["average"]
    history[:] = state["history"]
    return int(state["done"])


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch: the same machine and versions then give the same model."""
    set_seed(seed, reproducible=True)
    torch.use_deterministic_algorithms(True, warn_only=True)
