"""The gate between what was trained and what is exported."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")

from export.verify import Answers, ParityError, compare, recall_loss, refuse


def answers(count: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities (N, 5), truth (N,), picture numbers (N,), five crops a picture."""
    rng = np.random.default_rng(seed)
    bears = np.repeat(rng.random(count // 5) < 0.5, 5)
    bear = np.where(bears, rng.beta(8, 1, count), rng.beta(1, 8, count))
    p = np.zeros((count, 5))
    p[:, 0], p[:, 4] = bear, 1 - bear
    return p, bears, np.repeat(np.arange(count // 5), 5)


def test_identical_networks_pass() -> None:
    p, bears, pictures = answers(9000)
    one = Answers(p[:, 0], 0.5)
    parity = compare(p, p, one, p, one, bears, pictures, ["b", "a"])
    assert parity.passed
    assert (parity.int8_recall_loss, parity.int8_decision_agreement) == (0.0, 1.0)
    refuse(parity)


def test_a_graph_that_differs_from_the_network_is_refused() -> None:
    p, bears, pictures = answers()
    parity = compare(p + 2e-4, p, Answers(p[:, 0], 0.5), None, None, bears, pictures, ["a"])
    assert not parity.passed
    with pytest.raises(ParityError, match="differs from the trained network"):
        refuse(parity)


def test_lost_recall_is_refused() -> None:
    p, bears, pictures = answers()
    worse = p.copy()
    worse[np.flatnonzero(bears)[::20]] = [0, 0, 0, 0, 1]
    one, other = Answers(p[:, 0], 0.5), Answers(worse[:, 0], 0.5)
    loss, upper = recall_loss(one, other, bears, pictures)
    assert loss == pytest.approx(0.05, abs=0.005)
    assert upper > loss
    with pytest.raises(ParityError, match="points of recall"):
        refuse(compare(p, p, one, worse, other, bears, pictures, ["a"]))


def test_disagreement_is_refused_even_where_recall_is_kept() -> None:
    p, bears, pictures = answers(9000)
    noisy = p.copy()
    others = np.flatnonzero(~bears)[::10]
    noisy[others] = [1, 0, 0, 0, 0]
    parity = compare(p, p, Answers(p[:, 0], 0.5), noisy, Answers(noisy[:, 0], 0.5), bears, pictures, ["a"])
    assert parity.int8_recall_loss == 0
    with pytest.raises(ParityError, match="agree on"):
        refuse(parity)


def test_crops_of_one_picture_count_as_one() -> None:
    """The bound must not shrink because a picture was copied."""
    p, bears, _ = answers(500)
    worse = p.copy()
    worse[:60:5] = [0, 0, 0, 0, 1]
    one, other = Answers(p[:, 0], 0.5), Answers(worse[:, 0], 0.5)
    apart = recall_loss(one, other, bears, np.arange(500))
    copied = recall_loss(
        Answers(np.repeat(one.bear, 9), 0.5),
        Answers(np.repeat(other.bear, 9), 0.5),
        np.repeat(bears, 9),
        np.repeat(np.arange(500), 9),
    )
    assert copied == pytest.approx(apart, rel=1e-6)
