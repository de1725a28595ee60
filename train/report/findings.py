"""What the report tells, gathered in one pass over the test part: stills, crops, benchmarks, clips, other models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.detect.classifier import Classifier
from edge.errors import CatalogError, ModelError
from train.benchmark.figures import Figures, figures
from train.benchmark.held_out import Judge, known_sources, unseen
from train.benchmark.scores import Benchmark, benchmark_scores
from train.benchmark.stills import StillScores
from train.benchmark.subjects import is_trail
from train.benchmark.trail_cameras import see_all
from train.benchmark.views import LEAST
from train.data.pictures import Picture
from train.judging.compare import Comparison, Looked, compare, crop_differences, look_at
from train.judging.evaluate import Judged, Stills, evaluate_stills
from train.judging.evaluate_clips import Clip, Clips, evaluate_clips
from train.metrics import Difference, Reliability, before_temperature, reliability
from train.report.run_files import RunFiles, belongs

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
    last_why: str  # why the last model is not beside this one, "" where it is or none was given
    doubts: tuple[str, ...]  # what the page must say of all its figures
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
    pictures, card, why = run.test, classifier.card, ""
    try:
        benchmark = benchmark_scores(
            classifier, pictures, least=least, follow=lambda views: track(views, "far animals")
        )
    except CatalogError as error:
        log.warning("%s; the report goes without the benchmark and the models beside", error)
        benchmark, why = None, str(error)
    stills = evaluate_stills(classifier, track(pictures, "judging pictures"))
    still_scores = scores_of(stills, pictures)
    beside_it, exact = None, None
    if benchmark is not None:
        looked = Looked(classifier.name, card, benchmark, still_scores)
        if last is not None:
            beside_it, why = compared(last, classifier, looked, run, track, least)
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
        last_why=why if last is not None else "",
        doubts=tuple(may_have_seen(classifier, run)),
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


def may_have_seen(classifier: Classifier, run: RunFiles) -> Iterator[str]:
    """One sentence where the model is not this run's: then the run's test part may not be held out from it."""
    if belongs(classifier.card.digests, run):
        return
    split = run.settings.get("split_sha256")
    if split and classifier.card.digests.get("split_sha256") == split:
        yield f"{classifier.name} was exported from another training than {run.folder.name}, on the same split"
        return
    known = sorted({picture.source for picture in run.test} & known_sources(classifier.card))
    of = f": it was trained or tuned on pictures of {', '.join(known)}" if known else ""
    yield f"{classifier.name} was not exported from {run.folder.name}, and may have seen these test pictures{of}"


def compared(
    last: Classifier, classifier: Classifier, looked: Looked, run: RunFiles, track: Track, least: int = LEAST
) -> tuple[Comparison | None, str]:
    """The last model beside this one, with the verdict of ``compare``, on test pictures that neither knows.

    Where there are none, None and why.
    """
    try:
        seen = unseen(run.test, (last, classifier), run.settings.get("split_sha256"))

        def look(model: Classifier, called: str) -> Looked:
            return look_at(
                model,
                seen.pictures,
                lambda views: track(views, f"{called}: far animals"),
                lambda rows: track(rows, f"{called}: stills"),
                least,
            )

        other = look(last, "the last model")
        # Which crops there are hangs on which pictures there are.
        if len(seen.pictures) == len(run.test):
            this = replace(looked, frames=tuple(see_all([Judge(classifier, seen.pictures)])))
        else:
            this = look(classifier, "this model beside it")
    except CatalogError as error:
        log.warning("the last model is left out: %s", error)
        return None, str(error)
    return compare(other, this, seen), ""


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
