"""Several trainings that differ only in their seed: they show how much of a difference between runs is chance.

A file of its own because it needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from edge.files import replace_whole
from train.learn.recipe import Recipe

FIGURES = {
    "error_rate": "error rate",
    "bear_recall": "bear recall",
    "false_positive_rate": "false positives",
    "temperature": "temperature",
}
TABLE = "seeds.json"


@dataclass(frozen=True)
class Spread:
    """One figure over the seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Return the mean."""
        return mean(self.values)

    @property
    def deviation(self) -> float:
        """Return the sample's standard deviation; 0 of one value."""
        return stdev(self.values) if len(self.values) > 1 else 0.0


def seed_folder(out: Path, seed: int) -> Path:
    """Return the run's folder of one seed."""
    return out / f"seed-{seed}"


def train_seeds(
    recipe: Recipe, count: int, out: Path, train: Callable[[Recipe, Path], Mapping[str, Any]]
) -> dict[str, Spread]:
    """Call ``train(recipe, folder)`` for seed, seed + 1 …; write OUT/seeds.json and return the spread of each figure.

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
    return {name: Spread(tuple(run[name] for run in runs)) for name in FIGURES} if runs else {}


def spread_text(found: Mapping[str, Spread]) -> str:
    """Write a line for each figure: mean, standard deviation, smallest and largest."""
    lines = [f"{'':<18}{'mean':>9}{'s.d.':>9}{'smallest':>10}{'largest':>9}"]
    for name, spread in found.items():
        lines.append(
            f"{FIGURES[name]:<18}{spread.mean:>9.4f}{spread.deviation:>9.4f}"
            f"{min(spread.values):>10.4f}{max(spread.values):>9.4f}"
        )
    return "\n".join(lines)
