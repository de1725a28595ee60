"""Frames in memory stay within their bounds, whatever a camera sends."""

from itertools import pairwise

import pytest

from edge.record.clip import ClipBuffer, Ring
from edge.schema import OVERHEAD_BYTES, Packet

pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st

SHOTS = st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 60_000)), max_size=120)
MOST = 100_000


def picture(time, size):
    """A JPEG of so many bytes."""
    return Packet(b"\xff" * size, time, time, key=True)


def shots(steps):
    """Shots with these pauses before them and of these sizes."""
    time, found = 0.0, []
    for pause, size in steps:
        time += pause
        found.append(picture(time, size))
    return found


def total(found):
    return sum(len(shot.data) + OVERHEAD_BYTES for shot in found)


@given(SHOTS)
def test_a_ring_holds_the_last_seconds_and_never_more_than_its_bytes(steps):
    ring, given_so_far = Ring(5.0, MOST), []
    for shot in shots(steps):
        ring.add(shot)
        given_so_far.append(shot)
        held = list(ring.packets())
        assert ring.bytes == total(held) <= MOST
        assert held == given_so_far[len(given_so_far) - len(held) :]  # the newest, none between left out
        assert all(shot.time - 5.0 <= each.time for each in held)
        if len(held) < len(given_so_far):  # what has gone had to
            before = given_so_far[-len(held) - 1]
            assert before.time < shot.time - 5.0 or total([before, *held]) > MOST or before not in held


@given(SHOTS)
def test_a_reel_never_holds_more_than_its_bytes_and_keeps_its_order(steps):
    reel = ClipBuffer([], MOST)
    for shot in shots(steps):
        reel.add(shot)
        held = reel.packets()
        assert reel.bytes == total(held) <= MOST
        times = [each.time for each in held]
        assert times == sorted(times)


def test_a_reel_that_is_full_is_thinner_everywhere_and_reaches_to_the_end():
    reel = ClipBuffer([], 50 * (1000 + OVERHEAD_BYTES))
    for i in range(300):
        reel.add(picture(i * 0.2, 1000))
    times = [shot.time for shot in reel.packets()]
    gaps = [after - before for before, after in pairwise(times)]
    assert len(times) == 50
    assert times[0] == 0.0
    assert times[-1] > 59.0
    assert max(gaps) <= 2 * 60 / 50


def test_a_clock_that_goes_back_begins_again():
    ring = Ring(5.0, MOST)
    for time in (10.0, 11.0, 3.0):
        ring.add(picture(time, 1))
    assert [shot.time for shot in ring.packets()] == [3.0]


def test_a_shot_too_large_is_not_held():
    ring, reel = Ring(5.0, MOST), ClipBuffer([], MOST)
    ring.add(picture(1.0, MOST))
    reel.add(picture(1.0, MOST))
    assert (len(ring), ring.bytes, len(reel), reel.bytes) == (0, 0, 0, 0)
