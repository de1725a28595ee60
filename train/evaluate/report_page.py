"""The report as one HTML page: ``report.html`` filled with the findings."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from edge.version import __version__
from train.evaluate.report import (
    Findings,
    aims,
    area,
    confusion_counts,
    false_alarms,
    misses,
    share,
    still_recall,
    top_losses,
)
from train.evaluate.report_plots import confusion, curves, learning_curve, reliability_diagram
from train.evaluate.stills import Mode, Slice
from train.evaluate.text import clips_text, comparison_text, k_of_n
from train.pages import render

MODES: dict[Mode, str] = {"still": "Whole pictures", "crop": "Crops: true boxes, else whole pictures"}
MIN_NOTED = 5  # pictures of a note: scenes have each a note of its own


def write_page(found: Findings, command: str) -> str:
    """Render the report as HTML; ``command`` is the command line that made it."""
    card = found.classifier.card
    figures = found.figures
    return render(
        Path(__file__).with_name("report.html"),
        {"share": share, "percent": partial(share, counts=False), "area": area, "k_of_n": k_of_n},
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
        confusion=confusion(*confusion_counts(found)),
        losses=top_losses(found),
        slices={words: [one for one in found.stills.slices(mode) if _is_shown(one)] for mode, words in MODES.items()},
        false_alarms=false_alarms(found),
        clips=clips_text(found.clips).strip() if found.clips else "",
        comparison=comparison_text(found.last) if found.last else "",
        learning_curve=learning_curve(found.run.metrics["history"]) if found.run.metrics.get("history") else "",
    )


def _scores(found: Findings) -> dict[str, Any]:
    """Collect what has a curve: stills, and each size of benchmark A."""
    named = {"stills": (found.still_scores.score, found.still_scores.bear)}
    if found.benchmark is not None and found.figures is not None:
        for one in found.figures.bins:
            inside = found.benchmark.made.in_bin(one.bin)
            named[one.bin] = (inside.score, inside.bear)
    return named


def _is_shown(one: Slice) -> bool:
    """Return True unless it is a note that few pictures have."""
    counted = sum(rate.n for rate in (one.recall, one.false_positive_rate) if rate is not None)
    return one.by != "note" or counted >= MIN_NOTED
