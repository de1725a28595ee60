"""DataLoaders -> trained Learner: frozen body first, then all of it, keeping what ImageNet knew."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps

import torch

# Imported for what they add to Learner: to_channelslast, no_bar, fit_one_cycle.
from fastai.callback import channelslast as _channelslast  # noqa: F401
from fastai.callback import fp16 as _fp16  # noqa: F401
from fastai.callback import progress as _progress  # noqa: F401
from fastai.callback import schedule as _schedule  # noqa: F401
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.metrics import AccumMetric
from fastai.torch_core import set_seed
from torch import Tensor, nn
from torch.nn import functional as F

from train.catalog.picture import ALARM_LABELS, BEAR_ANY, LABELS, TRAINING_LABELS
from train.figures.calibrate import ALARM_COLUMNS
from train.learning.backbones import Backbone
from train.learning.callbacks import EarlyStop, FrozenStatistics, History, WeightAverage
from train.learning.mining import MineHard
from train.learning.network import BearNet
from train.learning.pictures import Example, PictureCache
from train.learning.recipe import Recipe
from train.learning.teacher import ClearTeacher, KeepKnowledge
from train.learning.together import first, rank, together

log = logging.getLogger(__name__)
IMAGENET_CLASSES = 1000


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
    """The new head's loss, plus distillation from the untouched network.

    Distillation: KL divergence of the 1,000-class outputs at temperature T, times T squared (Hinton et al. 2015).
    """

    def __init__(self, distill: float, temperature: float):
        super().__init__()
        self.distill, self.temperature = distill, temperature
        self.teacher: Tensor | None = None  # (N, 1000), set by train.learning.teacher while training

    def forward(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of raw logits (N, L + 1000) and targets (N,) into TRAINING_LABELS."""
        raw, count = raw.float(), len(LABELS)
        loss = super().forward(raw[:, :count], targets)
        if self.teacher is None or self.distill == 0:
            return loss
        t = self.temperature
        kept = F.kl_div(
            torch.log_softmax(raw[:, count:] / t, dim=1),
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
    """fastai's parameter groups: the body, the new head. ImageNet's own head never trains."""
    return [list(net.body.parameters()), list(net.new_head.parameters())]


def make_learner(dls: DataLoaders, body: nn.Module, old_head: nn.Linear, recipe: Recipe) -> Learner:
    """A Learner over a BearNet, ready to train."""
    known = recipe.pretrained and old_head.out_features == IMAGENET_CLASSES
    old_head.requires_grad_(False)
    net = BearNet(body, old_head, LABELS, ALARM_LABELS, recipe.old_head_kept if known else 0.0)
    distill = recipe.distill if recipe.pretrained else 0.0
    learn = Learner(
        dls, net, loss_func=BearLoss(distill, recipe.distill_temperature), metrics=metrics(net), splitter=halves
    )
    return learn.to_channelslast(use_amp=False)


@dataclass(frozen=True)
class Seen:
    """What mining and a clear teacher need beside the DataLoaders: the training examples and their pixels."""

    examples: Sequence[Example]
    cache: PictureCache
    backbone: Backbone


def train_learner(
    dls: DataLoaders,
    body: nn.Module,
    old_head: nn.Linear,
    recipe: Recipe,
    progress: Callback | None,
    history: list[dict[str, float]],
    seen: Seen | None = None,
) -> Learner:
    """Train: head alone, then everything at a lower rate for the body.

    ``history`` gets a row of figures an epoch. ``seen`` is needed for ``recipe.hard`` and ``recipe.clear_teacher``.
    """
    untouched = nn.Sequential(copy.deepcopy(body), copy.deepcopy(old_head))
    learn = make_learner(dls, body, old_head, recipe)
    always: list[Callback] = [History(history), *([progress] if progress and first() else [])]
    if recipe.pretrained:
        always += [FrozenStatistics()]
    with learn.no_bar(), learn.no_logging(), together(learn):
        if recipe.pretrained and recipe.freeze_epochs:
            learn.freeze()
            learn.fit_one_cycle(recipe.freeze_epochs, recipe.lr_head, cbs=[*always, *knowing(recipe, None, seen)])
        if recipe.fp16:
            learn.to_fp16()
        learn.unfreeze()
        average = WeightAverage(recipe.average_decay)
        late = [average, *knowing(recipe, untouched, seen)]
        if recipe.hard and seen:
            late += [MineHard(recipe.hard, seen.examples, seen.cache, seen.backbone, recipe.size, recipe.seed)]
        if recipe.early_stop:
            late += [EarlyStop(average, recipe.early_stop, getattr(progress, "say", log.info))]
        rates = slice(recipe.lr_body, recipe.lr_head) if recipe.pretrained else recipe.lr_head
        learn.fit_one_cycle(recipe.epochs, rates, cbs=[*always, *late])
    if recipe.fp16:
        learn.to_fp32()
    learn.model.cpu()
    learn.model.eval()
    return learn


def knowing(recipe: Recipe, untouched: nn.Module | None, seen: Seen | None) -> list[Callback]:
    """The callbacks that keep what ImageNet knew, and that degrade after a clear teacher has looked.

    ``untouched`` is None while the body is frozen: then there is nothing to forget.
    """
    teacher = untouched if recipe.pretrained and recipe.distill > 0 else None
    if recipe.augment == "field" and recipe.clear_teacher and seen:
        network = seen.backbone
        return [ClearTeacher(teacher, recipe.degraded, network.mean, network.std, recipe.seed + rank())]
    return [KeepKnowledge(teacher)] if teacher is not None else []


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch: the same machine and versions then give the same model."""
    set_seed(seed, reproducible=True)
    torch.use_deterministic_algorithms(True, warn_only=True)
