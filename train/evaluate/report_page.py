"""Render the report as one HTML page: ``report.html`` with the findings."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from edge.version import __version__
from train.evaluate.report import Findings, aims, confusion_counts, false_alarms, misses, still_recall, top_losses
from train.evaluate.report_plots import curves, reliability_diagram, svg
from train.evaluate.stills import Mode, Slice
from train.evaluate.text import area, clips_text, comparison_text, k_of_n, share
from train.learn.plots import confusion_matrix, learning_curve
from train.pages import render

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
