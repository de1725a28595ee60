"""A run's figures on its tuning part, through the runtime's own crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edge.pictures import read_picture
from edge.schema import Picture
from train.catalog.picture import BEAR_ANY, is_bear
from train.catalog.picture import Picture as Row
from train.figures.calibrate import bear_probability, fit_temperature, fit_threshold, probabilities
from train.learning.backbones import Backbone
from train.learning.learner import allowed_labels
from train.learning.network import BearNet
from train.learning.pictures import Track
from train.learning.probe import CONTEXT, ask, crops_of
from train.learning.recipe import Recipe
from train.learning.run_plots import confusion_picture, top_losses_picture


def measure(
    net: BearNet, backbone: Backbone, rows: Sequence[Row], recipe: Recipe, out: Path, track: Track[Row]
) -> dict[str, Any]:
    """Figures on the tuning part through the runtime's own crops; draws the confusion matrix and top losses."""
    rng = np.random.default_rng(recipe.seed)
    cut_out: list[Picture] = []
    labels: list[str] = []
    names: list[str] = []
    degraded: list[bool] = []
    pictures: list[int] = []
    for number, row in enumerate(track(rows, "measuring")):
        cut = crops_of(row, read_picture(row.file), recipe.size, CONTEXT, rng, degraded=2)
        cut_out += cut
        labels += [row.label] * len(cut)
        names += [row.file.name.encode(errors="replace").decode()] * len(cut)  # drawn: a name may be no UTF-8
        pictures += [number] * len(cut)
        degraded += [n >= len(cut) - 2 for n in range(len(cut))]
    crops = np.stack(cut_out)
    del cut_out
    logits, _ = ask(net, backbone, crops)
    bears, far = np.array([is_bear(label) for label in labels]), np.array(degraded)
    temperature = fit_temperature(logits, labels)
    rows_p = probabilities(logits, temperature)
    bear = bear_probability(rows_p)
    sources, of = [row.source for row in rows], np.array(pictures)
    allowed = allowed_labels().numpy()
    known = [net.labels.index(label) if label != BEAR_ANY else len(net.labels) for label in labels]
    losses = -np.log(np.clip((rows_p * allowed[known]).sum(axis=1), 1e-9, 1))
    answers = [net.labels[column] for column in rows_p.argmax(axis=1)]
    clean = np.flatnonzero(~far)
    confusion = confusion_picture([labels[n] for n in clean], [answers[n] for n in clean], out / "confusion-matrix.png")
    titles = [f"{labels[n]}, p(bear) {bear[n]:.2f}\n{names[n][:28]}" for n in range(len(labels))]
    top_losses_picture(crops, losses, titles, out / "top-losses.png")
    parts = {"clean": ~far, "degraded": far, "all": np.ones(len(far), bool)}
    at = {
        name: asdict(fit_threshold(bear[part], bears[part], recipe.false_positive_rate, sources, of[part]))
        for name, part in parts.items()
    }
    return {
        "part": "tune",
        "pictures": len(rows),
        "crops": len(crops),
        "temperature": temperature,
        "error_rate": float(
            np.mean([not allowed[k, net.labels.index(a)] for k, a in zip(known, answers, strict=True)])
        ),
        "bear_recall": at["all"]["recall"],
        "false_positive_rate": at["all"]["false_positive_rate"],
        "thresholds": at,
        "confusion": confusion,
    }
