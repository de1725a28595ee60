"""Sources: what is played, at which times, and what is said of bad input."""

import sys
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from edge.camera import open_source, shown, source_name
from edge.camera.video import Video, VideoSource
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
    stamps = iter([0.0, 0.05, 0.05, 0.0, -0.001, float("nan"), 1e9] + [0.05] * 60)
    monkeypatch.setattr(Video, "seconds", property(lambda _: next(stamps)))
    with VideoSource(tmp_path / "a.avi", name="a", fps=60) as source:
        times = [frame.time for frame in source]
    assert times == pytest.approx([frame.time for frame in frames])


def test_a_truncated_file_plays_what_is_there_and_reports_it(tmp_path):
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


@pytest.mark.parametrize("source", ["nowhere.mp4", "no/such/folder", "no*.jpg", "x" * 5000 + ".mp4", "a\0b*.mp4"])
def test_no_such_source_is_one_sentence(tmp_path, source):
    with pytest.raises(SourceError, match=r"no such|no file"):
        open_source(str(tmp_path / source))


@pytest.mark.parametrize("source", ["", "~nobody-of-that-name/a.mp4", "/dev/video97", "/dev/v4l/by-id/none", "9" * 30])
def test_what_is_no_source_at_all_is_one_sentence(source):
    with pytest.raises(SourceError, match="no such camera"):
        open_source(source)


def test_an_empty_folder_is_one_sentence(tmp_path):
    with pytest.raises(SourceError, match="no pictures"):
        open_source(str(tmp_path))


def test_no_such_camera_is_one_sentence():
    with pytest.raises(SourceError, match="97: no such camera"):
        open_source("97")


@pytest.mark.parametrize(
    ("source", "words", "name"),
    [
        ("rtsp://anna:secret@192.168.1.9:554/stream", "rtsp://***@192.168.1.9:554/stream", "192.168.1.9"),
        ("rtsp://anna:se/cr@et@Yard.local/1", "rtsp://***@Yard.local/1", "yard.local"),
        ("rtsp://secret@[fe80::1]:554/s", "rtsp://***@[fe80::1]:554/s", "fe80::1"),
        ("rtsp://[::1", "rtsp://[::1", "::1"),
        ("rtsp://", "rtsp://", "stream"),
        ("http://h/s?user=anna&password=secret&c=1", "http://h/s?user=***&password=***&c=1", "h"),
        ("rtsp://h:554/user=anna_password=secret_channel=1", "rtsp://h:554/user=***", "h"),
        (
            "http://h/s?loginuse=anna&loginpas=secret&api_key=secret",
            "http://h/s?loginuse=***&loginpas=***&api_key=***",
            "h",
        ),
        ("rstp://anna:secret@h/s", "rstp://***@h/s", "h"),
        ("anna:secret@h", "***@h", "h"),
        ("udp://@239.0.0.1:1234", "udp://***@239.0.0.1:1234", "239.0.0.1"),
        ("picamera://0", "picamera://0", "picamera0"),
        ("picamera://1?mode=yuv", "picamera://1?mode=yuv", "picamera1"),
        ("0", "0", "camera0"),
        ("/cards/yard.mp4", "/cards/yard.mp4", "yard"),
        ("cards/*.jpg", "cards/*.jpg", "cards"),
        ("/dev/v4l/by-id/usb-Cam_1-video-index0", "/dev/v4l/by-id/usb-Cam_1-video-index0", "usb-Cam_1-video-index0"),
    ],
)
def test_sources_are_shown_and_named_without_users_and_passwords(source, words, name):
    assert shown(source) == words
    assert source_name(source) == name


def test_any_word_is_a_source_or_one_sentence_without_its_secret(tmp_path, monkeypatch):
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def no_video(*_, **__):
        raise av.FileNotFoundError(2, "nothing there")

    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: SimpleNamespace(isOpened=lambda: False, release=lambda: None))
    monkeypatch.setattr(av, "open", no_video)  # nothing leaves this machine
    schemes = st.sampled_from(["rtsp://", "RTSPS://", "http://", "https://", "udp://", "tcp://", "rstp://", "", "//"])
    secrets = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
    urls = st.tuples(
        schemes, st.text(max_size=6), st.just(":"), secrets.map(lambda word: f"<{word}>"), st.just("@"),
        st.text("abc.:[]/?#%0 ", max_size=12),
    ).map("".join)  # fmt: skip
    queries = st.tuples(st.just("http://h/"), st.sampled_from(["?pwd=", "?password=", "&token="]), st.just("<s>"))
    words = st.text(max_size=20).filter(lambda word: not word.lstrip().startswith(("/", "..", "~")))

    @hypothesis.given(st.one_of(urls, queries.map("".join), words, st.integers(0).map(str)))
    def is_one_sentence(word):
        hypothesis.assume(not (tmp_path / word.replace("\0", "")).exists())
        try:
            open_source(word).close()
        except SourceError as error:
            said = f"{error} {error!r}"
            assert "<" not in said or ":" not in word.rpartition("@")[0]
            assert "<s>" not in said
            assert "<" not in source_name(word) or ":" not in word.rpartition("@")[0]

    is_one_sentence()


def test_a_pi_camera_is_its_own_module(monkeypatch):
    class PiSource:
        problems = ()

        def __init__(self, word, *, name, fps):
            given.append((word, name, fps))

        def __iter__(self):
            return iter(())

        def close(self):
            pass

    given: list[Any] = []

    monkeypatch.setitem(sys.modules, "edge.camera.picamera", SimpleNamespace(PiSource=PiSource))
    with open_source("picamera://1?mode=yuv", fps=5):
        assert given == [("picamera://1?mode=yuv", "picamera1", 5)]


def test_the_rate_may_be_changed_while_a_file_is_played(tmp_path):
    with open_source(str(film(tmp_path / "a.avi", frames=120)), fps=10) as source:
        times = []
        for frame in source:
            times.append(frame.time)
            source.fps = 2 if frame.time > 1.9 else 10
    assert np.diff(times)[:19] == pytest.approx([0.1] * 19, abs=0.01)
    assert np.diff(times)[20:] == pytest.approx([0.5] * len(times[21:]), abs=0.051)


def test_every_picture_of_a_folder_is_played_whatever_the_rate(tmp_path):
    for i in range(4):
        picture(tmp_path / f"{i}.jpg", i)
    with open_source(str(tmp_path), fps=0.1) as source:
        source.fps = 0.25
        assert len(list(source)) == 4


def test_a_closed_file_ends(tmp_path):
    with open_source(str(film(tmp_path / "a.avi"))) as source:
        for frame in source:
            if frame.index == 5:
                source.close()
    assert frame.index == 5
    assert source.problems == []
