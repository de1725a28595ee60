"""Pictures of a run: the confusion matrix and the top losses, on the tuning part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edge.schema import Picture
from train.data.pictures import LABELS


def confusion_picture(truth: Sequence[str], answers: Sequence[str], path: Path) -> list[list[int]]:
    """Draw the confusion matrix (rows: truth, columns: answer) and return its counts.

    Pictures known only as "bear" stand in a row of their own.
    """
    rows = [*LABELS, *sorted(set(truth) - set(LABELS))]
    counts = np.zeros((len(rows), len(LABELS)), int)
    for true, answer in zip(truth, answers, strict=True):
        counts[rows.index(true), LABELS.index(answer)] += 1
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(LABELS)), [name.replace("_", " ") for name in LABELS], rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    for (row, column), count in np.ndenumerate(counts):
        dark = count > counts[row].sum() / 2
        axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    figure.savefig(path, dpi=110)
    table: list[list[int]] = counts.tolist()
    return table


def top_losses_picture(
    crops: Sequence[Picture] | NDArray[np.uint8],
    losses: NDArray[np.floating],
    titles: Sequence[str],
    path: Path,
    count: int = 12,
) -> None:
    """Draw the ``count`` crops (uint8 BGR) with the largest losses, worst first, each with its title."""
    worst = np.argsort(losses)[::-1][:count]
    figure = Figure(figsize=(11, 2.9 * max(1, -(-len(worst) // 4))), layout="constrained")
    grid = figure.subplots(max(1, -(-len(worst) // 4)), 4, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, worst, strict=False):
        axes.imshow(crops[index][..., ::-1])
        axes.set_title(titles[index], fontsize=8)
    figure.savefig(path, dpi=100)


def learning_curve_picture(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draw training and tuning loss, bear recall and false-positive rate over the epochs."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = range(1, len(history) + 1)
    for name in ("train_loss", "valid_loss"):
        left.plot(epochs, [row[name] for row in history], marker="o", label=name.replace("_", " "))
    for name in ("bear_recall", "false_positive_rate", "error_rate"):
        right.plot(epochs, [row[name] for row in history], marker="o", label=name.replace("_", " "))
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)
