"""Training in several processes, each with a share of every batch's gradients (fastai's distributed training).

Started by a launcher that sets RANK and WORLD_SIZE, as ``torchrun`` and ``accelerate launch`` do. Rank 0 alone
writes and speaks. On processors the processes talk through gloo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from fastai.learner import Learner
from fastai.torch_core import num_distrib, rank_distrib

from edge.errors import BearAlarmError, MissingExtraError
from edge.installing import pip

T = TypeVar("T")
PATIENCE = timedelta(days=1)  # with the first process, which mines and measures alone; torch's own is 10 to 30 minutes


def processes() -> int:
    """How many processes train together; 1 where no launcher said otherwise."""
    return max(int(num_distrib()), 1)


def rank() -> int:
    """This process's number, from 0."""
    return int(rank_distrib())


def first() -> bool:
    """Whether this process writes and speaks for all."""
    return rank() == 0


def meet(*, cpu: bool) -> None:
    """Return when every process is here and they can talk; ``cpu``: not through GPUs. Raises MissingExtraError."""
    try:
        from accelerate import PartialState  # type: ignore[import-untyped,import-not-found]
    except ImportError:
        line = pip("install", "accelerate")
        raise MissingExtraError(f"training in several processes needs accelerate: {line}") from None
    PartialState(cpu=cpu, timeout=PATIENCE)


def of_first(work: Callable[[], T], *, cpu: bool) -> T:
    """What ``work`` returns in the first process, which alone does it; the others wait and get it too.

    Raises in every process the BearAlarmError that ``work`` raises; MissingExtraError.
    """
    if processes() == 1:
        return work()
    meet(cpu=cpu)
    told: list[Any] = [None, None]  # what it returned, what it raised
    if first():
        try:
            told[0] = work()
        except BearAlarmError as error:
            told[1] = error
    torch.distributed.broadcast_object_list(told, src=0)
    returned, raised = told
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
    cpu = learn.dls.device.type == "cpu"
    meet(cpu=cpu)
    from fastai.distributed import DistributedDL, DistributedTrainer

    class Shares(DistributedDL):  # type: ignore[misc]
        """Every process takes its share of the same draws, on processors too."""

        def _broadcast(self, t: list[int], rank: int) -> list[int]:
            drawn = torch.tensor(t, dtype=torch.long, device=self.device)
            torch.distributed.broadcast(drawn, rank)
            kept: list[int] = drawn.cpu().tolist()
            return kept

    class Together(DistributedTrainer):  # type: ignore[misc]
        """fastai's trainer, with loaders that need no GPU."""

        def _wrap_dl(self, dl: Any) -> Any:
            return dl if isinstance(dl, DistributedDL) else Shares(dl, device=self.learn.dls.device)

    trainer = Together(sync_bn=False, cpu=cpu)
    learn.add_cb(trainer)
    try:
        yield
    finally:
        learn.remove_cb(trainer)


def wait_for_all() -> None:
    """Return when every process is here; at once where there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def part() -> None:
    """End the talk of the processes and its threads, at the good end of a program; nothing where they do not talk.

    A thread of gloo that gives up a tensor while the interpreter ends aborts the process (pytorch's pull request
    179291), and the launcher then ends the others, whatever they had learned. After a failure it would wait for those
    who are still at work: there the launcher ends them.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
