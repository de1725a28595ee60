"""Is a new model better than the one in use? Both on the same held-out pictures, one verdict by a rule made beforehand.

Where there are frames of trail cameras, endpoint and guards are those of ``train.evaluate.compare``. Elsewhere
the endpoint is recall averaged over the false-positive rates up to 5 %, on benchmark A's crops of 27 px and more, and
the guards are what the new model loses at 1 %, on stills, and what more it takes for bears at its own thresholds
(docs/judging.md says when each was set, and what was known by then).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.detect.card import Card
from edge.detect.classifier import Classifier
from train.data.pictures import Picture
from train.evaluate.far_bears import (
    BINS,
    LEAST,
    RATE,
    Benchmark,
    Follow,
    FollowPictures,
    Scores,
    StillScores,
    benchmark_scores,
    still_scores,
)
from train.evaluate.held_out import Judge, Unseen
from train.evaluate.trail_cameras import Frame, Track, at_once, see_all, supported
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

# Endpoint and guards of ``compare`` on frames of trail cameras.
#
# The endpoint is recall averaged over the false-alarm rates up to 2 % (``train.metrics.mean_recall``) on frames of
# trail cameras, each judged by a model that saw none of its camera. With 53 bears and some 650 others 1 % are six
# frames: recall at one rate hangs on one of them, the average on the highest thirteen. Chosen, as the guards were,
# before any model but the bundled one had been looked at.


TRAIL_PRIMARY_RATE = 0.02
TRAIL_PRIMARY = "trail cameras: mean recall up to 2 %"
AT_1 = "trail cameras: recall at 1 %"
AT_2 = "trail cameras: recall at 2 %"
OWN = "trail cameras: recall at its own threshold"
OWN_ALARMS = "trail cameras: false alarms at its own threshold"
NIGHT = "trail cameras, night: false alarms at its threshold"
DARK = "trail cameras, dark animals: false alarms at its threshold"
STILLS = "stills: recall at 1 %"
TOYS = "stills: toys taken for bears at its own threshold"
SMALL = "recall at 1 %, 45 px and less"


@dataclass(frozen=True)
class Limit:
    """Limit that the new model may not pass, unless the old one is as far."""

    figure: str
    most: float  # a share: of bears lost, or of others taken for one
    of_bears: bool = False  # the figure is a recall

    def beyond(self, one: Difference) -> float:
        """Return by how much the new model is beyond both the limit and the old model; 0 within either."""
        old, new = (1 - one.old, 1 - one.new) if self.of_bears else (one.old, one.new)
        return max(0.0, min(new - self.most, new - old))

    def worse(self, one: Difference) -> bool:
        """Return True if the new model is shown to be worse than the old one."""
        return one.loss if self.of_bears else one.gain


LIMITS = (
    Limit(STILLS, 0.025, of_bears=True),
    Limit(TOYS, 0.02),
    Limit(NIGHT, 0.01),
    Limit(DARK, 0.01),
)


def frame_differences(
    old: Sequence[Frame], new: Sequence[Frame], replicates: int = REPLICATES
) -> dict[str, Difference]:
    """Compare the frames that both models judged, the endpoint first; {} where they are too few for it."""
    both = shared(old, new)
    bears, others = ([pair for pair in both if pair[0].bear is bear] for bear in (True, False))
    if not bears or not supported(TRAIL_PRIMARY_RATE, len(others)):
        return {}
    pair = Pair(
        np.array([row[0].score for row in both]),
        np.array([row[1].score for row in both]),
        np.array([row[0].bear for row in both]),
        np.array([row[0].camera for row in both]),
    )

    def own(rows: Iterable[tuple[Frame, Frame]], keep: Callable[[Frame], bool] = lambda _: True) -> Difference | None:
        kept = [row for row in rows if keep(row[0])]
        before, after = (np.array([row[side].alarm for row in kept], bool) for side in (0, 1))
        return rate_difference(before, after, [row[0].camera for row in kept])

    found = {
        TRAIL_PRIMARY: mean_recall_difference(pair, TRAIL_PRIMARY_RATE, replicates),
        AT_1: recall_difference(pair, 0.01, replicates) if supported(0.01, len(others)) else None,
        AT_2: recall_difference(pair, 0.02, replicates),
        OWN: own(bears),
        "trail cameras, grey or infrared: recall at its own threshold": own(bears, lambda one: one.grey),
        OWN_ALARMS: own(others),
        NIGHT: own(others, lambda one: one.night),
        DARK: own(others, lambda one: one.dark_animal),
    }
    return {name: one for name, one in found.items() if one is not None}


def shared(old: Iterable[Frame], new: Iterable[Frame]) -> list[tuple[Frame, Frame]]:
    """Return the frames of trail cameras that both models judged, side by side."""
    others = {one.file: one for one in new}
    return [(one, others[one.file]) for one in old if one.part == "trail camera" and one.file in others]


def beyond_limits(figures: Mapping[str, Difference]) -> Iterable[tuple[str, float, bool]]:
    """Yield each guard the figures allow: its words, how far the new model is beyond it, and if it is shown worse.

    Small windows have no limit of their own: there the new model may not be shown to be worse.
    """
    for limit in LIMITS:
        if limit.figure in figures:
            one = figures[limit.figure]
            share = 1 - limit.most if limit.of_bears else limit.most
            words = f"{limit.figure} (limit {100 * share:g} %)"
            yield words, limit.beyond(one), limit.worse(one)
    if SMALL in figures:
        one = figures[SMALL]
        yield f"{SMALL} (not shown worse)", max(0.0, -one.high) if one.loss else 0.0, one.loss


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
    primary = TRAIL_PRIMARY if TRAIL_PRIMARY in figures else PRIMARY
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
    """Two models' scores of the same crops, which are drawn alike whatever the input size."""
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
