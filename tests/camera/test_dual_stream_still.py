"""A large stream that stands still while the small one lives: nothing is cut from the past."""

import itertools
from typing import Any

from edge.camera.dual_stream import OLDEST_S, SAME_S, SILENT_S, DualStreamSource
from edge.camera.reconnect import ReconnectingSource
from edge.cli.watch.summary import _lost
from edge.detect.camera_check import GRACE_S
from edge.watch import CHECK_S
from tests.camera.test_dual_stream import MAIN_WH, SUB_WH, away, paired, until


def test_the_same_large_picture_is_not_cut_while_the_small_one_lives():
    told: list[Any] = []
    source, main, sub = paired(silent_s=60.0, report=lambda trouble, at: told.append(trouble))
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


def test_a_large_stream_that_fails_is_told_within_ten_seconds():
    assert max(OLDEST_S, SAME_S) + SILENT_S + GRACE_S["main_gone"] + CHECK_S <= 10.0


def test_what_is_said_to_be_lost_is_all_of_the_small_stream():
    main, sub = (ReconnectingSource(away, name="yard") for _ in range(2))
    main._lost.total_s, main.reopened = 500.0, 20
    sub._lost.total_s, sub.reopened = 41.2, 3
    with DualStreamSource(main, sub, name="yard") as source:
        assert _lost(source) == "41.2 s without a picture, reopened 3 times"
