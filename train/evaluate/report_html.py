"""HTML by small functions: words are escaped where they enter, tables scroll on a narrow screen."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from statistics import NormalDist

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edge.schema import Picture as Image
from train.metrics import Auc, Rate, Reliability

# The report's plots as SVG text, and its thumbnails as data URIs: nothing is fetched from anywhere.


THUMB_PX, THUMB_QUALITY = 128, 78
DET_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
MOST_POINTS = 400  # of one curve
Curve = tuple[NDArray[np.float64], NDArray[np.bool_]]  # scores and truth


def svg(figure: Figure) -> str:
    """A figure as an ``<svg>`` element; its words stay text."""
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bear-alarm"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    # As wide as it was drawn, narrower where the screen is.
    widest = f'style="width:100%;max-width:{96 * figure.get_figwidth():.0f}px"'
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', rf"\1 {widest}", text, count=1)


def thumbnail(crop: Image) -> str:
    """A crop, uint8 BGR, as a data URI of a small JPEG."""
    scale = THUMB_PX / max(crop.shape[:2])
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    packed = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, THUMB_QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(packed.tobytes()).decode()


def operating_points(
    scores: NDArray[np.float64], bears: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """False-positive rate, recall and precision at every threshold, from the highest to the lowest."""
    order = np.argsort(scores, kind="stable")[::-1]
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # equal scores are passed together
    found, passed = np.cumsum(bears[order])[last], np.cumsum(~bears[order])[last]
    return passed / max((~bears).sum(), 1), found / max(bears.sum(), 1), found / (found + passed)


def thinned(*lines: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """At most ``MOST_POINTS`` of each line, its ends kept."""
    kept = np.unique(np.linspace(0, len(lines[0]) - 1, min(len(lines[0]), MOST_POINTS)).astype(int))
    return tuple(line[kept] for line in lines)


def curves(named: Mapping[str, Curve]) -> str:
    """Precision over recall, and the DET curve (Martin 1997): misses over false positives on normal-deviate axes."""
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
    """The normal deviate of shares, 0 and 1 brought to 0.01 % and 99.99 %."""
    normal = NormalDist()
    return np.array([normal.inv_cdf(min(max(float(share), 1e-4), 1 - 1e-4)) for share in shares])


def reliability_diagram(before: Reliability, after: Reliability, title: str) -> str:
    """The share of bears over the probability that was said, before and after the temperature."""
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes: Axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    for one, words in ((before, "before"), (after, "after")):
        label = f"{words}: ECE without chance {100 * one.error:.1f} % [{100 * one.low:.1f}-{100 * one.high:.1f}]"
        axes.plot(one.said, one.was, marker="o", markersize=4, label=label)
    axes.set(xlabel="bear probability said", ylabel="share of bears", xlim=(0, 1), ylim=(0, 1), title=title)
    axes.legend(fontsize=8, loc="upper left")
    axes.grid(alpha=0.25)
    return svg(figure)


def confusion(rows: Sequence[str], columns: Sequence[str], counts: NDArray[np.int64]) -> str:
    """The confusion matrix: truth down, answers across, shaded by the share of the row."""
    figure = Figure(figsize=(6.2, 0.62 * len(rows) + 1.9), layout="constrained")
    axes: Axes = figure.subplots()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), [name.replace("_", " ") for name in columns], rotation=25, ha="right")
    axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
    axes.set(xlabel="answer", ylabel="truth")
    for (row, column), count in np.ndenumerate(counts):
        dark = count > counts[row].sum() / 2
        axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    return svg(figure)


def learning_curve(history: Sequence[Mapping[str, float]]) -> str:
    """Training and tuning figures over the epochs."""
    figure = Figure(figsize=(9.5, 3.3), layout="constrained")
    panels = figure.subplots(1, 2)
    groups = ("train_loss", "valid_loss"), ("bear_recall", "false_positive_rate", "error_rate")
    for axes, names in zip(panels, groups, strict=True):
        for name in names:
            values = [row[name] for row in history if name in row]
            axes.plot(range(1, len(values) + 1), values, marker="o", label=name.replace("_", " "))
        axes.set_xlabel("epoch")
        axes.legend(fontsize=8)
    return svg(figure)


STYLE = """
:root{color-scheme:light dark;--line:#8884}
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:0 1rem 4rem}
h1{font-size:1.5rem;margin:1.2rem 0 .3rem}
h2{font-size:1.2rem;margin:2.2rem 0 .4rem;border-top:1px solid var(--line);padding-top:1rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}p,li{max-width:46rem}.quiet{opacity:.75;font-size:.9rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.2rem .7rem .2rem 0;border-bottom:1px solid var(--line);white-space:nowrap}
td.words{white-space:normal;min-width:12rem}svg{height:auto;background:#fff;border-radius:4px}
.met{color:#17823b}.not{color:#c0392b}
.thumbs{display:grid;
  grid-template-columns:repeat(auto-fill,minmax(7rem,1fr));gap:.7rem}
figure{margin:0;font-size:.75rem;line-height:1.25;overflow-wrap:anywhere}
figure img{width:100%;border-radius:3px;display:block}
.verdict{font-weight:600}nav a{margin-right:.8rem;white-space:nowrap}
@media(prefers-color-scheme:dark){.met{color:#57c17b}.not{color:#ef7b6c}}
"""
# No script, and nothing from anywhere else: the page says so to the browser too.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """A whole page from (anchor, heading, inner HTML)."""
    links = "".join(f'<a href="#{anchor}">{escape(heading)}</a> ' for anchor, heading, _ in sections[1:])
    body = "\n".join(
        f'<section id="{anchor}"><h{1 + bool(number)}>{escape(heading)}</h{1 + bool(number)}>\n{inner}'
        f"{'<nav>' + links + '</nav>' if not number else ''}\n</section>"
        for number, (anchor, heading, inner) in enumerate(sections)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def paragraph(words: str, quiet: bool = False) -> str:
    """One paragraph of plain words."""
    return f'<p class="quiet">{escape(words)}</p>\n' if quiet else f"<p>{escape(words)}</p>\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str | tuple[str, str]]]) -> str:
    """A table; a cell is its words, or (words, CSS class)."""
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for row in rows:
        cells = [cell if isinstance(cell, tuple) else (cell, "") for cell in row]
        lines.append(
            "<tr>"
            + "".join(
                f'<td class="{name}">{escape(words)}</td>' if name else f"<td>{escape(words)}</td>"
                for words, name in cells
            )
            + "</tr>"
        )
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>\n"


def thumbs(pictures: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Thumbnails: (data URI, lines below it)."""
    return (
        '<div class="thumbs">'
        + "\n".join(
            f'<figure><img src="{uri}" alt="{escape(lines[0])}">{"<br>".join(escape(line) for line in lines)}</figure>'
            for uri, lines in pictures
        )
        + "</div>\n"
    )


def share(found: Rate | None, counts: bool = True) -> str:
    """``95.1 % (244 of 257) [92.0-97.3]``."""
    if found is None:
        return "–"
    of = f" ({found.k} of {found.n})" if counts else ""
    return f"{100 * found.value:.1f} %{of} [{100 * found.low:.1f}–{100 * found.high:.1f}]"


def area(found: Auc | None) -> str:
    """``0.991 [0.984-0.995]``."""
    return "–" if found is None else f"{found.value:.3f} [{found.low:.3f}–{found.high:.3f}]"
