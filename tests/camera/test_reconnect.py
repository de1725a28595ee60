"""Keeping a camera alive: what is noticed, said and opened anew, in a time that passes only when everybody waits."""

from __future__ import annotations

import gc
import itertools
import re
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from edge.camera.live import frame_fault
from edge.camera.reconnect import BACK_OFF_S, FrameSequencer, Frozen, GapMonitor, ReconnectingSource, Stillness
from edge.errors import SourceError
from edge.schema import Frame, LazyImage
from tests.helpers.kept_world import Blocking, Camera, Connection, Diary, World, opens, ours
from tests.helpers.sink_world import soon

NOW = datetime(2024, 5, 1, tzinfo=UTC)


def test_a_healthy_camera_is_left_alone():
    diary = Diary(seconds=60)
    diary.check()
    assert diary.reports == []
    assert diary.camera.opened == []
    assert len(diary.frames) == pytest.approx(240, abs=2)
    assert diary.again() == []


@pytest.mark.parametrize("state", ["silent", "broken", "away", "garbage", "bug"])
def test_a_camera_that_is_gone_is_noticed_and_found_again(state, caplog):
    diary = Diary((10.0, state), (40.0, "live"), seconds=60)
    diary.check()
    (noticed, kind), (over, none) = diary.troubles
    assert (kind, none) == ("gone", None)
    assert 10.0 <= noticed.expected <= 16.0
    assert 40.0 <= over.expected <= 50.0
    assert diary.again() == [pytest.approx(over.expected, abs=0.01)]
    assert all(re.fullmatch("yard: .+; .+", words) for words in diary.said)
    assert ("ZeroDivisionError" in caplog.text) == (state == "bug")


def test_a_stream_that_ends_is_over_unless_it_is_watched_for_ever():
    assert Diary((10.0, "ends"), seconds=60).ended_at == pytest.approx(10.0, abs=0.5)
    diary = Diary((10.0, "ends"), (11.0, "live"), seconds=30, endless=True)
    diary.check()
    assert [kind for _, kind in diary.troubles] == ["gone", None]
    assert diary.said[0] == "yard: the stream has ended; start it again"
    assert diary.ended_at >= 30.0


def test_a_camera_that_is_not_there_at_the_start_is_waited_for():
    diary = Diary((0.0, "away"), (20.0, "live"), seconds=40, first=False)
    diary.check()
    assert diary.troubles == [(pytest.approx(0.3, abs=0.5), "gone"), (pytest.approx(24.0, abs=5.0), None)]
    assert diary.frames[0][1].index == 0


def test_it_is_opened_after_half_a_second_and_then_ever_more_seldom():
    opened = Diary((10.0, "away"), (60.0, "live"), seconds=80).camera.opened
    assert opened[0] == pytest.approx(15.25 + 0.25, abs=0.6)  # the silence, and then half a second
    gaps = np.diff(opened)
    assert gaps[:4] == pytest.approx(BACK_OFF_S[1:], abs=0.01)
    assert all(gap == pytest.approx(8.0, abs=0.01) for gap in gaps[3:])


def test_the_back_off_starts_again_after_good_seconds():
    flaky = Diary((10.0, "broken"), (10.5, "live"), (30.0, "away"), (60.0, "live"), seconds=80).camera.opened
    assert flaky[0] == pytest.approx(10.75, abs=0.26)
    assert np.diff(flaky)[1:4] == pytest.approx([1.0, 2.0, 4.0], abs=0.01)
    dying = Diary(*[(at / 2, "broken" if at % 4 == 0 else "live") for at in range(20, 200)], seconds=60).camera.opened
    assert len(dying) < 15


def test_a_frozen_camera_is_opened_again_once_without_a_word():
    diary = Diary((10.0, "frozen"), (15.5, "live"), seconds=60)
    diary.check()
    assert diary.reports == []
    assert diary.camera.opened == [pytest.approx(15.25, abs=0.3)]
    assert diary.again() == [pytest.approx(16.0, abs=0.5)]


def test_a_camera_that_stays_frozen_is_a_trouble_until_the_picture_changes():
    diary = Diary((10.0, "frozen"), (50.0, "live"), seconds=70)
    diary.check()
    assert diary.troubles == [(16.0, "frozen"), (50.25, None)]
    assert "the same picture for 6 s" in diary.said[0]
    assert np.diff(diary.camera.opened) == pytest.approx([10.5, 20.5], abs=0.5)
    assert len(diary.frames) > 250  # what does not move is watched all the same


def test_what_was_still_before_a_gap_does_not_count_after_it():
    opened = Diary((10.0, "frozen"), (13.0, "broken"), (14.0, "frozen"), (18.0, "live"), seconds=40).camera.opened
    assert opened == [pytest.approx(14.0, abs=1.0)]


def test_a_frozen_camera_that_is_started_again_is_no_longer_frozen():
    diary = Diary((10.0, "frozen"), (30.0, "away"), (40.0, "live"), seconds=60)
    diary.check()
    assert [kind for _, kind in diary.troubles] == ["frozen", "gone", None]


def test_a_camera_that_freezes_again_and_again_is_a_trouble():
    life = [(10.0 + 8.0 * i + late, state) for i in range(8) for late, state in ((0.0, "frozen"), (5.3, "live"))]
    diary = Diary(*life, seconds=90)
    diary.check()
    assert [kind for _, kind in diary.troubles][:2] == ["frozen", None]
    assert diary.troubles[0][0].expected < 25.0


def test_a_read_that_blocks_is_waited_for_and_never_doubled():
    diary = Diary((10.0, "deaf"), (50.0, "live"), seconds=70)
    diary.check()
    assert diary.camera.opened == [pytest.approx(50.3, abs=0.7)]
    assert "driver does not let go" in diary.said[-1]
    assert diary.again() == [pytest.approx(51.0, abs=1.0)]


def test_opening_that_blocks_is_reported_and_not_tried_twice():
    diary = Diary((10.0, "stuck"), (50.0, "live"), seconds=70)
    diary.check()
    assert len([at for at in diary.camera.opened if at < 50.0]) == 1
    assert diary.again()[0] < 60.0


def test_a_stream_with_an_end_ends():
    diary = Diary((10.0, "ends"), seconds=60)
    diary.check()
    assert diary.ended_at == pytest.approx(10.0, abs=0.3)
    assert diary.reports == []


def test_any_life_is_survived():
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    states = st.sampled_from(["live", "silent", "deaf", "broken", "garbage", "frozen", "away", "stuck"])
    lives = st.lists(st.tuples(st.sampled_from([0.3, 2.0, 4.9, 7.0, 12.0, 40.0]), states), max_size=6)

    @hypothesis.given(lives)
    def survives(life):
        at, states = 5.0, []
        for seconds, state in life:
            states.append((at, state))
            at += seconds
        diary = Diary(*states, (at, "live"), seconds=at + 20.0)
        diary.check()
        hypothesis.note(f"opened at {diary.camera.opened}, said {diary.troubles}")
        assert diary.frames[-1][0] - diary.frames[-2][0] == pytest.approx(0.25, abs=0.01)
        for (start, state), (end, _) in zip(states, [*states, (at, "live")][1:], strict=True):
            during = [(moment, trouble) for moment, trouble in diary.reports if start <= moment <= end]
            if end - start >= 12.0 and state not in {"live", "frozen"}:
                assert any(trouble and moment <= start + 10.0 for moment, trouble in during), state
            if end - start >= 40.0 and state == "frozen":
                assert any(t and t.kind == "frozen" and moment <= start + 20.0 for moment, t in during)
            if end - start >= 40.0 and state == "live":
                assert any(start <= moment <= start + 15.0 for moment, _ in diary.frames)
        assert any(moment <= at + 15.0 for moment, _ in diary.frames if moment >= at)

    survives()


def stuck(go):
    go.wait(30)
    return Blocking(go)


def away():
    raise SourceError("yard: no such camera")


@pytest.mark.alone
@pytest.mark.parametrize("doing", ["giving frames", "reading", "closing", "opening", "pausing", "not begun"])
def test_closing_ends_it_within_a_second_whatever_it_does(doing):
    go, began = threading.Event(), threading.Event()
    source = Blocking(go, frames=10_000 if doing == "giving frames" else 3, closing=doing == "closing")
    open_ = {"opening": lambda: stuck(go), "pausing": away}.get(doing, opens(source, away))
    kept = ReconnectingSource(open_, name="yard", silent_s=0.1)
    kept.report = lambda trouble, at: began.set()

    def watch():
        for _ in kept:
            if doing != "closing":
                began.set()

    watcher = threading.Thread(target=watch, name="watcher")
    if doing != "not begun":
        watcher.start()
        assert began.wait(15)
    started = time.monotonic()
    kept.close()
    if watcher.ident:
        watcher.join(5)
    assert time.monotonic() - started < 1.5
    assert not watcher.is_alive()
    # Where nothing hangs, it has been let go of; a thread that is over takes a moment to end.
    assert doing in {"reading", "closing", "opening"} or soon(lambda: not ours())
    started = time.monotonic()
    kept.close()
    assert time.monotonic() - started < 0.5  # what hangs was waited for
    go.set()
    for thread in ours():
        thread.join(5)
    assert not ours()
    assert doing in {"opening", "pausing", "not begun"} or source.closed.is_set()


def test_a_camera_whose_closing_hangs_is_not_opened_meanwhile(monkeypatch):
    monkeypatch.setattr("edge.camera.reconnect.FIRST_S", 0.1)
    go, opened, calls = threading.Event(), [], itertools.count()

    class Clinging(Blocking):
        def __iter__(self):
            yield from ()
            assert self.closed.wait(10)

        def close(self):
            self.closed.set()
            if next(calls) == 0:
                go.wait(30)

    def reopen():
        opened.append(go.is_set())
        kept.close()
        return Blocking(go)

    kept = ReconnectingSource(opens(Clinging(go), reopen), silent_s=0.05)
    kept.report = lambda trouble, at: go.set() if "does not let go" in str(trouble) else None
    assert list(kept) == []
    assert opened == [True]
    for thread in ours():
        thread.join(5)


def test_what_is_opened_too_late_is_closed():
    go, began, made = threading.Event(), threading.Event(), []

    def late():
        began.set()
        made.append(stuck(go))
        return made[0]

    kept = ReconnectingSource(late, name="yard")
    thread = threading.Thread(target=lambda: list(kept))
    thread.start()
    assert began.wait(15)
    kept.close()
    thread.join(5)
    go.set()
    for opener in ours():
        opener.join(5)
    assert made[0].closed.is_set()


def test_the_rate_may_be_changed_and_is_kept_over_a_gap():
    world = World()
    camera = Camera(world, (8.0, "broken"), (9.1, "live"))
    kept = ReconnectingSource(
        opens(Connection(camera), camera.open), fps=camera.fps, clock=world.clock, sleep=world.sleep
    )
    times = []
    for frame in kept:
        if frame.index == 3:
            kept.fps = 1.0
        times.append(world.now)
        if len(times) > 14:
            kept.close()
    assert np.diff(times)[5:8] == pytest.approx([1.0] * 3)
    assert np.diff(times)[-3:] == pytest.approx([1.0] * 3)
    assert kept.reopened == 1


def test_it_can_be_iterated_once_more():
    world = World()
    camera = Camera(world)
    kept = ReconnectingSource(
        opens(Connection(camera), camera.open), fps=camera.fps, clock=world.clock, sleep=world.sleep
    )
    for _ in range(2):
        for frame in kept:
            if frame.index % 4 == 3:
                break
    assert (frame.index, len(camera.opened), camera.most_open) == (7, 1, 1)
    kept.close()
    assert list(kept) == []


def test_nothing_grows_with_the_years():
    def kept_alive():
        for thread in ours():
            thread.join(0.1)  # one that is over takes a moment to end
        gc.collect()
        return sum(type(thing) in {Frame, Connection} for thing in gc.get_objects()), threading.active_count()

    before = kept_alive()
    world = World()
    camera = Camera(world, *[(5.0 + at, ("broken", "live")[at % 2]) for at in range(400)])
    kept = ReconnectingSource(
        opens(Connection(camera), camera.open), fps=camera.fps, clock=world.clock, sleep=world.sleep
    )
    for frame in kept:
        if len(camera.opened) >= 20 or frame.index > 1000:
            break
    assert len(camera.opened) >= 20
    during = kept_alive()
    assert during[0] - before[0] <= 6
    assert during[1] - before[1] <= 2
    kept.close()
    del kept, frame, camera
    after = kept_alive()
    assert after[0] <= before[0] + 1
    assert after[1] <= before[1]  # what others left may have ended meanwhile


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


def test_what_is_still_again_and_again_comes_and_goes():
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
def test_what_is_no_picture_is_reported(picture, words):
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
            reopened = frozen(frame_of(grey(int(opened))), opened + i / 2, opened, i + 1)
            certain.append(frozen.certain)
            if reopened:
                break
        opened_anew.append(i)
    assert opened_anew == [10, 20, 40, 80]  # ever more seldom: it may be well, and the place still
    assert certain == [False] * 21 + [True] * 133
    frozen(frame_of(grey(99)), 80.0, 60.0, 22)
    assert not frozen.certain


def still_for(frozen, seconds, since, opened, shade):
    """Return when it is opened again, or None, while the same picture comes twice a second after another one."""
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


def test_a_picture_of_another_size_is_seen_again():
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
