"""Run ``bear-alarm train`` after its pictures are read: find hard negatives, train once or several times, report.

Several trainings differ only in their seed: they show how much of a difference between runs is chance.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.progress import Progress as RichProgress

from edge.cli.output import counted, track
from edge.detect.classifier import load
from edge.files import replace_whole
from train.data.pictures import Catalog
from train.data.pictures import Picture as Row
from train.data.split import Split
from train.learn.callbacks import Progress
from train.learn.distributed import first, processes, run_on_first, wait_for_others
from train.learn.examples import PictureCache
from train.learn.hard_negatives import FOLDER, Mined, as_notes, mine, remove_others
from train.learn.recipe import Recipe, steps_of
from train.learn.run import train_run
from train.learn.run_folder import STATE, StartedTraining, seed_folder

SURE = 0.9  # a hard negative with such a score may be a bear


@dataclass
class Session:
    """The pictures of a training and the folder of its run; each method prints its result."""

    catalog: Catalog
    split: Split
    out: Path
    weights: Path | None
    aliases: Mapping[str, str]
    cache: PictureCache
    started: StartedTraining
    more: tuple[Row, ...] = ()

    def mine(self, paths: Sequence[Path], recipe: Recipe) -> None:
        """Find hard negatives with the present model, for the training with ``recipe``.

        The first of several processes finds and writes them; the others use its pictures.
        """
        if not paths:
            return
        held_out = [row.file for part in ("tune", "test") for row in self.split[part]]

        def find() -> tuple[Mined, str]:
            classifier = load()
            found = mine(paths, classifier, self.out, track, held_out=held_out, shippable=self.started.shippable)
            return found, classifier.name

        found, model = run_on_first(find, cpu=not recipe.fp16)
        self.more = found.rows
        print_line(mined_words(found, model, self.out))

    def train(self, recipe: Recipe, out: Path, *, again: bool = False) -> dict[str, Any]:
        """Train once, into ``out``; ``again``: continue the interrupted training there."""
        if first() and not again:
            out.mkdir(parents=True, exist_ok=True)
            replace(self.started, recipe=asdict(recipe), hard_negatives=as_notes(self.more)).write(out)
        for name, part in self.split.items():
            print_line(f"{name:<6}{len(part):>6} pictures from {counted(len({p.source for p in part}), 'source')}")
        with Bar(steps_of(recipe, processes())) as bar:
            metrics = train_run(
                self.catalog,
                self.split,
                out,
                recipe,
                weights=self.weights,
                progress=bar.callback(),
                track=track,
                aliases=self.aliases,
                cache=self.cache,
                more=self.more,
                checkpoint=out / STATE,
            )
        if metrics:
            remove_others(out / FOLDER, self.more)
            print_result(metrics, out)
        wait_for_others()
        return metrics

    def train_seeds(self, recipe: Recipe, count: int) -> None:
        """Train ``count`` times, and print the spread."""
        found = train_seeds(recipe, count, self.out, self.train)
        if found:
            print_line(f"{count} seeds, on the tuning part:")
            print_line(spread_text(found))


def mined_words(found: Mined, model: str, out: Path) -> str:
    """Return in words what was found, and what was skipped."""
    held = f" {found.held_out} files are of the tuning or test part and are skipped." if found.held_out else ""
    if found.not_shippable:
        held += f" {found.not_shippable} are skipped for their licence."
    if not found.rows:
        looked = f"Hard negatives: none in {found.looked_at} pictures and frames"
        return f"{looked}; {model} takes none of them for a bear.{held}"
    words = (
        f"Hard negatives: {len(found.rows)} crops of {found.looked_at} pictures and frames, "
        f"which {model} takes for bears; see {out / FOLDER}"
    )
    return words + (", and make sure that none of them is one." if found.highest >= SURE else ".") + held


def print_result(metrics: Mapping[str, Any], out: Path) -> None:
    """Print a finished run's figures on its tuning part, and the next command."""
    at = metrics["thresholds"]["all"]
    print_line(
        f"On {metrics['pictures']} tuning pictures ({metrics['crops']} crops, half of them degraded): "
        f"error rate {100 * metrics['error_rate']:.1f} %, bear recall {100 * metrics['bear_recall']:.1f} % at "
        f"{100 * metrics['false_positive_rate']:.1f} % false positives (threshold {at['value']:.2f})."
    )
    print_line(f"Plots: {out / 'confusion-matrix.png'}, {out / 'top-losses.png'}, {out / 'learning-curve.png'}")
    print_line(f"Next: bear-alarm export {out} --out bear.onnx")


def print_line(words: str) -> None:
    """Write one line to stderr, in the first process only."""
    if first():
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()


class Bar:
    """A progress bar over training batches on a terminal; epochs' figures as plain lines in any case."""

    def __init__(self, steps: int):
        self._console = Console(stderr=True)
        self._bar = RichProgress(console=self._console, disable=not self._console.is_terminal, transient=True)
        self._task = self._bar.add_task("training", total=steps)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def callback(self) -> Progress:
        """Make the fastai callback that moves the bar."""
        return Progress(lambda: self._bar.advance(self._task), print_line)


FIGURES = {
    "error_rate": "error rate",
    "bear_recall": "bear recall",
    "false_positive_rate": "false positives",
    "temperature": "temperature",
}
TABLE = "seeds.json"


def train_seeds(
    recipe: Recipe, count: int, out: Path, train: Callable[[Recipe, Path], Mapping[str, Any]]
) -> dict[str, list[float]]:
    """Call ``train(recipe, folder)`` for seed, seed + 1 …; write OUT/seeds.json and return each figure's values.

    The table is written after each training, so that an interruption keeps the earlier ones. Raises OptionError if it
    cannot be written.
    """
    runs: list[dict[str, float]] = []
    for seed in range(recipe.seed, recipe.seed + count):
        metrics = train(replace(recipe, seed=seed), seed_folder(out, seed))
        if not metrics:  # only the first of several processes writes
            continue
        runs.append({"seed": seed} | {name: float(metrics[name]) for name in FIGURES})
        replace_whole(out / TABLE, (json.dumps(runs, indent=1) + "\n").encode())
    return {name: [run[name] for run in runs] for name in FIGURES} if runs else {}


def spread_text(found: Mapping[str, Sequence[float]]) -> str:
    """Write a line for each figure: mean, standard deviation, smallest and largest."""
    lines = [f"{'':<18}{'mean':>9}{'s.d.':>9}{'smallest':>10}{'largest':>9}"]
    for name, values in found.items():
        deviation = stdev(values) if len(values) > 1 else 0.0
        lines.append(f"{FIGURES[name]:<18}{mean(values):>9.4f}{deviation:>9.4f}{min(values):>10.4f}{max(values):>9.4f}")
    return "\n".join(lines)
