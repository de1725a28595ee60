"""``classify --shards``: cut pictures into shards, run them with an engine, and be the worker of one."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge.cli.output import counted
from edge.errors import OptionError

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

    With the engine none it prints the numbers of those not done. Raises OptionError, and typer.Exit where some failed.
    """
    from edge.batch.results import ResultFiles
    from edge.batch.shards import Shards
    from edge.cli.classify import sum_up
    from edge.cli.classify_formats import write_formats
    from edge.detect.classifier import load
    from edge.detect.stills import Survey

    if run.engine not in ENGINES:
        raise OptionError(
            f"--engine {run.engine}: the engines are {' and '.join(ENGINES)}; docs/engines has short programs for "
            "Ray, Dask, Slurm and xargs, which run `bear-alarm classify --shards FOLDER --shard N`"
        )
    name = load(run.model).name
    shards = Shards.cut(run.folder, run.paths, name, run.fps, workers=run.workers, force=run.force)
    wanted = any(formats.files()) or formats.camtrap_dp is not None
    todo = shards.unread() if run.retry else shards.undone()
    if run.engine == "none":
        if todo and wanted:
            few = ", ".join(map(str, todo[:NAMED])) + (", …" if len(todo) > NAMED else "")
            raise OptionError(
                f"{run.folder}: {counted(len(todo), 'shard')} of {len(shards.numbers()):,} not done ({few}); run "
                "them, then give this command again"
            )
        if not wanted:
            for number in todo:
                print(number)
            return
    else:
        run_here(run, shards, todo)
    results = ResultFiles(shards.results(), shards.base)
    if wanted:
        write_formats(results, formats)
    log.info("%s", sum_up(Survey(result.row for result in results())))


def run_here(run: Run, shards: Shards, todo: Sequence[int]) -> None:
    """Run shards in processes of this machine. Raises OptionError, and typer.Exit where some failed."""
    from edge.batch.local import run_shards
    from edge.cli.output import progress_bar

    words = [sys.executable, "-m", "edge", "classify", "--shards", run.folder, "--workers", 1, "--progress"]
    words += [] if run.model is None else ["--model", run.model]
    words += [] if shards.here == shards.base else [shards.here]
    words += ["--retry-failed"] if run.retry else []
    numbers = shards.numbers()
    pictures = {number: shards.pictures(number) for number in numbers}
    before = sum(pictures[number] for number in numbers if number not in set(todo))
    if before:
        log.info("%s of %s are done already", f"{before:,}", counted(sum(pictures.values()), "file"))
    with progress_bar("looking for bears", sum(pictures.values()), before) as progress:
        outcome = run_shards(
            lambda number: [*map(str, words), "--shard", str(number)],
            todo,
            workers=run.workers,
            done=shards.done,
            pictures=pictures.__getitem__,
            progress=progress,
        )
    if outcome.refused:
        raise OptionError(outcome.refused)
    if outcome.failed:
        few = ", ".join(map(str, outcome.failed[:NAMED])) + (", …" if len(outcome.failed) > NAMED else "")
        log.error(
            "%s failed (%s), all others are done; the same command tries again",
            counted(len(outcome.failed), "shard"), few,
        )  # fmt: skip
        raise typer.Exit(1)


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
    classifier = load(model)
    shards.check(classifier.name, fps)
    ended = shards.run(
        number, classifier, workers=threads, retry=retry, progress=_printed() if progress else lambda count: None
    )
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
