"""The report's findings, measured in one pass over a run's test part, and what the page shows of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.detect.classifier import Classifier
from edge.errors import CatalogError, ModelError
from train.data.pictures import Picture
from train.evaluate.clips import Clip, Clips, evaluate_clips
from train.evaluate.compare import Comparison, ModelScores, compare, crop_differences, score_model
from train.evaluate.far_bears import MIN_CROPS, RATE, TARGETS, Benchmark, Figures, benchmark_scores, figures
from train.evaluate.held_out import Judge, known_sources, unseen
from train.evaluate.report_run import RunFiles, belongs
from train.evaluate.stills import Judged, Stills, StillScores, evaluate_stills, scores_of
from train.evaluate.text import share
from train.evaluate.trail_cameras import score_frames
from train.metrics.calibration import Reliability, before_temperature, reliability
from train.metrics.paired import Difference
from train.metrics.rates import AtRate, Rate, clustered_rate, recall_at

log = logging.getLogger(__name__)
Track = Callable[[Iterable[Any], str], Iterator[Any]]


@dataclass(frozen=True)
class Findings:
    """The findings of one report."""

    run: RunFiles
    classifier: Classifier
    stills: Stills
    still_scores: StillScores
    benchmark: Benchmark | None  # None if the pictures do not allow one
    figures: Figures | None
    calibration: dict[str, tuple[Reliability, Reliability]]  # crops -> before and after the temperature
    clips: Clips | None
    last: Comparison | None
    last_why: str  # why the last model is not compared; "" if it is, or none was given
    doubts: tuple[str, ...]  # limits of all figures, shown on the page
    fp32: tuple[str, Figures, dict[str, Difference]] | None  # its name, figures, and int8 minus fp32


def find_out(
    run: RunFiles,
    classifier: Classifier,
    clips: Sequence[Clip],
    last: Classifier | None,
    track: Track,
    min_crops: int = MIN_CROPS,
) -> Findings:
    """Measure ``classifier`` on the run's test part, and ``last`` and an fp32 file on the same crops.

    ``min_crops``: crops in each bin of the benchmark.
    """
    pictures, card, why = run.test, classifier.card, ""
    try:
        benchmark = benchmark_scores(
            classifier, pictures, min_crops=min_crops, follow=lambda views: track(views, "far animals")
        )
    except CatalogError as error:
        log.warning("%s; the report has no benchmark and no comparison", error)
        benchmark, why = None, str(error)
    stills = evaluate_stills(classifier, track(pictures, "judging pictures"))
    still_scores = scores_of(stills, pictures)
    comparison, exact = None, None
    if benchmark is not None:
        scores = ModelScores(classifier.name, card, benchmark, still_scores)
        if last is not None:
            comparison, why = compared(last, classifier, scores, run, track, min_crops)
        exact = in_float(classifier, scores, pictures, track, min_crops)
    return Findings(
        run=run,
        classifier=classifier,
        stills=stills,
        still_scores=still_scores,
        benchmark=benchmark,
        figures=figures(benchmark, card.thresholds["crop"].value) if benchmark is not None else None,
        calibration=calibration(stills.rows, card.temperature, list(card.alarm_columns)),
        clips=evaluate_clips(classifier, track(clips, "watching clips")) if clips else None,
        last=comparison,
        last_why=why if last is not None else "",
        doubts=tuple(may_have_seen(classifier, run)),
        fp32=exact,
    )


def calibration(
    rows: Sequence[Judged], temperature: float, columns: list[int]
) -> dict[str, tuple[Reliability, Reliability]]:
    """Measure reliability before and after the temperature, of crops as they are and of shrunk crops."""
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
    """Yield a sentence if the model is not this run's: it may have seen the run's test part."""
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
    last: Classifier,
    classifier: Classifier,
    scores: ModelScores,
    run: RunFiles,
    track: Track,
    min_crops: int = MIN_CROPS,
) -> tuple[Comparison | None, str]:
    """Compare the last model with this one as ``compare`` does, on test pictures that neither has seen.

    Without such pictures, return None and the reason.
    """
    try:
        seen = unseen(run.test, (last, classifier), run.settings.get("split_sha256"))

        def score(model: Classifier, called: str) -> ModelScores:
            return score_model(
                model,
                seen.pictures,
                lambda views: track(views, f"{called}: far animals"),
                lambda rows: track(rows, f"{called}: stills"),
                min_crops,
            )

        other = score(last, "the last model")
        # The crops depend on the set of pictures.
        if len(seen.pictures) == len(run.test):
            this = replace(scores, frames=tuple(score_frames([Judge(classifier, seen.pictures)])))
        else:
            this = score(classifier, "this model for comparison")
    except CatalogError as error:
        log.warning("the last model is not compared: %s", error)
        return None, str(error)
    return compare(other, this, seen), ""


def in_float(
    classifier: Classifier, scores: ModelScores, pictures: Sequence[Picture], track: Track, min_crops: int = MIN_CROPS
) -> tuple[str, Figures, dict[str, Difference]] | None:
    """Measure the fp32 file beside an int8 one (``export --precision both``); None if there is none."""
    path = Path(classifier.path).with_suffix(".fp32.onnx")
    if classifier.card.precision != "int8" or not path.is_file():
        return None
    try:
        exact = Classifier(path)
    except ModelError as error:
        log.warning("the fp32 file beside the model is skipped: %s", error)
        return None
    if exact.card.digests != classifier.card.digests:
        log.warning("%s: is of another run than the model, and is skipped", path)
        return None
    benchmark = benchmark_scores(
        exact, pictures, min_crops=min_crops, follow=lambda views: track(views, "fp32: far animals")
    )
    crop = exact.card.thresholds["crop"].value, classifier.card.thresholds["crop"].value
    return (
        exact.name,
        figures(benchmark, crop[0]),
        crop_differences(benchmark.made, scores.benchmark.made, crop),
    )


STILL_RECALL, TOYS, CALIBRATION = 0.975, 0.02, 0.03


@dataclass(frozen=True)
class Aim:
    """One figure and its target."""

    what: str
    aim: str
    found: str
    met: bool
    certain: bool  # the whole 95 % interval is on that side

    @property
    def words(self) -> str:
        """Return ``met`` or ``not met``, with a note if the interval leaves it open."""
        return ("met" if self.met else "not met") + ("" if self.certain else ", the interval leaves it open")


def still_recall(found: Findings) -> AtRate | None:
    """Measure recall of subject-filling stills at 1 % false positives over all negatives."""
    scores = found.still_scores
    bear, files = scores.bear, scores.files
    return recall_at(scores.score[bear], scores.score[~bear], files[bear], files[~bear], RATE)


def aims(found: Findings) -> list[Aim]:
    """List every target that can be checked with these pictures."""
    listed = []
    stills = still_recall(found)
    if stills is not None:
        what = "stills: recall at 1 % false positives over all negatives"
        listed.append(at_least(what + few(stills), stills.recall, STILL_RECALL))
        toys = found.still_scores.toy
        passed = clustered_rate(found.still_scores.score[toys] >= stills.threshold, found.still_scores.files[toys])
        if passed is not None:
            words = f"at most {100 * TOYS:g} %"
            certain = passed.high <= TOYS or passed.low > TOYS
            listed.append(
                Aim(
                    "stills: toys taken for bears there",
                    words,
                    share(passed, counts=True),
                    passed.value <= TOYS,
                    certain,
                )
            )
    for one in found.figures.bins if found.figures is not None else ():
        if one.bin in TARGETS and one.own is not None:
            listed.append(
                at_least(
                    f"far animals, {one.bin}: recall at 1 % false positives{few(one.own)}",
                    one.own.recall,
                    TARGETS[one.bin],
                )
            )
    for words, (_, after) in found.calibration.items():
        listed.append(
            Aim(
                f"calibration error, {words}, without what chance adds",
                f"at most {100 * CALIBRATION:g} %",
                f"{100 * after.error:.1f} % [{100 * after.low:.1f}–{100 * after.high:.1f}]",
                after.error <= CALIBRATION,
                after.high <= CALIBRATION or after.low > CALIBRATION,
            )
        )
    card = found.classifier.card
    if card.precision == "int8":
        upper = card.parity.int8_recall_loss_upper95 or 0.0
        passed_gate = card.parity.passed and not card.parity.forced
        listed.append(
            Aim("int8: the export's gate", "holds", f"recall loss at most {100 * upper:+.2f} points", passed_gate, True)
        )
    return listed


def at_least(what: str, found: Rate, aim: float) -> Aim:
    """Check a share that should be high."""
    certain = found.low >= aim or found.high < aim
    return Aim(what, f"at least {100 * aim:g} %", share(found, counts=True), found.value >= aim, certain)


def few(found: AtRate) -> str:
    """Return a note if the others are too few for 1 %."""
    return f" (too few others for 1 %: {found.other_pictures} pictures)" if found.too_few else ""
