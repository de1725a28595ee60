"""Find labels that look wrong, worst first, by confident learning on out-of-fold probabilities.

Self-confidence and the noise count are cleanlab's (Northcutt, Jiang & Chuang 2021, "Confident Learning", JAIR 70).
"""

from __future__ import annotations

import io
import logging
import random
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from edge.detect.crops import cut
from edge.errors import CatalogError, OptionError, PictureError
from edge.files import replace_whole
from edge.pictures import read_picture
from edge.schema import WHOLE, BoxXYWH
from edge.schema import Picture as Image
from train.data.decisions import digest_of
from train.data.pictures import BEAR_ANY, LABELS, TRAINING_LABELS, Picture, is_bear
from train.learn.dataloaders import Track
from train.learn.inference import CONTEXT, answers
from train.learn.learner import allowed_labels
from train.learn.network import Backbone, BearNet

# What a network makes of each picture, kept in the run's folder so that it is computed once.


log = logging.getLogger(__name__)

CACHE = "embeddings.npz"  # in the run's folder; safe to delete
TINY = 16  # side of the grey miniatures that near-duplicates are compared by
BATCH = 64
VERSION = 1  # of the cache: another cut or another network's reading makes another


@dataclass(frozen=True)
class Embedded:
    """Pictures that could be read, and what the network makes of them; all arrays are in the same order."""

    pictures: tuple[Picture, ...]
    digests: tuple[str, ...]  # SHA-256 of the files
    features: NDArray[np.float32]  # (N, F) pooled features, and one column more: ImageNet's log-odds of a bear
    tiny: NDArray[np.uint8]  # (N, TINY, TINY) grey


@dataclass
class _Views:
    """The cache: view (digest and box) -> its row."""

    features: dict[str, NDArray[np.float16]]
    tiny: dict[str, NDArray[np.uint8]]


def viewed(picture: Picture) -> BoxXYWH:
    """Return the part of a picture that its label is judged by: the largest bear's box, else the whole."""
    return max(picture.boxes, key=lambda box: box[2] * box[3], default=WHOLE)


def embed(
    pictures: Iterable[Picture],
    net: BearNet,
    backbone: Backbone,
    size: int,
    track: Track,
    *,
    cache: Path | None = None,
    network: str = "",
) -> Embedded:
    """Compute every picture's features through ``net`` at ``size`` pixels; broken ones are left out with one warning.

    ``cache`` is a file to keep them in, valid for the network whose digest is ``network`` only.
    """
    views = _read(cache, network) if cache else _Views({}, {})
    rows, digests, broken, waiting = list[Picture](), list[str](), list[str](), list[tuple[str, Image, BoxXYWH]]()
    known = len(views.features)
    for picture in track(list(pictures), "looking at the pictures"):
        try:
            digest = digest_of(picture.file)
            key = _key(digest, viewed(picture))
            if key not in views.features:
                waiting.append((key, read_picture(picture.file), viewed(picture)))
        except (OSError, PictureError):
            broken.append(picture.file.name)
            continue
        rows.append(picture)
        digests.append(digest)
        if len(waiting) >= BATCH:
            _embed_waiting(waiting, net, backbone, size, views)
    _embed_waiting(waiting, net, backbone, size, views)
    if broken:
        log.warning("%d pictures are damaged or empty and are left out (%s …)", len(broken), ", ".join(broken[:3]))
    if cache and len(views.features) > known:
        _write(cache, network, views)
    keys = [_key(digest, viewed(row)) for digest, row in zip(digests, rows, strict=True)]
    width = net.head.in_features + 1
    return Embedded(
        tuple(rows),
        tuple(digests),
        np.array([views.features[key] for key in keys], np.float32).reshape(-1, width),
        np.array([views.tiny[key] for key in keys], np.uint8).reshape(-1, TINY, TINY),
    )


def _embed_waiting(
    waiting: list[tuple[str, Image, BoxXYWH]], net: BearNet, backbone: Backbone, size: int, views: _Views
) -> None:
    """Ask the network about the pictures that wait, and empty the list."""
    if not waiting:
        return
    crops = np.stack([cut(image, box, size, CONTEXT) for _, image, box in waiting])
    rows = []
    with torch.inference_mode():
        for pooled, raw in answers(net, backbone, crops):
            bear = net.bear_logit(raw)
            rows.append(torch.cat([pooled, bear[:, None].clamp(-50, 50)], dim=1).numpy())
    for (key, _, _), row, crop in zip(waiting, np.concatenate(rows), crops, strict=True):
        views.features[key] = row.astype(np.float16)
        grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
        views.tiny[key] = np.asarray(cv2.resize(grey, (TINY, TINY), interpolation=cv2.INTER_AREA), np.uint8)
    waiting.clear()


def _key(digest: str, box: BoxXYWH) -> str:
    return digest if box == WHOLE else f"{digest} {' '.join(f'{side:.4f}' for side in box)}"


def _read(cache: Path, network: str) -> _Views:
    """Read the cache, empty where it is not there, damaged, or of another network."""
    try:
        with np.load(cache, allow_pickle=False) as held:
            if str(held["network"]) != f"{VERSION} {network}":
                return _Views({}, {})
            keys: Sequence[str] = held["keys"].tolist()
            features, tiny = held["features"], held["tiny"]
            return _Views(dict(zip(keys, features, strict=True)), dict(zip(keys, tiny, strict=True)))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return _Views({}, {})


def _write(cache: Path, network: str, views: _Views) -> None:
    data = io.BytesIO()
    keys = list(views.features)
    np.savez(
        data,
        network=np.array(f"{VERSION} {network}"),
        keys=np.array(keys),
        features=np.stack([views.features[key] for key in keys]),
        tiny=np.stack([views.tiny[key] for key in keys]),
    )
    try:
        replace_whole(cache, data.getvalue())
    except OptionError as error:  # a run on a read-only disk: slower next time, no more
        log.warning("%s", error)


# Pictures cut into folds of whole sources, else of whole groups. Needs no torch.


FOLDS = 5


def cut_into_folds(pictures: Sequence[Picture], seed: int, count: int = FOLDS) -> tuple[NDArray[np.intp], str]:
    """Cut into folds: each picture's, (N,) 0 to ``count`` - 1, and what was kept whole, "source" or "unit" (a group).

    Whatever fold is held out, the rest has bears and others. Raises CatalogError where no such folds exist.
    """
    for by in ("source", "unit"):
        names = [str(getattr(picture, by)) for picture in pictures]
        if len(set(names)) >= count:
            folds = _deal(pictures, names, seed, count)
            if _each_can_learn(pictures, folds, count):
                return folds, by
    raise CatalogError(
        f"too few groups to judge labels by pictures of others: it takes {count} sources, cameras or bursts or more, "
        "bears and others in at least two of them; put each camera's pictures into a sub-folder of its own"
    )


def _deal(pictures: Sequence[Picture], names: Sequence[str], seed: int, count: int) -> NDArray[np.intp]:
    """Whole units, largest first, each to the fold that then is the least full of what the unit brings."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(names):
        members[name].append(number)
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: -len(members[name]))
    bears = np.array([is_bear(picture.label) for picture in pictures])
    total = np.maximum([(~bears).sum(), bears.sum()], 1)
    filled = np.zeros((count, 2))
    folds = np.zeros(len(pictures), np.intp)
    for name in order:
        brings = np.array([(~bears[members[name]]).sum(), bears[members[name]].sum()])
        after = (filled + brings) / total  # (folds, 2)
        fold = int(np.argmin(np.where(brings > 0, after, 0).max(axis=1) + 1e-3 * after.sum(axis=1)))
        filled[fold] += brings
        folds[members[name]] = fold
    return folds


def _each_can_learn(pictures: Sequence[Picture], folds: NDArray[np.intp], count: int) -> bool:
    bears = np.array([is_bear(picture.label) for picture in pictures])
    return all(bears[folds != fold].any() and (~bears[folds != fold]).any() for fold in range(count))


# Probabilities out of fold: a linear head on the embeddings that never saw the source it judges.


DECAY = 1e-2  # L2 penalty on the weights, of standardised features
STEPS = 60


def out_of_fold(
    features: NDArray[np.float32],
    labels: Sequence[str],
    folds: NDArray[np.intp],
    trusted: NDArray[np.bool_] | None = None,
    decay: float = DECAY,
) -> NDArray[np.float64]:
    """Judge pictures, each by a head fitted without its fold: probabilities (N, len(LABELS)).

    ``features`` (N, F), ``labels`` among TRAINING_LABELS, ``folds`` (N,); only ``trusted`` (N,) pictures are
    learned from, by default all.
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
            weights, bias = fit(known, torch.from_numpy(targets[inside]), decay)
            result[held] = torch.softmax((asked @ weights + bias).double(), dim=1).numpy()
    return result


def fit(features: torch.Tensor, targets: torch.Tensor, decay: float) -> tuple[torch.Tensor, torch.Tensor]:
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
        total = -(weight * right).sum() + decay * weights.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    return weights.detach(), bias.detach()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: so small a problem is done before threads have found each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def right_probability(probabilities: NDArray[np.float64], labels: Sequence[str]) -> NDArray[np.float64]:
    """Return the probability of the given label, (N,), of all alarm labels together for "bear"."""
    allowed = allowed_labels().numpy()[[TRAINING_LABELS.index(label) for label in labels]]
    right: NDArray[np.float64] = np.clip((probabilities * allowed).sum(axis=1), 1e-9, 1.0)
    return right


# Nearly the same picture under two labels: one of them is wrong, or both.


LIKE = 0.90  # cosine of two embeddings above which two pictures are compared further
SAME = 0.90  # correlation of their grey miniatures above which they are nearly the same
CHUNK = 1024


@dataclass(frozen=True)
class NearDuplicate:
    """Two pictures, by number, and how alike they are."""

    first: int
    second: int
    cosine: float  # of the embeddings
    correlation: float  # of the grey miniatures, mirrored where that is more alike


def contradict(one: str, other: str) -> bool:
    """Return True if two labels cannot both be right: "bear" agrees with every bear."""
    return one != other and not (is_bear(one) and is_bear(other) and BEAR_ANY in (one, other))


def near_duplicates(embedded: Embedded) -> list[NearDuplicate]:
    """Find pairs of near-duplicates whose labels contradict, the most alike first."""
    features = embedded.features[:, :-1]  # without the log-odds of a bear
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    plain, mirrored = _normalised(embedded.tiny), _normalised(embedded.tiny[:, :, ::-1])
    labels = [picture.label for picture in embedded.pictures]
    found = []
    for start in range(0, len(unit), CHUNK):
        likeness = unit[start : start + CHUNK] @ unit.T
        for row, second in zip(*np.nonzero(likeness >= LIKE), strict=True):
            first = start + int(row)
            if first >= second or not contradict(labels[first], labels[second]):
                continue
            correlation = float(max(plain[first] @ plain[second], plain[first] @ mirrored[second]))
            if correlation >= SAME:
                found.append(NearDuplicate(first, int(second), float(likeness[row, second]), correlation))
    return sorted(found, key=lambda twin: -twin.correlation)


def _normalised(tiny: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Give rows mean 0 and length 1, (N, TINY * TINY); a picture of one grey has none and is like no other."""
    rows = tiny.reshape(-1, TINY * TINY).astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    result: NDArray[np.float64] = np.where(length > TINY, rows / np.maximum(length, 1e-9), 0)
    return result


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
class OutOfFold:
    """Out-of-fold probabilities of pictures, and what cleanlab says of their labels."""

    probabilities: NDArray[np.float64]  # (N, len(LABELS))
    quality: NDArray[np.float64]  # (N,) self-confidence in "bear, toy or none", 0 to 1
    wrong: NDArray[np.bool_]  # (N,) counted among the wrong labels in that question
    kept_whole: str  # "source" or "unit": what no fold cuts


def judge(features: NDArray[np.float32], pictures: Sequence[Picture], seed: int) -> OutOfFold:
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
    return OutOfFold(probabilities, quality, wrong, kept_whole)


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
    """Find the ``top`` pictures whose labels look most wrong: bears inside no_bear first, then the others.

    Only pictures in ``shown`` (N,) are listed, by default all: those that were decided stay learned from.
    """
    pictures = embedded.pictures
    judged = judge(embedded.features, pictures, seed)
    shown = np.ones(len(pictures), bool) if shown is None else shown
    reasons: dict[int, list[str]] = {}
    flagged: set[int] = set(np.flatnonzero(judged.wrong).tolist())
    pairs = near_duplicates(embedded)
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


def _by_alarm(judged: OutOfFold, pictures: Sequence[Picture]) -> list[int]:
    """Rank pictures by how unlikely "bear" or "no bear" is as labelled: that is what makes or misses an alarm."""
    bear = judged.probabilities[:, :3].sum(axis=1)
    right = np.where([is_bear(picture.label) for picture in pictures], bear, 1 - bear)
    order: list[int] = np.argsort(right, kind="stable").tolist()
    return order


def _reason(number: int, judged: OutOfFold, pictures: Sequence[Picture]) -> str:
    """Name what is in doubt about a picture in the question "bear, toy or none"."""
    label = pictures[number].label
    bear, toy, none = (float(judged.probabilities[number, part].sum()) for part in (slice(0, 3), 3, 4))
    likely = int(np.argmax((bear, toy, none)))
    if likely == _group(label) and not judged.wrong[number]:
        return UNSURE
    if is_bear(label):
        return NO_BEAR_HERE
    return TOY if bear < (none if label == "teddy_bear" else toy) else BEAR_INSIDE


def _species(judged: OutOfFold, pictures: Sequence[Picture]) -> list[int]:
    """Pictures of a named species that look like another one, worst first."""
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
    twin: NearDuplicate | None,
    own: float,
    embedded: Embedded,
    judged: OutOfFold,
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
