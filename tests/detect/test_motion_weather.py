"""Motion in weather and changing light: what changes the whole picture must cost no background and no crops."""

import cv2
import numpy as np
import pytest

from edge.detect.motion import MotionFinder, MotionSettings
from edge.schema import Frame
from tests.helpers.meadow import SIZE_WH, WALL, frames, hits, run, walking, with_animal
from tests.helpers.meadow import meadow as painted


@pytest.fixture(scope="module")
def meadow():
    return painted()


def test_a_slow_change_of_light_moves_nothing(meadow):
    finder = MotionFinder()
    lit = [np.clip(meadow[:720, :1280].astype(np.float32) + 2.0 * i, 0, 255).astype(np.uint8) for i in range(25)]
    assert not any(motion.regions for motion in map(finder, frames(lit)))


def test_the_light_switched_on_starts_again_once(meadow):
    finder = MotionFinder()
    dark, bright = (meadow[:720, :1280] // 4), meadow[:720, :1280]
    found = [finder(frame) for frame in frames([dark] * 10 + [bright] * 10)]
    assert [i for i, motion in enumerate(found) if motion.reset] == [0, 10]
    assert not any(motion.moving or motion.regions for motion in found)


def test_a_panning_camera_is_reported_to_move_and_then_to_rest(meadow):
    finder = MotionFinder()
    pan = [meadow[4 * i : 720 + 4 * i, 12 * i : 1280 + 12 * i] for i in range(30)]
    found = [finder(frame) for frame in frames(pan + [pan[-1]] * 15)]
    assert all(motion.moving and not motion.regions for motion in found[4:30])
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


def test_what_changes_under_a_mask_is_neither_a_jump_nor_a_change_of_light(meadow):
    scene, other = meadow[:720, :1280], meadow[300:1020, 500:1780]
    screen = ((0.0, 0.0), (0.7, 0.0), (0.7, 1.0), (0.0, 1.0))
    changing = [scene.copy() for _ in range(20)]
    for i, picture in enumerate(changing):
        picture[:, : round(0.7 * 1280)] = (other if i % 2 else 255 - other)[:, : round(0.7 * 1280)]
    found = run(MotionFinder(masks=[screen]), changing)
    assert not any(motion.reset or motion.moving or motion.regions for motion in found[1:])


@pytest.mark.parametrize(
    "bright",
    [lambda scene: scene, lambda scene: np.clip(scene * 1.4 + 90.0, 0, 255), lambda scene: np.full_like(scene, 255)],
)
def test_lightning_costs_the_frames_it_lasts_and_no_background(meadow, bright):
    scene = meadow[:720, :1280]
    night = scene // 3
    flash = bright(scene).astype(np.uint8)
    animal = walking(night, 30)
    found = run(MotionFinder(), [night] * 10 + animal[:8] + [flash, flash] + animal[10:14] + [flash] + animal[15:])
    assert {i for i, motion in enumerate(found) if motion.reset} <= {0, 18, 19, 24}
    assert not any(motion.moving for motion in found)
    assert hits(found[20:24], left=300 + 80) == 1.0
    assert hits(found[25:], left=300 + 120) == 1.0


def test_a_light_that_stays_on_is_the_place_now(meadow):
    scene = meadow[:720, :1280]
    found = run(MotionFinder(), [scene // 4] * 10 + [scene] * 40 + walking(scene, 10))
    assert [i for i, motion in enumerate(found) if motion.reset] == [0, 10]
    assert hits(found[50:]) >= 0.9


def test_a_cloud_and_automatic_exposure_start_nothing_again(meadow):
    scene = meadow[:720, :1280].astype(np.float32)
    gains = np.concatenate([np.ones(10), np.linspace(1, 0.7, 5), np.full(20, 0.7), np.linspace(0.7, 1.1, 20)])
    found = run(MotionFinder(), [np.clip(scene * gain, 0, 255).astype(np.uint8) for gain in gains])
    assert not any(motion.reset or motion.moving for motion in found[1:])
    assert np.mean([len(motion.regions) for motion in found]) < 0.3


def test_an_infrared_filter_that_flips_and_the_exposure_after_it_end_in_a_new_background(meadow):
    scene = meadow[:720, :1280].astype(np.float32)
    infrared = np.repeat((255 - 0.9 * scene[..., 1] + 0.3 * scene[..., 0])[..., None], 3, 2)
    settling = [np.clip(infrared * (1 + 1.2 * np.exp(-i / 5)), 0, 255).astype(np.uint8) for i in range(50)]
    found = run(MotionFinder(), [meadow[:720, :1280]] * 10 + settling + walking(settling[-1], 10))
    assert found[10].reset
    assert not any(motion.reset or motion.moving for motion in found[40:])
    assert not any(motion.regions for motion in found[45:60])
    assert hits(found[60:]) >= 0.9


@pytest.mark.parametrize("pixels", [1, 3, 6])
def test_an_animal_is_found_while_the_pole_sways(meadow, pixels):
    scene, rng = meadow[100:820, 200:1480], np.random.default_rng(5)
    pictures = [scene] * 10
    for picture in walking(scene, 40):
        right, down = rng.uniform(-2, 2, 2) * pixels
        shift = np.array([[1, 0, right], [0, 1, down]], np.float32)
        pictures.append(cv2.warpAffine(picture, shift, SIZE_WH, borderMode=cv2.BORDER_REPLICATE))
    found = run(MotionFinder(), pictures)
    assert not any(motion.reset or motion.moving for motion in found[1:])
    assert hits(found[10:]) >= 0.7
    assert np.mean([len(motion.regions) for motion in found[10:]]) < 4


def test_a_pole_that_was_bent_stands_again(meadow):
    scene, bent = meadow[100:820, 200:1480], meadow[108:828, 192:1472]
    found = run(MotionFinder(), [scene] * 10 + [bent] * 130)
    assert [i for i, motion in enumerate(found) if motion.reset] in ([0], [0, 111], [0, 112])
    assert not any(motion.regions for motion in found[120:])


@pytest.mark.parametrize(("flakes", "radius"), [(60, 3), (150, 2)])
def test_snow_is_no_jump_and_the_animal_in_it_is_found_within_the_limits(meadow, flakes, radius):
    scene, rng = meadow[:720, :1280], np.random.default_rng(6)
    pictures = [scene] * 10 + walking(scene, 30)
    for i, picture in enumerate(pictures):
        pictures[i] = picture.copy()
        for x, y in zip(rng.integers(0, 1280, flakes), rng.integers(0, 720, flakes), strict=True):
            cv2.circle(pictures[i], (int(x), int(y)), int(rng.integers(1, radius + 1)), (235, 235, 235), -1)
    found = run(MotionFinder(), pictures)
    assert not any(motion.reset or motion.moving for motion in found[1:])
    assert max(len(motion.regions) for motion in found) <= MotionSettings().max_regions
    assert hits(found[10:]) >= 0.9


def test_fog_that_comes_within_half_a_minute_moves_nothing(meadow):
    scene = meadow[:720, :1280].astype(np.float32)
    found = run(MotionFinder(), [(scene * c + 190 * (1 - c)).astype(np.uint8) for c in np.linspace(1, 0.2, 150)], fps=5)
    assert not any(motion.reset or motion.moving or motion.regions for motion in found[1:])
