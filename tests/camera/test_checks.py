"""What is no picture, what stands still, and how frames of several connections become one row."""

from datetime import UTC, datetime

import numpy as np
import pytest

from edge.camera.live import frame_fault
from edge.camera.reconnect import FrameSequencer, Frozen, Stillness
from edge.schema import Frame, LazyImage

NOW = datetime(2024, 5, 1, tzinfo=UTC)


def frame_of(picture, at=0.0, **more):
    return Frame(picture, at, NOW, "yard", 0, **more)


def grey(shade=100, shape=(720, 1280, 3), dtype=np.uint8):
    return np.full(shape, shade, dtype)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (None, "no 8-bit picture"),
        (grey(shape=(4, 4)), "no 8-bit picture"),
        (grey(shape=(4, 4, 4)), "no colour picture"),
        (grey(shape=(0, 4, 3)), "no 8-bit picture"),
        (grey(dtype=np.float32), "no 8-bit picture"),
        ("picture", "no 8-bit picture"),
    ],
)
def test_what_is_no_picture_is_said(picture, words):
    fault = str(frame_fault(frame_of(picture)))
    assert words in fault
    assert ";" in fault


def test_pictures_are_right_and_those_for_later_are_not_made():
    later = LazyImage(lambda: pytest.fail("made"), (1280, 720))
    assert frame_fault(frame_of(grey())) is None
    assert frame_fault(frame_of(later)) is None
    assert frame_fault(frame_of(later, luma=grey(shape=(180, 320)))) is None
    assert "no 8-bit picture" in str(frame_fault(frame_of(later, luma=grey())))
    assert "no frame" in str(frame_fault(None))


def test_one_bit_in_a_picture_is_life():
    still, picture = Stillness(), grey()
    assert [still(frame_of(picture), at) for at in (1.0, 2.0, 4.0)] == [0.0, 1.0, 3.0]
    picture = picture.copy()
    picture[701, 1001, 2] ^= 1  # not in the sample
    assert still(frame_of(picture), 5.0) == 0.0
    picture[0, 0, 0] ^= 1  # in the sample, and in the same memory
    assert still(frame_of(picture), 6.0) == 0.0
    luma = grey(shape=(180, 320))
    later = frame_of(LazyImage(lambda: pytest.fail("made"), (1280, 720)), luma=luma)
    assert [still(later, at) for at in (7.0, 8.0)] == [0.0, 1.0]
    assert still(frame_of(LazyImage(lambda: pytest.fail("made"), (1280, 720))), 9.0) == 0.0


def test_two_frames_at_a_slow_rate_are_not_yet_frozen():
    frozen = Frozen()
    assert [frozen(frame_of(grey()), at, 0.0, i + 1) for i, at in enumerate((1.0, 9.0, 17.0))] == [False, False, True]
    assert not frozen.certain


def test_a_new_picture_at_each_opening_does_not_clear_a_frozen_camera():
    frozen, opened_anew, certain = Frozen(), [], []
    for opened in (0.0, 60.0, 120.0, 180.0):
        for i in range(100):
            anew = frozen(frame_of(grey(int(opened))), opened + i / 2, opened, i + 1)
            certain.append(frozen.certain)
            if anew:
                break
        opened_anew.append(i)
    assert opened_anew == [10, 20, 40, 80]  # ever more seldom: it may be well, and the place still
    assert certain == [False] * 21 + [True] * 133
    frozen(frame_of(grey(99)), 80.0, 60.0, 22)
    assert not frozen.certain


def still_for(frozen, seconds, since, opened, shade):
    """When it is opened anew, if it is, while the same picture comes twice a second after another one."""
    frozen(frame_of(grey(200)), since - 0.5, opened, 2)
    for i in range(int(seconds * 2)):
        if frozen(frame_of(grey(shade)), since + i / 2, opened, 3):
            return since + i / 2
    return None


def test_a_still_place_is_given_more_patience_until_it_has_lived_for_a_while():
    frozen = Frozen()
    assert still_for(frozen, 60.0, 100.0, 0.0, 1) == 105.0
    assert still_for(frozen, 7.0, 106.0, 106.0, 2) is None  # soon opened again; it ends by itself, and is not told
    assert still_for(frozen, 12.0, 200.0, 106.0, 3) is None  # learnt
    for i in range(3600):
        frozen(frame_of(grey(i % 2)), 300.0 + i, 106.0, 9)
    assert still_for(frozen, 60.0, 4000.0, 106.0, 4) == 4005.0


@pytest.mark.parametrize("stuck", [True, False])
def test_nothing_is_learnt_from_a_camera_that_was_frozen(stuck):
    frozen = Frozen()
    assert still_for(frozen, 60.0, 100.0, 0.0, 1) == 105.0
    assert not frozen(frame_of(grey(1 if stuck else 2)), 105.5, 105.5, 1)
    for i in range(60):
        frozen(frame_of(grey(1 if stuck else 2)), 106.0 + i / 2, 105.5, 2 + i)
    assert frozen.certain
    assert still_for(frozen, 60.0, 200.0, 135.0, 3) == 205.0


def test_a_picture_of_another_size_is_seen_anew():
    onward = FrameSequencer()
    sizes = [(720, 1280, 3), (720, 1280, 3), (480, 640, 3), (480, 640, 3)]
    frames = [onward(frame_of(grey(shape=shape), i), i, first=i == 0) for i, shape in enumerate(sizes)]
    assert [frame.discontinuity for frame in frames] == [False, False, True, False]


def test_times_go_forward_over_a_gap_and_back_to_the_clock():
    onward = FrameSequencer()
    given = [(5.0, 100.0, True), (6.0, 101.0, False), (0.0, 111.0, True), (0.5, 111.5, False), (0.5, 112.0, False)]
    times = [onward(frame_of(grey(), at), now, first=first).time for at, now, first in given]
    assert times == pytest.approx([5.0, 6.0, 16.0, 16.5, 16.501])
    assert onward(frame_of(grey(), 500.0), 120.0, first=True).time == 500.0
