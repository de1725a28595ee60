"""``classify --shards``: cut pictures into shards, run them with an engine, and be the worker of one."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge.cli.output import counted
from edge.errors import BearAlarmError, OptionError

if TYPE_CHECKING:
    from edge.batch.shards import Shards

log = logging.getLogger(__name__)

Engine = Literal["local", "none"]
PROGRESS_S = 1.0


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """The options of many pictures, as they were given."""

    folder: Path
    engine: Engine = "local"
    workers: int = 1
    retry: bool = False
    force: bool = False


def work(folder: Path, number: int, path: Sequence[Path], model: str | None, fps: float | None, *,
         workers: int, retry: bool, force: bool, progress: bool) -> None:  # fmt: skip
    """Look at one shard: the whole worker. Raises OptionError."""
    from edge.batch.shards import Shards
    from edge.detect.classifier import load

    if len(path) > 1 or any(not each.is_dir() for each in path):
        raise OptionError("--shard: give one folder at most, where the pictures lie on this machine")
    shards = Shards.open(folder, path[0] if path else None)
    classifier = load(model)
    shards.check(classifier.name, fps)
    ended = shards.run(
        number, classifier, workers=workers, retry=retry, progress=_print if progress else lambda count: None
    )
    said = {
        "done": f"shard {number} is done: {counted(shards.pictures(number), 'file')}",
        "already": f"shard {number} was done already",
        "elsewhere": f"another process looks at shard {number}",
    }
    log.info("%s", said[ended])
