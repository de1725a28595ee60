"""DataLoaders -> trained Learner: frozen body first, then all of it, keeping what ImageNet knew."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch

# Imported for what they add to Learner: to_channelslast, no_bar, fit_one_cycle.
from fastai.callback import channelslast as _channelslast  # noqa: F401
from fastai.callback import progress as _progress  # noqa: F401
from fastai.callback import schedule as _schedule  # noqa: F401
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.metrics import AccumMetric
from fastai.torch_core import set_seed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from train.catalog import ALARM_LABELS, BEAR_ANY, LABELS, TRAINING_LABELS
from train.network import BearNet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; written to ``settings.json``. Each number's reason is in docs/model-card.md."""

    backbone: str = "efficientnet_lite0"
    pretrained: bool = True
    seed: int = 7
    freeze_epochs: int = 1
    epochs: int = 6
    per_epoch: int = 3000  # examples drawn an epoch
    batch: int = 32
    size: int = 224  # input side, pixels
    lr_head: float = 3e-3
    lr_body: float = 2e-4
    distill: float = 0.3  # weight of the distillation loss; 0 without pretrained weights
    distill_temperature: float = 2.0
    body_kept: float = 0.4  # share of the untouched body's weights after training
    old_head_kept: float = 0.5  # ImageNet's share in the bear logit
    average_decay: float = 0.99  # of the moving average of the weights
    false_positive_rate: float = 0.01  # the thresholds' target on the tuning negatives


class BearLoss(nn.Module):
    """-log of the allowed labels' summed probability, plus distillation from the untouched network.

    A picture known only as "bear" allows every alarm label. Distillation: KL divergence of the 1,000-class
    outputs at temperature T, times T squared (Hinton et al. 2015).
    """

    def __init__(self, distill: float, temperature: float):
        super().__init__()
        self.distill, self.temperature = distill, temperature
        self.register_buffer("allowed", allowed_labels())
        self.teacher: Tensor | None = None  # (N, 1000), set by KeepKnowledge while training

    def forward(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of raw logits (N, L + 1000) and targets (N,) into TRAINING_LABELS."""
        count = self.allowed.shape[1]
        log_p = torch.log_softmax(raw[:, :count], dim=1)
        loss = -torch.logsumexp(log_p.masked_fill(~self.allowed[targets], -1e4), dim=1).mean()
        if self.teacher is None or self.distill == 0:
            return loss
        t = self.temperature
        kept = F.kl_div(
            torch.log_softmax(raw[:, count:] / t, dim=1),
            torch.log_softmax(self.teacher / t, dim=1),
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


class KeepKnowledge(Callback):
    """Lets the untouched network answer every training batch, for the loss to compare with."""

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


class FrozenStatistics(Callback):
    """Keeps every batch norm's running statistics: a few thousand pictures would spoil them."""

    def before_train(self) -> None:
        """Put the batch norms into evaluation mode."""
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


class WeightAverage(Callback):
    """Exponential moving average of the weights, taken over when the fit ends (Polyak & Juditsky 1992)."""

    def __init__(self, decay: float):
        self.decay = decay

    def before_fit(self) -> None:
        """Start the average at the present weights; it reaches back over a fifth of the fit at most."""
        steps = self.n_epoch * len(self.dls.train)
        decay = max(min(self.decay, 1 - 5 / max(steps, 1)), 0.0)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(decay))

    def after_batch(self) -> None:
        """Move the average after each optimiser step."""
        if self.training:
            self.average.update_parameters(self.model)

    def after_fit(self) -> None:
        """Take the averaged weights."""
        self.model.load_state_dict(self.average.module.state_dict())
        del self.average


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
        values = zip(self.recorder.metric_names[1:-1], self.recorder.final_record, strict=False)
        stage = "all layers" if self.opt.frozen_idx == 0 else "head only"
        figures = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in values)
        self.say(f"{stage}, epoch {self.epoch + 1}/{self.n_epoch}  {figures}")


class History(Callback):
    """Keeps the figures of every epoch in a list."""

    order = 60  # after the recorder

    def __init__(self, rows: list[dict[str, float]]):
        self.rows = rows

    def after_epoch(self) -> None:
        """One row more."""
        values = zip(self.recorder.metric_names[1:-1], self.recorder.final_record, strict=False)
        self.rows.append({name: float(value) for name, value in values})


def metrics(net: BearNet) -> list[AccumMetric]:
    """error_rate, bear_recall and false_positive_rate at p > 0.5 on the tuning part."""
    allowed = allowed_labels()
    bear_targets = allowed[:, net.alarm].any(dim=1)

    def error_rate(raw: Tensor, targets: Tensor) -> float:
        """Share of pictures whose best label is not a right one."""
        best = net.label_logits(raw).argmax(dim=1)
        return float((~allowed[targets, best]).float().mean())

    def bear_recall(raw: Tensor, targets: Tensor) -> float:
        """Share of bears with p(bear) > 0.5."""
        return share(raw, targets, bears=True)

    def false_positive_rate(raw: Tensor, targets: Tensor) -> float:
        """Share of others with p(bear) > 0.5."""
        return share(raw, targets, bears=False)

    def share(raw: Tensor, targets: Tensor, *, bears: bool) -> float:
        bear = torch.softmax(net.label_logits(raw), dim=1)[:, net.alarm].sum(dim=1)
        chosen = bear[bear_targets[targets] == bears]
        return float((chosen > 0.5).float().mean()) if len(chosen) else 0.0

    return [AccumMetric(measure, flatten=False) for measure in (error_rate, bear_recall, false_positive_rate)]


def halves(net: BearNet) -> list[list[nn.Parameter]]:
    """fastai's parameter groups: the body, the new head. ImageNet's own head never trains."""
    return [list(net.body.parameters()), list(net.new_head.parameters())]


def make_learner(dls: DataLoaders, body: nn.Module, old_head: nn.Linear, recipe: Recipe) -> Learner:
    """A Learner over a BearNet, ready to train."""
    keep = recipe.old_head_kept if recipe.pretrained else 0.0
    old_head.requires_grad_(False)
    net = BearNet(body, old_head, LABELS, ALARM_LABELS, keep)
    distill = recipe.distill if recipe.pretrained else 0.0
    learn = Learner(
        dls, net, loss_func=BearLoss(distill, recipe.distill_temperature), metrics=metrics(net), splitter=halves
    )
    return learn.to_channelslast(use_amp=False)


def train_learner(
    dls: DataLoaders,
    body: nn.Module,
    old_head: nn.Linear,
    recipe: Recipe,
    progress: Callback | None,
    history: list[dict[str, float]],
) -> Learner:
    """Train: head alone, then everything at a lower rate for the body; then move the body back a little.

    Moving the fine-tuned weights towards the untouched ones keeps what both know (Wortsman et al. 2022).
    ``history`` gets a row of figures an epoch.
    """
    untouched = nn.Sequential(copy.deepcopy(body), copy.deepcopy(old_head))
    learn = make_learner(dls, body, old_head, recipe)
    callbacks: list[Callback] = [History(history), *([progress] if progress else [])]
    if recipe.pretrained:
        callbacks += [FrozenStatistics()]
    with learn.no_bar(), learn.no_logging():
        if recipe.pretrained and recipe.freeze_epochs:
            learn.freeze()
            learn.fit_one_cycle(recipe.freeze_epochs, recipe.lr_head, cbs=callbacks)
        learn.unfreeze()
        if recipe.pretrained and recipe.distill > 0:
            callbacks += [KeepKnowledge(untouched)]
        callbacks += [WeightAverage(recipe.average_decay)]
        rates = slice(recipe.lr_body, recipe.lr_head) if recipe.pretrained else recipe.lr_head
        learn.fit_one_cycle(recipe.epochs, rates, cbs=callbacks)
    if recipe.pretrained:
        interpolate(learn.model.body, untouched[0], recipe.body_kept)
    learn.model.eval()
    return learn


def interpolate(body: nn.Module, untouched: nn.Module, share: float) -> None:
    """Move ``body``'s weights by ``share`` of the way to the untouched ones, in place."""
    old = dict(untouched.named_parameters())
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            parameter.lerp_(old[name].to(parameter.device), share)


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch: the same machine and versions then give the same model."""
    set_seed(seed, reproducible=True)
    torch.use_deterministic_algorithms(True, warn_only=True)
