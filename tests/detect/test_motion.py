"""Motion on a painted meadow: lists of frames, no clock, no camera. The arithmetic: test_edge_motion_vectors.py."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.detect.motion import MotionFinder, MotionSettings, merge, small_grey
from edge.detect.tracker import iou
from edge.errors import PictureError
from edge.schema import Frame, LazyImage
from tests.helpers.meadow import WALL, frames, hits, noisy, run, walking, with_animal
from tests.helpers.meadow import meadow as painted


@pytest.fixture(scope="module")
def meadow():
    return painted()


def test_the_first_frame_starts_the_background_again(meadow):
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


def test_what_stops_is_absorbed_slowly(meadow):
    scene, finder = meadow[:720, :1280], MotionFinder(MotionSettings(deviations=0.0))
    standing = with_animal(scene, 600, 400, 80, 50)
    found = [finder(frame) for frame in frames([scene] * 10 + [standing] * 200)]
    assert all(motion.regions for motion in found[10:60])


def test_another_frame_size_starts_again(meadow):
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


def test_brightness_is_looked_at_where_the_source_has_it_apart_and_the_picture_is_not_made(meadow):
    def never():
        raise AssertionError("a picture nobody needs was made")

    finder, found = MotionFinder(), []
    for i, picture in enumerate([meadow[:720, :1280]] * 10 + walking(meadow[:720, :1280], 10)):
        luma = cv2.cvtColor(noisy(picture, i), cv2.COLOR_BGR2GRAY)[::2, ::2]
        found.append(finder(Frame(LazyImage(never, (1280, 720)), i / 10, WALL, "test", i, luma=luma)))
    assert hits(found[10:]) >= 0.9
    assert all(motion.grey is not None and motion.grey.shape == (180, 320) for motion in found)


def test_nothing_moves_under_a_mask_and_what_is_beside_it_does(meadow):
    scene = meadow[:720, :1280]
    left_half = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    found = run(MotionFinder(masks=[left_half]), [scene] * 10 + walking(scene, 60))
    assert not any(motion.regions for motion in found[10:46])  # its head is in the middle after 36 frames
    assert hits(found[50:], left=300 + 8 * 40) >= 0.9
    assert min(r.box_xywh[0] for motion in found for r in motion.regions) >= 0.5 - 1 / 320


def test_a_picture_masked_whole_never_moves(meadow):
    whole = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    found = run(MotionFinder(masks=[whole]), [meadow[:720, :1280], meadow[300:1020, 500:1780]] * 5)
    assert not any(motion.reset or motion.moving or motion.regions for motion in found[1:])


def test_a_camera_that_was_away_starts_again(meadow):
    finder = MotionFinder()
    run(finder, [meadow[:720, :1280]] * 10)
    frame = Frame(with_animal(meadow[:720, :1280], 300, 400, 60, 40), 500.0, WALL, "test", 10, discontinuity=True)
    assert finder(frame).reset
    assert not finder(Frame(frame.image, 500.1, WALL, "test", 11)).regions


def test_what_reaches_round_most_of_the_frame_is_reported_as_large(meadow):
    scene = meadow[:720, :1280]
    round_it = scene.copy()
    round_it[40:680, 40:120] = round_it[600:680, 40:1200] = 250
    found = run(MotionFinder(), [scene] * 10 + [round_it])
    assert found[-1].large
    assert [found[-1].regions[0].box_xywh[2] * found[-1].regions[0].box_xywh[3] > 0.6]
    assert not any(motion.large for motion in found[:-1])


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((72, 128), np.uint8),
        np.zeros((72, 128, 4), np.uint8),
        np.zeros((72, 128, 3), np.float32),
        np.zeros((72, 128, 3), np.uint16),
        np.zeros((0, 128, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(picture):
    with pytest.raises(PictureError, match=r"camera yard: frame 7 is .*; a source must give uint8 \(H, W, 3\) in BGR"):
        MotionFinder()(Frame(picture, 0.0, WALL, "yard", 7))


@pytest.mark.parametrize("luma", [np.zeros((72, 128, 3), np.uint8), np.zeros((72, 128), np.int16)])
def test_what_is_no_brightness_is_refused_in_a_sentence(luma):
    with pytest.raises(PictureError, match=r"a source must give uint8 \(h, w\)"):
        MotionFinder()(Frame(np.zeros((72, 128, 3), np.uint8), 0.0, WALL, "yard", 7, luma=luma))


SIDES = st.sampled_from([1, 2, 3, 5, 16, 17, 63, 240, 1000, 4000])
CORNERS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=8).map(tuple)


@given(
    shapes=st.lists(st.tuples(SIDES, SIDES).filter(lambda wh: wh[0] * wh[1] <= 300_000), min_size=1, max_size=6),
    masks=st.lists(CORNERS, max_size=3),
    seed=st.integers(0, 99),
    steps=st.lists(st.sampled_from([0.0, 0.1, 1.0, 100.0, -5.0]), min_size=6, max_size=6),
    again=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_whatever_comes_boxes_lie_in_the_frame_and_the_small_picture_stays_small(shapes, masks, seed, steps, again):
    finder, rng, time = MotionFinder(masks=masks), np.random.default_rng(seed), 0.0
    for i, (width, height) in enumerate(shapes * 2):
        time += steps[i % 6]
        picture = (
            rng.integers(0, 256, (height, width, 3), np.uint8) if i % 3 else np.full((height, width, 3), 9, np.uint8)
        )
        motion = finder(Frame(picture, time, WALL, "fuzz", i, discontinuity=again[i % 6]))
        assert motion.grey is not None
        assert motion.grey.shape[1] == 320
        assert 6 <= motion.grey.shape[0] <= 1280
        assert np.isfinite(motion.grey).all()
        assert len(motion.regions) <= MotionSettings().max_regions
        assert not (motion.regions and (motion.reset or motion.moving))
        for x, y, w, h in (region.box_xywh for region in motion.regions):
            assert min(x, y) >= 0
            assert min(w, h) > 0
            assert max(x + w, y + h) <= 1 + 1e-9


@given(
    st.lists(
        st.tuples(*[st.integers(0, 300), st.integers(0, 170), st.integers(1, 60), st.integers(1, 60)]), max_size=40
    )
)
def test_joined_boxes_hold_all_they_were_made_of(boxes):
    joined = merge([(box, box[2] * box[3]) for box in boxes], 3.0, 0.15)
    assert len(joined) <= len(boxes)
    for x, y, w, h in boxes:
        assert any(a <= x and b <= y and x + w <= a + c and y + h <= b + d for a, b, c, d in joined)
