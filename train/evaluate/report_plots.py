"""The report's plots as SVG text, and its thumbnails as data URIs: the page loads nothing."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.metrics import precision_recall_curve, roc_curve

from edge.schema import Picture as Image
from train.metrics.reliability import Reliability
from train.pages import data_uri, resized

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
