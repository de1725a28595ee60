"""Cameras of this machine and the reader thread: how they are opened, thinned, lost and let go of."""

import gc
import threading
import time
from typing import Any

import numpy as np
import pytest

from edge.camera import Source, live
from edge.camera.live import Connection, LatestFrame, LiveSource, State
from edge.camera.opencv import CaptureSource
from edge.camera.reconnect import ReconnectingSource
from edge.errors import SourceError
from tests.helpers.sink_world import soon


class FakeVideo:
    """As many frames as it is given, at once; then reads fail."""

    def __init__(self, frames=10_000, pause_s=0.0, picture=None):
        self.left, self.pause_s, self.picture, self.released = frames, pause_s, picture, False

    def grab(self):
        time.sleep(self.pause_s)
        self.left -= 1
        return self.left >= 0

    def retrieve(self):
        return True, np.full((4, 4, 3), self.left % 256, np.uint8) if self.picture is None else self.picture

    def release(self):
        self.released = True


class BlockedVideo(FakeVideo):
    """A read that does not come back before ``go``, as in a driver whose device has hung."""

    def __init__(self, go):
        super().__init__()
        self.go = go

    def grab(self):
        assert self.go.wait(30)
        return False


def source_of(video, word="rtsp://anna:secret@yard/1", **options):
    fps = options.pop("fps", 1000)

    def open_():
        return CaptureSource(word, name="yard", fps=fps, open_=lambda: video)

    return LiveSource(open_, word, name="yard", fps=fps, **options)


def test_a_live_source_drops_what_is_stale():
    video = FakeVideo(pause_s=0.002)
    with source_of(video) as source:
        frames = iter(source)
        first, left = next(frames), video.left
        assert soon(lambda: video.left < left - 50)  # so many come, and nobody takes them
        newest = source._connection._slot
        second = next(frames)
        assert (int(first.image[0, 0, 0]) - int(second.image[0, 0, 0])) % 256 > 5  # of the frames that were left
        assert second.time - first.time > 0.08
        assert newest
        assert second.time >= newest.time
        assert (second.index, second.media_time_s) == (1, None)
    assert video.released


@pytest.mark.alone
def test_it_is_thinned_and_the_rate_may_be_changed_meanwhile():
    with source_of(FakeVideo(pause_s=0.002), fps=50) as source:
        times = []
        for frame in source:
            times.append(frame.time)
            if frame.index == 20:
                source.fps = 10
            if frame.index == 26:
                break
    gaps = np.diff(times)
    assert np.median(gaps[2:20]) == pytest.approx(0.02, abs=0.006)
    assert np.median(gaps[21:]) == pytest.approx(0.1, abs=0.02)


def test_a_live_source_that_stops_is_one_sentence():
    with (
        source_of(FakeVideo(3, pause_s=0.01), silent_s=0.2) as source,
        pytest.raises(SourceError, match=r"yard/1: no frame for 0\.2 s") as error,
    ):
        list(source)
    assert "secret" not in str(error.value)


def test_a_first_frame_may_take_longer(monkeypatch):
    monkeypatch.setattr(live, "FIRST_S", 5.0)

    class SlowStart(FakeVideo):
        def grab(self):
            time.sleep(0.01)
            return time.monotonic() > ready

    ready = time.monotonic() + 0.3
    with source_of(SlowStart(), silent_s=0.05) as source:
        assert next(iter(source)).index == 0
    monkeypatch.setattr(live, "FIRST_S", 0.1)
    with source_of(FakeVideo(0), silent_s=0.05) as source, pytest.raises(SourceError, match=r"no frame for 0\.1 s"):
        list(source)


def test_a_slow_rate_is_no_silence():
    with source_of(FakeVideo(pause_s=0.01), fps=5, silent_s=0.1) as source:
        assert [frame.index for frame, _ in zip(source, range(4), strict=False)] == [0, 1, 2, 3]


def test_what_is_no_picture_is_one_sentence():
    with (
        source_of(FakeVideo(picture=np.zeros((4, 4), np.uint16))) as source,
        pytest.raises(SourceError, match="gave no 8-bit picture"),
    ):
        list(source)


def test_closing_a_live_source_ends_it():
    source = source_of(FakeVideo(pause_s=0.002))
    for frame in source:
        if frame.index == 3:
            source.close()
    assert frame.index == 3


def test_a_failure_of_the_driver_reaches_the_loop():
    class Broken(FakeVideo):
        def retrieve(self):
            raise ZeroDivisionError

    video = Broken()
    with source_of(video) as source, pytest.raises(ZeroDivisionError):
        list(source)
    assert video.released


@pytest.fixture
def hasty(monkeypatch):
    for limit, seconds in (("OPEN_S", 0.05), ("CLOSE_S", 0.02), ("FIRST_S", 0.03)):
        monkeypatch.setattr(live, limit, seconds)


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("camera yard")]


def let_go(go):
    go.set()
    for thread in readers():
        thread.join(5)


def test_a_read_that_blocks_is_left_behind_once_and_releases_its_camera_when_it_returns(hasty):
    def alive():
        gc.collect()
        return len(readers()), sum(type(each) in {LiveSource, FakeVideo} for each in gc.get_objects())

    assert soon(lambda: readers() == [])  # those of other tests
    before, videos_released = alive(), []
    for _ in range(20):
        go = threading.Event()
        video = BlockedVideo(go)
        source = source_of(video, silent_s=0.03)
        with pytest.raises(SourceError, match="no frame"):
            next(iter(source))
        source.close()
        for _ in range(2):
            with pytest.raises(SourceError, match=r"\*\*\*@yard/1: the driver still hangs in an earlier read") as error:
                source_of(FakeVideo(), silent_s=0.03)
            assert "secret" not in str(error.value)
        assert soon(lambda: len(readers()) == 1)  # one that was refused ends a moment later
        assert not video.released
        let_go(go)
        with source_of(FakeVideo(pause_s=0.001)) as source:
            assert next(iter(source)).index == 0
        let_go(go)
        videos_released.append(video.released)
        del video, source, error
    assert all(videos_released)
    assert alive() == before


def test_a_camera_that_hangs_while_it_is_opened_is_left_behind_too(hasty):
    go = threading.Event()
    late = FakeVideo(pause_s=0.001)

    def open_():
        assert go.wait(30)
        return CaptureSource("98", name="yard", fps=10, open_=lambda: late)

    monkey = pytest.MonkeyPatch()
    monkey.setattr(live, "OPEN_S", -1.9)  # two seconds are added for the driver
    with pytest.raises(SourceError, match="did not open within"):
        LiveSource(open_, "98", name="yard", fps=10)
    monkey.undo()
    assert soon(lambda: len(readers()) == 1)
    let_go(go)
    assert late.released


def test_another_camera_is_not_held_up_by_one_that_hangs(hasty):
    go = threading.Event()
    with source_of(BlockedVideo(go), "96", silent_s=0.03) as source, pytest.raises(SourceError, match="no frame"):
        list(source)
    with source_of(FakeVideo(pause_s=0.001), "95") as source:
        assert next(iter(source))
    let_go(go)


def test_the_newest_item_is_kept_and_its_iterator_closed_in_its_own_thread():
    closed, go, given = [], threading.Event(), threading.Event()

    def count() -> Any:
        try:
            yield from range(5)
            given.set()
            go.wait(5)
            yield from range(5, 1000)
        finally:
            closed.append((threading.current_thread().name, newest.over))

    newest = LatestFrame(count, "counter")
    assert newest.take(0.01) is None
    newest.start()
    assert given.wait(5)
    last: Any = newest.take(1.0)
    assert last == 4
    assert newest.take() is None
    newest.stop()
    go.set()
    with newest.ready:
        assert newest.ready.wait_for(lambda: newest.over, 5)
    assert (closed, newest.over, newest.error) == ([("counter", False)], True, None)


def test_a_live_camera_that_is_kept_has_one_reader_thread():
    def open_():
        return CaptureSource("97", name="yard", fps=1000, open_=lambda: FakeVideo(pause_s=0.001))

    assert soon(lambda: readers() == [])  # those of other tests
    with ReconnectingSource(open_, name="yard", device="97") as source:
        source.open()
        frames = iter(source)  # kept: an iteration that nobody holds is over, and its reader with it
        assert [next(frames).index, len(readers())] == [0, 1]
    assert soon(lambda: readers() == [])


def test_a_connection_connects_streams_and_is_lost_in_one_thread():
    go = threading.Event()
    assert soon(lambda: readers() == [])  # those of other tests

    def open_():
        assert go.wait(5)
        return CaptureSource("97", name="yard", fps=1000, open_=lambda: FakeVideo(pause_s=0.001))

    connection = Connection(open_, "yard", device="97")
    assert connection.state is State.CONNECTING
    go.set()
    connection.await_open()
    assert (connection.state, connection.held) == (State.STREAMING, True)
    assert connection.take(5.0) is not None
    assert len(readers()) == 1
    connection.stop()
    assert connection.join(5)
    assert (connection.state, connection.error) == (State.LOST, None)


def test_a_third_reader_waits_for_the_first_that_hangs_though_the_second_was_stopped(monkeypatch):
    monkeypatch.setattr(live, "OPEN_S", 0.3)
    hang, opened = threading.Event(), []

    class Hanging(Source):
        fps = 1.0

        def __init__(self, name):
            opened.append(name)
            self.name = name

        def __iter__(self):
            if self.name == "first":
                hang.wait(20.0)
            return iter(())

        def close(self):
            pass

    def connect(name):
        return live.Connection(lambda: Hanging(name), name, device="/dev/hanging")

    first = connect("first")
    assert soon(lambda: first.state is State.STREAMING)  # or it would only be closed, and hang nowhere
    first.stop()
    connect("second").stop()
    third = connect("third")
    assert soon(lambda: third.over)
    assert opened == ["first"]
    assert "the driver still hangs" in str(third.error)
    hang.set()
    assert soon(lambda: not first.held)
    fourth = connect("fourth")
    assert soon(lambda: "fourth" in opened)
    fourth.stop()
