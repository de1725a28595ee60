"""The model file, tried in a child process: found, whole, computed rightly on this processor, and how fast."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from edge.cli.doctor.child import Ended, call
from edge.cli.doctor.findings import CheckResult, broken, doubt, fine
from edge.cli.doctor.target import Target
from edge.settings import CameraSettings

WITHIN_S = 180.0  # a slow card, a slow board
MIN_CROPS = 3  # of a frame, whatever it takes: edge.detect.frame_rate
TIMED_CROPS = 7  # one by one, after one that is not


def tried(target: Target) -> Ended:
    """Try the model that the alarm would take, in a child."""
    return call("edge.cli.doctor.model:try_model", target.settings.model, WITHIN_S, target.environment)


def check_model(target: Target) -> Iterator[CheckResult]:
    """Check which it is, that this processor computes it rightly, and what one crop takes."""
    ended = tried(target)
    found = ended.answer
    if not isinstance(found, dict):
        todo = "see onnxruntime above; then `bear-alarm model check`"
        yield broken("model", f"loading it {ended.why}", todo)
        return
    if found["problem"]:
        todo = "copy it again, or choose another: bear-alarm model use --bundled"
        if found["instead"]:
            words = f"{found['problem']}; the alarm goes on with {found['instead']}"
            yield doubt("model", words, todo)
        else:
            yield broken("model", found["problem"], todo)
    if "name" not in found:
        return
    yield fine("model", f"{found['name']} in {found['path']}")
    how = f"all {found['golden']} within {found['error']:.4f} (allowed {found['tolerance']:g})"
    if found["fallback"]:
        words = f"this processor computes int8 wrongly, so it runs in float, more slowly; {how}"
        yield doubt("golden vectors", words, "nothing, if the speed below is enough; else take another board")
    else:
        yield fine("golden vectors", f"{how}, in {found['precision']}")
    yield _speed(target, float(found["crop_ms"]))


def _speed(target: Target, crop_ms: float) -> CheckResult:
    """Compare what one crop takes with what a frame may take."""
    slow_ms = target.settings.health.slow_ms
    frame_s = min((each.settings.frame_s for each in target.cameras), default=CameraSettings().frame_s)
    crops = int(frame_s * 1000 / crop_ms)
    words = f"one crop takes {crop_ms:.0f} ms"
    if crop_ms > slow_ms:
        todo = "stop what else runs here, cool the board (see below), or take a faster one"
        return doubt("speed", f"{words}, more than the {slow_ms:g} ms at which the alarm itself complains", todo)
    if crops < MIN_CROPS:
        rate = 1000 / (MIN_CROPS * crop_ms)
        words += f", so {MIN_CROPS} crops make {rate:.1f} frames a second at most while something moves"
        return fine("speed", words)
    return fine("speed", f"{words}: {crops} fit into the {frame_s:g} s that a frame may take")


def try_model(asks: str | None) -> dict[str, Any]:
    """Load the model ``asks`` names, or the one the alarm would take, and time it. Runs in the child."""
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
    """Return the median of a few crops, ms."""
    import numpy as np

    crop = np.random.default_rng(0).integers(0, 256, (1, classifier.size, classifier.size, 3), np.uint8)
    classifier(crop)
    took = []
    for _ in range(TIMED_CROPS):
        began = time.perf_counter()
        classifier(crop)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000
