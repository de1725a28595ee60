"""What a kept camera loses: how many seconds without a picture, and when short gaps add up to a trouble."""

import re

import pytest

from edge.camera.reconnect import GapMonitor, ReconnectingSource
from tests.helpers.kept_world import Camera, Connection, Diary, World, opens


def test_what_is_lost_is_counted_with_the_gap_that_lasts():
    diary = Diary(
        (10.0, "away"), (30.0, "live"), (50.0, "deaf"), (54.0, "live"), (60.0, "deaf"), (61.0, "live"), seconds=70
    )
    back = diary.again()[0]
    assert diary.kept.lost_s == pytest.approx(back - 10.0 + 5.5, abs=1.0)
    assert diary.kept.reopened == len(diary.camera.opened)
    assert Diary(seconds=30).kept.lost_s == 0.0
    world = World()
    camera = Camera(world, (5.0, "away"))
    kept = ReconnectingSource(
        opens(Connection(camera), camera.open), fps=camera.fps, clock=world.clock, sleep=world.sleep
    )
    kept.report = lambda trouble, at: kept.close() if at >= 1030.0 else None
    list(kept)
    assert kept.lost_s == pytest.approx(25.5, abs=1.5)  # closed at the next look, and openings differ


def test_short_gaps_that_add_up_are_a_trouble_until_they_are_rare():
    life = [(11.0 * i + late, state) for i in range(1, 20) for late, state in ((0.0, "deaf"), (4.0, "live"))]
    diary = Diary(*life, seconds=600)
    diary.check()
    assert [kind for _, kind in diary.troubles] == ["unsteady", None]
    assert diary.troubles[0][0].expected <= 150.0
    assert diary.troubles[1][0].expected <= 20 * 11.0 + 180.0
    assert re.fullmatch(r"yard: the picture comes and goes, 3\d of the last \d+ s were lost; .+", diary.said[0])
    assert diary.camera.opened == []


def test_gaps_of_a_second_and_a_half_add_up_too():
    life = [(2.1 * i + late, state) for i in range(5, 150) for late, state in ((0.0, "deaf"), (1.5, "live"))]
    diary = Diary(*life, seconds=300)
    assert [kind for _, kind in diary.troubles] == ["unsteady"]
    assert diary.troubles[0][0].expected <= 100.0


@pytest.mark.parametrize(("gap_s", "told"), [(0.1, False), (1.0, False), (1.9, False), (2.5, True)])
def test_a_camera_that_is_slow_by_itself_does_not_come_and_go(gap_s, told):
    lost = GapMonitor()
    for i in range(300):
        lost(i * gap_s, gap_s, 10.0)
    assert lost.unsteady == told


def test_what_stands_still_again_and_again_comes_and_goes():
    life = [(12.0 * i + late, state) for i in range(1, 40) for late, state in ((0.0, "frozen"), (8.0, "live"))]
    diary = Diary(*life, seconds=480)
    assert "unsteady" in [kind for _, kind in diary.troubles]
    assert next(at for at, trouble in diary.reports if trouble and trouble.kind == "unsteady") <= 100.0


def test_a_camera_that_is_unsteady_and_then_gone_is_gone():
    life = [(11.0 * i + late, state) for i in range(1, 20) for late, state in ((0.0, "deaf"), (4.0, "live"))]
    diary = Diary(*life, (220.0, "away"), (250.0, "live"), seconds=270)
    diary.check()
    assert [kind for _, kind in diary.troubles] == ["unsteady", "gone", "unsteady"]


def test_what_a_source_found_wrong_with_itself_is_known():
    world = World()
    camera = Camera(world)
    first = Connection(camera)
    first.problems = ["yard: raw pictures are refused"]
    kept = ReconnectingSource(opens(first, camera.open), clock=world.clock, sleep=world.sleep)
    for _ in kept:
        kept.close()
    assert kept.problems == ["yard: raw pictures are refused"]
