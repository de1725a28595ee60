"""Video files: what motion sees, the colours, the bytes handed on, held against OpenCV's own reader."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from edge.camera import DEMO, open_source
from edge.detect.motion import MotionFinder, small_grey
from tests.helpers.decoding import noted_flags, pictures_of

SIZE_WH = (640, 360)


def encoded(path, codec="libx264", form="yuv420p", frames=24, **options):
    """Write the beginning of the demo in another way; return the path."""
    with av.open(str(path), "w") as film, av.open(str(DEMO)) as demo:
        stream = film.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE_WH, form
        for index, frame in zip(range(frames), demo.decode(video=0), strict=False):
            small = frame.reformat(*SIZE_WH, format=form)
            small.pts, small.time_base = index, Fraction(1, 10)
            film.mux(stream.encode(small))
        film.mux(stream.encode(None))
    return path


def turned(path, *coding):
    """Write a phone's film, held upright: the matrix in its track's header turns it by 90 degrees."""
    data = encoded(path, *coding).read_bytes()
    one, none = (1 << 16).to_bytes(4, "big"), bytes(4)
    last = (1 << 30).to_bytes(4, "big")
    straight = b"".join([one, none, none, none, one, none, none, none, last])
    right = b"".join([none, one, none, (-(1 << 16)).to_bytes(4, "big", signed=True), none, none, none, none, last])
    at = data.index(straight, data.index(b"tkhd"))
    path.write_bytes(data[:at] + right + data[at + len(right) :])
    return path


FILMS = {
    "video range": encoded,
    "full range": lambda path: encoded(path, form="yuvj420p"),
    "4:2:2": lambda path: encoded(path, form="yuv422p"),
    "10 bits": lambda path: encoded(path, form="yuv420p10le"),
    "HEVC": lambda path: encoded(path, "libx265", **{"x265-params": "log-level=none"}),
    "MPEG-4": lambda path: encoded(path, "mpeg4"),
    "held upright": turned,
    "JPEGs, held upright": lambda path: turned(path, "mjpeg", "yuvj420p"),
}


@pytest.mark.parametrize("kind", FILMS)
def test_motion_and_colours_are_those_of_opencvs_reader(tmp_path, kind):
    path = FILMS[kind](tmp_path / "a.mp4")
    theirs = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    with open_source(str(path), fps=10) as source:
        frames = list(source)
    assert len(frames) == 24
    for frame in frames[::6]:
        theirs.set(cv2.CAP_PROP_POS_FRAMES, frame.index)
        picture = np.asarray(theirs.read()[1], np.uint8)
        assert frame.size_wh == (picture.shape[1], picture.shape[0])
        seen = frame.image if frame.luma is None else frame.luma
        apart = cv2.absdiff(small_grey(seen), small_grey(picture))
        assert np.median(apart) <= 1.0
        assert apart.mean() <= 1.0
        assert np.abs(frame.image.astype(int) - picture).mean() <= 1.0
    assert (frames[0].luma is None) == (kind == "10 bits")
    assert (frames[0].video is None) == (kind in {"HEVC", "MPEG-4", "held upright", "JPEGs, held upright"})


def test_nothing_is_made_of_colours_while_nothing_moves(monkeypatch):
    made = []
    to_bgr = av.video.reformatter.VideoReformatter

    class Noted:
        def reformat(self, *given, **named):
            made.append(given)
            return to_bgr().reformat(*given, **named)

    monkeypatch.setattr("av.video.reformatter.VideoReformatter", Noted)
    motion, looked = MotionFinder(), 0
    with open_source("demo", fps=10) as source:
        for frame in source:
            motion(frame)
            looked += 1
            if frame.index == 20:
                assert frame.image is frame.image
                break
    assert (looked, len(made)) == (21, 1)


def test_jpegs_of_a_file_are_handed_on_and_decoded_small(tmp_path, monkeypatch):
    path = encoded(tmp_path / "a.avi", "mjpeg", "yuvj422p")
    with av.open(str(path)) as film:
        packets = [bytes(packet) for packet in film.demux(video=0) if packet.size]
    data = path.read_bytes()
    at = data.index(packets[5])
    path.write_bytes(data[:at] + bytes(len(packets[5])) + data[at + len(packets[5]) :])
    asked = noted_flags(monkeypatch)
    with open_source(str(path), fps=10) as source:
        frames = list(source)
    assert [frame.jpeg for frame in frames] == packets[:5] + packets[6:]
    assert [frame.luma.shape for frame in frames if frame.luma is not None] == [(180, 320)] * 23
    assert set(asked) == {cv2.IMREAD_REDUCED_GRAYSCALE_2}
    theirs = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).read()[1]
    assert np.abs(frames[0].image.astype(int) - theirs).mean() < 2.0  # another decoder, other chroma filters
    assert frames[0].video is None


def test_h264_of_a_file_can_be_kept_on_its_clock(tmp_path):
    path = encoded(tmp_path / "a.mp4", frames=48, g="10", bf="2")
    with open_source(str(path), fps=10) as source:
        frames = iter(source)
        first = next(frames)
        assert first.video is not None
        first.video.seconds = 60.0
        times = [first.time, *(frame.time for frame in frames)]
        packets = first.video.since(-1.0)
    assert pictures_of(packets) == len(packets)
    assert sorted(packet.time for packet in packets) == pytest.approx(times)
    assert any(packet.time > packet.decode_time for packet in packets)  # some come in another order


def test_a_source_that_nobody_iterates_to_its_end_lets_go_of_the_file():
    for _ in range(5):
        source = open_source("demo")
        frame = next(iter(source))
        source.close()
    assert frame.image.shape == (720, 1280, 3)  # lives on without its film
