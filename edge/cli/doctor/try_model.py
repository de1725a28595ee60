"""In a child process: load the model and time it. What it prints is what ``edge.cli.doctor.packages`` reads."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict
from typing import Any

CROPS = 7  # timed one by one, after one that is not


def main(asks: str | None) -> dict[str, Any]:
    """What is to be said of the model ``asks`` names, or of the one the alarm would take."""
    from edge.detect.classifier import Classifier, find, load
    from edge.errors import ModelError

    found: dict[str, Any] = {"problem": None, "instead": None}
    try:
        classifier = Classifier(find(asks))
    except ModelError as error:
        found["problem"] = str(error)
        try:
            classifier = load(asks)
        except ModelError:
            return found
        found["instead"] = str(classifier.path)
    card = asdict(classifier.card)
    card["golden"] = len(classifier.card.golden)
    return found | {
        "name": classifier.name,
        "path": str(classifier.path),
        "precision": classifier.card.precision,
        "fallback": classifier.fallback,
        "golden": len(classifier.card.golden),
        "error": float(classifier.golden_error),
        "tolerance": classifier.card.golden_tolerance,
        "crop_ms": _crop_ms(classifier),
        "card": card,
    }


def _crop_ms(classifier: Any) -> float:
    """What one crop takes, the median of a few."""
    import numpy as np

    crop = np.random.default_rng(0).integers(0, 256, (1, classifier.size, classifier.size, 3), np.uint8)
    classifier(crop)
    took = []
    for _ in range(CROPS):
        began = time.perf_counter()
        classifier(crop)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000
