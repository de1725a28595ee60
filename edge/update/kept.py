"""Two models on kept pictures, one after the other, where memory is too short for both.

The pictures are those of alarms with nothing drawn on them, and random frames; masks are in them already.
``python -m edge.update.kept OLD NEW EVIDENCE PICTURES THRESHOLDS`` looks at them and prints JSON.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import chain, zip_longest
from pathlib import Path
from threading import Event

import cv2

from edge.decide.evidence import Rule
from edge.detect.camera_check import Night
from edge.detect.classifier import Classifier
from edge.detect.frame_scan import FrameScanner
from edge.device.sensors import peak_memory_mb
from edge.errors import BearAlarmError, OptionError
from edge.pictures import read_picture
from edge.record.media_store import PLAIN, SAMPLE, units
from edge.record.review import read_review
from edge.record.review_queue import BEARS, Unit, read_unit
from edge.schema import Region
from edge.update.child import lower_process, refuse, run_child
from edge.update.trial import TrialCounts

log = logging.getLogger(__name__)

Thresholds = Mapping[str, tuple[float | None, float | None]]

WITHIN_S = 3600.0  # 300 pictures for each model; the slowest boards take some 3 s for one


def compare_kept(
    old: Path, new: Path, evidence: Path, pictures: int, thresholds: Thresholds, stop: Event
) -> TrialCounts:
    """Compare two models on the newest pictures of an evidence folder, in a process of its own.

    ``thresholds``: of each camera, by day and at night; None: the model's, and by night as by day. Raises ModelError
    for a model that cannot be loaded, a folder that cannot be listed, too little memory or time, or when ``stop`` is
    set.
    """
    words = [*(str(each.absolute()) for each in (old, new, evidence)), str(pictures), json.dumps(dict(thresholds))]
    found = json.loads(run_child("edge.update.kept", words, WITHIN_S, stop))
    log.info("Kept pictures that both models looked at: %d (%s MB).", found["counts"]["frames"], found["peak_mb"])
    return TrialCounts(**found["counts"])


def newest(evidence: Path) -> Iterator[Unit]:
    """Yield what has a picture with nothing drawn on it, the newest first; cameras, alarms and random frames in turn.

    Raises OSError for a folder that cannot be listed.
    """
    kinds: dict[tuple[str, bool], list[Path]] = {}
    for path in map(Path, reversed(units(evidence))):
        frame = bool(SAMPLE.fullmatch(path.name))
        camera = (path.stem if frame else path.name)[7:].rpartition("-")[0]
        kinds.setdefault((camera, frame), []).append(path)
    for path in filter(None, chain.from_iterable(zip_longest(*kinds.values()))):
        try:
            unit = read_unit(path)
        except ValueError as error:
            log.warning("%s: cannot be compared (%s)", path, error)
            continue
        if unit and (unit.event is None or unit.picture.name == PLAIN):
            yield unit


def bears(model: Path, kept: Iterable[Unit], pictures: int, thresholds: Thresholds) -> dict[Unit, bool]:
    """Return which of so many pictures show a bear to this model; those that cannot be read are missing.

    As the alarm looks: the scan of the whole picture, and a crop of what the alarm was about, by the crops' threshold.
    Raises ModelError.
    """
    classifier = Classifier(model, cached=True)
    scan = FrameScanner(classifier)
    rules = {
        camera: Rule.from_card(classifier.card, threshold=day, night_threshold=night)
        for camera, (day, night) in thresholds.items()
    }
    usual = Rule.from_card(classifier.card)
    found: dict[Unit, bool] = {}
    for unit in kept:
        try:
            image = read_picture(unit.picture)
            crops = [Region(unit.box_xywh, "motion")] if unit.box_xywh else []
            scores = [*scan.beside_crops(image), *classifier.score(image, crops)]
        except (ValueError, OverflowError, cv2.error) as error:
            log.warning("%s: cannot be compared (%s)", unit.picture, error)
            continue
        threshold = rules.get(unit.camera, usual).threshold_for(night=Night()(image, 0.0))
        found[unit] = max(score.bear for score in scores) >= threshold
        if len(found) == pictures:
            break
    return found


def compare(old: Path, new: Path, evidence: Path, pictures: int, thresholds: Thresholds) -> TrialCounts:
    """Compare two models, of which only one is in memory at a time. Raises ModelError, OSError."""
    before = bears(old, newest(evidence), pictures, thresholds)
    after = bears(new, before, pictures, thresholds)
    pairs = [(before[unit], bear) for unit, bear in after.items()]
    lost = [_reviewed(unit) for unit, bear in after.items() if unit.event and before[unit] and not bear]
    return TrialCounts(
        frames=len(pairs),
        both=pairs.count((True, True)),
        only_old=pairs.count((True, False)),
        only_new=pairs.count((False, True)),
        kept=True,
        right_lost=lost.count(True),
        wrong_gone=lost.count(False),
    )


def _reviewed(unit: Unit) -> bool | None:
    """Return whether a person said that a bear is there; None where nobody knows."""
    try:
        review = read_review(unit.path)
    except OptionError as error:
        log.warning("%s", error)
        return None
    if review is None or review.verdict == "unsure":
        return None
    return review.verdict == "confirmed" or review.label in BEARS


def main() -> int:
    """Compare, and write the counts and this process's peak of memory, MB (None: not known)."""
    lower_process()
    cv2.setNumThreads(1)
    old, new, evidence = map(Path, sys.argv[1:4])
    try:
        counts = compare(old, new, evidence, int(sys.argv[4]), json.loads(sys.argv[5]))
    except BearAlarmError as error:
        return refuse(error)
    except OSError as error:
        return refuse(
            OptionError(f"{error.filename}: kept pictures cannot be read ({error.strerror}); check this disk")
        )
    peak_mb = peak_memory_mb()
    sys.stdout.write(json.dumps({"counts": asdict(counts), "peak_mb": peak_mb and round(peak_mb)}))
    return 0


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    sys.exit(main())
