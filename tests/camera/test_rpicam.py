"""What the Raspberry Pi's camera program is asked, and how JPEGs are cut from what it answers."""

import itertools
import sys

import cv2
import numpy as np
import pytest

from edge.camera import picamera
from edge.camera.picamera import (
    PROGRAM_VARIABLE,
    JpegCutter,
    PiAddress,
    PiSource,
    codecs,
    command,
    find_program,
    parse_pi,
)
from edge.errors import SourceError
from edge.pictures import jpeg_size
from tests.helpers import fake_rpicam_vid

FAKE = f"{sys.executable} {fake_rpicam_vid.__file__}"


def smooth(width, height):
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)]).astype(np.uint8)


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("picamera://0", PiAddress(0, (1280, 720), "auto", 0)),
        ("picamera://1?width=1920&height=1080&rotation=180", PiAddress(1, (1920, 1080), "auto", 180)),
        ("picamera://0/?mode=mjpeg&width=800&height=600", PiAddress(0, (800, 600), "mjpeg", 0)),
    ],
)
def test_an_address_says_camera_size_and_rotation(word, means):
    assert parse_pi(word) == means


@pytest.mark.parametrize(
    ("word", "cause"),
    [
        ("picamera://", "number is missing"),
        ("picamera://front", "number is missing"),
        ("picamera://0?widht=640", "knows no 'widht'"),
        ("picamera://0?width=many", "even numbers"),
        ("picamera://0?width=641", "even numbers"),
        ("picamera://0?width=20000", "even numbers"),
        ("picamera://0?rotation=90", "0 or 180"),
        ("picamera://0?mode=h264", "one of auto, yuv, mjpeg"),
        ("picamera://0?mode=yuv&width=800&height=600", "a multiple of 128"),
    ],
)
def test_an_address_that_makes_no_sense_is_one_sentence(word, cause):
    with pytest.raises(SourceError, match=cause):
        parse_pi(word)


def test_a_width_with_padded_rows_is_asked_for_as_jpeg():
    assert codecs(parse_pi("picamera://0")) == ["yuv420", "mjpeg"]
    assert codecs(parse_pi("picamera://0?width=832&height=480")) == ["mjpeg"]  # padded on a Pi 5, not on a Pi 4
    assert len(fake_rpicam_vid.i420(smooth(128, 4))) == 128 * 4 * 3 // 2
    assert len(fake_rpicam_vid.i420(smooth(100, 4))) == 128 * 4 * 3 // 2


def test_the_command_line_is_endless_and_goes_to_the_pipe():
    words = command(["rpicam-vid"], parse_pi("picamera://1?rotation=180"), "yuv420", 10)
    for pair in ("--camera 1", "--codec yuv420", "--width 1280", "--height 720", "--framerate 10", "--rotation 180"):
        assert pair in " ".join(words)
    assert {"--timeout 0", "--output -"} <= {" ".join(pair) for pair in itertools.pairwise(words)}
    assert {"--nopreview", "--flush"} <= set(words)
    slow = command(["rpicam-vid"], parse_pi("picamera://0"), "yuv420", 0.5)
    assert slow[slow.index("--framerate") + 1] == "5"  # or the exposure may last two seconds


def test_the_program_is_found_by_its_old_name_and_by_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(PROGRAM_VARIABLE, raising=False)
    with pytest.raises(SourceError, match=r"rpicam-vid or libcamera-vid is not installed; .*apt install rpicam-apps"):
        PiSource("picamera://0", name="pi", fps=10.0)
    old = tmp_path / "libcamera-vid"
    old.write_text("#!/bin/sh\n")
    old.chmod(0o755)
    assert find_program("w") == ["libcamera-vid"]
    monkeypatch.setenv(PROGRAM_VARIABLE, FAKE)
    assert find_program("w") == FAKE.split()


hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

SIZES = {cv2.imencode(".jpg", smooth(w, h))[1].tobytes(): (w, h) for w, h in ((16, 8), (40, 30), (8, 64))}
JPEGS = list(SIZES)
THUMBED = JPEGS[1][:2] + b"\xff\xe1" + (len(JPEGS[0]) + 2).to_bytes(2, "big") + JPEGS[0] + JPEGS[1][2:]


@hypothesis.given(
    st.lists(
        st.tuples(st.sampled_from([*JPEGS, THUMBED]), st.binary(max_size=9).map(lambda b: b.replace(b"\xff", b"")))
    ),
    st.lists(st.integers(1, 700), min_size=1, max_size=60),
)
def test_jpegs_are_cut_from_a_stream_however_it_is_chopped(parts, steps):
    stream = b"".join(between + jpeg for jpeg, between in parts)
    cut, found = JpegCutter(), []
    at = 0
    for step in [*steps, len(stream)]:
        found += cut(stream[at : at + step])
        at += step
    assert found == [jpeg for jpeg, _ in parts]
    assert [jpeg_size(jpeg) for jpeg in found] == [SIZES.get(jpeg, (40, 30)) for jpeg, _ in parts]


@hypothesis.given(st.lists(st.one_of(st.binary(max_size=300), st.sampled_from([b"\xff\xd8\xff\xe0\xff\xff", *JPEGS]))))
def test_a_broken_stream_is_survived_and_bounded(parts):
    cut = JpegCutter()
    for part in parts:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(picamera, "MAX_JPEG_BYTES", 2000)
            cut(part)
        assert cut.held <= 2000
    cut(b"\x00" * 2001)
    assert cut(JPEGS[0]) in ([JPEGS[0]], [])


def test_jpegs_are_cut_whole_wherever_one_chunk_ends():
    stream = JPEGS[0] + THUMBED
    for at in range(len(stream) + 1):
        cut = JpegCutter()
        assert [jpeg for part in (stream[:at], stream[at:]) for jpeg in cut(part)] == [JPEGS[0], THUMBED]


def test_a_picture_cut_short_is_dropped_and_the_next_is_whole():
    cut = JpegCutter()
    assert cut(JPEGS[1][:-20]) == []
    assert cut(JPEGS[0]) == [JPEGS[0]]
    assert cut.held == 0
