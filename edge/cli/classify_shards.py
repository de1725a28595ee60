"""``classify --shards``: cut pictures into shards, run them with an engine, and be the worker of one."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge.cli.main import interrupt
from edge.cli.output import counted
from edge.errors import OptionError, PictureError

if TYPE_CHECKING:
    from edge.batch.shards import Shards
    from edge.cli.classify_formats import Formats

log = logging.getLogger(__name__)

ENGINES = ("local", "none")
PROGRESS_S = 1.0
NAMED = 5  # shards that a sentence names


@dataclass(frozen=True, slots=True)
class Run:
    """A run over all shards, as it was asked for."""

    folder: Path
    paths: Sequence[Path]
    model: str | None
    fps: float | None
    engine: str
    workers: int
    retry: bool
    force: bool


def run_all(run: Run, formats: Formats) -> None:
    """Cut the shards, run those that are not done, write the formats and log what was found.

    With the engine none it prints the numbers of those not done. Without paths the plan is taken as it is. Raises
    OptionError, PictureError where no file could be read, and typer.Exit where some shards failed.
    """
    from edge.batch.results import ResultFiles
    from edge.batch.shards import Shards
    from edge.cli.classify import sum_up
    from edge.cli.classify_formats import check_formats, check_names, write_formats
    from edge.detect.classifier import load
    from edge.detect.stills import Survey

    if run.engine not in ENGINES:
        raise OptionError(
            f"--engine {run.engine}: the engines are {' and '.join(ENGINES)}; docs/engines has short programs for "
            "Ray, Dask, Slurm and xargs, which run `bear-alarm classify --shards FOLDER --shard N`"
        )
    outputs = [file for file, _, _ in formats.files()] + ([formats.camtrap_dp.folder] if formats.camtrap_dp else [])
    for output in outputs:
        if output.resolve().is_relative_to(run.folder.resolve()):
            raise OptionError(f"{output}: lies in the --shards folder; write it somewhere else")
    held = Shards.open(run.folder).paths if Shards.there(run.folder) else []
    # The same command goes on, and writes its own files once more.
    check_formats(formats, [*run.paths, *held], force=run.force, again=True)
    paths = run.paths
    if not paths:
        shards = Shards.open(run.folder)
        paths = [] if shards.complete else shards.paths
    name = load(run.model).name if run.model or not Shards.there(run.folder) else None  # else a worker compares them
    if paths:
        try:
            shards = Shards.cut(run.folder, paths, name, run.fps, workers=run.workers)
        except KeyboardInterrupt:
            log.info("stopped before all pictures were in shards; the same command goes on there")
            raise
    shards.check(name, run.fps)
    check_names(formats, shards.names(), shards.base)
    todo = shards.unread() if run.retry and not (outputs and run.engine == "none") else shards.undone()
    if run.engine == "none":
        if todo and outputs:
            raise OptionError(
                f"{run.folder}: {counted(len(todo), 'shard')} of {len(shards.numbers()):,} not done ({_few(todo)}); "
                "run them, then give this command again"
            )
        if not outputs:
            for number in todo:
                print(number)
            return
    elif todo:
        run_here(run, shards, todo)
    results = ResultFiles(shards.results(), shards.base)
    if outputs:
        write_formats(results, formats)
    survey, last = Survey(), ""
    for result in results():
        survey.add(result.row)
        last = result.row.problem or last
    if not survey.read:
        raise PictureError(f"none of the {survey.failed:,} files could be read; the last: {last}")
    log.info("%s", sum_up(survey))
    if not outputs:
        log.info("for a table of them: bear-alarm classify --shards %s --csv bears.csv", shlex.quote(str(run.folder)))


def run_here(run: Run, shards: Shards, todo: Sequence[int]) -> None:
    """Run shards in processes of this machine. Raises OptionError, and typer.Exit where some failed."""
    from edge.batch.local import run_shards
    from edge.cli.output import progress_bar

    # -P: nothing in the folder of the user is taken for a module.
    words = [sys.executable, "-P", "-m", "edge", "classify", "--shards", run.folder, "--workers", 1, "--progress"]
    words += [] if run.model is None else ["--model", run.model]
    words += ["--retry-failed"] if run.retry else []
    pictures = {number: shards.pictures(number) for number in shards.numbers()}
    total, before = sum(pictures.values()), sum(pictures.values()) - sum(pictures[number] for number in todo)
    if before:
        log.info("%s of %s are done already", f"{before:,}", counted(total, "file"))
    try:
        with ended_alike(), progress_bar("looking for bears", total, before) as progress:
            outcome = run_shards(
                lambda number: [*map(str, words), "--shard", str(number)],
                todo,
                workers=run.workers,
                done=shards.done,
                free=shards.free,
                pictures=pictures.__getitem__,
                progress=progress,
            )
    except KeyboardInterrupt:
        done = sum(count for number, count in pictures.items() if shards.done(number))
        log.info("stopped with %s of %s done; the same command goes on there", f"{done:,}", counted(total, "file"))
        raise
    if outcome.refused:
        raise OptionError(outcome.refused)
    if outcome.failed:
        log.error(
            "%s failed (%s), all others are done; the same command tries again",
            counted(len(outcome.failed), "shard"), _few(outcome.failed),
        )  # fmt: skip
        raise typer.Exit(1)


@contextmanager
def ended_alike() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the block as Ctrl-C does; one that is ignored (nohup) stays so."""
    numbers = (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP"))
    before = {number: signal.getsignal(number) for number in numbers if number is not None}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _few(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:NAMED])) + (", …" if len(numbers) > NAMED else "")


def work(
    folder: Path,
    number: int,
    paths: Sequence[Path],
    model: str | None,
    fps: float | None,
    *,
    threads: int,
    retry: bool,
    progress: bool,
) -> None:
    """Look at one shard: the whole worker, for any engine. Raises OptionError."""
    from edge.batch.shards import Shards
    from edge.detect.classifier import load

    if len(paths) > 1 or not all(each.is_dir() for each in paths):
        raise OptionError(f"--shard {number}: give one folder at most, where the pictures lie on this machine")
    shards = Shards.open(folder, paths[0] if paths else None)
    shards.check(None, fps)
    show: Callable[[int], object] = _printed() if progress else lambda count: None
    ended = shards.run(number, partial(load, model), workers=threads, retry=retry, progress=show)
    if not progress:
        said = {"done": "is done", "already": "was done already", "elsewhere": "is looked at by another process"}
        log.info("shard %d %s", number, said[ended])


def _printed() -> Callable[[int], object]:
    """Return a function that prints the number it is given, once a second."""
    due_s = time.monotonic() + PROGRESS_S

    def show(count: int) -> None:
        nonlocal due_s
        if time.monotonic() >= due_s:
            print(count, flush=True)
            due_s = time.monotonic() + PROGRESS_S

    return show
