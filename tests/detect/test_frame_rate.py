"""How often to look, and how many crops a frame may be given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.detect.frame_rate import CropBudget, FrameRateControl


def test_a_sign_makes_it_active_at_once_and_quiet_makes_it_idle_after_a_while():
    told: list[float] = []
    pace = FrameRateControl(2.0, 10.0, told.append)
    for time, sign in ((100.0, False), (109.9, False), (110.0, False), (111.0, True), (120.9, False), (121.0, False)):
        pace(sign, time)
        told.append(time)
    assert told == [100.0, 109.9, 2.0, 110.0, 10.0, 111.0, 120.9, 2.0, 121.0]


@pytest.mark.parametrize(("crop_ms", "crops"), [(4, 12), (40, 6), (90, 3), (2000, 3)])
def test_a_slow_board_gives_a_frame_fewer_crops(crop_ms, crops):
    budget = CropBudget(0.25)
    for _ in range(60):
        budget.note(budget.crops, budget.crops * crop_ms / 1000)
    assert budget.crops == crops


def test_one_slow_frame_changes_little():
    budget = CropBudget(0.25)
    for _ in range(20):
        budget.note(12, 12 * 0.01)
    budget.note(12, 12 * 0.05)
    assert budget.crops == 12


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(0, 10))))
def test_it_stays_between_least_and_most(noted):
    budget = CropBudget(0.25)
    for crops, took_s in noted:
        budget.note(crops, took_s)
        assert 3 <= budget.crops <= 12


def test_without_a_budget_it_is_always_the_same():
    budget = CropBudget()
    budget.note(1, 100.0)
    assert budget.crops == 12
