"""What the report tells, gathered in one pass over the test part: stills, crops, benchmarks, clips, other models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.classifier import Classifier
from edge.errors import CatalogError, ModelError
from train.benchmark.figures import Figures, figures
from train.benchmark.scores import Benchmark, benchmark_scores
from train.benchmark.stills import StillScores
from train.benchmark.subjects import is_trail
from train.benchmark.views import LEAST
from train.catalog.picture import Picture
from train.figures.paired import Difference
from train.figures.reliability import Reliability, before_temperature, reliability
from train.judging.compare import Comparison, Looked, compare, crop_differences, look_at
from train.judging.evaluate import Judged, Stills, evaluate_stills
from train.judging.evaluate_clips import Clip, Clips, evaluate_clips
from train.report.run_files import RunFiles

log = logging.getLogger(__name__)
Track = Callable[[Iterable[Any], str], Iterator[Any]]


@dataclass(frozen=True)
class Findings:
    """What one report is made of."""

    run: RunFiles
    classifier: Classifier
    stills: Stills
    still_scores: StillScores
    benchmark: Benchmark | None  # None where the pictures do not allow one
    figures: Figures | None
    calibration: dict[str, tuple[Reliability, Reliability]]  # crops -> before and after the temperature
    clips: Clips | None
    last: Comparison | None
    fp32: tuple[str, Figures, dict[str, Difference]] | None  # its name, figures, and int8 minus fp32


def find_out(
    run: RunFiles,
    classifier: Classifier,
    clips: Sequence[Clip],
    last: Classifier | None,
    track: Track,
    least: int = LEAST,
) -> Findings:
    """Measure ``classifier`` on the run's test part, and ``last`` and an fp32 file beside it on the same crops.

    ``least`` crops a bin of the benchmark.
    """
    pictures, card = run.test, classifier.card
    try:
        benchmark = benchmark_scores(
            classifier, pictures, least=least, follow=lambda views: track(views, "far animals")
        )
    except CatalogError as error:
        log.warning("%s; the report goes without the benchmark and the models beside", error)
        benchmark = None
    stills = evaluate_stills(classifier, track(pictures, "judging pictures"))
    still_scores = scores_of(stills, pictures)
    beside_it, exact = None, None
    if benchmark is not None:
        looked = Looked(classifier.name, card, benchmark, still_scores)
        beside_it = compared(last, looked, pictures, track, least) if last is not None else None
        exact = in_float(classifier, looked, pictures, track, least)
    return Findings(
        run=run,
        classifier=classifier,
        stills=stills,
        still_scores=still_scores,
        benchmark=benchmark,
        figures=figures(benchmark, card.thresholds["crop"].value) if benchmark is not None else None,
        calibration=calibration(stills.rows, card.temperature, list(card.alarm_columns)),
        clips=evaluate_clips(classifier, track(clips, "watching clips")) if clips else None,
        last=beside_it,
        fp32=exact,
    )


def scores_of(stills: Stills, pictures: Sequence[Picture]) -> StillScores:
    """The stills' scores from rows that are there already, without those of trail cameras."""
    trail = {str(picture.file) for picture in pictures if is_trail(picture)}
    toys = {str(picture.file) for picture in pictures if picture.label == "teddy_bear"}
    rows = [row for row in stills.rows if row.mode == "still" and row.file not in trail]
    return StillScores(
        np.array([row.score for row in rows], np.float64),
        np.array([row.bear for row in rows], bool),
        np.array([row.file in toys for row in rows], bool),
        np.array([row.file for row in rows]),
    )


def calibration(
    rows: Sequence[Judged], temperature: float, columns: list[int]
) -> dict[str, tuple[Reliability, Reliability]]:
    """Reliability of the bear probability before and after the temperature: crops as they are, and made small."""
    found = {}
    for words, mode in (("crops as they are", "crop"), ("the same shrunk to 20, 36 and 60 px", "shrunk")):
        some = [row for row in rows if row.mode == mode and row.probabilities]
        if not some:
            continue
        answers = np.array([row.probabilities for row in some])
        bears, files = np.array([row.bear for row in some]), [row.file for row in some]
        plain = before_temperature(answers, temperature)[:, columns].sum(axis=1)
        before, after = (
            reliability(np.clip(scores, 0, 1), bears, files) for scores in (plain, answers[:, columns].sum(axis=1))
        )
        assert before is not None
        assert after is not None
        found[words] = before, after
    return found


def compared(
    last: Classifier, looked: Looked, pictures: Sequence[Picture], track: Track, least: int = LEAST
) -> Comparison:
    """The last model beside this one on the same pictures, with the verdict of ``compare``."""
    other = look_at(
        last,
        pictures,
        lambda views: track(views, "the last model: far animals"),
        lambda rows: track(rows, "the last model: stills"),
        least,
    )
    return compare(other, looked, pictures)


def in_float(
    classifier: Classifier, looked: Looked, pictures: Sequence[Picture], track: Track, least: int = LEAST
) -> tuple[str, Figures, dict[str, Difference]] | None:
    """The fp32 file that ``export --precision both`` wrote beside an int8 one, on the same crops; None without one."""
    path = Path(classifier.path).with_suffix(".fp32.onnx")
    if classifier.card.precision != "int8" or not path.is_file():
        return None
    try:
        exact = Classifier(path)
    except ModelError as error:
        log.warning("the fp32 file beside the model is left out: %s", error)
        return None
    if exact.card.digests != classifier.card.digests:
        log.warning("%s: is of another run than the model, and is left out", path)
        return None
    benchmark = benchmark_scores(exact, pictures, least=least, follow=lambda views: track(views, "fp32: far animals"))
    crop = exact.card.thresholds["crop"].value, classifier.card.thresholds["crop"].value
    return (
        exact.name,
        figures(benchmark, crop[0]),
        crop_differences(benchmark.made, looked.benchmark.made, crop),
    )
