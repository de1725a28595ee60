"""Render the report as one HTML page: ``report.html``, with plots as SVG and thumbnails as data URIs."""

from __future__ import annotations

import io
import math
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.metrics import precision_recall_curve, roc_curve

from edge.detect.card import Card
from edge.detect.crops import cut
from edge.errors import PictureError
from edge.pictures import read_picture
from edge.schema import WHOLE
from edge.schema import Picture as Image
from edge.version import __version__
from train.data.pictures import BEAR_ANY
from train.evaluate.report import Findings, aims, still_recall
from train.evaluate.stills import Judged, Mode, Slice
from train.evaluate.text import area, clips_text, comparison_text, k_of_n, share
from train.learn.plots import confusion_matrix, learning_curve
from train.metrics.calibration import Reliability
from train.pages import data_uri, render, resized

MODES: dict[Mode, str] = {"still": "Whole pictures", "crop": "Crops: true boxes, else whole pictures"}
MIN_NOTED = 5  # pictures with the same note: each scene has its own


def write_page(found: Findings, command: str) -> str:
    """Render the report as HTML; ``command``: the command line that made it."""
    card = found.classifier.card
    figures, history = found.figures, found.run.metrics.get("history")
    return render(
        Path(__file__).with_name("report.html"),
        {"share": partial(share, counts=True), "percent": share, "area": area, "k_of_n": k_of_n},
        command=command,
        machine=f"{platform.machine()} {platform.system()}, bear-alarm {__version__}",
        now=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        found=found,
        card=card,
        sources=sorted({picture.source for picture in found.run.test}),
        bears=sum(row.bear for row in found.stills.rows if row.mode == "still"),
        aims=aims(found),
        stills=still_recall(found),
        misses=misses(found),
        figures=figures,
        kinds=sorted(figures.kinds.items(), key=lambda kind: -max(rate.value for rate in kind[1].values()))
        if figures
        else [],
        curves=curves(_scores(found)),
        reliability=[reliability_diagram(*pair, words) for words, pair in found.calibration.items()],
        confusion=svg(confusion_matrix(*confusion_counts(found))),
        losses=top_losses(found),
        slices={words: [one for one in found.stills.slices(mode) if _is_shown(one)] for mode, words in MODES.items()},
        false_alarms=false_alarms(found),
        clips=clips_text(found.clips).strip() if found.clips else "",
        comparison=comparison_text(found.last) if found.last else "",
        learning_curve=svg(learning_curve(history)) if history else "",
    )


def _scores(found: Findings) -> dict[str, Any]:
    """Collect the scores for curves: stills, and each size of benchmark A."""
    named = {"stills": (found.still_scores.score, found.still_scores.bear)}
    if found.benchmark is not None and found.figures is not None:
        for one in found.figures.bins:
            inside = found.benchmark.made.in_bin(one.bin)
            named[one.bin] = (inside.score, inside.bear)
    return named


def _is_shown(one: Slice) -> bool:
    """Return True unless it is a note of few pictures."""
    counted = sum(rate.n for rate in (one.recall, one.false_positive_rate) if rate is not None)
    return one.by != "note" or counted >= MIN_NOTED


THUMB_PX, THUMB_QUALITY = 128, 78
DET_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
MAX_POINTS = 400  # of one curve
Curve = tuple[NDArray[np.float64], NDArray[np.bool_]]  # scores and truth


def svg(figure: Figure) -> str:
    """Draw a figure as an ``<svg>`` element, with words as text."""
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bear-alarm"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    # As wide as drawn, or as the screen if that is narrower.
    widest = f'style="width:100%;max-width:{96 * figure.get_figwidth():.0f}px"'
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', rf"\1 {widest}", text, count=1)


def thumbnail(crop: Image) -> str:
    """Make a data URI of a small JPEG from a crop, uint8 BGR."""
    return data_uri(resized(crop, THUMB_PX, enlarge=True), THUMB_QUALITY)


def operating_points(
    scores: NDArray[np.float64], bears: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return false-positive rate, recall and precision at every threshold, from the highest to the lowest."""
    passed, recall, _ = roc_curve(bears, scores, drop_intermediate=False)
    precision, _, _ = precision_recall_curve(bears, scores)
    return passed[1:], recall[1:], precision[-2::-1]  # without points of no threshold


def thinned(*lines: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Keep at most ``MAX_POINTS`` of each line, its ends among them."""
    kept = np.unique(np.linspace(0, len(lines[0]) - 1, min(len(lines[0]), MAX_POINTS)).astype(int))
    return tuple(line[kept] for line in lines)


def curves(named: Mapping[str, Curve]) -> str:
    """Draw precision over recall, and the DET curve (Martin 1997): misses over false positives, normal deviates."""
    figure = Figure(figsize=(9.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (scores, bears) in named.items():
        if not bears.any() or bears.all():
            continue
        passed, recall, precision = thinned(*operating_points(scores, bears))
        left.plot(recall, precision, label=name)
        right.plot(deviate(passed), deviate(1 - recall), label=name)
    left.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02), title="precision and recall")
    places = deviate(np.array(DET_TICKS))
    names = [f"{100 * tick:g}" for tick in DET_TICKS]
    right.set(xlabel="false positives, %", ylabel="bears missed, %", title="DET")
    right.set_xticks(places, names)
    right.set_yticks(places, names)
    right.set(xlim=(places[0], places[-3]), ylim=(places[0], places[-1]))
    right.axvline(float(deviate(np.array([0.01]))[0]), color="grey", linewidth=0.7, linestyle=":")
    for axes in (left, right):
        axes.grid(alpha=0.25)
    left.legend(fontsize=8, loc="lower left")
    return svg(figure)


def deviate(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the normal deviate of shares, clipped to 0.01 % and 99.99 %."""
    return np.asarray(ndtri(np.clip(shares, 1e-4, 1 - 1e-4)), np.float64)


def reliability_diagram(before: Reliability, after: Reliability, title: str) -> str:
    """Draw the share of bears over their predicted probability, before and after the temperature."""
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes: Axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    for one, words in ((before, "before"), (after, "after")):
        label = f"{words}: ECE without chance {100 * one.error:.1f} % [{100 * one.low:.1f}-{100 * one.high:.1f}]"
        axes.plot(one.predicted, one.observed, marker="o", markersize=4, label=label)
    axes.set(xlabel="predicted bear probability", ylabel="share of bears", xlim=(0, 1), ylim=(0, 1), title=title)
    axes.legend(fontsize=8, loc="upper left")
    axes.grid(alpha=0.25)
    return svg(figure)


SHOWN = 24


Thumbs = list[tuple[str, Sequence[str]]]


def confusion_counts(found: Findings) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Count the crops: rows (the table's labels), columns (the card's labels), counts."""
    columns = list(found.classifier.card.labels)
    rows = [row for row in found.stills.rows if row.mode == "crop" and row.probabilities]
    truth = labels(found)
    names = [*columns, *sorted({truth[row.file] for row in rows} - set(columns))]
    names = [name for name in names if any(truth[row.file] == name for row in rows)]
    counts = np.zeros((len(names), len(columns)), np.int64)
    for row in rows:
        counts[names.index(truth[row.file]), int(np.argmax(row.probabilities))] += 1
    return names, columns, counts


def labels(found: Findings) -> dict[str, str]:
    """Map each file to its label."""
    return {str(picture.file): picture.label for picture in found.run.test}


def loss(row: Judged, label: str, card: Card) -> float:
    """Return -log of the probability of the picture's label; of any bear if the species is not known."""
    if label == BEAR_ANY:
        right = row.score
    else:
        right = row.probabilities[card.labels.index(label)] if label in card.labels else 1.0
    return -math.log(max(right, 1e-9))


def top_losses(found: Findings) -> Thumbs:
    """Return the crops with the largest loss, worst first."""
    truth, card = labels(found), found.classifier.card
    rows = [row for row in found.stills.rows if row.mode == "crop" and row.probabilities]
    rows.sort(key=lambda row: -loss(row, truth[row.file], card))
    return shown(found, rows[:SHOWN], whole=False)


def misses(found: Findings) -> Thumbs:
    """Return every still with a bear missed at the model's own threshold, or at that of 1 % false positives."""
    at = still_recall(found)
    seen = set(found.still_scores.files.tolist())
    rows = [row for row in found.stills.rows if row.mode == "still" and row.bear and row.file in seen]
    missed = [row for row in rows if not row.alarm or (at is not None and row.score < at.threshold)]
    return shown(found, sorted(missed, key=lambda row: row.score), whole=True)


def false_alarms(found: Findings) -> Thumbs:
    """Return the stills without a bear above the model's own threshold, highest score first."""
    rows = [row for row in found.stills.rows if row.mode == "still" and not row.bear and row.alarm]
    return shown(found, sorted(rows, key=lambda row: -row.score)[:SHOWN], whole=True)


def shown(found: Findings, rows: Sequence[Judged], *, whole: bool) -> Thumbs:
    """Make thumbnails of rows: the whole picture, or the crop that was scored."""
    card, truth = found.classifier.card, labels(found)
    thumbs: Thumbs = []
    for row in rows:
        try:
            image = read_picture(row.file)
        except PictureError:
            continue
        if not whole and row.box_xywh != WHOLE:
            image = cut(image, row.box_xywh, THUMB_PX, card.crop.context)
        answer = card.labels[int(np.argmax(row.probabilities))] if row.probabilities else ""
        name = row.file.rsplit("/", 1)[-1]
        lines = [truth[row.file].replace("_", " "), f"p(bear) {row.score:.3f}"]
        lines += [f"answer: {answer.replace('_', ' ')}"] if answer else []
        thumbs.append((thumbnail(image), [*lines, row.note[:40], name] if row.note else [*lines, name]))
    return thumbs
