"""Training in several processes, each with a share of every batch's gradients (fastai's distributed training).

A launcher that sets RANK and WORLD_SIZE starts them, as torchrun and accelerate do. Only rank 0 writes and prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from fastai.learner import Learner
from fastai.torch_core import num_distrib, rank_distrib
from torch import nn

from edge.errors import BearAlarmError, MissingExtraError
from edge.installing import pip

T = TypeVar("T")
TIMEOUT = timedelta(
    days=1
)  # for the first process, which mines and measures alone; torch's default is 10 to 30 minutes


def processes() -> int:
    """Return how many processes train together; 1 without a launcher."""
    return max(int(num_distrib()), 1)


def rank() -> int:
    """Return this process's number, from 0."""
    return int(rank_distrib())


def first() -> bool:
    """Return True for the process that writes and prints for all."""
    return rank() == 0


def unwrapped(model: nn.Module) -> nn.Module:
    """Return a network without the wrapper for several processes, if it has one."""
    inner: nn.Module = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    return inner


def connect(*, cpu: bool) -> None:
    """Connect the processes, and wait for all; ``cpu``: not through GPUs. Raises MissingExtraError."""
    try:
        from accelerate import PartialState  # type: ignore[import-untyped,import-not-found]
    except ImportError:
        line = pip("install", "accelerate")
        raise MissingExtraError(f"training in several processes needs accelerate: {line}") from None
    PartialState(cpu=cpu, timeout=TIMEOUT)


def run_on_first(work: Callable[[], T], *, cpu: bool) -> T:
    """Run ``work`` in the first process only, and return its result in all; the others wait.

    A BearAlarmError of ``work`` is raised in every process. Raises MissingExtraError.
    """
    if processes() == 1:
        return work()
    connect(cpu=cpu)
    answer: list[Any] = [None, None]  # result, error
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
    """Run every fit inside in all processes of the launcher. Raises MissingExtraError."""
    if processes() == 1:
        yield
        return
    device = learn.dls.device
    connect(cpu=device.type == "cpu")
    from fastai.distributed import DistributedDL

    class Shares(DistributedDL):  # type: ignore[misc]
        """fastai's loader of each process's share of the draws, also for CPUs: fastai's own needs a GPU."""

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


def wait_for_others() -> None:
    """Wait for every process; return at once if there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def end_processes() -> None:
    """Disconnect the processes at the normal end of a program; do nothing if they are not connected.

    A gloo thread that frees a tensor while the interpreter ends aborts the process (pytorch's pull request 179291), and
    the launcher then ends the others. Not for a program that fails: it would wait for the others, which the launcher
    ends anyway.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
