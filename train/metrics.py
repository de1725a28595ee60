"""The figures that training, export and ``evaluate`` share, each with its 95 % interval. Needs no torch.

Temperature and thresholds; rates and areas under the ROC curve, over pictures where crops are not independent; recall
at a false-positive rate; differences of two models; calibration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, ndtri, softmax, stdtrit
from scipy.stats import rankdata

from edge.detect.card import Threshold
from edge.detect.odds import logit
from edge.tuning import max_alarms
from train.data.pictures import ALARM_LABELS, BEAR_ANY, LABELS

# Probabilities, and the temperature and thresholds that are fitted on the tuning part.

ALARM_COLUMNS = [LABELS.index(label) for label in ALARM_LABELS]
# Thresholds stay where a probability still means something.
LOWEST, HIGHEST = 0.02, 0.98
SPARE = 0.025  # share of the tuning bears that may lie below the upper end of the room for a threshold


def probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Return the softmax of logits / temperature, (N, L)."""
    return np.asarray(softmax(np.asarray(logits, np.float64) / temperature, axis=1))


def bear_probability(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sum the probabilities of the alarm labels of rows (N, L) to (N,)."""
    total: NDArray[np.float64] = np.asarray(rows, np.float64)[:, ALARM_COLUMNS].sum(axis=1)
    return total


def fit_temperature(logits: NDArray[np.floating], labels: Sequence[str]) -> float:
    """Fit the temperature from 0.5 to 5 with the smallest mean negative log-likelihood (Guo et al. 2017).

    Every crop counts the same. Weighing bears and others alike would calibrate for a place where every second crop
    is a bear: what it cost on sources left out of the fit is in docs/training.md.
    """
    right = np.array(
        [[name == label or (label == BEAR_ANY and name in ALARM_LABELS) for name in LABELS] for label in labels]
    )
    return _best_temperature(logits, right)


def fit_frame_temperature(logits: NDArray[np.floating], bears: NDArray[np.bool_]) -> float:
    """Fit the temperature of whole pictures: ``logits`` (N, L) of each one's surest window, ``bears`` (N,) truth."""
    alarm = np.array([name in ALARM_LABELS for name in LABELS])
    return _best_temperature(logits, np.where(bears[:, None], alarm, ~alarm))


def _best_temperature(logits: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Fit to ``right`` (N, L): the labels that are true of each row of logits (N, L)."""

    def loss(log_temperature: float) -> float:
        p = (probabilities(logits, math.exp(log_temperature)) * right).sum(axis=1)
        return float(-np.log(np.clip(p, 1e-9, 1)).mean())

    best = minimize_scalar(loss, bounds=(math.log(0.5), math.log(5.0)), method="bounded")
    return round(math.exp(best.x), 4)


def lowest_threshold(bear: NDArray[np.floating], bears: NDArray[np.bool_], allowed: int) -> float:
    """Find the lowest threshold that at most ``allowed`` of the pictures without a bear reach.

    ``bear`` (N,) probabilities, ``bears`` (N,) truth. Just above the score of the first that is not allowed;
    0 where all are.
    """
    others = np.sort(np.asarray(bear, np.float64)[~bears])[::-1]
    return float(np.nextafter(others[allowed], np.inf)) if allowed < len(others) else 0.0


def fit_threshold(
    bear: NDArray[np.floating],
    bears: NDArray[np.bool_],
    rate: float,
    sources: Sequence[str],
    pictures: NDArray[np.integer] | None = None,
    *,
    of_found: bool = False,
) -> Threshold:
    """Fit the lowest threshold with at most ``rate`` false positives here, or one above it where there is room.

    ``bear`` (N,) probabilities, ``bears`` (N,) truth, ``pictures`` (N,) which picture each crop came from (left
    out: each is one of its own). Where all but ``SPARE`` of the bears score higher still, the threshold goes
    half-way between the two in logits: other places bring other animals than the few these pictures hold.
    ``of_found``: of the bears that it finds, whatever it misses; where they are few, nothing lies between for long.
    """
    bear, bears = np.asarray(bear, np.float64), np.asarray(bears, bool)
    pictures = np.arange(len(bear)) if pictures is None else pictures
    value = float(np.clip(lowest_threshold(bear, bears, int(rate * (~bears).sum())) + 1e-6, LOWEST, HIGHEST))
    reachable = bears & (bear >= value) if of_found else bears
    if reachable.any():
        reached = float(np.clip(np.quantile(bear[reachable], SPARE), LOWEST, HIGHEST))
        if reached > value:
            value = float(expit((logit(value) + logit(reached)) / 2))
    value = float(np.ceil(value * 1e4) / 1e4)
    hit = bear >= value
    return Threshold(
        value=value,
        recall=float(hit[bears].mean()) if bears.any() else 0.0,
        false_positive_rate=float(hit[~bears].mean()) if (~bears).any() else 0.0,
        n_bear=int(bears.sum()),
        n_no_bear=int((~bears).sum()),
        sources=tuple(sorted(set(sources))),
        bear_pictures=len(np.unique(pictures[bears])),
        no_bear_pictures=len(np.unique(pictures[~bears])),
    )


# Rates and areas under the ROC curve of independent pictures.

Z95 = float(ndtri(0.975))  # the normal distribution's 97.5 % point


@dataclass(frozen=True)
class Rate:
    """``k`` of ``n`` and the 95 % interval around k / n."""

    k: int
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Auc:
    """Chance that a bear scores above a picture without one, and its 95 % interval."""

    value: float
    low: float
    high: float
    n_bear: int
    n_no_bear: int


def wilson(k: int, n: int) -> Rate | None:
    """Return k of n and its score interval (Wilson 1927, JASA 22); None of none.

    It takes the pictures as independent: pictures of one camera are less than that.
    """
    if n == 0:
        return None
    return Rate(k, n, k / n, *score_interval(k / n, n))


def score_interval(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of ``n`` independent trials; ``n`` need not be whole, as scipy's must."""
    spread = Z95 * Z95 / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # Rounding may put a bound a hair on the wrong side of the share.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def auc(bears: Sequence[float], others: Sequence[float]) -> Auc | None:
    """Measure the area under the ROC curve (Mann & Whitney 1947), ties counting half; None if one side is empty.

    The interval inverts Hanley & McNeil's variance (1982, Radiology 143) as a score interval, the
    variance taken at the bound (Newcombe 2006, Statistics in Medicine 25): an AUC of 1 has width too.
    """
    m, n = len(bears), len(others)
    if not m or not n:
        return None
    value = float(placements(np.asarray(bears, float), np.asarray(others, float)).mean())

    def gap(theta: float) -> float:
        """Return how far ``theta`` lies from the value, past the 95 % point of its standard error there."""
        return abs(value - theta) - Z95 * math.sqrt(hanley_mcneil(theta, m, n))

    # A hair off the value, for there is a root of its own at 0 and 1, where the variance is 0.
    low = brentq(gap, 0.0, value - 1e-12) if value > 0 else 0.0
    high = brentq(gap, value + 1e-12, 1.0) if value < 1 else 1.0
    return Auc(value, low, high, m, n)


def placements(some: NDArray[np.float64], against: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each of ``some`` the share of ``against`` it lies above, ties counting half: (N,)."""
    ranked = np.sort(against)
    below = np.searchsorted(ranked, some, side="left")
    not_above = np.searchsorted(ranked, some, side="right")
    return np.asarray((below + not_above) / (2 * len(ranked)), np.float64)


def hanley_mcneil(theta: float, m: int, n: int) -> float:
    """Return the variance of an AUC of ``theta`` from ``m`` positives and ``n`` negatives (Hanley & McNeil 1982)."""
    two_bears = theta / (2 - theta)  # both of two positives above one negative
    two_others = 2 * theta * theta / (1 + theta)  # one positive above both of two negatives
    square = theta * theta
    spread = theta * (1 - theta) + (m - 1) * (two_bears - square) + (n - 1) * (two_others - square)
    return max(spread, 0.0) / (m * n)


@dataclass(frozen=True)
class FalseAlarms:
    """False alarms on bear-free footage: how many in how many hours, and what that bounds."""

    alarms: int
    hours: float
    per_day_upper95: float | None  # alarms a camera-day, None without footage


def false_alarm_bound(alarms: int, hours: float) -> FalseAlarms:
    """Bound a Poisson rate at 95 %: 3 / T after T hours without an alarm (Hanley & Lippman-Hand 1983).

    With alarms it is the exact bound (Garwood 1936).
    """
    if hours <= 0:
        return FalseAlarms(alarms, 0.0, None)
    return FalseAlarms(alarms, hours, max_alarms(alarms) / hours * 24)


# Intervals for crops that are not independent: several of one picture are less than as many pictures.
#
# Rates: Wilson's interval on the effective sample size n / deff with the t-factor of few clusters (Korn & Graubard
# 1998, Survey Methodology 24), the design effect that of a ratio over clusters (Rao & Scott 1992, Biometrics 48). Near
# 0 and 1 a handful of misses tells nothing of how alike crops of one picture are: there it is bounded by Kish's (1965)
# for crops that always agree.


def cluster_numbers(clusters: Sequence[object] | NDArray) -> NDArray[np.int64]:
    """Give clusters the numbers 0, 1, 2 …: (N,)."""
    return np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64).reshape(-1)


def effective_n(clusters: Sequence[object] | NDArray) -> float:
    """Count the independent crops that N are worth if those of one picture always agree (Kish 1965); at most N.

    The square of the sum of the pictures' crops over the sum of their squares: as many as there are pictures where
    each has equally many. 0 of none.
    """
    if not len(clusters):
        return 0.0
    sizes = np.bincount(cluster_numbers(clusters)).astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def design_effect(hits: ArrayLike, clusters: Sequence[object] | NDArray) -> float:
    """Return how many times larger the variance of a share is than with independent crops; at least 1.

    ``hits`` (N,) 0 or 1. The variance over clusters, but no less than Kish's 1 + (m - 1) rho, m - 1 from the cluster
    sizes. rho is the intra-cluster correlation that this variance implies, shrunk towards 1 (crops that always agree)
    as if one more picture had said so: all of it where all or none were hit, half where one picture differs.
    """
    values, cluster = np.asarray(hits, float), cluster_numbers(clusters)
    n = len(values)
    if not n or len(np.unique(cluster)) == n:
        return 1.0
    sizes = np.bincount(cluster)
    count, share, alike = len(sizes), float(values.mean()), n / effective_n(cluster)
    if count < 2 or not 0 < share < 1:
        return alike
    sums = np.bincount(cluster, values - share)
    seen = max(1.0, count / (count - 1) * float((sums**2).sum()) / (n * share * (1 - share)))
    found = np.bincount(cluster, values)
    telling = min(int((found > 0).sum()), int((found < sizes).sum()))  # pictures with the rarer answer
    correlation = (telling * min(1.0, (seen - 1) / (alike - 1)) + 1) / (telling + 1)
    return max(seen, 1 + (alike - 1) * correlation)


def clustered_rate(hits: ArrayLike, clusters: Sequence[object] | NDArray) -> Rate | None:
    """Return k of n crops and the 95 % interval that counts pictures, not crops; None of none.

    Neither end is better than it is where all (or none) were hit: one more miss never raises the lower end near 1.
    """
    values = np.asarray(hits, bool)
    n, k = len(values), int(values.sum())
    if n == 0:
        return None
    pictures = effective_n(clusters)
    worth = n / design_effect(values, clusters)
    if pictures < n:  # a variance from c clusters has c - 1 degrees of freedom; crops that always agree need none
        degrees = len(np.unique(np.asarray(clusters))) - 1
        worth = min(worth, max(worth * (Z95 / t95(degrees)) ** 2, pictures))
    low, high = score_interval(k / n, worth)
    return Rate(k, n, k / n, min(low, score_interval(1.0, pictures)[0]), max(high, score_interval(0.0, pictures)[1]))


def t95(degrees: int) -> float:
    """Return the 97.5 % point of Student's t; that of one degree of freedom where there is none."""
    return float(stdtrit(max(degrees, 1), 0.975))


def clustered_auc(
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: Sequence[object] | NDArray,
    other_clusters: Sequence[object] | NDArray,
) -> Auc | None:
    """Measure the area under the ROC curve, its 95 % interval over pictures; None when one side is empty.

    Variance over clusters by Obuchowski (1997, Biometrics 53), the interval on the logit scale. An AUC of 1 or a side
    of one picture has Hanley & McNeil's variance, with pictures in the place of crops; one crop a picture is ``auc``.
    """
    m, n = len(bears), len(others)
    if not m or not n:
        return None
    bear_of, other_of = cluster_numbers(bear_clusters), cluster_numbers(other_clusters)
    if (int(bear_of.max()) + 1, int(other_of.max()) + 1) == (m, n):
        return auc(list(bears), list(others))
    of_bears, of_others = placements(bears, others), 1 - placements(others, bears)
    value = float(of_bears.mean())
    pictures = int(bear_of.max()) + 1, int(other_of.max()) + 1
    variance = clustered_variance(of_bears - value, bear_of) + clustered_variance(of_others - value, other_of)
    if not 0 < value < 1 or min(pictures) < 2 or variance <= 0:
        near = min(max(value, 0.5 / (pictures[0] * pictures[1])), 1 - 0.5 / (pictures[0] * pictures[1]))
        variance = hanley_mcneil(near, *pictures)
    else:
        near = value
    half = Z95 * math.sqrt(variance) / (near * (1 - near))
    low, high = (float(expit(logit(near) + end)) for end in (-half, half))
    return Auc(value, min(low, value), max(high, value), m, n)


def clustered_variance(deviations: NDArray[np.float64], clusters: NDArray[np.int64]) -> float:
    """Return the variance of the mean of values, from their ``deviations`` from it, over clusters."""
    sums = np.bincount(clusters, deviations)
    count = len(sums)
    return float(count / max(count - 1, 1) * (sums**2).sum() / len(deviations) ** 2)


# How many bears are found where few of the others pass: recall at, and up to, a false-positive rate.
#
# What hangs on a threshold that is fitted on the same crops has its interval from a bootstrap that draws whole pictures
# (Davison & Hinkley 1997, ch. 3.8; Field & Welsh 2007).


REPLICATES = 2000
SEED = 7
CHUNK = 100  # replicates at once, so that memory stays small
Figure = Callable[..., NDArray[np.float64]]  # ``recalls`` or ``mean_recalls``


@dataclass(frozen=True)
class AtRate:
    """Recall where at most a given share of the others is taken for a bear."""

    threshold: float
    recall: Rate
    false_positives: Rate  # what that threshold lets through, and the interval of what it lets through elsewhere
    other_pictures: int  # the threshold hangs on
    too_few: (
        bool  # others for this rate: fewer independent ones than 3 / rate, so the rate elsewhere may be any small one
    )


def recall_at(
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: NDArray,
    other_clusters: NDArray,
    rate: float = 0.01,
    replicates: int = REPLICATES,
) -> AtRate | None:
    """Measure recall at ``rate`` false positives; None when a side is empty. Scores (N,), clusters (N,).

    The interval is a bootstrap over pictures, bears and others apart, each time with a threshold of its own; never
    narrower than that of a fixed threshold, so that 300 of 300 has width too. With fewer than 3 / ``rate`` independent
    others (``effective_n``) the threshold is that of the highest two or three: that is marked.
    """
    if not len(bears) or not len(others):
        return None
    threshold = threshold_at(others, rate)
    hits = bears >= threshold
    fixed = clustered_rate(hits, bear_clusters)
    passed = clustered_rate(others >= threshold, other_clusters)
    assert fixed is not None
    assert passed is not None
    found = bootstrap(recalls, bears, others, bear_clusters, other_clusters, rate, replicates)
    low, high = (float(bound) for bound in np.quantile(found, [0.025, 0.975]))
    return AtRate(
        threshold=threshold,
        recall=Rate(fixed.k, fixed.n, fixed.value, min(low, fixed.low), max(high, fixed.high)),
        false_positives=passed,
        other_pictures=len(np.unique(other_clusters)),
        too_few=too_few(other_clusters, rate),
    )


def too_few(others: Sequence[object] | NDArray, rate: float) -> bool:
    """Return True if others with these clusters are too few for ``rate``: not three are expected above it."""
    return effective_n(others) < 3 / rate - 1e-9


def threshold_at(others: NDArray[np.float64], rate: float) -> float:
    """Find the lowest threshold that at most ``rate`` of these scores reach."""
    return lowest_threshold(others, np.zeros(len(others), bool), int(rate * len(others) + 1e-9))


def mean_recall(bears: NDArray[np.float64], others: NDArray[np.float64], rate: float) -> float:
    """Average recall over the false-positive rates from 0 to ``rate``; a bear no higher than an other is not found.

    The part of the area under the ROC curve left of ``rate``, as a share of what it can be (McClish 1989, Medical
    Decision Making 9; Dodd & Pepe 2003, Biometrics 59). It hangs on all of the highest others, where recall at a rate
    hangs on one of them.
    """
    every = np.ones((1, len(bears)), np.int64), np.ones((1, len(others)), np.int64)
    return float(mean_recalls(np.sort(bears), np.sort(others)[::-1], *every, rate)[0])


def bootstrap(
    figure: Figure,
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: NDArray,
    other_clusters: NDArray,
    rate: float,
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> NDArray[np.float64]:
    """Return ``recalls`` or ``mean_recalls`` of pictures drawn with replacement, many times: (replicates,)."""
    rising, falling = np.argsort(bears, kind="stable"), np.argsort(others, kind="stable")[::-1]
    bear_of, other_of = cluster_numbers(bear_clusters)[rising], cluster_numbers(other_clusters)[falling]
    rng = np.random.default_rng(seed)
    found = np.empty(replicates)
    for start in range(0, replicates, CHUNK):
        count = min(CHUNK, replicates - start)
        weights = bootstrap_weights(rng, other_of, count)
        found[start : start + count] = figure(
            bears[rising], others[falling], bootstrap_weights(rng, bear_of, count), weights, rate
        )
    return found


def recalls(
    rising: NDArray[np.float64],
    falling: NDArray[np.float64],
    bear_weights: NDArray[np.int64],
    weights: NDArray[np.int64],
    rate: float,
) -> NDArray[np.float64]:
    """Return recall at ``rate`` (R,) of rising bears, falling others; how often each counts (R, bears), (R, others)."""
    passed = np.cumsum(weights, axis=1)
    # The threshold lies just above the first of the others that may not pass.
    first = (passed > rate * passed[:, -1:] + 1e-9).argmax(axis=1)
    above = np.searchsorted(rising, falling[first], side="right")  # bears from here on score higher
    total = np.cumsum(bear_weights, axis=1)
    below = np.where(above > 0, total[np.arange(len(total)), np.maximum(above - 1, 0)], 0)
    return np.asarray(1 - below / total[:, -1], np.float64)


def mean_recalls(
    rising: NDArray[np.float64],
    falling: NDArray[np.float64],
    bear_weights: NDArray[np.int64],
    weights: NDArray[np.int64],
    rate: float,
) -> NDArray[np.float64]:
    """Return ``mean_recall`` (R,) of rising bears, falling others; how often each counts (R, bears), (R, others)."""
    passed = np.cumsum(weights, axis=1)
    wide = rate * passed[:, -1:]
    used = int((passed < wide).sum(axis=1).max()) + 1  # others that any row gets to
    inside = np.clip(wide - (passed - weights)[:, :used], 0, weights[:, :used])  # of each, how much lies left of rate
    below = np.pad(np.cumsum(bear_weights, axis=1), ((0, 0), (1, 0)))
    recall = 1 - below[:, np.searchsorted(rising, falling[:used], "right")] / below[:, -1:]
    return np.asarray((inside * recall).sum(axis=1) / wide[:, 0], np.float64)


def bootstrap_weights(rng: np.random.Generator, clusters: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Draw whole clusters with replacement: how often each row is in each of ``count`` draws, (count, N)."""
    clusters_n = int(clusters.max()) + 1
    picked = rng.multinomial(clusters_n, np.full(clusters_n, 1 / clusters_n), size=count)
    return np.asarray(picked[:, clusters], np.int64)


# Two models on the same crops: differences, 95 % intervals, and tests that count original pictures.


PAIRED_SEED = 11


@dataclass(frozen=True)
class Difference:
    """New minus old of one figure, on ``n`` crops of ``pictures`` original pictures."""

    old: float
    new: float
    value: float  # new - old
    low: float  # 95 % interval of the difference
    high: float
    p: float  # two-sided, of no difference
    n: int
    pictures: int

    @property
    def gain(self) -> bool:
        """Return True if the new one is shown to be higher: by the test and by the interval, for each alone may err."""
        return self.p <= 0.05 and self.low > 0

    @property
    def loss(self) -> bool:
        """Return True if the new one is shown to be lower."""
        return self.p <= 0.05 and self.high < 0


@dataclass(frozen=True, eq=False)
class Pair:
    """Both models' bear probabilities of the same N crops."""

    old: NDArray[np.float64]
    new: NDArray[np.float64]
    bear: NDArray[np.bool_]
    picture: NDArray  # (N,) which original picture

    def where(self, chosen: NDArray[np.bool_]) -> Pair:
        """Return the rows where ``chosen``."""
        return Pair(self.old[chosen], self.new[chosen], self.bear[chosen], self.picture[chosen])


def recall_difference(
    pair: Pair, rate: float, replicates: int = REPLICATES, seed: int = PAIRED_SEED
) -> Difference | None:
    """Compare recall where each model takes ``rate`` of the others for bears, whatever its own threshold.

    Interval and test as ``_difference`` says, thresholds fitted again each time. None when a side is empty.
    """

    def recall(bears: NDArray[np.float64], others: NDArray[np.float64]) -> float:
        return float((bears >= threshold_at(others, rate)).mean())

    allowed = int(rate * (~pair.bear).sum() + 1e-9)
    place = max(int((~pair.bear).sum()) - 1 - allowed, 0)  # in rising order, the first that may not pass

    def of_ranks(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        limit = np.partition(ranks[:, ~pair.bear], place, axis=1)[:, place : place + 1]
        return np.asarray((ranks[:, pair.bear] > limit).mean(axis=1), np.float64)

    return _difference(pair, Measure(recall, recalls, of_ranks), rate, replicates, seed)


def mean_recall_difference(
    pair: Pair, rate: float, replicates: int = REPLICATES, seed: int = PAIRED_SEED
) -> Difference | None:
    """Compare recall averaged over the false-positive rates up to ``rate`` (``mean_recall``).

    Interval and test as ``_difference`` says. None when a side is empty.
    """

    def of_ranks(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([mean_recall(row[pair.bear], row[~pair.bear], rate) for row in ranks])

    def of_scores(bears: NDArray[np.float64], others: NDArray[np.float64]) -> float:
        return mean_recall(bears, others, rate)

    return _difference(pair, Measure(of_scores, mean_recalls, of_ranks), rate, replicates, seed)


@dataclass(frozen=True)
class Measure:
    """Figure of one model in the three ways that an interval and a test of two models ask for it."""

    of_scores: Callable[[NDArray[np.float64], NDArray[np.float64]], float]  # of bears' and others' scores
    of_draws: Figure  # the same of many draws of pictures: ``bootstrap``
    of_ranks: Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (R, N) ranks of all crops -> (R,)


def _difference(pair: Pair, measure: Measure, rate: float, replicates: int, seed: int) -> Difference | None:
    """Compare a measure, new minus old.

    Interval: a paired bootstrap of pictures. Test: the models' answers to a picture are swapped at random, on the scale
    of ranks, for two models' probabilities need not mean the same (Venkatraman & Begg 1996, Biometrika 83). Where the
    new model is no better, the interval reaches at least as far down as where both find the same bears
    (``score_difference``), and likewise up.
    """
    bears, others = pair.where(pair.bear), pair.where(~pair.bear)
    if not len(bears.old) or not len(others.old):
        return None
    of = cluster_numbers(bears.picture), cluster_numbers(others.picture)
    old, new = measure.of_scores(bears.old, others.old), measure.of_scores(bears.new, others.new)
    # The same seed draws the same pictures for both.
    before, after = (
        bootstrap(measure.of_draws, *scores, *of, rate, replicates, seed)
        for scores in ((bears.old, others.old), (bears.new, others.new))
    )
    low, high = (float(bound) for bound in np.quantile(after - before, [0.025, 0.975]))
    # A loss does not make a larger one less likely: no end is closer to 0 than where no bear tells the two apart.
    none = score_difference(0, 0, effective_n(of[0]))
    low, high = low if new > old else min(low, none[0]), high if new < old else max(high, none[1])
    p = swap_test(pair, measure.of_ranks, new - old, replicates, seed)
    return Difference(old, new, new - old, low, high, p, len(bears.old), int(of[0].max()) + 1)


def swap_test(
    pair: Pair,
    of_ranks: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seen: float,
    replicates: int,
    seed: int,
) -> float:
    """Return the two-sided p of a difference as large as ``seen``, were the two models exchangeable."""
    old, new, cluster = rankdata(pair.old), rankdata(pair.new), cluster_numbers(pair.picture)
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, replicates, CHUNK):
        count = min(CHUNK, replicates - start)
        swap = rng.integers(0, 2, (count, int(cluster.max()) + 1), dtype=np.int8).astype(bool)[:, cluster]
        first, second = np.where(swap, new, old), np.where(swap, old, new)
        hits += int((np.abs(of_ranks(second) - of_ranks(first)) >= abs(seen) - 1e-12).sum())
    return (hits + 1) / (replicates + 1)


def auc_difference(pair: Pair) -> Difference | None:
    """Compare the areas under the ROC curves, variance over pictures (Obuchowski 1997, paired as DeLong 1988)."""
    bears, others = pair.where(pair.bear), pair.where(~pair.bear)
    if not len(bears.old) or not len(others.old):
        return None
    old, new = placements(bears.old, others.old), placements(bears.new, others.new)
    value = float(new.mean() - old.mean())
    of = cluster_numbers(bears.picture), cluster_numbers(others.picture)
    by_other = placements(others.old, bears.old) - placements(others.new, bears.new)
    error = math.sqrt(
        clustered_variance(new - old - value, of[0]) + clustered_variance(by_other - by_other.mean(), of[1])
    )
    p = math.erfc(abs(value) / error / math.sqrt(2)) if error > 0 else 1.0
    return Difference(
        float(old.mean()),
        float(new.mean()),
        value,
        value - Z95 * error,
        value + Z95 * error,
        p,
        len(pair.old),
        int(of[0].max() + of[1].max()) + 2,
    )


def rate_difference(
    old: NDArray[np.bool_], new: NDArray[np.bool_], clusters: Sequence[object] | NDArray
) -> Difference | None:
    """Compare two shares of the same crops: of bears found, or of others taken for one. None of none.

    Test: exact, all sign flips of the pictures' differences; with one crop a picture it is McNemar's exact test.
    Interval: ``score_difference`` on counts that are scaled down to independent pictures (``effective_n``), as if crops
    of one picture always agreed: it has width where nothing differs, and one more loss never makes it end lower.
    """
    n = len(old)
    if not n:
        return None
    cluster = cluster_numbers(clusters)
    step = new.astype(int) - old.astype(int)
    worth = effective_n(cluster)
    low, high = score_difference(float((step > 0).sum()) * worth / n, float((step < 0).sum()) * worth / n, worth)
    sums = np.bincount(cluster, step).round().astype(int)
    return Difference(
        old=float(old.mean()),
        new=float(new.mean()),
        value=float(step.mean()),
        low=low,
        high=high,
        p=sign_flips(sums),
        n=n,
        pictures=int(cluster.max()) + 1,
    )


def score_difference(gained: float, lost: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Return the score interval of (gained - lost) / n of ``n`` pairs (Tango 1998, Statistics in Medicine 17).

    ``gained`` pairs have the new answer alone, ``lost`` the old alone; effective counts need not be whole. Where no
    pair differs it ends at z^2 / (n + z^2), 3.7 / n for many.
    """
    seen = (gained - lost) / n

    def away(delta: float) -> float:
        """Return the score statistic of the counts, were the difference ``delta``; it falls as delta grows."""
        linear = (2 * n - gained + lost) * delta - gained - lost
        root = math.sqrt(max(linear**2 + 8 * n * lost * delta * (1 - delta), 0.0))
        only_old = (root - linear) / (4 * n)  # its likeliest share then
        variance = n * (2 * only_old + delta * (1 - delta))
        gap = gained - lost - n * delta
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap) if gap else 0.0

    low = -1.0 if away(-1.0) <= z else brentq(lambda delta: away(delta) - z, -1.0, seen)
    high = 1.0 if away(1.0) >= -z else brentq(lambda delta: away(delta) + z, seen, 1.0)
    return low, high


def sign_flips(sums: NDArray[np.int64]) -> float:
    """Return the exact two-sided p of the sum of whole numbers, each as likely with the other sign.

    Of sums of one it is scipy's ``binomtest``.
    """
    sizes = np.abs(sums[sums != 0])
    if not len(sizes):
        return 1.0
    total = int(sizes.sum())
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for size in sizes:
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2  # never reaches the borders twice
    away = np.abs(np.arange(-total, total + 1)) >= abs(int(sums.sum()))
    return min(1.0, float(chances[away].sum()))


# Calibration: whether a bear probability of 0.8 is right eight times of ten, before and after the temperature.


BINS = 15  # as Guo et al. (2017) count them
RELIABILITY_REPLICATES, RELIABILITY_SEED = 400, 5
STEPS = 14  # bisections: to 1/16000 of the range


@dataclass(frozen=True)
class Reliability:
    """Reliability diagram and its expected calibration errors, 0 to 1."""

    n: int  # crops
    pictures: int
    plain: float  # ECE of the crops as counted: too high, the more so the fewer there are
    expected: float  # what ``plain`` would be on average, were every probability here right
    error: float  # ECE without what chance adds: the figure to judge by
    low: float  # its 95 % interval
    high: float
    said: tuple[float, ...]  # mean probability of each bin that holds crops
    was: tuple[float, ...]  # share of bears in it
    counts: tuple[int, ...]


def before_temperature(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Take a temperature back: softmax of the logits (N, L), from softmax of logits / ``temperature``."""
    logits = temperature * np.log(np.clip(np.asarray(probabilities, np.float64), 1e-12, 1))
    return np.asarray(softmax(logits, axis=1))


def reliability(
    scores: NDArray[np.floating], bears: NDArray[np.bool_], clusters: Sequence[object] | NDArray
) -> Reliability | None:
    """Measure the expected calibration error in 15 equal bins (Naeini 2015; Guo 2017). ``scores`` (N,); None of none.

    Counted on few crops it is biased upwards, for chance moves every bin off its probability (Kumar et al. 2019,
    NeurIPS 32; Roelofs et al. 2022, AISTATS). So ``error`` is the one at which models that are off as this one is show,
    on average, what was counted; 0 where a model without error would show as much. The interval holds the errors at
    which what was counted is no outlier (test inversion: Davison & Hinkley 1997, ch. 5.6), for models that are off in
    all bins as here, and for those that are off only where chance does not explain it. All by simulation at the same
    scores, crops of one picture answering to one draw, for they show the same animal.
    """
    n = len(scores)
    if not n:
        return None
    score, bear, cluster = np.asarray(scores, np.float64), np.asarray(bears, np.float64), cluster_numbers(clusters)
    place = np.minimum((score * BINS).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    held = counts > 0
    gaps = np.bincount(place, bear - score, BINS)
    plain = float(np.abs(gaps).sum() / n)
    shown, narrow = _simulators(score, place, cluster, gaps)
    expected = float(shown(0.0)[1].mean())

    def may_show(drawn: NDArray[np.float64]) -> bool:
        """Return True if what was counted is no outlier among larger ones."""
        return bool((drawn >= plain - 1e-12).mean() > 0.025)

    return Reliability(
        n=n,
        pictures=int(cluster.max()) + 1,
        plain=plain,
        expected=expected,
        error=_smallest_error(shown, lambda drawn: bool(drawn.mean() > plain)),
        low=min(_smallest_error(shown, may_show), _smallest_error(narrow, may_show)),
        high=_smallest_error(shown, lambda drawn: bool((drawn <= plain + 1e-12).mean() < 0.025)),
        said=tuple((np.bincount(place, score, BINS)[held] / counts[held]).tolist()),
        was=tuple((np.bincount(place, bear, BINS)[held] / counts[held]).tolist()),
        counts=tuple(counts[held].tolist()),
    )


Shown = Callable[[float], tuple[float, NDArray[np.float64]]]


def _simulators(
    score: NDArray, place: NDArray[np.int64], cluster: NDArray[np.int64], gaps: NDArray
) -> tuple[Shown, Shown]:
    """Make simulators of models with these scores: how far off (0 to 1) -> true calibration error, (R,) counted errors.

    Of the first a bin is off as it is here; of the second only by what chance does not add to its square (Kumar et al.
    2019), where there is such a bin. Where no bin is off here, all are, towards the middle.
    """
    n = len(score)
    order = np.argsort(place, kind="stable")
    score, place, cluster = score[order], place[order], cluster[order]
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    sizes = np.diff(np.append(starts, n))
    drawn = np.random.default_rng(RELIABILITY_SEED).random((RELIABILITY_REPLICATES, int(cluster.max()) + 1))

    def counted(right: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R, bins) bears less the sum of probabilities, crop by crop bears with chance ``right``."""
        # One replicate at a time, so that memory stays small.
        return np.array([np.add.reduceat((row[cluster] < right) - score, starts) for row in drawn])

    off_here = gaps[place[starts]] / sizes
    beyond = np.sqrt(np.maximum(off_here**2 - (counted(score) ** 2).mean(axis=0) / sizes**2, 0))
    towards_middle = np.where(np.add.reduceat(score, starts) / sizes < 0.5, 1.0, -1.0)
    wide = off_here if np.abs(off_here).max() > 1e-9 else towards_middle
    narrow = np.sign(off_here) * beyond if beyond.max() > 1e-9 else wide

    def simulator(pattern: NDArray[np.float64]) -> Shown:
        moved = np.repeat(pattern / np.abs(pattern).max(), sizes)

        def shown(off: float) -> tuple[float, NDArray[np.float64]]:
            right = np.clip(score + off * moved, 0, 1)
            true = float(np.abs(np.add.reduceat(right - score, starts)).sum() / n)
            return true, np.asarray(np.abs(counted(right)).sum(axis=1) / n, np.float64)

        return shown

    return simulator(wide), simulator(narrow)


def _smallest_error(shown: Shown, past: Callable[[NDArray[np.float64]], bool]) -> float:
    """Find the smallest true calibration error for which what is counted is ``past``; 0 where it is without one."""
    low, high = 0.0, 1.0
    if past(shown(low)[1]):
        return 0.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if past(shown(middle)[1]):
            high = middle
        else:
            low = middle
    return shown(high)[0]
