"""The gate between what was trained and what is exported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")

from edge.detect.card import Parity, Threshold
from export.commands import doubts, parity_rows, threshold_line
from export.verify import (
    MIN_FRAME_BEARS,
    Answers,
    ParityError,
    compare,
    compare_int8,
    few_frames,
    gate_thresholds,
    recall_loss,
    refuse,
)
from train.metrics.calibration import fit_threshold


def judged(p: np.ndarray, other: np.ndarray, bears: np.ndarray, pictures: np.ndarray) -> Parity:
    """The parity of two graphs that go by 0.5."""
    one, two = Answers(p[:, 0], 0.5), Answers(other[:, 0], 0.5)
    return compare_int8(compare(p, p, bears, pictures, ["b", "a"]), p, other, one, two, bears, pictures)


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
    parity = judged(p, p, bears, pictures)
    assert parity.passed
    assert parity.sources == ("a", "b")
    assert (parity.int8_recall_loss, parity.int8_decision_agreement) == (0.0, 1.0)
    refuse(parity)


def test_a_graph_that_differs_from_the_network_is_refused() -> None:
    p, bears, pictures = answers()
    parity = compare(p + 2e-4, p, bears, pictures, ["a"])
    assert not parity.passed
    with pytest.raises(ParityError, match="differs from the trained network"):
        refuse(parity)


def test_a_graph_that_answers_no_number_is_refused() -> None:
    p, bears, pictures = answers()
    parity = compare(p, np.full_like(p, np.nan), bears, pictures, ["a"])
    assert not parity.passed
    with pytest.raises(ParityError, match="differs from the trained network by nan"):
        refuse(parity)


def test_lost_recall_is_refused() -> None:
    p, bears, pictures = answers()
    worse = p.copy()
    worse[np.flatnonzero(bears)[::20]] = [0, 0, 0, 0, 1]
    one, other = Answers(p[:, 0], 0.5), Answers(worse[:, 0], 0.5)
    loss, upper = recall_loss(one, other, bears, pictures)
    assert loss == pytest.approx(0.05, abs=0.005)
    assert upper > loss
    with pytest.raises(ParityError, match="more of 100 bears than the exact one"):
        refuse(judged(p, worse, bears, pictures))


def frames(lost: int, gained: int, bears: int = 150) -> Parity:
    """The parity of whole pictures, of whose bears int8 loses some and finds others."""
    truth = np.arange(bears + 850) < bears
    p = np.where(truth, 0.9, 0.1)
    p[:gained] = 0.2
    other = p.copy()
    other[:gained], other[bears - lost : bears] = 0.9, 0.2
    one, two = (np.stack([each, 1 - each], 1) for each in (p, other))
    return few_frames(judged(one, two, truth, np.arange(len(truth))), bears)


def test_few_whole_pictures_are_held_to_what_they_show_and_noted() -> None:
    for parity in (frames(0, 0), frames(2, 0), frames(4, 3)):
        assert parity.passed
        assert parity.note
        assert "150 test pictures of bears" in parity.note
        refuse(parity)
    worse = frames(12, 0)
    assert not worse.passed
    whole = replace(judged(*alike()), frame=worse)
    with pytest.raises(ParityError, match=r"misses at least .* than the exact one, fp32, looked at whole"):
        refuse(whole)
    assert frames(0, 0, bears=MIN_FRAME_BEARS).note is None
    assert not frames(20, 0, bears=MIN_FRAME_BEARS).passed


def alike() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two networks that answer the same, for ``judged``."""
    p, bears, pictures = answers(9000)
    return p, p, bears, pictures


def test_disagreement_is_refused_even_where_recall_is_kept() -> None:
    p, bears, pictures = answers(9000)
    noisy = p.copy()
    others = np.flatnonzero(~bears)[::10]
    noisy[others] = [1, 0, 0, 0, 0]
    parity = judged(p, noisy, bears, pictures)
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


def test_a_reference_that_finds_no_bear_shows_nothing() -> None:
    p, bears, pictures = answers()
    none = Answers(p[:, 0], 1.1)
    assert recall_loss(none, none, bears, pictures) == (0.0, 1.0)


def shifted(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bear probabilities (N,) of two graphs and the truth: the second scores bears much higher, others a little."""
    rng = np.random.default_rng(seed)
    bears = np.arange(4000) < 1000
    other = rng.beta(1, 6, 4000)
    one = np.where(bears, rng.uniform(0.75, 0.99, 4000), other)
    two = np.where(bears, rng.uniform(0.97, 0.99, 4000), other**0.9)
    return one, two, bears


def test_the_gate_compares_both_graphs_at_the_same_false_positive_rate() -> None:
    fp32, int8, bears = shifted()
    one, two = gate_thresholds(fp32, int8, bears, 0.01)
    passed = [int((graph[~bears] >= at).sum()) for graph, at in ((fp32, one), (int8, two))]
    assert passed == [30, 30]  # 1 % of 3,000
    # The thresholds of the cards, with their half-way step, lie at other rates: that is why the gate has its own.
    own = [fit_threshold(graph, bears, 0.01, ["a"]).value for graph in (fp32, int8)]
    assert len({int((graph[~bears] >= at).sum()) for graph, at in zip((fp32, int8), own, strict=True)}) == 2


@pytest.mark.parametrize("seed", range(5))
def test_int8_never_passes_more_than_fp32_where_scores_tie(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bears = rng.random(2000) < 0.3
    fp32, int8 = (np.round(rng.random(2000), 1 + (n + seed) % 2) for n in range(2))
    one, two = gate_thresholds(fp32, int8, bears, 0.01)
    allowed = int((fp32[~bears] >= one).sum())
    assert allowed <= 0.01 * (~bears).sum()
    assert (int8[~bears] >= two).sum() <= allowed


def test_false_positive_rates_are_in_the_card_and_in_the_table() -> None:
    p, bears, pictures = answers()
    noisy = p.copy()
    noisy[np.flatnonzero(~bears)[:3]] = [1, 0, 0, 0, 0]
    parity = judged(p, noisy, bears, pictures)
    rates = [float((graph[~bears, 0] >= 0.5).mean()) for graph in (p, noisy)]
    assert [parity.fp32_false_positive_rate, parity.int8_false_positive_rate] == pytest.approx(rates)
    assert rates[1] > rates[0]
    shown = {figure: value for figure, value, _, _ in parity_rows(parity)}
    assert shown["fp32 false positives at 0.500, %"] == f"{100 * rates[0]:.2f}"
    assert shown["int8 false positives at 0.500, %"] == f"{100 * rates[1]:.2f}"
    older = Parity(2000, 100, ("field",), 1e-6, 0.2, 0.001, 0.005, 0.99)  # a card from before
    assert not any("false positives" in figure for figure, *_ in parity_rows(older))


def test_copies_of_a_picture_are_not_called_bears() -> None:
    bear, bears = np.linspace(0, 1, 60), np.arange(60) >= 30
    copies = fit_threshold(bear, bears, 0.1, ["a"], np.arange(60) // 3)
    assert (copies.n_bear, copies.bear_pictures, copies.n_no_bear, copies.no_bear_pictures) == (30, 10, 30, 10)
    assert "on 30 crops of 10 pictures, " in threshold_line("crop", copies)
    alone = fit_threshold(bear, bears, 0.1, ["a"])
    assert (alone.n_bear, alone.bear_pictures) == (30, 30)
    assert "on 30 bears, " in threshold_line("frame", alone)
    assert "on 20 bears, " in threshold_line("crop", Threshold(0.5, 1.0, 0.0, 20, 40, ("field",)))  # an older card


def test_a_model_that_finds_no_bears_is_doubted() -> None:
    def limit(recall: float, pictures: int) -> Threshold:
        return Threshold(0.5, recall, 0.0, 3 * pictures, 400, ("field",), bear_pictures=pictures, no_bear_pictures=200)

    assert list(doubts({"crop": limit(0.75, 156), "frame": limit(0.97, 156)})) == []
    (poor,) = doubts({"crop": limit(0.07, 30), "frame": limit(0.97, 30)})
    assert poor.startswith("Do not rely on it: at its crop threshold it finds 7 % of the tuning bears.")
    (few,) = doubts({"crop": limit(1.0, 5), "frame": limit(1.0, 5)})
    assert "come from 5 pictures of bears" in few
