"""A run's figures on its tuning part, through the runtime's own crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.data.pictures import LABELS, TRAINING_LABELS, is_bear
from train.data.pictures import Picture as Row
from train.learning.backbones import Backbone
from train.learning.learner import allowed_labels
from train.learning.network import BearNet
from train.learning.pictures import Track
from train.learning.probe import CropSet, ask, collect_tune
from train.learning.recipe import Recipe
from train.learning.run_plots import confusion_picture, top_losses_picture
from train.learning.scanning import surest_windows
from train.metrics import bear_probability, fit_frame_temperature, fit_temperature, fit_threshold, probabilities


@dataclass(frozen=True, eq=False)
class Tuned:
    """The tuning part as a network sees it: its pictures, their crops, the logits (N, L), and the temperatures."""

    rows: Sequence[Row]
    crops: CropSet
    logits: NDArray[np.float32]
    temperature: float
    frame_temperature: float


def ask_tune(net: BearNet, backbone: Backbone, rows: Sequence[Row], recipe: Recipe, track: Track[Row]) -> Tuned:
    """Ask a trained network about the tuning part, and fit its two temperatures: those that ``export`` uses too."""
    crops = collect_tune(rows, recipe.size, recipe.seed, lambda some: track(some, "measuring"))
    logits, _ = ask(net, backbone, crops.crops)
    surest = surest_windows(net, backbone, track(rows, "measuring whole pictures"))
    bears = np.array([is_bear(row.label) for row in rows])
    return Tuned(rows, crops, logits, fit_temperature(logits, crops.labels), fit_frame_temperature(surest, bears))


def measure(tuned: Tuned, recipe: Recipe, out: Path) -> dict[str, Any]:
    """Figures on the tuning part; draws the confusion matrix and top losses into ``out``."""
    crops, labels = tuned.crops, tuned.crops.labels
    rows_p = probabilities(tuned.logits, tuned.temperature)
    bear = bear_probability(rows_p)
    allowed = allowed_labels().numpy()
    known = [TRAINING_LABELS.index(label) for label in labels]
    losses = -np.log(np.clip((rows_p * allowed[known]).sum(axis=1), 1e-9, 1))
    answers = [LABELS[column] for column in rows_p.argmax(axis=1)]
    far, clean = crops.degraded, np.flatnonzero(~crops.degraded)
    confusion = confusion_picture([labels[n] for n in clean], [answers[n] for n in clean], out / "confusion-matrix.png")
    # Drawn: a name may be no UTF-8.
    names = [tuned.rows[number].file.name.encode(errors="replace").decode() for number in crops.pictures]
    titles = [f"{label}, p(bear) {p:.2f}\n{name[:28]}" for label, p, name in zip(labels, bear, names, strict=True)]
    top_losses_picture(crops.crops, losses, titles, out / "top-losses.png")
    parts = {"clean": ~far, "degraded": far, "all": np.ones(len(far), bool)}
    at = {
        name: asdict(
            fit_threshold(
                bear[part], crops.bears[part], recipe.false_positive_rate, crops.sources, crops.pictures[part]
            )
        )
        for name, part in parts.items()
    }
    return {
        "part": "tune",
        "pictures": len(tuned.rows),
        "crops": len(labels),
        "temperature": tuned.temperature,
        "frame_temperature": tuned.frame_temperature,
        "error_rate": float(np.mean(~allowed[known, rows_p.argmax(axis=1)])),
        "bear_recall": at["all"]["recall"],
        "false_positive_rate": at["all"]["false_positive_rate"],
        "thresholds": at,
        "confusion": confusion,
    }
