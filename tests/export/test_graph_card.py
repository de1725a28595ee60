"""The domain in a card: the threshold of its out-of-domain scores, and the drift reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("fastai")

from export.describe import CardMaker, licence_line
from train.data.pictures import LABELS, Picture
from train.learn.inference import EvalCrops


def described(notes: list[str]) -> CardMaker:
    """A tuning part of three crops a picture, the last of them degraded; a picture of no note is of the domain."""
    rows = [Picture(Path(f"{n}.jpg"), "no_bear", f"source {n % 2}", "", note=note) for n, note in enumerate(notes)]
    count = 3 * len(rows)
    found = CardMaker.__new__(CardMaker)
    found.split = {"train": [], "tune": rows, "test": []}
    found.tune = EvalCrops(
        np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8),
        ("no_bear",) * count,
        np.zeros(count, bool),
        np.arange(len(rows)).repeat(3),
        np.arange(count) % 3 == 2,
        ("source 0", "source 1"),
    )
    return found


def test_95_percent_of_the_clean_and_of_the_degraded_domain_pass() -> None:
    found = described([""] * 40 + ["thermal"] * 10)
    ood = np.random.default_rng(0).normal(0, 1, 150).astype(np.float32)
    ood[120:] = 50  # outsiders must not move it
    ood[np.flatnonzero(found.tune.degraded[:120])] += 2
    card = found.out_of_domain(ood)
    assert (card.method, card.quantile, card.crops, card.pictures) == ("nearest neighbour", 0.95, 120, 40)
    assert card.sources == ("source 0", "source 1")
    for part in (found.tune.degraded[:120], ~found.tune.degraded[:120]):
        assert (ood[:120][part] <= card.threshold).mean() >= 0.95
    assert card.threshold < 10
    assert (ood[:120][found.tune.degraded[:120]] <= card.threshold).sum() == 38  # of 40: no higher than need be


def test_where_all_are_outsiders_all_count() -> None:
    assert described(["thermal"] * 9).inside.all()


def test_the_drift_reference_is_of_the_domain_alone() -> None:
    found = described([""] * 40 + ["thermal"] * 10)
    rng = np.random.default_rng(1)
    ood = np.where(np.arange(150) < 120, rng.normal(0, 1, 150), 50).astype(np.float32)
    p = rng.dirichlet(np.ones(len(LABELS)), 150)
    reference = found.drift_reference(p, ood)
    assert (reference.crops, reference.pictures) == (120, 40)
    assert max(reference.ood.edges) < 10
    assert max(reference.brightness.edges) < 120 / 255


@pytest.mark.parametrize(
    ("licences", "line"),
    [
        ({"": 3}, "the pictures' owner decides (state it with --licence)"),
        ({"CC BY 4.0": 2, "CC0 1.0": 1}, "trained on pictures under CC BY 4.0, CC0 1.0"),
        (
            {"CC BY 4.0": 2, "": 3, "own": 1},
            (
                "trained on pictures under CC BY 4.0; of 4 pictures of their owner the owner decides "
                "(state it with --licence)"
            ),
        ),
        (
            {"CC BY 4.0": 2, "not stated": 1},
            (
                "not free to use: 1 of the 3 training and tuning pictures state no licence or one that keeps a model "
                "from being passed on"
            ),
        ),
    ],
)
def test_the_licence_line_forgets_no_picture(licences: dict[str, int], line: str) -> None:
    assert licence_line(licences) == line


def frames_described(tuned: list[str], learned: list[str]) -> CardMaker:
    """A tuning part and a training part of whole frames of trail cameras, by label."""

    def rows(labels: list[str], camera: str) -> list[Picture]:
        return [
            Picture(Path(f"{camera}{n}.jpg"), label, camera, "", condition="camera trap")
            for n, label in enumerate(labels)
        ]

    found = described([""])
    found.rate = 0.01
    found.split = {"train": rows(learned, "learned"), "tune": rows(tuned, "tuned"), "test": []}
    return found


def test_the_threshold_of_whole_pictures_lets_few_frames_pass_that_were_learned_from_too() -> None:
    found = frames_described(["brown_bear"] * 4 + ["no_bear"] * 100, ["brown_bear"] * 3 + ["no_bear"] * 300)
    tuned = np.concatenate([[0.3, 0.9, 0.9, 0.9], np.linspace(0, 0.2, 100)])
    easy = found.frame_threshold(np.concatenate([tuned, np.linspace(0, 0.1, 300)]))
    assert 0.2 < easy.value < 0.3  # half-way from the others to the lowest bear
    hard = np.concatenate([np.linspace(0, 0.1, 290), np.full(10, 0.6)])
    found_hard = found.frame_threshold(np.concatenate([tuned, hard]))
    assert found_hard.value == pytest.approx(0.6, abs=0.001)
    assert (found_hard.recall, found_hard.n_bear, found_hard.n_no_bear) == (0.75, 4, 400)
    assert found_hard.false_positive_rate <= 0.01
