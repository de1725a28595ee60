"""Which labels look wrong: folds of whole sources, a head that never saw them, twins, the order of the page."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastai")
pytest.importorskip("cleanlab")
pytest.importorskip("hypothesis")
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import CatalogError
from train.clean.embeddings import THUMBNAIL_PX, Embedded, contradict, near_duplicates
from train.clean.suspects import (
    BEAR_INSIDE,
    FOLDS,
    NEAR_DUPLICATE,
    NO_BEAR_HERE,
    SPECIES,
    cut_into_folds,
    find_suspects,
    fit,
    judge,
    out_of_fold,
    right_probability,
)
from train.data.pictures import BEAR_ANY, LABELS, TRAINING_LABELS, Picture, is_bear
from train.learn.learner import allowed_labels

KINDS = ("brown_bear", "black_bear", "teddy_bear", "no_bear", "no_bear", "no_bear")
SOURCES = 8


def world(seed: int = 0, count: int = 480) -> tuple[list[Picture], np.ndarray]:
    """Pictures of eight sources with features that tell the labels well, each source with a look of its own."""
    rng = np.random.default_rng(seed)
    centres = dict(zip(dict.fromkeys(KINDS), rng.normal(0, 1.3, (4, 24)), strict=True))
    looks = rng.normal(0, 0.5, (SOURCES, 24))
    pictures, features = [], []
    for n in range(count):
        label, source = KINDS[n % len(KINDS)], int(rng.integers(SOURCES))
        pictures.append(Picture(Path(f"{n}.jpg"), label, f"source {source}", ""))
        features.append(centres[label] + looks[source] + rng.normal(0, 0.6, 24))
    return pictures, np.array(features, np.float32)


def embedded(pictures: list[Picture], features: np.ndarray, tiny: np.ndarray | None = None) -> Embedded:
    """Return what ``embed`` would have made of them; miniatures of noise are like no other."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (len(pictures), THUMBNAIL_PX, THUMBNAIL_PX)).astype(np.uint8)
    wide = np.concatenate([features, np.zeros((len(features), 1), np.float32)], axis=1)
    digests = tuple(f"{n:064x}" for n in range(len(pictures)))
    return Embedded(tuple(pictures), digests, wide, noise if tiny is None else tiny)


def flip(pictures: list[Picture], share: float = 0.05) -> tuple[list[Picture], set[Path]]:
    """Every so many labels flipped across bear / no bear."""
    chosen = range(3, len(pictures), round(1 / share))
    rows = list(pictures)
    for n in chosen:
        rows[n] = replace(rows[n], label="no_bear" if is_bear(rows[n].label) else "brown_bear")
    return rows, {rows[n].file for n in chosen}


def test_flipped_labels_are_shown_first() -> None:
    pictures, features = world()
    rows, flipped = flip(pictures)
    shown = find_suspects(embedded(rows, features), seed=7, top=48)
    assert len(shown) == 48
    assert len(flipped & {suspect.picture.file for suspect in shown}) >= 0.95 * len(flipped)
    places = [min(suspect.why.index(why) for why in suspect.why) for suspect in shown]
    inside = [suspect for suspect in shown if BEAR_INSIDE in suspect.why]
    assert shown[: len(inside)] == inside, "bears inside no_bear come first"
    assert [s.bear for s in inside] == sorted((s.bear for s in inside), reverse=True)
    assert places
    for suspect in shown:
        if suspect.picture.file in flipped and suspect.flagged:
            assert is_bear(suspect.suggested) != is_bear(suspect.picture.label)
            assert (BEAR_INSIDE in suspect.why) != (NO_BEAR_HERE in suspect.why)


def test_what_was_decided_is_learned_from_and_not_shown() -> None:
    pictures, features = world()
    rows, flipped = flip(pictures)
    open_ = np.array([picture.file not in flipped for picture in rows])
    shown = find_suspects(embedded(rows, features), seed=7, top=48, shown=open_)
    assert not flipped & {suspect.picture.file for suspect in shown}
    assert find_suspects(embedded(rows, features), seed=7, top=48, shown=np.zeros(len(rows), bool)) == []


def test_a_wrong_species_is_found_and_bear_any_is_never_wrong_by_species() -> None:
    pictures, features = world()
    rows = [
        replace(picture, label=BEAR_ANY) if picture.label == "black_bear" and n % 5 == 0 else picture
        for n, picture in enumerate(pictures)
    ]
    wrong = [n for n, picture in enumerate(rows) if picture.label == "brown_bear"][:4]
    for n in wrong:
        rows[n] = replace(rows[n], label="black_bear")
    shown = find_suspects(embedded(rows, features), seed=7, top=100)
    species = {suspect.picture.file: suspect for suspect in shown if SPECIES in suspect.why}
    found = {rows[n].file for n in wrong} & set(species)
    assert len(found) >= 3
    assert {species[file].suggested for file in found} == {"brown_bear"}
    assert BEAR_ANY not in {suspect.picture.label for suspect in species.values()}


def test_a_picture_is_judged_by_a_head_that_never_saw_its_source() -> None:
    pictures, features = world()
    folds, whole = cut_into_folds(pictures, 7)
    assert whole == "source"
    labels = [picture.label for picture in pictures]
    before = out_of_fold(features, labels, folds)
    source = pictures[0].source
    for n, picture in enumerate(pictures):  # nonsense for one source: nobody else's fold may be asked about it
        if picture.source == source:
            labels[n] = "no_bear" if is_bear(labels[n]) else "polar_bear"
    after = out_of_fold(features, labels, folds)
    held = folds == folds[0]
    np.testing.assert_array_equal(before[held], after[held])
    assert np.abs(before[~held] - after[~held]).max() > 0.01


def test_folds_fall_back_to_groups_and_name_what_is_missing() -> None:
    pictures, _ = world()
    one = [replace(picture, source="mine", group=picture.source) for picture in pictures]
    folds, whole = cut_into_folds(one, 7)
    assert whole == "unit"
    assert len({(picture.unit, fold) for picture, fold in zip(one, folds, strict=True)}) == SOURCES
    for bad in (
        [replace(picture, source="mine", group="") for picture in pictures],
        [replace(picture, label="no_bear") for picture in pictures],
        [replace(picture, label="brown_bear" if picture.source == "source 1" else "no_bear") for picture in pictures],
    ):
        with pytest.raises(CatalogError, match="too few groups to check labels"):
            cut_into_folds(bad, 7)


ROWS = st.lists(st.tuples(st.sampled_from(TRAINING_LABELS), st.integers(0, 9), st.integers(0, 3)), max_size=60)


@given(ROWS, st.integers(0, 5))
def test_no_fold_ever_cuts_a_unit(rows: list[tuple[str, int, int]], seed: int) -> None:
    pictures = [Picture(Path(f"{n}.jpg"), label, f"s{s}", f"g{g}") for n, (label, s, g) in enumerate(rows)]
    try:
        folds, whole = cut_into_folds(pictures, seed)
    except CatalogError:
        return
    parts = Counter({(getattr(picture, whole), fold) for picture, fold in zip(pictures, folds, strict=True)})
    assert len(parts) == len({getattr(picture, whole) for picture in pictures})
    assert set(folds.tolist()) <= set(range(FOLDS))
    for fold in range(FOLDS):
        rest = {is_bear(p.label) for p, own in zip(pictures, folds, strict=True) if own != fold}
        assert rest == {False, True}


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_the_head_is_at_the_minimum_of_its_loss(seed: int) -> None:
    torch.manual_seed(seed)
    features, targets = torch.randn(40, 5), torch.randint(0, len(TRAINING_LABELS), (40,))
    weights, bias = fit(features, targets)
    allowed = allowed_labels()[targets]
    bears = targets != LABELS.index("teddy_bear")
    bears &= targets != LABELS.index("no_bear")
    each = torch.where(bears, 0.5 / bears.sum().clamp(min=1), 0.5 / (~bears).sum().clamp(min=1))

    def loss(w: torch.Tensor, b: torch.Tensor) -> float:
        p = torch.softmax(features @ w + b, dim=1)
        return float(-(each * (p * allowed).sum(dim=1).log()).sum() + 1e-2 * w.square().sum())

    best = loss(weights, bias)
    for _ in range(10):
        assert best <= loss(weights + 0.05 * torch.randn_like(weights), bias + 0.05 * torch.randn_like(bias)) + 1e-3


def test_bear_any_counts_every_bear_as_right() -> None:
    row = np.array([[0.3, 0.2, 0.1, 0.15, 0.25]])
    right = {label: right_probability(row, [label])[0] for label in TRAINING_LABELS}
    assert right[BEAR_ANY] == pytest.approx(0.6)
    assert [right[label] for label in LABELS] == pytest.approx(row[0])


def test_twins_are_near_duplicates_with_other_labels_also_mirrored() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (3, THUMBNAIL_PX, THUMBNAIL_PX)).astype(np.uint8)
    tiny = np.stack(
        [base[0], base[0][:, ::-1], base[1], base[1], base[2], np.full((THUMBNAIL_PX, THUMBNAIL_PX), 9, np.uint8)]
    )
    tiny = np.concatenate([tiny, tiny[-1:]])
    features = np.repeat(np.eye(4, 8, dtype=np.float32), [2, 2, 1, 2], axis=0)
    labels = ["brown_bear", "no_bear", "brown_bear", BEAR_ANY, "no_bear", "brown_bear", "no_bear"]
    pictures = [Picture(Path(f"{n}.jpg"), label, f"s{n}", "") for n, label in enumerate(labels)]
    found = near_duplicates(embedded(pictures, features, tiny))
    assert [(twin.first, twin.second) for twin in found] == [(0, 1)]  # one grey is no picture's twin
    assert found[0].correlation == pytest.approx(1.0)


@given(st.sampled_from(TRAINING_LABELS), st.sampled_from(TRAINING_LABELS))
def test_labels_contradict_each_other_or_not(one: str, other: str) -> None:
    allowed = dict(zip(TRAINING_LABELS, allowed_labels().tolist(), strict=True))
    can_both = any(a and b for a, b in zip(allowed[one], allowed[other], strict=True))
    assert contradict(one, other) == contradict(other, one) == (not can_both)


def test_a_twin_is_shown_beside_its_other() -> None:
    pictures, features = world()
    bear = next(n for n, p in enumerate(pictures) if p.label == "brown_bear")
    other = next(n for n, p in enumerate(pictures) if p.label == "no_bear")
    features[other] = features[bear]
    data = embedded(pictures, features)
    data.thumbnails[other] = data.thumbnails[bear]
    shown = {suspect.picture.file: suspect for suspect in find_suspects(data, seed=7, top=60)}
    one, two = shown[pictures[bear].file], shown[pictures[other].file]
    assert NEAR_DUPLICATE in one.why
    assert NEAR_DUPLICATE in two.why
    assert (one.duplicate, two.duplicate) == (pictures[other], pictures[bear])


def test_a_catalogue_of_few_wrong_labels_is_judged_all_the_same() -> None:
    pictures, features = world()
    two = [p if p.label != "teddy_bear" else replace(p, label="no_bear") for p in pictures]
    judged = judge(features, two, seed=7)
    assert judged.probabilities.shape == (len(two), len(LABELS))
    assert judged.quality.min() >= 0
    assert judged.quality.max() <= 1
