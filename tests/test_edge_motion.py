"""Motion and the sweep on synthetic scenes: lists of frames, no clock, no camera."""

from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from edge.motion import MotionFinder, MotionSettings, merge, small_grey
from edge.schema import WHOLE, Frame
from edge.sweep import Sweep, whole_and_tiles
from edge.track import iou

WALL = datetime(2026, 1, 1, tzinfo=UTC)
SIZE_WH = (1280, 720)


@pytest.fixture(scope="module")
def meadow():
    """A textured scene (720, 1280, 3), larger than life by half so that it can be panned over."""
    noise = np.random.default_rng(1).integers(0, 255, (1080, 1920, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 9).astype(np.float32)
    return ((smooth - smooth.min()) / np.ptp(smooth) * 140 + 60).astype(np.uint8)


def frames(pictures, fps=10.0, start=0.0):
    return [Frame(picture, start + i / fps, WALL, "test", i) for i, picture in enumerate(pictures)]


NOISE = np.random.default_rng(2).normal(128, 4.0, (800, 1400, 3)).astype(np.uint8)


def noisy(picture, seed):
    """With noise of 4 grey levels, another piece of the same sheet each time."""
    y, x = seed * 7 % 80, seed * 11 % 120
    return cv2.addWeighted(picture, 1.0, NOISE[y : y + 720, x : x + 1280], 1.0, -128)


def with_animal(picture, left, top, width, height, shade=25):
    picture = picture.copy()
    middle = (round(left + width / 2), round(top + height / 2))
    cv2.ellipse(picture, middle, (width // 2, height // 2), 0, 0, 360, (shade, shade, shade), -1)
    return picture


def test_the_first_frame_starts_the_background_anew(meadow):
    motion = MotionFinder()(frames([meadow[:720, :1280]])[0])
    assert motion.reset
    assert not motion.regions


def test_noise_alone_moves_nothing(meadow):
    finder = MotionFinder()
    found = [finder(frame) for frame in frames([noisy(meadow[:720, :1280], i) for i in range(20)])]
    assert not any(motion.regions or motion.moving or motion.reset for motion in found[1:])


@pytest.mark.parametrize(("width", "height"), [(45, 30), (27, 18), (200, 120)])
def test_an_animal_is_found_tightly(meadow, width, height):
    scene, finder, overlaps = meadow[:720, :1280], MotionFinder(), []
    for i, frame in enumerate(
        frames([scene] * 10 + [with_animal(scene, 300 + 8 * k, 400, width, height) for k in range(20)])
    ):
        motion = finder(Frame(noisy(frame.image, i), frame.time, WALL, "test", i))
        true = ((300 + 8 * (i - 10)) / 1280, 400 / 720, width / 1280, height / 720)
        if i >= 10:
            overlaps.append(max((iou(true, region.box_xywh) for region in motion.regions), default=0.0))
    assert np.mean(np.array(overlaps) > 0.3) >= 0.9


def test_a_slow_change_of_light_moves_nothing(meadow):
    finder = MotionFinder()
    lit = [np.clip(meadow[:720, :1280].astype(np.float32) + 2.0 * i, 0, 255).astype(np.uint8) for i in range(25)]
    assert not any(motion.regions for motion in map(finder, frames(lit)))


def test_the_light_switched_on_starts_anew_once(meadow):
    finder = MotionFinder()
    dark, bright = (meadow[:720, :1280] // 4), meadow[:720, :1280]
    found = [finder(frame) for frame in frames([dark] * 10 + [bright] * 10)]
    assert [i for i, motion in enumerate(found) if motion.reset] == [0, 10]
    assert not any(motion.moving or motion.regions for motion in found)


def test_a_panning_camera_is_said_to_move_and_then_to_rest(meadow):
    finder = MotionFinder()
    pan = [meadow[4 * i : 720 + 4 * i, 12 * i : 1280 + 12 * i] for i in range(30)]
    found = [finder(frame) for frame in frames(pan + [pan[-1]] * 15)]
    assert all(motion.moving and not motion.regions for motion in found[2:30])
    assert not found[-1].moving
    assert any(motion.reset for motion in found[30:])


def test_swaying_leaves_grow_quiet_and_an_animal_before_them_does_not(meadow):
    scene, finder, rng = meadow[:720, :1280], MotionFinder(), np.random.default_rng(3)
    counts = []
    for frame in frames([scene] * 300):
        picture = frame.image.copy()
        for x in range(40, 360, 40):
            cv2.circle(picture, (x + int(rng.integers(-12, 13)), 150), 10, (230, 230, 230), -1)
        counts.append(len(finder(Frame(picture, frame.time, WALL, "test", frame.index)).regions))
    assert np.mean(counts[-50:]) < 0.5 * np.mean(counts[5:55])
    animal = with_animal(picture, 600, 400, 60, 40)
    assert finder(Frame(animal, 30.0, WALL, "test", 300)).regions


def test_what_stops_is_absorbed_slowly(meadow):
    scene, finder = meadow[:720, :1280], MotionFinder(MotionSettings(deviations=0.0))
    standing = with_animal(scene, 600, 400, 80, 50)
    found = [finder(frame) for frame in frames([scene] * 10 + [standing] * 200)]
    assert all(motion.regions for motion in found[10:60])


def test_another_frame_size_starts_anew(meadow):
    finder = MotionFinder()
    first, second = frames([meadow[:720, :1280], meadow[:480, :640]])
    finder(first)
    assert finder(second).reset


def test_small_grey_is_320_wide(meadow):
    assert small_grey(meadow[:720, :1280]).shape == (180, 320)
    assert small_grey(meadow[:160, :224]).dtype == np.float32


def test_near_boxes_become_one_and_far_ones_do_not():
    assert merge([((10, 10, 20, 10), 150), ((32, 10, 20, 10), 100)], 3.0, 0.15) == [(10, 10, 42, 10)]
    assert merge([((10, 10, 20, 10), 100), ((80, 10, 20, 10), 150)], 3.0, 0.15) == [(80, 10, 20, 10), (10, 10, 20, 10)]
    # A diagonal pair would make one loose box.
    assert len(merge([((0, 0, 40, 4), 100), ((41, 5, 4, 40), 100)], 3.0, 0.15)) == 2


def test_the_sweep_looks_everywhere_at_once_when_asked():
    regions = Sweep()(SIZE_WH, 0.0, most=12, at_once=True, moving=False)
    assert [region.box_xywh for region in regions] == whole_and_tiles(SIZE_WH)
    assert regions[0].box_xywh == WHOLE


def test_the_sweep_covers_all_within_its_period():
    sweep = Sweep(period_s=10.0)
    taken = [sweep(SIZE_WH, i / 10, most=12, at_once=False, moving=False) for i in range(102)]
    assert max(map(len, taken)) <= 1
    assert {region.box_xywh for some in taken for region in some} == set(whole_and_tiles(SIZE_WH))


def test_the_sweep_keeps_to_the_budget_and_catches_up():
    sweep = Sweep(period_s=1.0)
    assert [len(sweep(SIZE_WH, i / 10, most=0, at_once=False, moving=False)) for i in range(5)] == [0] * 5
    assert len(sweep(SIZE_WH, 0.5, most=3, at_once=False, moving=False)) == 3
    assert len(sweep(SIZE_WH, 0.6, most=12, at_once=False, moving=True)) == 12
    assert sweep(SIZE_WH, 0.7, most=-2, at_once=False, moving=True) == []
