"""A child process for a new model: of low priority, the first to go when memory is short, never waited for too long."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event

from edge.background import first_to_go
from edge.errors import ModelError

log = logging.getLogger(__name__)

HOME = Path(__file__).parents[2]  # so that it is the same edge as this one
ASK_S = 0.2  # between two looks at ``stop``
KILLED_S = 5.0  # what waits for a dead disk ends only with it
NICENESS = 15
REFUSED = 2  # exit code, with a sentence on standard error


def run_child(module: str, words: Sequence[str], within_s: float, stop: Event, given: str | None = "") -> str:
    """Run ``python -m module words``; return what it printed, and log what it wrote on its standard error.

    ``given``: its standard input. Raises ModelError with its last words where it failed, where the system ended it,
    where it took longer than ``within_s`` seconds, and where ``stop`` is set: then it is killed.
    """
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=HOME,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        encoding="utf-8",
        errors="replace",  # names of files may be anything
        start_new_session=True,  # Ctrl-C is for the alarm, which sets ``stop``
    )
    assert child.stdout
    assert child.stderr
    until = time.monotonic() + within_s
    with child.stdout, child.stderr:
        while True:
            try:
                said, problems = child.communicate(given, ASK_S)
                break
            except subprocess.TimeoutExpired:
                given = None  # it has it
                if stop.is_set() or time.monotonic() > until:
                    child.kill()
                    with suppress(subprocess.TimeoutExpired):
                        child.wait(KILLED_S)
                    why = "it was stopped" if stop.is_set() else f"it took longer than {within_s:g} s"
                    raise ModelError(f"the new model was not looked at to the end: {why}") from None
    if child.returncode < 0:
        raise ModelError(
            f"the new model was not looked at to the end: the system ended it (signal {-child.returncode}), as it does "
            "where memory is short; see what else runs here"
        )
    lines = problems.strip().splitlines() or [f"exit code {child.returncode}"]
    if child.returncode == REFUSED:
        raise ModelError(lines[-1].removeprefix("bear-alarm: "))
    if child.returncode:
        log.debug("%s", problems)
        raise ModelError(f"the new model was not looked at to the end: {lines[-1]}")
    for line in problems.splitlines():
        log.warning("%s", line)
    return said


def refuse(error: Exception) -> int:
    """Write a sentence for the one who started this process; return its exit code."""
    sys.stderr.write(f"{error}\n")
    return REFUSED


def lower_process() -> None:
    """Lower this process: less of the processor, and the first to go when memory is short."""
    first_to_go()
    if sys.platform != "win32":
        os.nice(NICENESS)
