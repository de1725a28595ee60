"""Is a new model better than the one in use? Both on the same held-out pictures, one verdict by a rule made beforehand.

Where there are frames of trail cameras, endpoint and guards are those of ``train.judging.compare_trail``. Elsewhere
the endpoint is recall averaged over the false-positive rates up to 5 %, on benchmark A's crops of 27 px and more, and
the guards are what the new model loses at 1 %, on stills, and what more it takes for bears at its own thresholds
(docs/judging.md says when each was set, and what was known by then).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.detect.card import Card
from edge.detect.classifier import Classifier
from train.benchmark.figures import RATE
from train.benchmark.held_out import Judge, Unseen
from train.benchmark.scores import Benchmark, Follow, Scores, benchmark_scores
from train.benchmark.stills import Follow as FollowPictures
from train.benchmark.stills import StillScores, still_scores
from train.benchmark.trail_cameras import Frame, Track, at_once, see_all
from train.benchmark.views import BINS, LEAST
from train.data.pictures import Picture
from train.judging import compare_trail
from train.judging.compare_trail import SMALL, beyond_limits, frame_differences
from train.metrics import (
    REPLICATES,
    Difference,
    Pair,
    auc_difference,
    mean_recall_difference,
    rate_difference,
    recall_difference,
    too_few,
)

Verdict = Literal["shown to be better", "not shown to be better", "shown to be worse"]
PRIMARY = "mean recall up to 5 %, 27 px and more"
PRIMARY_RATE = 0.05
AT_RATE = "recall at 1 %, 27 px and more"
PRIMARY_BINS, SMALL_BINS = tuple(BINS)[1:], tuple(BINS)[:2]
NO_FRAMES = "too few frames of trail cameras for an endpoint of their own: the verdict goes by animals made far"
# Points (0.01 = 1) that the new model may lose: the 95 % interval's bad end must stay within them.
STILL_RECALL_MARGIN = 0.02
STILL_ALARM_MARGIN = 0.01
CROP_RECALL_MARGIN = 0.05  # so much hangs on the few others that decide the threshold for 1 %
CROP_ALARM_MARGIN = 0.02  # a single crop raises no alarm, a still does


@dataclass(frozen=True)
class Looked:
    """All that one model said of the pictures."""

    name: str
    card: Card
    benchmark: Benchmark
    stills: StillScores
    frames: tuple[Frame, ...] = ()  # of trail cameras; of several folds each judged the ones that it has not seen


@dataclass(frozen=True)
class Guard:
    """One thing a better model may not lose, and how much of it the interval allows for."""

    what: str
    worst: float  # points lost at the interval's bad end, or beyond a limit
    at_least: float  # points lost at its good end, or beyond a limit where the loss is shown
    margin: float

    @property
    def holds(self) -> bool:
        """Whether a loss beyond the margin is ruled out."""
        return self.worst <= self.margin

    @property
    def broken(self) -> bool:
        """Whether a loss beyond the margin is shown."""
        return self.at_least > self.margin


@dataclass(frozen=True)
class Comparison:
    """Old and new, figure by figure, and the verdict."""

    old: str
    new: str
    verdict: Verdict
    why: str
    pictures: int
    sources: tuple[str, ...]
    figures: dict[str, Difference]  # the primary one first, where there is one
    guards: tuple[Guard, ...]
    checked: str = ""  # how it is known that neither model has seen the pictures, in words after "pictures"
    doubts: tuple[str, ...] = ()  # what the pictures do not allow


def look_at(
    classifier: Classifier,
    pictures: Sequence[Picture],
    follow: Follow = iter,
    follow_pictures: FollowPictures = iter,
    least: int = LEAST,
    folds: Sequence[Judge] = (),
    follow_frames: Track[Frame | None] = at_once,
) -> Looked:
    """Score both benchmarks, with at least ``least`` crops a bin, the stills, and the frames of trail cameras.

    ``folds``: further models of the same recipe, and the frames that they are to judge.
    """
    return Looked(
        name=classifier.name,
        card=classifier.card,
        benchmark=benchmark_scores(classifier, pictures, least=least, follow=follow),
        stills=still_scores(classifier, pictures, follow_pictures),
        frames=tuple(see_all([Judge(classifier, tuple(pictures)), *folds], follow_frames)),
    )


def compare(old: Looked, new: Looked, seen: Unseen, replicates: int = REPLICATES) -> Comparison:
    """Every figure of both models with its paired test, and the verdict."""
    figures = differences(old, new, replicates)
    primary = compare_trail.PRIMARY if compare_trail.PRIMARY in figures else PRIMARY
    guards = tuple(limits_of(figures) if primary != PRIMARY else guards_of(figures))
    verdict, why = judge(figures.get(primary), guards, primary)
    doubts = [] if primary != PRIMARY else [NO_FRAMES]
    return Comparison(
        old=old.name,
        new=new.name,
        verdict=verdict,
        why=why,
        pictures=len(seen.pictures),
        sources=tuple(sorted({picture.source for picture in seen.pictures})),
        figures=figures,
        guards=guards,
        checked=seen.checked,
        doubts=(*seen.warnings, *too_few_others(new), *doubts),
    )


def too_few_others(looked: Looked) -> Iterable[str]:
    """Where 1 % is a share of fewer others than a threshold for it takes."""
    made, stills = looked.benchmark.made, looked.stills
    large = ~made.bear & np.isin(np.array(made.bin), PRIMARY_BINS)
    for what, others in (("crops of 27 px and more", made.picture[large]), ("stills", stills.files[~stills.bear])):
        if len(others) and too_few(others, RATE):
            many = len(np.unique(others))
            yield f"too few others for {100 * RATE:g} % among {what}: {many} pictures, it takes {3 / RATE:.0f}"


def differences(old: Looked, new: Looked, replicates: int = REPLICATES) -> dict[str, Difference]:
    """Figure -> old, new and their difference; the primary one first. What there is nothing of is left out."""
    still = stills_pair(old.stills, new.stills)
    real = pair_up(old.benchmark.real, new.benchmark.real)
    crop = old.card.thresholds["crop"].value, new.card.thresholds["crop"].value
    whole = old.card.thresholds["frame"].value, new.card.thresholds["frame"].value
    found = {
        "stills: recall at 1 %": recall_difference(still, RATE, replicates),
        "stills: recall at its own threshold": at_own(still, whole, bears=True),
        "stills: false positives at its own threshold": at_own(still, whole, bears=False),
        "stills: toys taken for bears at its own threshold": at_own(still.where(old.stills.toy), whole, bears=False),
        "trail camera: boxes found at its own crop threshold": at_own(real, crop, bears=True),
    }
    return (
        frame_differences(old.frames, new.frames, replicates)
        | crop_differences(old.benchmark.made, new.benchmark.made, crop, replicates)
        | {name: one for name, one in found.items() if one is not None}
    )


def crop_differences(
    old: Scores, new: Scores, thresholds: tuple[float, float], replicates: int = REPLICATES
) -> dict[str, Difference]:
    """The differences on benchmark A's crops, the primary endpoint first."""
    made, bins = pair_up(old, new), np.array(old.bin)
    large = made.where(np.isin(bins, PRIMARY_BINS))
    found: dict[str, Difference | None] = {
        PRIMARY: mean_recall_difference(large, PRIMARY_RATE, replicates),
        AT_RATE: recall_difference(large, RATE, replicates),
    }
    found[SMALL] = recall_difference(made.where(np.isin(bins, SMALL_BINS)), RATE, replicates)
    for name in BINS:
        found[f"recall at 1 %, {name}"] = recall_difference(made.where(bins == name), RATE, replicates)
    found["AUC, 27 px and more"] = auc_difference(large)
    found["recall at its own crop threshold, 27 px and more"] = at_own(large, thresholds, bears=True)
    found["false positives at its own crop threshold, 27 px and more"] = at_own(large, thresholds, bears=False)
    return {name: one for name, one in found.items() if one is not None}


def pair_up(old: Scores, new: Scores) -> Pair:
    """Two models' scores of the same crops. The crops are drawn alike whatever the input size (``train.benchmark``)."""
    if not np.array_equal(old.side_px, new.side_px):
        raise RuntimeError("the two models were not given the same crops")
    return Pair(old.score, new.score, old.bear, old.picture)


def stills_pair(old: StillScores, new: StillScores) -> Pair:
    """Two models' scores of the same stills."""
    return Pair(old.score, new.score, old.bear, old.files)


def at_own(pair: Pair, thresholds: tuple[float, float], *, bears: bool) -> Difference | None:
    """Difference in the share of bears (or others) at or above each model's own threshold."""
    side: NDArray[np.bool_] = pair.bear if bears else ~pair.bear
    part = pair.where(side)
    return rate_difference(part.old >= thresholds[0], part.new >= thresholds[1], part.picture)


def guards_of(figures: dict[str, Difference]) -> Iterable[Guard]:
    """The guards that these figures allow to be checked."""
    for what, margin, sign in (
        (AT_RATE, CROP_RECALL_MARGIN, -1),
        ("stills: recall at 1 %", STILL_RECALL_MARGIN, -1),
        ("stills: false positives at its own threshold", STILL_ALARM_MARGIN, 1),
        ("false positives at its own crop threshold, 27 px and more", CROP_ALARM_MARGIN, 1),
    ):
        if what in figures:
            bounds = sorted((sign * figures[what].low, sign * figures[what].high))
            yield Guard(what, bounds[1], bounds[0], margin)


def limits_of(figures: dict[str, Difference]) -> Iterable[Guard]:
    """Yield the guards where there are frames of trail cameras."""
    for what, beyond, worse in beyond_limits(figures):
        yield Guard(what, beyond, beyond if worse else 0.0, 0.0)


def judge(primary: Difference | None, guards: Sequence[Guard], what: str = PRIMARY) -> tuple[Verdict, str]:
    """The verdict and its reason in words; without the primary endpoint no model is shown to be better."""
    if primary is None:
        lost = next((guard for guard in guards if guard.broken), None)
        none = "no crops of 27 px and more of both bears and others"
        if lost is None:
            return "not shown to be better", none
        return "shown to be worse", f"{lost.what}: at least {100 * lost.at_least:.1f} points worse ({none})"
    size = f"{what}: {100 * primary.value:+.1f} points [{100 * primary.low:+.1f}, {100 * primary.high:+.1f}]"
    size += f", p {primary.p:.3f}"
    broken = [guard for guard in guards if guard.broken]
    if primary.loss:
        return "shown to be worse", size
    if broken:
        lost = broken[0]
        return "shown to be worse", f"{lost.what}: at least {100 * lost.at_least:.1f} points worse ({size})"
    if not primary.gain:
        return "not shown to be better", size
    open_ = [guard for guard in guards if not guard.holds]
    if open_:
        lost = open_[0]
        but = f"may be up to {100 * lost.worst:.1f} points worse (allowed {100 * lost.margin:g})"
        if not lost.margin:
            but = f"is {100 * lost.worst:.1f} points beyond it"
        return "not shown to be better", f"{size}, but {lost.what} {but}"
    return "shown to be better", size
