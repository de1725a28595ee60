"""The drift figure: nothing where nothing changed, much where much did, and what chance alone brings."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st

from edge.detect.card import DriftReference, Spread
from edge.detect.drift import BINS, LITTLE, MUCH, brightness, drift, drifts, spread

RNG = np.random.default_rng(0)


def test_a_spread_has_bins_of_equal_share() -> None:
    found = spread(RNG.normal(0, 1, 1000))
    assert len(found.edges) == BINS - 1
    assert found.shares == pytest.approx([0.1] * BINS, abs=0.002)


def test_equal_values_are_never_parted() -> None:
    found = spread([0.0] * 70 + list(np.linspace(0.1, 1, 30)))
    assert found.edges[0] == 0.0
    assert found.shares[0] == pytest.approx(0.7)
    assert drift(found, [0.0] * 70 + list(np.linspace(0.1, 1, 30)), 100).psi == pytest.approx(0, abs=1e-3)


def test_no_drift_stays_below_the_noise_in_most_weeks() -> None:
    rng = np.random.default_rng(3)
    quiet = 0
    for _ in range(200):
        found = drift(spread(rng.normal(0, 1, 800)), rng.normal(0, 1, 300), 800)
        quiet += found.psi < found.noise
    assert 178 <= quiet <= 199  # 95 %


@pytest.mark.parametrize(("shift", "much"), [(0.0, False), (0.5, False), (1.0, True), (-1.5, True)])
def test_a_shift_is_seen_and_measured(shift: float, much: bool) -> None:
    rng = np.random.default_rng(1)
    found = drift(spread(rng.normal(0, 1, 2000)), rng.normal(shift, 1, 2000), 2000)
    # Between two normal distributions it is shift squared; ten bins see a little less.
    assert found.psi == pytest.approx(shift**2, rel=0.2, abs=0.02)
    assert (found.psi > MUCH) is much
    assert found.shown is (abs(shift) > 0.3)


def test_a_wider_spread_is_drift_too() -> None:
    rng = np.random.default_rng(2)
    assert drift(spread(rng.normal(0, 1, 2000)), rng.normal(0, 2, 2000), 2000).psi > LITTLE


def test_few_values_show_nothing() -> None:
    found = drift(spread(RNG.normal(0, 1, 500)), [0.0, 0.5, 1.0], 500)
    assert found.noise > 3
    assert not found.shown


@pytest.mark.parametrize("usual", [0.3, 0.0, -1234567.891, 1 / 3, 1e-8])
@pytest.mark.parametrize("few", [0, 3])
def test_a_figure_that_never_changed_shows_a_move_to_either_side(usual: float, few: int) -> None:
    reference = spread([usual] * 97 + [usual - 2.0] * few)
    assert drift(reference, [usual] * 97 + [usual - 2.0] * few, 100).psi == pytest.approx(0, abs=0.01)
    for other in (usual - 5, usual + 5):
        assert drift(reference, [other] * 1000, 100).shown is True, other


def test_small_probabilities_are_not_all_the_same() -> None:
    low = np.random.default_rng(4).uniform(1e-8, 4e-7, 960)
    reference = spread([*low, *np.linspace(0.1, 0.9, 40)])
    assert len(reference.edges) == BINS - 1
    assert drift(reference, low / 4, 1000).shown is True


@pytest.mark.parametrize("reference", [Spread((), (1.0,)), Spread((0.0,), (0.0, 1.0)), Spread((9.0,), (1.0, 0.0))])
def test_of_a_single_bin_without_an_end_nobody_can_tell(reference: Spread) -> None:
    found = drift(reference, [5.0] * 1000, 100)
    assert np.isnan(found.psi)
    assert found.shown is None
    if reference.edges:
        assert drift(reference, [-5.0] * 500 + [50.0] * 500, 100).shown is True


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60))
def test_any_values_give_a_finite_figure(one: list[float], other: list[float]) -> None:
    reference = spread(one)
    assert sum(reference.shares) == pytest.approx(1)
    assert list(reference.edges) == sorted(set(reference.edges))
    found = drift(reference, other, len(one))
    assert found.psi >= 0
    assert np.isfinite(found.psi)
    assert drift(reference, one, len(one)).psi == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize("values", [[], [0.1, float("nan")], [float("inf")]])
def test_no_numbers_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite number"):
        drift(Spread((0.0,), (0.5, 0.5)), values, 10)
    with pytest.raises(ValueError, match="finite number"):
        spread(values)


def test_a_cards_reference_gives_a_figure_each() -> None:
    flat = spread(np.linspace(0, 1, 500))
    reference = DriftReference(flat, flat, flat, crops=1500, pictures=500)
    usual, high = np.linspace(0, 1, 400), np.linspace(0.6, 1, 400)
    found = drifts(reference, ood=high, bear=usual, brightness=usual)
    assert [name for name, each in found.items() if each.shown] == ["ood"]


def test_brightness_is_the_mean_pixel() -> None:
    assert brightness(np.full((4, 4, 3), 51, np.uint8)) == pytest.approx(0.2)
