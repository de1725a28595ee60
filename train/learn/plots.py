"""Plots of a run, which its report shows too: confusion matrix, top losses, learning curve. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edge.schema import Picture
from train.data.pictures import LABELS


def confusion_matrix(rows: Sequence[str], columns: Sequence[str], counts: NDArray[np.integer]) -> Figure:
    """Draw a confusion matrix (rows: truth, columns: answer), shaded by the share of the row."""
    figure = Figure(figsize=(6.2, 0.62 * len(rows) + 1.9), layout="constrained")
    axes: Axes = figure.subplots()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), [name.replace("_", " ") for name in columns], rotation=25, ha="right")
    axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
    axes.set(xlabel="answer", ylabel="truth")
    for (row, column), count in np.ndenumerate(counts):
        dark = count > counts[row].sum() / 2
        axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    return figure


def confusion_picture(truth: Sequence[str], answers: Sequence[str], path: Path) -> list[list[int]]:
    """Draw the confusion matrix of labels into a file, and return its counts.

    Pictures known only as "bear" have a row of their own.
    """
    rows = [*LABELS, *sorted(set(truth) - set(LABELS))]
    counts = np.zeros((len(rows), len(LABELS)), int)
    for true, answer in zip(truth, answers, strict=True):
        counts[rows.index(true), LABELS.index(answer)] += 1
    confusion_matrix(rows, LABELS, counts).savefig(path, dpi=110)
    table: list[list[int]] = counts.tolist()
    return table


def top_losses_picture(
    crops: Sequence[Picture] | NDArray[np.uint8],
    losses: NDArray[np.floating],
    titles: Sequence[str],
    path: Path,
) -> None:
    """Draw the 12 crops (uint8 BGR) with the largest losses, worst first, each with its title."""
    worst = np.argsort(losses)[::-1][:12]
    height = max(1, -(-len(worst) // 4))
    figure = Figure(figsize=(11, 2.9 * height), layout="constrained")
    grid = figure.subplots(height, 4, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, worst, strict=False):
        axes.imshow(crops[index][..., ::-1])
        axes.set_title(titles[index], fontsize=8)
    figure.savefig(path, dpi=100)


def learning_curve(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw losses, bear recall, false-positive rate and error rate over the epochs."""
    figure = Figure(figsize=(9.5, 3.3), layout="constrained")
    groups = ("train_loss", "valid_loss"), ("bear_recall", "false_positive_rate", "error_rate")
    for axes, names in zip(figure.subplots(1, 2), groups, strict=True):
        for name in names:
            values = [row[name] for row in history if name in row]
            axes.plot(range(1, len(values) + 1), values, marker="o", label=name.replace("_", " "))
        axes.set_xlabel("epoch")
        axes.legend(fontsize=8)
    return figure


def learning_curve_picture(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw the learning curve into a file."""
    learning_curve(history).savefig(path, dpi=100)
