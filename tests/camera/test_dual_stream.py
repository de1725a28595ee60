"""Two streams as one source: whose picture is cut, how far apart the two are, what happens without the large one."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest

from edge.alert.events import EventPublisher
from edge.camera import Source, dual_stream
from edge.camera.dual_stream import OLDEST_S, SAME_S, SILENT_S, DualStreamSource
from edge.camera.reconnect import ReconnectingSource
from edge.camera_thread import connect
from edge.cli.watch.terminal import _lost
from edge.detect.camera_check import GRACE_S
from edge.errors import SourceError
from edge.schema import CameraFault, Event, Frame, LazyImage, VideoBuffer
from edge.watch import CHECK_S, Watcher
from tests.alarm.test_watch import RULE, Colours
from tests.helpers.kept_world import opens

MAIN_WH, SUB_WH = (320, 180), (64, 48)


class FakeStream(Source):
    """Frames of one size, their number as grey, until it is muted, closed or told to fail."""

    live = True

    def __init__(self, size_wh, *, fps=100.0, behind_s=0.0, luma=False):
        self.name, self.fps, self.size_wh, self.behind_s, self.luma = "fake", fps, size_wh, behind_s, luma
        self.problems: list[str] = []
        self.video = VideoBuffer()
        self.muted, self.closed = threading.Event(), threading.Event()
        self.fails: str | None = None
        self.frozen_s = 0.0
        self.made = 0  # pictures that somebody asked for
        self.last = -1
        self.at = [0.0] * 256  # when a picture was made, by its grey

    def __iter__(self):
        for index in itertools.count():
            while self.muted.is_set() and not self.closed.is_set() and not self.fails:
                time.sleep(0.005)
            if self.fails:
                raise SourceError(self.fails)
            if self.closed.wait(1.0 / self.fps):
                return
            self.last = index
            luma = self.grey(index) if self.luma else None
            later = LazyImage(partial(self.picture, index), self.size_wh)
            self.at[index % 256] = at = time.monotonic() - self.behind_s
            jpeg = b"the large one's" if self.size_wh == MAIN_WH else b"the small one's"
            yield Frame(
                later,
                at,
                datetime.now(UTC),
                self.name,
                index,
                at,
                luma=luma,
                jpeg=jpeg,
                frozen_s=self.frozen_s,
                video=self.video,
            )

    def grey(self, index):
        return np.full(self.size_wh[::-1], index % 256, np.uint8)

    def picture(self, index):
        self.made += 1
        return np.dstack([self.grey(index)] * 3)

    def close(self):
        self.closed.set()


def paired(*, main=None, sub=None, report=None):
    main, sub = main or FakeStream(MAIN_WH), sub or FakeStream(SUB_WH, luma=True)
    source = DualStreamSource(main, sub, name="yard")
    source.report = report or source.report
    return source, main, sub


@pytest.fixture
def limits(monkeypatch):
    """Set for how long a large picture is used, and how soon its stream is gone."""

    def set_to(oldest_s, silent_s=60.0):
        monkeypatch.setattr(dual_stream, "OLDEST_S", oldest_s)
        monkeypatch.setattr(dual_stream, "SILENT_S", silent_s)

    return set_to


def until(frames, wanted, most=1000):
    """The first frame of which something is true."""
    return next(frame for frame in itertools.islice(frames, most) if wanted(frame))


def test_motion_looks_at_the_small_stream_and_crops_come_from_the_large_one():
    source, main, sub = paired()
    with source:
        assert (source.live, source.length_s, source.name) == (True, None, "yard")
        row = iter(source)
        first = until(row, lambda frame: frame.size_wh == MAIN_WH).index
        frames = list(itertools.islice(row, 8))
    assert [frame.index for frame in frames] == list(range(first + 1, first + 9))
    for frame in frames:
        assert (frame.camera, frame.size_wh, frame.luma.shape) == ("yard", MAIN_WH, SUB_WH[::-1])
        assert (frame.luma == frame.index).all()
        assert frame.image.shape == (180, 320, 3)
        assert not frame.discontinuity
    assert all(before.time < after.time <= after.handed_over for before, after in itertools.pairwise(frames))
    assert main.closed.is_set()
    assert sub.closed.is_set()
    assert frames[0].jpeg == b"the large one's"


def test_no_large_picture_is_made_before_it_is_asked_for():
    source, main, sub = paired()
    with source:
        row = iter(source)
        assert len(list(itertools.islice(row, 30))) == 30
        frame = until(row, lambda frame: frame.size_wh == MAIN_WH)
        assert (main.made, sub.made) == (0, 0)
        assert frame.image is frame.image
        assert main.made == 1


def test_a_small_stream_without_brightness_is_made_grey():
    source, _, sub = paired(sub=FakeStream(SUB_WH))
    with source:
        frame = next(iter(source))
    assert np.array_equal(frame.luma, cv2.cvtColor(sub.picture(frame.index), cv2.COLOR_BGR2GRAY))


def test_only_the_newest_large_picture_is_used():
    source, main, _ = paired(
        main=FakeStream(MAIN_WH, fps=200.0, behind_s=0.3), sub=FakeStream(SUB_WH, fps=20.0, luma=True)
    )
    with source:
        frames = iter(source)
        until(frames, lambda frame: frame.size_wh == MAIN_WH)
        for frame in itertools.islice(frames, 8):
            newest = main.last
            assert 0 <= newest - int(frame.image[0, 0, 0]) <= 100


def test_a_large_picture_is_never_older_than_the_limit(limits):
    limits(0.15)
    source, main, sub = paired()
    with source:
        frames = iter(source)
        until(frames, lambda frame: frame.size_wh == MAIN_WH)
        main.muted.set()
        for frame in itertools.takewhile(lambda frame: frame.size_wh == MAIN_WH, itertools.islice(frames, 1000)):
            assert frame.time - main.at[int(frame.image[0, 0, 0])] <= 0.15
        for frame in itertools.islice(frames, 10):
            assert frame.size_wh == SUB_WH
            assert frame.video is None  # a clip has one size: until then its pictures are JPEGs
            assert np.array_equal(frame.image, sub.picture(frame.index))
            assert (frame.luma == frame.index % 256).all()
        main.muted.clear()
        back = until(frames, lambda frame: frame.size_wh == MAIN_WH)
        assert back.discontinuity
        assert back.video is main.video
        assert not next(frames).discontinuity


def test_a_large_stream_from_another_moment_is_not_used(limits):
    limits(0.2)
    for behind_s in (2.0, -2.0):
        source, _, _ = paired(main=FakeStream(MAIN_WH, behind_s=behind_s))
        with source:
            assert {frame.size_wh for frame in itertools.islice(source, 5)} == {SUB_WH}


def test_a_silent_large_stream_is_a_trouble_until_it_is_back(limits):
    limits(0.05, silent_s=0.2)
    told: list[tuple[Any, float]] = []
    source, main, _ = paired(report=lambda *said: told.append(said))
    with source:
        frames = iter(source)
        until(frames, lambda frame: frame.size_wh == MAIN_WH)
        main.muted.set()
        until(frames, lambda _: len(told) > 1)  # again and again while it lasts
        main.muted.clear()
        until(frames, lambda _: told[-1][0] is None)
    assert {trouble.kind for trouble, _ in told if trouble} == {"main_gone"}
    assert told[0][0].detail.startswith("yard: only the small stream is seen, in which far animals are missed")
    assert "no picture of the same moment" in told[0][0].detail
    assert [trouble for trouble, _ in told].count(None) == 1
    assert all(0.0 <= time.monotonic() - at < 60.0 for _, at in told)


def test_a_large_stream_that_ends_is_reported_with_its_reason(limits):
    limits(0.05)
    told: list[Any] = []
    source, main, _ = paired(report=lambda trouble, at: told.append(trouble))
    with source:
        frames = iter(source)
        next(frames)
        main.fails = "no route to the camera"
        until(frames, lambda _: told)
    assert "the main stream: no route to the camera" in told[0].detail


def kept_pair():
    """Both streams as `watch` has them, and what is told of the main one."""
    told: list[Any] = []
    main, sub = (
        ReconnectingSource(opens(FakeStream(size), away), name="yard", fps=100.0) for size in (MAIN_WH, SUB_WH)
    )
    source = DualStreamSource(main, sub, name="yard")
    source.report = lambda trouble, at: told.append(trouble)
    return source, told


def away():
    raise SourceError("yard: no such camera; plug it in")


def test_what_the_large_stream_says_of_itself_is_reported_from_the_small_ones_thread():
    source, told = kept_pair()
    threads = []

    def report(trouble, at):
        told.append(trouble)
        threads.append(threading.current_thread())

    source.report = report
    with source:
        frames = iter(source)
        until(frames, lambda frame: frame.size_wh == MAIN_WH)
        source.main._connection.source.fails = "yard: the stream broke off; check the network"
        until(frames, lambda _: told)
    assert "the main stream: the stream broke off; check the network" in told[0].detail
    assert set(threads) == {threading.current_thread()}


def test_a_large_stream_that_is_still_is_not_looked_at():
    source, told = kept_pair()
    with source:
        frames = iter(source)
        until(frames, lambda frame: frame.size_wh == MAIN_WH)
        source.main.report(CameraFault("frozen", "yard: the same picture for 9 s; switch the camera off and on"), 0.0)
        until(frames, lambda frame: frame.size_wh == SUB_WH)
        until(frames, lambda _: told)
        assert "the same picture for 9 s" in told[0].detail
        source.main.report(None, 0.0)
        assert until(frames, lambda frame: frame.size_wh == MAIN_WH).discontinuity


def test_both_streams_troubles_reach_the_watcher_and_each_has_its_own_end():
    source, _ = kept_pair()
    told: list[Event] = []
    connect(source, Watcher(Colours(), RULE, EventPublisher([told.append])))
    main, gone = CameraFault("main_gone", "yard: only the small stream"), CameraFault("gone", "yard: no frame")
    for second in range(60):
        source.report(main if 5 <= second < 50 else None, 100.0 + second)
        source.sub.report(gone if 20 <= second < 30 else None, 100.0 + second)
    assert [(event.type, event.label) for event in told] == [
        ("new", "main_gone"), ("new", "gone"), ("end", "gone"), ("end", "main_gone"),
    ]  # fmt: skip
    source.close()


def test_both_are_closed_side_by_side(monkeypatch):
    monkeypatch.setattr("edge.camera.dual_stream.CLOSE_S", 30.0)
    both, met = threading.Barrier(2), []

    class Slow(FakeStream):
        def close(self):
            both.wait(20)
            met.append(self)

    DualStreamSource(Slow(MAIN_WH), Slow(SUB_WH), name="yard").close()
    assert len(met) == 2


def test_a_large_stream_whose_closing_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("edge.camera.dual_stream.CLOSE_S", 0.1)
    go, closed = threading.Event(), []

    class Deaf(FakeStream):
        def close(self):
            go.wait(30)
            closed.append(self)

    DualStreamSource(Deaf(MAIN_WH), FakeStream(SUB_WH), name="yard").close()
    assert not closed
    go.set()


def test_the_small_stream_waits_for_nothing_and_the_large_ones_first_picture_is_looked_at_whole():
    main = FakeStream(MAIN_WH)
    main.muted.set()
    source, _, _ = paired(main=main)
    with source:
        frames = iter(source)
        assert {frame.size_wh for frame in itertools.islice(frames, 3)} == {SUB_WH}
        main.muted.clear()
        assert until(frames, lambda frame: frame.size_wh == MAIN_WH).discontinuity


def test_the_small_stream_drives_and_its_end_ends_both():
    source, main, sub = paired()
    sub.fails = "unplugged"
    sub.problems.append("a word of the small one")
    with source, pytest.raises(SourceError, match="unplugged"):
        list(source)
    assert main.closed.is_set()
    assert source.problems == ["a word of the small one"]


def test_the_rate_is_both_streams_rate():
    source, main, sub = paired()
    assert source.fps == 100.0
    source.fps = 5.0
    assert (source.fps, sub.fps, main.fps) == (5.0, 5.0, 5.0)
    source.fps = 0.5
    assert (sub.fps, main.fps) == (0.5, 2.0)  # or the newest large picture would often be too old
    source.close()


def test_closing_from_another_thread_ends_it():
    for muted in (False, True):
        source, main, _ = paired()
        if muted:
            main.muted.set()
        threading.Timer(0.2, source.close).start()
        list(source)
        assert not any(each.name == "camera yard main" and each.is_alive() for each in still_running())


def still_running():
    deadline = time.monotonic() + 5.0
    while any("camera yard" in each.name for each in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return threading.enumerate()


def test_the_same_large_picture_is_not_cut_while_the_small_one_lives(limits):
    limits(OLDEST_S)
    told: list[Any] = []
    source, main, sub = paired(report=lambda trouble, at: told.append(trouble))
    with source:
        frames = iter(source)
        until(frames, lambda frame: frame.size_wh == MAIN_WH)
        main.frozen_s, sub.frozen_s = 1.5, 0.5
        assert (
            until(frames, lambda frame: frame.frozen_s == 0.5).size_wh == MAIN_WH
        )  # a still place, as far as is known
        sub.frozen_s = 0.0
        until(frames, lambda frame: frame.size_wh == SUB_WH)
        sub.frozen_s = 0.5
        until(frames, lambda frame: frame.frozen_s == 0.5)
        assert {frame.size_wh for frame in itertools.islice(frames, 10)} == {SUB_WH}  # no to and fro
        main.frozen_s = 61.0
        until(frames, lambda _: told)
        assert "the main stream: the same picture for 61 s, while the small one changes" in told[0].detail
        main.frozen_s = 0.0
        assert until(frames, lambda frame: frame.size_wh == MAIN_WH).discontinuity
        sub.frozen_s = 9.0  # and what is cut is new
        assert all(frame.frozen_s == 0.0 for frame in itertools.islice(frames, 20))


def test_a_large_stream_that_fails_is_reported_within_ten_seconds():
    assert max(OLDEST_S, SAME_S) + SILENT_S + GRACE_S["main_gone"] + CHECK_S <= 10.0


def test_what_is_reported_as_lost_is_all_of_the_small_stream():
    main, sub = (ReconnectingSource(away, name="yard") for _ in range(2))
    main._lost.total_s, main.reopened = 500.0, 20
    sub._lost.total_s, sub.reopened = 41.2, 3
    with DualStreamSource(main, sub, name="yard") as source:
        assert _lost(source) == "41.2 s without a picture, reopened 3 times"
