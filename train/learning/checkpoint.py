"""A training that was broken off goes on from its last whole epoch, and ends as if nothing had happened."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.torch_core import set_seed

from edge.errors import OptionError
from edge.files import replace_whole
from train.learning.callbacks import WeightAverage, bare
from train.learning.together import first

log = logging.getLogger(__name__)


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
            "model": bare(self.model).state_dict(),
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
