"""DataLoaders -> trained Learner, keeping what ImageNet knew."""

from __future__ import annotations

import copy
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

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
from fastai.torch_core import num_distrib, rank_distrib, set_seed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edge.errors import BearAlarmError, MissingExtraError, OptionError
from edge.files import replace_whole
from edge.installing import pip
from train.data.pictures import ALARM_LABELS, BEAR_ANY, LABELS, TRAINING_LABELS
from train.learn.dataloaders import degrade
from train.learn.network import Backbone, BearNet, fold_batch_norms, interpolate_weights
from train.learn.recipe import Recipe
from train.metrics import ALARM_COLUMNS

AVERAGE_DECAY = 0.99  # of the moving average of the weights, a step
DISTILL_TEMPERATURE = 2.0  # softens the answers that distillation compares
PATIENCE = timedelta(days=1)  # with the first process, which mines and measures alone; torch's own is 10 to 30 minutes

T = TypeVar("T")
log = logging.getLogger(__name__)


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
        callbacks += [FieldLook(recipe.degraded, backbone, recipe.seed + rank(), done)]
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
    """Leave a share of the convolutions, from the input on, as they are; with them what lies between."""
    layers = [module for module in body.modules() if isinstance(module, nn.Conv2d)]
    kept = {id(layer) for layer in layers[: round(share * len(layers))]}
    for module in body.modules():
        if id(module) in kept:
            module.requires_grad_(False)


def halves(net: BearNet) -> list[list[nn.Parameter]]:
    """Return fastai's parameter groups: the body, the head."""
    return [list(net.body.parameters()), list(net.head.parameters())]


def one_cycle(learn: Learner, recipe: Recipe, done: int) -> ParamScheduler:
    """Make fastai's one-cycle schedule (Smith 2018) of a whole training, of which ``done`` epochs lie behind."""
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
    """Seed python, numpy and torch: the same machine and versions then give the same model."""
    set_seed(seed, reproducible=True)
    torch.use_deterministic_algorithms(True, warn_only=True)


class LabelLoss(nn.Module):
    """-log of the allowed labels' summed probability; a picture known only as "bear" allows every alarm label.

    ``reduction``, ``activation`` and ``decodes`` are what fastai asks a loss for.
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
    """The labels' loss of raw logits, plus distillation from the untouched network.

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
    """Return a mask (training labels, labels): which labels are right for each training label."""
    rows = [
        [label == name or (name == BEAR_ANY and label in ALARM_LABELS) for label in LABELS] for name in TRAINING_LABELS
    ]
    return torch.tensor(rows)


def error_rate(logits: Tensor, targets: Tensor) -> float:
    """Return the share of pictures whose best label is not a right one."""
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
    """Make fastai's metrics of ``FIGURES``, from the raw logits that a network in training gives."""

    def of_raw(figure: Callable[[Tensor, Tensor], float]) -> Callable[[Tensor, Tensor], float]:
        return wraps(figure)(lambda raw, targets: figure(net.label_logits(raw), targets))

    return [AccumMetric(of_raw(figure), flatten=False) for figure in FIGURES]


class KnowledgeDistillation(Callback):
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
    """Degrades a share of each training batch as the field does (``train.learn.dataloaders``)."""

    order = 1  # KnowledgeDistillation is 0

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
        self.average = AveragedModel(unwrapped(self.model), multi_avg_fn=get_ema_multi_avg_fn(decay))
        if self.begun is not None:
            self.average.load_state_dict(self.begun)

    def after_batch(self) -> None:
        """Move the average after each optimiser step."""
        if self.training:
            self.average.update_parameters(unwrapped(self.model))

    def before_validate(self) -> None:
        """Put the averaged weights in, and the present ones aside."""
        net = unwrapped(self.model)
        self.present = {name: value.clone() for name, value in net.state_dict().items()}
        net.load_state_dict(self.average.module.state_dict())

    def after_validate(self) -> None:
        """Go on with the present ones."""
        unwrapped(self.model).load_state_dict(self.present)
        del self.present

    def after_fit(self) -> None:
        """Take the averaged weights."""
        unwrapped(self.model).load_state_dict(self.average.module.state_dict())
        del self.average


class Progress(Callback):
    """Tells how far training is: ``advance()`` a batch, ``say(text)`` an epoch."""

    order = 60  # after the recorder

    def __init__(self, advance: Callable[[], None], say: Callable[[str], None]):
        self.advance, self.say = advance, say
        self.done = 0  # epochs of an earlier part of the training

    def after_batch(self) -> None:
        """Advance by one training batch."""
        if self.training:
            self.advance()

    def after_epoch(self) -> None:
        """Say the epoch's figures."""
        figures = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in epoch_figures(self).items())
        self.say(f"epoch {self.done + self.epoch + 1}/{self.done + self.n_epoch}  {figures}")


class History(Callback):
    """Keeps the figures of every epoch in a list."""

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


# After a break a training goes on from its last whole epoch, and ends as if nothing had happened.


class Checkpoint(Callback):
    """Writes weights, their average, the optimizer and the history after each epoch, and seeds each epoch by itself."""

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
        """Draw the same in the same epoch, whether the training was broken off before it or not."""
        set_seed(self.seed + 1000 * (self.done + self.epoch), reproducible=True)

    def after_epoch(self) -> None:
        """Write the state of the training whole; where that cannot be done it goes on without."""
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
            log.warning("%s: cannot be written (%s); a break would cost the training so far", self.file, error)


def plain(value: Any) -> Any:
    """Repeat a value in tensors, numbers, lists and dictionaries alone, which can be read without trusting the file."""
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
        said = (str(error).splitlines() or [""])[0][:80]
        raise OptionError(
            f"{file}: cannot be read ({type(error).__name__}: {said}); train from the beginning with --force"
        ) from None


def resume(learn: Learner, average: WeightAverage, history: list[dict[str, float]], state: Mapping[str, Any]) -> int:
    """Put a Learner where a checkpoint left it; returns the epochs that are done."""
    learn.model.load_state_dict(state["model"])
    learn.create_opt()
    learn.opt.load_state_dict(state["optimizer"])
    average.begun = state["average"]
    history[:] = state["history"]
    return int(state["done"])


# Several processes, each with a share of every batch's gradients (fastai's distributed training). A launcher that sets
# RANK and WORLD_SIZE starts them, as torchrun and accelerate do. Rank 0 alone writes and speaks.


def processes() -> int:
    """Return how many processes train together; 1 without a launcher."""
    return max(int(num_distrib()), 1)


def rank() -> int:
    """Return this process's number, from 0."""
    return int(rank_distrib())


def first() -> bool:
    """Return whether this process writes and speaks for all."""
    return rank() == 0


def unwrapped(model: nn.Module) -> nn.Module:
    """Take the wrapper for several processes off a network, where it has one."""
    inner: nn.Module = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    return inner


def meet(*, cpu: bool) -> None:
    """Return when every process is here and they can talk; ``cpu``: not through GPUs. Raises MissingExtraError."""
    try:
        from accelerate import PartialState  # type: ignore[import-untyped,import-not-found]
    except ImportError:
        line = pip("install", "accelerate")
        raise MissingExtraError(f"training in several processes needs accelerate: {line}") from None
    PartialState(cpu=cpu, timeout=PATIENCE)


def of_first(work: Callable[[], T], *, cpu: bool) -> T:
    """Let the first process alone do ``work``; return what it returns to the others too, which wait.

    Raises in every process the BearAlarmError that ``work`` raises; MissingExtraError.
    """
    if processes() == 1:
        return work()
    meet(cpu=cpu)
    answer: list[Any] = [None, None]  # what it returned, what it raised
    if first():
        try:
            answer[0] = work()
        except BearAlarmError as error:
            answer[1] = error
    torch.distributed.broadcast_object_list(answer, src=0)
    returned, raised = answer
    if raised is not None:
        raise raised
    found: T = returned
    return found


@contextmanager
def together(learn: Learner) -> Iterator[None]:
    """Let every fit inside run in all the processes that the launcher started. Raises MissingExtraError."""
    if processes() == 1:
        yield
        return
    device = learn.dls.device
    meet(cpu=device.type == "cpu")
    from fastai.distributed import DistributedDL

    class Shares(DistributedDL):  # type: ignore[misc]
        """fastai's loader of each process's share of the same draws, on processors too: its own needs a GPU."""

        def _broadcast(self, t: list[int], rank: int) -> list[int]:
            drawn = torch.tensor(t, dtype=torch.long, device=device)
            torch.distributed.broadcast(drawn, rank)
            shared: list[int] = drawn.cpu().tolist()
            return shared

    whole = learn.dls.loaders
    learn.dls.loaders = [Shares(loader, device=device) for loader in whole]
    try:
        with learn.distrib_ctx(sync_bn=False, cpu=device.type == "cpu"):
            yield
    finally:
        learn.dls.loaders = whole


def wait_for_all() -> None:
    """Return when every process is here; at once where there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def end_processes() -> None:
    """End the talk of the processes and its threads, at the good end of a program; nothing where they do not talk.

    A thread of gloo that gives up a tensor while the interpreter ends aborts the process (pytorch's pull request
    179291), and the launcher then ends the others, whatever they had learned. After a failure it would wait for those
    who are still at work: there the launcher ends them.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
