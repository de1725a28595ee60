"""Find labels that are probably wrong, worst first, by confident learning on out-of-fold probabilities.

Self-confidence and the noise count are cleanlab's (Northcutt, Jiang & Chuang 2021, "Confident Learning", JAIR 70).
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from edge.errors import CatalogError
from train.clean.embeddings import Embedded, NearDuplicate, near_duplicates
from train.data.pictures import BEAR_ANY, LABELS, TRAINING_LABELS, Picture, is_bear
from train.learn.learner import allowed_labels

log = logging.getLogger(__name__)

FOLDS = 5


def cut_into_folds(pictures: Sequence[Picture], seed: int) -> tuple[NDArray[np.intp], str]:
    """Return each picture's fold, (N,) 0 to ``FOLDS`` - 1, and what folds keep whole: "source" or "unit" (a group).

    Without any one fold, the rest has bears and others. Raises CatalogError if no such folds exist.
    """
    for by in ("source", "unit"):
        names = [str(getattr(picture, by)) for picture in pictures]
        if len(set(names)) >= FOLDS:
            folds = _deal(pictures, names, seed)
            if _each_can_learn(pictures, folds):
                return folds, by
    raise CatalogError(
        f"too few groups to check labels: it takes at least {FOLDS} sources, cameras or bursts, with bears and others "
        "in at least two of them; put each camera's pictures into a sub-folder of its own"
    )


def _deal(pictures: Sequence[Picture], names: Sequence[str], seed: int) -> NDArray[np.intp]:
    """Deal whole units, largest first, each to the fold that is the least full of the unit's kinds."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(names):
        members[name].append(number)
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: -len(members[name]))
    bears = np.array([is_bear(picture.label) for picture in pictures])
    total = np.maximum([(~bears).sum(), bears.sum()], 1)
    filled = np.zeros((FOLDS, 2))
    folds = np.zeros(len(pictures), np.intp)
    for name in order:
        brings = np.array([(~bears[members[name]]).sum(), bears[members[name]].sum()])
        after = (filled + brings) / total  # (folds, 2)
        fold = int(np.argmin(np.where(brings > 0, after, 0).max(axis=1) + 1e-3 * after.sum(axis=1)))
        filled[fold] += brings
        folds[members[name]] = fold
    return folds


def _each_can_learn(pictures: Sequence[Picture], folds: NDArray[np.intp]) -> bool:
    bears = np.array([is_bear(picture.label) for picture in pictures])
    return all(bears[folds != fold].any() and (~bears[folds != fold]).any() for fold in range(FOLDS))


DECAY = 1e-2  # L2 penalty on the weights, of standardised features
STEPS = 60


def out_of_fold(
    features: NDArray[np.float32],
    labels: Sequence[str],
    folds: NDArray[np.intp],
    trusted: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Return probabilities (N, len(LABELS)), each by a linear head that was fitted without the picture's fold.

    ``features`` (N, F), ``labels`` among TRAINING_LABELS, ``folds`` (N,). Heads are fitted to ``trusted`` (N,)
    pictures, by default all.
    """
    learn_from = np.ones(len(labels), bool) if trusted is None else trusted
    result = np.zeros((len(labels), len(LABELS)))
    targets = np.array([TRAINING_LABELS.index(label) for label in labels])
    with _one_thread():
        for fold in np.unique(folds):
            inside, held = (folds != fold) & learn_from, folds == fold
            mean, std = features[inside].mean(axis=0), features[inside].std(axis=0) + 1e-3
            known = torch.from_numpy((features[inside] - mean) / std)
            asked = torch.from_numpy((features[held] - mean) / std)
            weights, bias = fit(known, torch.from_numpy(targets[inside]))
            result[held] = torch.softmax((asked @ weights + bias).double(), dim=1).numpy()
    return result


def fit(features: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit weights (F, L) and bias (L,) of a multinomial logistic regression by L-BFGS.

    ``features`` (N, F) standardised, ``targets`` (N,) into TRAINING_LABELS. A picture known only as "bear" allows
    every alarm label: its loss is -log of their summed probability. Bears and others count as much together,
    whatever their number.
    """
    count = len(LABELS)
    allowed = allowed_labels()[targets]  # (N, L)
    bears = allowed[:, : LABELS.index("teddy_bear")].any(dim=1)
    weight = torch.where(bears, 0.5 / bears.sum().clamp(min=1), 0.5 / (~bears).sum().clamp(min=1))
    weights = torch.zeros(features.shape[1], count, requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        log_p = F.log_softmax(features @ weights + bias, dim=1)
        right = torch.logsumexp(log_p.masked_fill(~allowed, -1e4), dim=1)
        total = -(weight * right).sum() + DECAY * weights.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    return weights.detach(), bias.detach()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: for such a small problem more threads cost time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def right_probability(probabilities: NDArray[np.float64], labels: Sequence[str]) -> NDArray[np.float64]:
    """Return the probability (N,) of each given label; for "bear" of all alarm labels together."""
    allowed = allowed_labels().numpy()[[TRAINING_LABELS.index(label) for label in labels]]
    right: NDArray[np.float64] = np.clip((probabilities * allowed).sum(axis=1), 1e-9, 1.0)
    return right


BEAR_INSIDE, NO_BEAR_HERE, TOY, SPECIES, NEAR_DUPLICATE = (
    "bear inside",
    "no bear here",
    "toy or not",
    "species",
    "near-duplicate",
)
UNSURE = "least sure"  # its label is probably right, but less sure than others
REASONS = (BEAR_INSIDE, NO_BEAR_HERE, NEAR_DUPLICATE, TOY, SPECIES, UNSURE)  # in the order of the page
GROUPS = ("bear", "teddy_bear", "no_bear")  # the classes that matter for an alarm
MINOR_SHARE = 0.1  # share of the page for each of TOY and SPECIES, which change no alarm
NEAR_DUPLICATE_SHARE = 0.2
ROUNDS = 2  # the second is fitted without the first's findings


@dataclass(frozen=True)
class Suspect:
    """One picture whose label may be wrong, and the reasons."""

    picture: Picture
    sha256: str
    why: tuple[str, ...]  # among REASONS
    flagged: bool  # counted among the wrong labels, not only among the least sure
    suggested: str  # the probable label; the present one if only a near duplicate disagrees
    own: float  # probability of the present label
    bear: float  # probability of a bear
    duplicate: Picture | None = None  # a near duplicate with another label


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold probabilities of pictures, and cleanlab's findings about their labels."""

    probabilities: NDArray[np.float64]  # (N, len(LABELS))
    quality: NDArray[np.float64]  # (N,) self-confidence in "bear, toy or none", 0 to 1
    wrong: NDArray[np.bool_]  # (N,) counted among the wrong labels of these classes
    kept_whole: str  # "source" or "unit"


def judge(features: NDArray[np.float32], pictures: Sequence[Picture], seed: int) -> OutOfFold:
    """Return probabilities and label quality of pictures by heads that were fitted without their source.

    The second round is fitted without the first round's probably wrong labels. Raises CatalogError if there are too few
    groups for folds.
    """
    folds, kept_whole = cut_into_folds(pictures, seed)
    labels = [picture.label for picture in pictures]
    groups = np.array([_group(label) for label in labels])
    trusted: NDArray[np.bool_] | None = None
    for _ in range(ROUNDS):
        probabilities = out_of_fold(features, labels, folds, trusted)
        coarse = np.stack([probabilities[:, :3].sum(axis=1), probabilities[:, 3], probabilities[:, 4]], axis=1)
        quality, wrong = confident(groups, coarse)
        trusted = _usable(~wrong, groups, folds)
    return OutOfFold(probabilities, quality, wrong, kept_whole)


def confident(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64], wrong_by: str = "prune_by_noise_rate"
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return cleanlab's self-confidence (N,) and wrong labels (N,), among the classes that occur."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    there = np.unique(labels)
    rows = np.clip(probabilities[:, there], 1e-9, None)
    rows /= rows.sum(axis=1, keepdims=True)
    given = np.searchsorted(there, labels)
    if len(there) < 2:
        return np.ones(len(labels)), np.zeros(len(labels), bool)
    quality = get_label_quality_scores(given, rows, method="self_confidence")
    wrong = find_label_issues(given, rows, filter_by=wrong_by, n_jobs=1)
    return np.asarray(quality, np.float64), np.asarray(wrong, bool)


def find_suspects(embedded: Embedded, seed: int, top: int, shown: NDArray[np.bool_] | None = None) -> list[Suspect]:
    """Find the ``top`` pictures whose labels are most probably wrong: bears inside no_bear first.

    Only pictures in ``shown`` (N,) are listed, by default all; decided ones are still fitted to.
    """
    pictures = embedded.pictures
    judged = judge(embedded.features, pictures, seed)
    shown = np.ones(len(pictures), bool) if shown is None else shown
    reasons: dict[int, list[str]] = {}
    flagged: set[int] = set(np.flatnonzero(judged.wrong).tolist())
    pairs = near_duplicates(embedded)
    others = {pair.first: pair for pair in pairs} | {pair.second: pair for pair in reversed(pairs)}
    for number in _first(sorted(others, key=lambda n: judged.quality[n]), shown, round(NEAR_DUPLICATE_SHARE * top)):
        reasons.setdefault(number, []).append(NEAR_DUPLICATE)
    minor = _species(judged, pictures)
    for number in _first(minor, shown, round(MINOR_SHARE * top)):
        reasons.setdefault(number, []).append(SPECIES)
    toys = [n for n in np.argsort(judged.quality).tolist() if judged.wrong[n] and _reason(n, judged, pictures) == TOY]
    for number in _first(toys, shown, round(MINOR_SHARE * top)):
        reasons.setdefault(number, []).append(TOY)
    for number in _by_alarm(judged, pictures):
        if len(reasons) >= top:
            break
        if shown[number] and number not in reasons:
            reasons[number] = []
        if number in reasons:
            reasons[number].insert(0, _reason(number, judged, pictures))
    own = right_probability(judged.probabilities, [picture.label for picture in pictures])
    suspects = [
        _suspect(n, tuple(dict.fromkeys(why)), n in flagged, others.get(n), float(own[n]), embedded, judged)
        for n, why in reasons.items()
    ]
    return sorted(suspects, key=_rank)[:top]


def _rank(suspect: Suspect) -> tuple[int, float]:
    """Bears inside no_bear first, the surest bear first; then by reason, the least likely label first."""
    place = min(REASONS.index(why) for why in suspect.why)
    return place, -suspect.bear if place == 0 else suspect.own


def _first(numbers: Sequence[int], shown: NDArray[np.bool_], most: int) -> list[int]:
    return [number for number in numbers if shown[number]][:most]


def _group(label: str) -> int:
    return 0 if is_bear(label) else GROUPS.index(label)


def _by_alarm(judged: OutOfFold, pictures: Sequence[Picture]) -> list[int]:
    """Rank pictures by the probability of "bear" or "no bear" as labelled, the lowest first: it decides an alarm."""
    bear = judged.probabilities[:, :3].sum(axis=1)
    right = np.where([is_bear(picture.label) for picture in pictures], bear, 1 - bear)
    order: list[int] = np.argsort(right, kind="stable").tolist()
    return order


def _reason(number: int, judged: OutOfFold, pictures: Sequence[Picture]) -> str:
    """Return the reason for doubt about a picture, among the classes bear, toy and none."""
    label = pictures[number].label
    bear, toy, none = (float(judged.probabilities[number, part].sum()) for part in (slice(0, 3), 3, 4))
    likely = int(np.argmax((bear, toy, none)))
    if likely == _group(label) and not judged.wrong[number]:
        return UNSURE
    if is_bear(label):
        return NO_BEAR_HERE
    return TOY if bear < (none if label == "teddy_bear" else toy) else BEAR_INSIDE


def _species(judged: OutOfFold, pictures: Sequence[Picture]) -> list[int]:
    """Return pictures of a species that look like another one, worst first."""
    numbers = [n for n, picture in enumerate(pictures) if is_bear(picture.label) and picture.label != BEAR_ANY]
    if not numbers:
        return []
    labels = np.array([LABELS.index(pictures[n].label) for n in numbers])
    quality, wrong = confident(labels, judged.probabilities[numbers][:, :3], "predicted_neq_given")
    return [numbers[place] for place in np.argsort(quality).tolist() if wrong[place]]


def _suspect(
    number: int,
    why: tuple[str, ...],
    flagged: bool,
    duplicate: NearDuplicate | None,
    own: float,
    embedded: Embedded,
    judged: OutOfFold,
) -> Suspect:
    picture = embedded.pictures[number]
    row = judged.probabilities[number]
    suggested = LABELS[int(row.argmax())] if set(why) - {NEAR_DUPLICATE} else picture.label
    if picture.label == BEAR_ANY and is_bear(suggested):
        suggested = BEAR_ANY
    other = embedded.pictures[duplicate.second if duplicate.first == number else duplicate.first] if duplicate else None
    return Suspect(
        picture=picture,
        sha256=embedded.digests[number],
        why=why,
        flagged=flagged,
        suggested=suggested,
        own=own,
        bear=float(row[:3].sum()),
        duplicate=other,
    )


def _usable(trusted: NDArray[np.bool_], groups: NDArray[np.intp], folds: NDArray[np.intp]) -> NDArray[np.bool_] | None:
    """Return ``trusted``, or None if a fold's rest would lose all bears or all others."""
    for fold in np.unique(folds):
        left = groups[trusted & (folds != fold)]
        if not (left == 0).any() or not (left > 0).any():
            return None
    return trusted
