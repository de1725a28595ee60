"""Which labels look wrong, worst first, by confident learning on out-of-fold probabilities.

Self-confidence and the noise count are cleanlab's (Northcutt, Jiang & Chuang 2021, "Confident Learning", JAIR 70).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.clean.embeddings import Embedded
from train.clean.folds import cut_into_folds
from train.clean.head import out_of_fold, right_probability
from train.clean.twins import Twin, twins
from train.data.pictures import BEAR_ANY, LABELS, Picture, is_bear

BEAR_INSIDE, NO_BEAR_HERE, TOY, SPECIES, TWIN = "bear inside", "no bear here", "toy or not", "species", "near-duplicate"
UNSURE = "least sure"  # looks as it is labelled, only less than the rest does
REASONS = (BEAR_INSIDE, NO_BEAR_HERE, TWIN, TOY, SPECIES, UNSURE)  # the order in which they are shown
GROUPS = ("bear", "teddy_bear", "no_bear")  # what an alarm has to tell apart
MINOR_SHARE = 0.1  # of what is shown, for each of TOY and SPECIES: neither makes or misses an alarm
TWIN_SHARE = 0.2
ROUNDS = 2  # the second learns without what the first found


@dataclass(frozen=True)
class Suspect:
    """One picture whose label may be wrong, and what speaks for that."""

    picture: Picture
    sha256: str
    why: tuple[str, ...]  # among REASONS
    flagged: bool  # counted among the wrong labels, not only the least sure of the rest
    suggested: str  # the label that looks right; the present one where only a twin disagrees
    own: float  # probability of the present label
    bear: float  # probability of a bear
    loss: float  # -log of ``own``, nats
    twin: Picture | None = None  # nearly the same picture under another label


@dataclass(frozen=True)
class Judged:
    """Out-of-fold probabilities of pictures, and what cleanlab says of their labels."""

    probabilities: NDArray[np.float64]  # (N, len(LABELS))
    quality: NDArray[np.float64]  # (N,) self-confidence in "bear, toy or none", 0 to 1
    wrong: NDArray[np.bool_]  # (N,) counted among the wrong labels in that question
    kept_whole: str  # "source" or "unit": what no fold cuts


def judge(features: NDArray[np.float32], pictures: Sequence[Picture], seed: int) -> Judged:
    """Probabilities and label quality of pictures from heads that never saw their source.

    The first round's likely wrong labels are not learned from in the second. Raises CatalogError where the
    pictures cannot be cut into folds.
    """
    folds, kept_whole = cut_into_folds(pictures, seed)
    labels = [picture.label for picture in pictures]
    groups = np.array([_group(label) for label in labels])
    trusted: NDArray[np.bool_] | None = None
    for _ in range(ROUNDS):
        probabilities = out_of_fold(features, labels, folds, trusted)
        coarse = np.stack([probabilities[:, :3].sum(axis=1), probabilities[:, 3], probabilities[:, 4]], axis=1)
        quality, wrong = confident(groups, coarse)
        trusted = _still_learnable(~wrong, groups, folds)
    return Judged(probabilities, quality, wrong, kept_whole)


def confident(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64], wrong_by: str = "prune_by_noise_rate"
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """cleanlab's self-confidence (N,) and its estimate of which labels (N,) are wrong, among the classes there are."""
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
    """The ``top`` pictures whose labels look most wrong: bears inside no_bear first, then the others.

    Only pictures in ``shown`` (N,) are listed, by default all: those that were decided stay learned from.
    """
    pictures = embedded.pictures
    judged = judge(embedded.features, pictures, seed)
    shown = np.ones(len(pictures), bool) if shown is None else shown
    reasons: dict[int, list[str]] = {}
    flagged: set[int] = set(np.flatnonzero(judged.wrong).tolist())
    pairs = twins(embedded)
    others = {twin.first: twin for twin in pairs} | {twin.second: twin for twin in reversed(pairs)}
    for number in _first(sorted(others, key=lambda n: judged.quality[n]), shown, round(TWIN_SHARE * top)):
        reasons.setdefault(number, []).append(TWIN)
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


def _by_alarm(judged: Judged, pictures: Sequence[Picture]) -> list[int]:
    """All pictures by how unlikely "bear" or "no bear" is as labelled: that is what makes or misses an alarm."""
    bear = judged.probabilities[:, :3].sum(axis=1)
    right = np.where([is_bear(picture.label) for picture in pictures], bear, 1 - bear)
    order: list[int] = np.argsort(right, kind="stable").tolist()
    return order


def _reason(number: int, judged: Judged, pictures: Sequence[Picture]) -> str:
    """What is in doubt about a picture in the question "bear, toy or none"."""
    label = pictures[number].label
    bear, toy, none = (float(judged.probabilities[number, part].sum()) for part in (slice(0, 3), 3, 4))
    likely = int(np.argmax((bear, toy, none)))
    if likely == _group(label) and not judged.wrong[number]:
        return UNSURE
    if is_bear(label):
        return NO_BEAR_HERE
    return TOY if bear < (none if label == "teddy_bear" else toy) else BEAR_INSIDE


def _species(judged: Judged, pictures: Sequence[Picture]) -> list[int]:
    """Pictures of a named species that look like another one, worst first."""
    numbers = [n for n, picture in enumerate(pictures) if is_bear(picture.label) and picture.label != BEAR_ANY]
    if not numbers:
        return []
    labels = np.array([LABELS.index(pictures[n].label) for n in numbers])
    quality, wrong = confident(labels, judged.probabilities[numbers][:, :3], "predicted_neq_given")
    return [numbers[place] for place in np.argsort(quality).tolist() if wrong[place]]


def _suspect(
    number: int, why: tuple[str, ...], flagged: bool, twin: Twin | None, own: float, embedded: Embedded, judged: Judged
) -> Suspect:
    picture = embedded.pictures[number]
    row = judged.probabilities[number]
    suggested = LABELS[int(row.argmax())] if set(why) - {TWIN} else picture.label
    if picture.label == BEAR_ANY and is_bear(suggested):
        suggested = BEAR_ANY
    other = embedded.pictures[twin.second if twin.first == number else twin.first] if twin else None
    return Suspect(
        picture=picture,
        sha256=embedded.digests[number],
        why=why,
        flagged=flagged,
        suggested=suggested,
        own=own,
        bear=float(row[:3].sum()),
        loss=float(-np.log(own)),
        twin=other,
    )


def _still_learnable(
    trusted: NDArray[np.bool_], groups: NDArray[np.intp], folds: NDArray[np.intp]
) -> NDArray[np.bool_] | None:
    """``trusted``, unless a fold would be left with bears or others alone to learn from."""
    for fold in np.unique(folds):
        left = groups[trusted & (folds != fold)]
        if not (left == 0).any() or not (left > 0).any():
            return None
    return trusted
