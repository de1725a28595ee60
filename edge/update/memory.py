"""Memory for a new model: what is free, what the model needs, and so how it can be compared with the one in use.

As a program, ``python -m edge.update.memory MODEL``, it loads that model and prints what it takes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Literal

import cv2
import numpy as np

from edge.detect.classifier import BATCH, Classifier
from edge.detect.frame_scan import FrameScanner
from edge.device import sensors
from edge.device.health import MIN_MEMORY_MB, MIN_MEMORY_SHARE
from edge.errors import BearAlarmError, ModelError
from edge.schema import WHOLE, Region
from edge.update.child import lower_process, refuse, run_child

Way = Literal["beside", "kept", "none"]

BESIDE_MB = 300.0  # free: with less the two models are never in memory together
LEAST_MB = 64.0  # stay free; a trial beside the model in use ends below
PROGRAM_MB = 50.0  # of a process that looks at pictures, without its model; measured: 45
MEASURED_WITHIN_S = 300.0
CGROUP = "sys/fs/cgroup"


def room(root: Path = Path("/")) -> sensors.Memory:
    """Return the memory that this process may use: the machine's, or its control group's where that has less.

    The limits of systemd and of containers are those of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst):
    ``memory.max`` and ``memory.high`` of the group and of all above it. Cached files that nobody uses count as free.
    """
    found = [sensors.memory(), *_limits(root)]
    return sensors.Memory(min(each.total_mb for each in found), min(each.available_mb for each in found))


def _limits(root: Path) -> Iterator[sensors.Memory]:
    """Yield the limit of each control group that has one, and what is left of it."""
    groups = (line.partition("::")[2] for line in (sensors.text(root / "proc/self/cgroup") or "").splitlines())
    group = root / CGROUP / next(filter(None, groups), "/").strip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(root / CGROUP):
            return
        limits = [limit for name in ("max", "high") if (limit := sensors.number(folder / f"memory.{name}")) is not None]
        used = sensors.number(folder / "memory.current")
        if limits and used is not None:
            stat = dict(line.split() for line in (sensors.text(folder / "memory.stat") or "").splitlines())
            used -= int(stat.get("inactive_file", 0))
            yield sensors.Memory(min(limits) / 1e6, max(min(limits) - used, 0) / 1e6)


def way(free: sensors.Memory, need_mb: float) -> tuple[Way, str]:
    """Return how a new model that needs so much can be compared with the one in use, and why, as a clause.

    ``beside`` it on the same frames; on ``kept`` pictures, one model after the other; or ``none``. Beside it, as much
    stays free as ``health`` warns of.
    """
    mb = free.available_mb
    left = max(min(MIN_MEMORY_SHARE * free.total_mb, MIN_MEMORY_MB), LEAST_MB)
    free_words = f"{mb:.0f} MB" if mb < 1000.0 else f"{mb / 1000.0:.0f} GB"
    needs = f"it needs {need_mb:.0f} MB of memory and {free_words} are free"
    if mb >= max(BESIDE_MB, need_mb + left):
        return "beside", f"{needs}, so it is tried beside the one in use"
    if mb >= PROGRAM_MB + need_mb + LEAST_MB:
        return "kept", f"{needs}, so the two look at kept pictures, one after the other"
    return "none", f"{needs}, so the two cannot be compared here"


def check_fits(free: sensors.Memory, need_mb: float) -> None:
    """Check that the alarm can load a model that needs so much: at a switch the old one is still there.

    Raises ModelError.
    """
    if free.available_mb < need_mb + LEAST_MB:
        raise ModelError(
            f"the new model needs {need_mb:.0f} MB of memory and {free.available_mb:.0f} MB are free, of which "
            f"{LEAST_MB:.0f} MB stay free; end other programs, or export a smaller model"
        )


def need_mb(model: Path, stop: Event) -> float:
    """Measure what a model takes in memory once it has looked at a picture, MB (10^6 bytes), in a process of its own.

    Raises ModelError for one that cannot be loaded there, or when ``stop`` is set.
    """
    return float(run_child("edge.update.memory", [str(model.absolute())], MEASURED_WITHIN_S, stop))


def own_mb() -> float:
    """Return the memory that is this process's alone, MB (10^6 bytes)."""
    import psutil

    return float(psutil.Process(os.getpid()).memory_full_info().uss) / 1e6


def look_once(model: Path) -> Classifier:
    """Load a model, and have it look at a picture: only then it has what it needs. Raises ModelError."""
    classifier = Classifier(model, cached=True)
    picture = np.zeros((720, 1280, 3), np.uint8)
    FrameScanner(classifier)(picture)
    classifier.score(picture, [Region(WHOLE, "motion")] * BATCH)
    return classifier


def main() -> int:
    """Write what the model that is named takes."""
    lower_process()
    cv2.setNumThreads(1)
    before = own_mb()
    try:
        classifier = look_once(Path(sys.argv[1]))
    except BearAlarmError as error:
        return refuse(error)
    sys.stdout.write(str(own_mb() - before))
    del classifier
    return 0


if __name__ == "__main__":
    sys.exit(main())
