"""The sweep: never more than its budget, always its one crop, and nothing unseen for longer than it says."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.schema import WHOLE
from edge.sweep import Sweep, whole_and_tiles

SIZE_WH = (1280, 720)
COUNT = len(whole_and_tiles(SIZE_WH))
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
ALL = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def area(box):
    return box[2] * box[3]


def looked(sweep, frames, most=12, fps=10.0, start=0.0, **how):
    """What is looked at in each of so many frames."""
    return [
        [region.box_xywh for region in sweep(SIZE_WH, start + i / fps, most=most, **(how if i == 0 else {}))]
        for i in range(frames)
    ]


@pytest.mark.parametrize("most", [1, 3, 12, 100])
def test_a_round_at_once_takes_all_that_is_left_of_each_frame_largest_first(most):
    taken = looked(Sweep(), math.ceil(COUNT / most), most, at_once=True)
    assert [len(some) for some in taken[:-1]] == [most] * (len(taken) - 1)
    flat = [box for some in taken for box in some]
    assert flat == whole_and_tiles(SIZE_WH)
    assert flat[0] == WHOLE
    assert [area(box) for box in flat] == sorted(map(area, flat), reverse=True)


def test_the_first_frame_and_another_size_begin_a_round_at_once():
    sweep = Sweep()
    assert len(sweep(SIZE_WH, 0.0, most=12)) == 12
    assert [region.box_xywh for region in sweep((640, 480), 0.1, most=2)] == whole_and_tiles((640, 480))[:2]


def test_after_that_one_round_is_spread_over_its_period():
    sweep = Sweep(period_s=10.0)
    looked(sweep, 10)
    taken = looked(sweep, 102, start=1.0)
    assert max(map(len, taken)) == 1
    assert {box for some in taken for box in some} == set(whole_and_tiles(SIZE_WH))
    assert sum(map(len, taken)) in (COUNT, COUNT + 1)


def test_where_frames_are_few_more_come_in_each():
    sweep = Sweep(period_s=10.0)
    looked(sweep, 3, fps=1.0)
    assert sum(map(len, looked(sweep, 10, fps=1.0, start=3.0))) in (COUNT - 1, COUNT)


def test_while_the_picture_moves_every_frame_takes_what_is_left():
    sweep = Sweep()
    looked(sweep, 2)
    taken = [sweep(SIZE_WH, 0.2 + i / 10, most=5, moving=True) for i in range(4)]
    assert [len(some) for some in taken] == [5] * 4
    assert len({region.box_xywh for some in taken for region in some}) == COUNT


def test_a_round_asked_for_in_the_middle_of_one_does_not_begin_it_again():
    sweep = Sweep()
    taken = [box for i in range(3 * COUNT) for box in [sweep(SIZE_WH, i / 10, most=1, at_once=True)[0].box_xywh]]
    assert all(taken.count(box) == 3 for box in whole_and_tiles(SIZE_WH))


def test_nothing_is_left_nothing_is_taken():
    sweep = Sweep()
    assert sweep(SIZE_WH, 0.0, most=0, at_once=True) == []
    assert sweep(SIZE_WH, 0.1, most=-3, moving=True) == []
    assert len(sweep(SIZE_WH, 0.2, most=4)) == 4  # the round is still owed


def test_what_is_due_can_be_asked_before_and_changes_nothing():
    sweep = Sweep(period_s=10.0)
    assert sweep.due(SIZE_WH, 0.0) == 1
    looked(sweep, 3)
    told, taken = [], []
    for i in range(100):
        time = 0.3 + i / 10
        told.append([sweep.due(SIZE_WH, time) for _ in range(3)])
        taken.append(len(sweep(SIZE_WH, time, most=12)))
    assert [ones[0] for ones in told] == taken
    assert all(len(set(ones)) == 1 for ones in told)
    assert sweep.due(SIZE_WH, 10.3, at_once=True) == sweep.due(SIZE_WH, 10.3, moving=True) == 1
    assert sweep.due((640, 480), 10.3) == 1


def test_tiles_that_masks_hide_are_left_out():
    kept = whole_and_tiles(SIZE_WH, [LEFT_HALF])
    assert WHOLE in kept
    assert 0 < len(kept) < COUNT
    assert all(x + w > 0.5 for x, _, w, _ in kept)
    assert set(kept) < set(whole_and_tiles(SIZE_WH))
    taken = looked(Sweep(masks=[LEFT_HALF]), 3, at_once=True)
    assert {box for some in taken for box in some} == set(kept)


def test_a_picture_masked_whole_is_not_swept():
    sweep = Sweep(masks=[ALL])
    assert not any(looked(sweep, 30, at_once=True))
    assert sweep.due(SIZE_WH, 3.0, moving=True) == 0
    assert sweep.longest_unseen_s(10.0) == pytest.approx(10.2)


def test_the_longest_unseen_is_what_it_says_by_hand():
    assert COUNT == 19
    # A round spread over 10 s at 10 frames a second, an urgent one of 19 frames before it, and two frames.
    assert Sweep().longest_unseen_s(10.0) == pytest.approx(10 + 2.1)
    # At the 5 frames a second of a quiet place, and on a board that needs 0.2 s for each of three crops.
    assert Sweep().longest_unseen_s(5.0) == pytest.approx(10 + 4.2)
    assert Sweep().longest_unseen_s(1 / 0.6) == pytest.approx(24.0)
    # One frame a second, one crop each: 19 s a round, and another of 19 s.
    assert Sweep().longest_unseen_s(1.0) == pytest.approx(19 + 21)
    assert Sweep().longest_unseen_s(1.0, most=12) == pytest.approx(10 + 4)


@pytest.mark.parametrize("page", ["architecture.md", "watching.md"])
def test_the_longest_unseen_is_stated_for_the_rate_of_a_quiet_place(page):
    words = (Path(__file__).parents[1] / "docs" / page).read_text()
    idle_fps = 5.0  # half of --fps
    assert f"{Sweep().longest_unseen_s(idle_fps):.1f} s at the 5" in words
    assert f"{Sweep().longest_unseen_s(1.0):.0f} s" in words


@given(
    fps=st.sampled_from([0.5, 1.0, 2.0, 5.0, 10.0, 15.0]),
    period_s=st.sampled_from([2.0, 5.0, 10.0, 20.0]),
    size_wh=st.sampled_from([SIZE_WH, (640, 480), (224, 160), (320, 1000)]),
    most=st.sampled_from([1, 1, 2, 3]),
    masks=st.sampled_from([(), (), (LEFT_HALF,)]),
    jumps=st.sampled_from([0.0, 0.01, 0.05, 0.3]),
    moves=st.sampled_from([0.0, 0.01, 0.2]),
    seed=st.integers(0, 10_000),
)
def test_no_tile_goes_unseen_for_longer_whatever_the_load(fps, period_s, size_wh, most, masks, jumps, moves, seed):
    """Motion takes all but ``most`` crops of nearly every frame, frames come late or early, the light flickers."""
    sweep, rng = Sweep(period_s=period_s, masks=masks), random.Random(seed)
    limit = sweep.longest_unseen_s(fps, most, size_wh)
    seen, time, quiet = dict.fromkeys(whole_and_tiles(size_wh, masks), 0.0), 0.0, rng.random()
    for i in range(300):
        how = {"at_once": i == 0 or rng.random() < jumps, "moving": rng.random() < moves}
        left = rng.randint(most, 12) if rng.random() < quiet else most
        kept = sweep.due(size_wh, time, **how)
        taken = sweep(size_wh, time, most=left if kept else left - most, **how)
        assert len(taken) <= left
        assert kept == 1 or not taken
        seen |= dict.fromkeys((region.box_xywh for region in taken), time)
        time += rng.choice([1.0, 1.0, 0.7, 0.2]) / fps
        assert time - min(seen.values()) <= limit + 1e-6
