"""Sources: what is played, at which times, and what is said of bad input."""

import time

import cv2
import numpy as np
import pytest

import edge.camera_live as live
from edge.camera import open_source, shown, source_name
from edge.camera_file import VideoSource
from edge.errors import SourceError

FPS = 20


def film(path, frames=60, fps=FPS, code="MJPG", size_wh=(160, 120)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, size_wh)
    assert writer.isOpened()
    for i in range(frames):
        writer.write(np.full((size_wh[1], size_wh[0], 3), (i * 4) % 256, np.uint8))
    writer.release()
    return path


def picture(path, shade=100):
    noise = np.random.default_rng(shade).integers(0, 255, (120, 160, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    return path


def play(source, **options):
    with open_source(str(source), **options) as frames:
        return list(frames), frames


@pytest.mark.parametrize(("name", "code"), [("a.avi", "MJPG"), ("a.mp4", "mp4v")])
def test_a_file_is_thinned_and_runs_on_its_own_clock(tmp_path, name, code):
    frames, source = play(film(tmp_path / name, code=code), fps=10)
    assert len(frames) == 30
    assert [frame.time for frame in frames] == pytest.approx([i / 10 for i in range(30)], abs=0.051)
    assert all(frame.media_time_s == frame.time and frame.camera == "a" for frame in frames)
    assert [frame.index for frame in frames] == list(range(30))
    assert frames[0].image.shape == (120, 160, 3)
    assert (source.live, source.length_s, source.problems) == (False, 3.0, [])


def test_a_slow_file_is_played_in_full(tmp_path):
    assert len(play(film(tmp_path / "a.avi", fps=4), fps=10)[0]) == 60


def test_frames_that_are_not_a_divisor_apart_keep_the_rate_on_average(tmp_path):
    frames, _ = play(film(tmp_path / "a.avi", frames=75, fps=25), fps=10)
    assert len(frames) == pytest.approx(30, abs=1)


def test_broken_time_stamps_still_go_forward(tmp_path, monkeypatch):
    frames, _ = play(film(tmp_path / "a.avi"), fps=60)
    with VideoSource(tmp_path / "a.avi", name="a", fps=60) as source:
        stamps = iter([0.0, 50.0, 50.0, 0.0, -1.0, float("nan"), 1e12] + [50.0] * 60)

        class Broken:
            def __init__(self, video):
                self.video = video

            def get(self, what):
                return next(stamps) if what == cv2.CAP_PROP_POS_MSEC else self.video.get(what)

            def __getattr__(self, name):
                return getattr(self.video, name)

        monkeypatch.setattr(source, "_video", Broken(source._video))
        times = [frame.time for frame in source]
    assert times == pytest.approx([frame.time for frame in frames])


def test_a_truncated_file_plays_what_is_there_and_says_so(tmp_path):
    data = film(tmp_path / "a.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) // 2])
    frames, source = play(tmp_path / "half.avi")
    assert 10 <= len(frames) <= 20
    assert "half.avi" in source.problems[0]
    assert "truncated" in source.problems[0]


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("half.mp4", None, "truncated"),
        ("empty.mp4", b"", "0 bytes"),
        ("words.mp4", b"this is not a video " * 50, "no video"),
    ],
)
def test_a_file_that_is_no_video_is_one_sentence(tmp_path, name, content, cause):
    if content is None:
        whole = film(tmp_path / "whole.mp4", code="mp4v").read_bytes()
        content = whole[: len(whole) // 2]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"{name}.*{cause}"):
        play(tmp_path / name)


def test_a_video_without_frames_is_one_sentence(tmp_path):
    data = film(tmp_path / "a.avi").read_bytes()
    (tmp_path / "none.avi").write_bytes(data[: data.index(b"movi") + 4])
    with pytest.raises(SourceError, match=r"none\.avi.*(no frame|truncated)"):
        play(tmp_path / "none.avi")


def test_a_folder_plays_one_picture_a_second_and_skips_what_is_damaged(tmp_path):
    for i, name in enumerate(["c.jpg", "a.jpg", "b.png"]):
        picture(tmp_path / name, i)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "bad.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "._a.jpg").write_bytes(b"a Mac was here")
    frames, source = play(tmp_path)
    assert [frame.time for frame in frames] == [0.0, 1.0, 3.0]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert len(source.problems) == 1
    assert "bad.jpg" in source.problems[0]
    assert "truncated" in source.problems[0]


def test_a_glob_and_a_single_picture_are_sources(tmp_path):
    for name in ("a1.jpg", "a2.jpg", "b1.jpg"):
        picture(tmp_path / name)
    assert len(play(tmp_path / "a*.jpg")[0]) == 2
    assert len(play(tmp_path / "b1.jpg")[0]) == 1


def test_pictures_that_cannot_be_read_at_all_are_one_sentence(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 no more")
    with pytest.raises(SourceError, match=r"none of its 1 pictures"):
        play(tmp_path)


@pytest.mark.parametrize("source", ["nowhere.mp4", "no/such/folder", "no*.jpg"])
def test_no_such_source_is_one_sentence(tmp_path, source):
    with pytest.raises(SourceError, match=r"no such|no file"):
        open_source(str(tmp_path / source))


def test_an_empty_folder_is_one_sentence(tmp_path):
    with pytest.raises(SourceError, match="no pictures"):
        open_source(str(tmp_path))


def test_no_such_camera_is_one_sentence():
    with pytest.raises(SourceError, match="97: no such camera"):
        open_source("97")


def test_passwords_are_not_shown():
    url = "rtsp://anna:secret@192.168.1.9:554/stream"
    assert "secret" not in shown(url)
    assert source_name(url) == "192.168.1.9"
    assert (source_name("0"), source_name("/cards/yard.mp4"), source_name("cards/*.jpg")) == (
        "camera0",
        "yard",
        "cards",
    )


class FakeVideo:
    """As many frames as it is given, at once; then reads fail."""

    def __init__(self, frames, pause_s=0.0):
        self.left, self.pause_s, self.released = frames, pause_s, False

    def isOpened(self):
        return True

    def get(self, _):
        return 0.0

    def grab(self):
        time.sleep(self.pause_s)
        self.left -= 1
        return self.left >= 0

    def retrieve(self):
        return True, np.full((4, 4, 3), self.left % 256, np.uint8)

    def release(self):
        self.released = True


def fake_live(monkeypatch, video, **options):
    monkeypatch.setattr(live.LiveSource, "_open", lambda self: video)
    return live.LiveSource("0", name="yard", **options)


def test_a_live_source_drops_what_is_stale(monkeypatch):
    video = FakeVideo(10_000, pause_s=0.002)
    with fake_live(monkeypatch, video, fps=1000) as source:
        frames = iter(source)
        first = next(frames)
        time.sleep(0.1)
        second = next(frames)
        assert source.dropped > 5
        assert second.time - first.time > 0.08
        assert time.monotonic() - second.time < 0.05
        assert (second.index, second.media_time_s) == (1, None)
    assert video.released


def test_a_live_source_that_stops_is_one_sentence(monkeypatch):
    source = fake_live(monkeypatch, FakeVideo(3, pause_s=0.01), fps=1000, silent_s=0.2)
    with source, pytest.raises(SourceError, match=r"0: no frame for 0\.2 s"):
        list(source)


def test_a_stream_with_an_end_and_no_frame_is_one_sentence(monkeypatch):
    monkeypatch.setattr(FakeVideo, "get", lambda *_: 5.0)
    with fake_live(monkeypatch, FakeVideo(3, pause_s=0.01), fps=1000) as source:
        assert list(source)
    with (
        fake_live(monkeypatch, FakeVideo(0), fps=1000) as source,
        pytest.raises(SourceError, match="0: ended before its first frame"),
    ):
        list(source)


def test_closing_a_live_source_ends_it(monkeypatch):
    source = fake_live(monkeypatch, FakeVideo(10_000, pause_s=0.002), fps=1000)
    for frame in source:
        if frame.index == 3:
            source.close()
    assert frame.index == 3


def test_a_closed_file_ends(tmp_path):
    with open_source(str(film(tmp_path / "a.avi"))) as source:
        for frame in source:
            if frame.index == 5:
                source.close()
    assert frame.index == 5
    assert source.problems == []
