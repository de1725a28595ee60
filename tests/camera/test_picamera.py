"""The Raspberry Pi's camera through the fake program: what it gives, and how each of its faults is said."""

import itertools
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera import DEMO, picamera
from edge.camera.live import LiveSource
from edge.camera.picamera import PROGRAM_VARIABLE, PiSource, bgr_of_i420, i420_luma
from edge.errors import SourceError
from edge.pictures import decode_picture, jpeg_luma, jpeg_picture
from tests.helpers import fake_rpicam_vid

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the Raspberry Pi's camera program runs on Linux")

FAKE = f"{sys.executable} {fake_rpicam_vid.__file__}"
SMALL = "picamera://0?width=256&height=144"
SMALL_JPEG = f"{SMALL}&mode=mjpeg"


@pytest.fixture(autouse=True)
def _fake(monkeypatch):
    monkeypatch.setenv(PROGRAM_VARIABLE, FAKE)


def pi(word=SMALL, *, fps=30.0, **options):
    return PiSource(word, name="pi", fps=fps, **options)


def number_of(picture):
    """The number the fake writes as grey into two corners, 0 to 255; both must agree."""
    first, last = (float(np.mean(corner)) for corner in (picture[:4, :4], picture[-4:, -4:]))
    assert first == pytest.approx(last, abs=4)
    return round(first)


def rows_of(picture):
    """A picture as I420 without padding."""
    return np.frombuffer(fake_rpicam_vid.i420(picture, row=2), np.uint8)


def smooth(width, height):
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)]).astype(np.uint8)


def test_raw_pictures_come_with_brightness_and_with_colour_when_asked():
    with pi() as source:
        frames = [frame for frame, _ in zip(source, range(5), strict=False)]
        assert (source.codec, source.live, source.length_s, source.problems) == ("yuv420", True, None, [])
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert all(before.time < after.time <= after.handed_over for before, after in itertools.pairwise(frames))
    for frame in frames:
        assert (frame.luma.shape, frame.size_wh, frame.camera) == ((144, 256), (256, 144), "pi")
        assert frame.image.shape == (144, 256, 3)
        assert number_of(frame.image) == pytest.approx(number_of(frame.luma), abs=2)
        with pytest.raises(ValueError, match="read-only"):
            frame.luma[0, 0] = 1
        assert frame.jpeg is None  # the camera compressed nothing


def test_jpegs_come_with_small_brightness_and_with_colour_when_asked():
    with pi("picamera://0?width=1300&height=700") as source:
        frame = next(iter(source))
        assert source.codec == "mjpeg"
    assert (frame.luma.shape, frame.size_wh, frame.image.shape) == ((175, 325), (1300, 700), (700, 1300, 3))
    assert np.array_equal(decode_picture(frame.jpeg, "the camera's own"), frame.image)
    # Decoding at an eighth to a half takes means; that is what shrinking the brightness gives.
    shrunk = cv2.resize(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), (325, 175), interpolation=cv2.INTER_AREA)
    assert np.abs(frame.luma.astype(int) - shrunk).mean() < 2.0
    whole = cv2.imencode(".jpg", smooth(300, 200))[1].tobytes()
    luma = jpeg_luma(whole, (300, 200))
    assert luma is not None
    assert luma.shape == (200, 300)
    assert jpeg_luma(b"\xff\xd8\xff no picture", (300, 200)) is None
    assert jpeg_picture(b"\xff\xd8\xff no picture", luma, (300, 200)).shape == (200, 300, 3)  # and nothing is raised


def test_full_range_colours_are_kept():
    picture = smooth(256, 144)
    found = bgr_of_i420(rows_of(picture), (256, 144)).astype(int)
    assert np.abs(found - picture).mean() < 1.0
    assert np.abs(found - picture).max() <= 4
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 2, axis=0).repeat(3, axis=2)
    grey = bgr_of_i420(rows_of(ramp), (256, 2)).astype(int)
    # Read as video range, all below 16 would be black and all above 235 white.
    assert np.abs(grey - ramp).max() <= 2
    assert np.array_equal(i420_luma(rows_of(ramp), (256, 2)), ramp[..., 0])


@pytest.mark.needs_tool("ffmpeg")
def test_colours_are_those_ffmpeg_makes_of_full_range():
    picture = smooth(256, 144)
    words = "ffmpeg -v error -f rawvideo -pix_fmt yuvj420p -s 256x144 -i - -f rawvideo -pix_fmt bgr24 -"
    made = subprocess.run(words.split(), input=rows_of(picture).tobytes(), capture_output=True, check=True).stdout
    theirs = np.frombuffer(made, np.uint8).reshape(144, 256, 3).astype(int)
    assert np.abs(bgr_of_i420(rows_of(picture), (256, 144)) - theirs).mean() < 1.5


def waiting(source):
    """The brightness of the picture that nobody has taken yet."""
    frame = source._connection._slot
    return frame.luma if frame else np.zeros((144, 256), np.uint8)


def test_only_the_newest_picture_is_kept_and_what_was_taken_stays():
    with LiveSource(pi, SMALL, name="pi", fps=30.0) as source:
        frames = iter(source)
        held = [next(frames) for _ in range(3)]
        numbers = [number_of(frame.luma) for frame in held]
        deadline = time.monotonic() + 10.0
        while number_of(waiting(source)) < numbers[-1] + 8 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert number_of(next(frames).luma) >= numbers[-1] + 8
        assert [number_of(frame.luma) for frame in held] == numbers
        assert [number_of(frame.image) for frame in held] == pytest.approx(numbers, abs=2)


def test_buffers_do_not_grow():
    with pi("picamera://0?width=640&height=480") as source:
        frames = iter(source)
        next(frames)
        tracemalloc.start()
        try:
            for frame, _ in zip(frames, range(25), strict=False):
                assert frame.luma is not None
            assert tracemalloc.get_traced_memory()[1] < 5 * 640 * 480 * 1.5
        finally:
            tracemalloc.stop()


def test_the_rate_may_change_on_the_way():
    with pi() as source:
        frames = iter(source)
        next(frames)
        source.fps = 4
        next(frames)
        before, *_, after = itertools.islice(frames, 5)  # before may be late, and the first after it is not then
        assert after.time - before.time > 0.7


def test_a_refused_codec_falls_back_to_jpegs(monkeypatch):
    monkeypatch.setenv(fake_rpicam_vid.VARIABLE, "refuse=yuv420")
    with pi() as source:
        assert next(iter(source)).image.shape == (144, 256, 3)
        assert source.codec == "mjpeg"
        assert "Unrecognised codec yuv420" in source.problems[0]
    with pytest.raises(SourceError, match=r"code 255 \(Unrecognised codec yuv420\)"):
        pi(SMALL + "&mode=yuv")


@pytest.mark.parametrize(
    ("faults", "word", "cause"),
    [
        ("cameras=0", SMALL, r"no camera found \(no cameras available\)"),
        ("", "picamera://3", r"no camera found \(selected camera is not available\)"),
        ("busy", SMALL, r"the camera is busy \(failed to acquire camera"),
        ("adjust=128x64", SMALL, r"gives 128x64 where 256x144 .*write picamera://0\?width=128&height=64"),
        ("stop=0", SMALL, "no frame for 1 s; check the camera's cable"),
        ("die=0", SMALL_JPEG, r"code 255 \(failed to queue request\)"),
        ("cut=0", SMALL, "ended with code 0.*its last picture has 27648 of 55296 bytes"),
    ],
)
def test_a_camera_that_does_not_start_is_one_sentence(monkeypatch, faults, word, cause):
    monkeypatch.setenv(fake_rpicam_vid.VARIABLE, faults)
    monkeypatch.setattr(picamera, "END_S", 30.0)  # its last words and its code come when it has ended
    monkeypatch.setattr(picamera, "START_S", 1.0 if faults == "stop=0" else 10.0)
    with pytest.raises(SourceError, match=cause):
        pi(word)
    assert nothing_left()


@pytest.mark.parametrize("word", [SMALL, SMALL_JPEG])
@pytest.mark.parametrize(
    ("faults", "cause"),
    [
        ("stop=4", r"no frame for 0\.5 s"),
        ("die=4", r"ended with code 255 \(failed to queue request\)"),
        ("cut=4", r"ended with code 0.*its last picture"),
    ],
)
def test_a_camera_that_stops_is_one_sentence(monkeypatch, faults, cause, word):
    monkeypatch.setenv(fake_rpicam_vid.VARIABLE, faults)
    monkeypatch.setattr(picamera, "END_S", 30.0)  # its last words and its code come when it has ended
    numbers: list[int] = []
    monkeypatch.setattr(picamera, "SILENT_S", 0.5 if faults == "stop=4" else 20.0)
    with pi(word) as source, pytest.raises(SourceError, match=cause) as caught:
        numbers.extend(number_of(frame.luma) for frame in source)
    assert numbers[-1] <= 4  # half a picture is never handed over
    assert "\n" not in str(caught.value)
    assert nothing_left()


def test_a_flood_of_complaints_stops_nothing(monkeypatch):
    monkeypatch.setenv(fake_rpicam_vid.VARIABLE, "flood")
    with pi() as source:
        assert len([frame for frame, _ in zip(source, range(6), strict=False)]) == 6


def test_a_program_that_will_not_end_is_killed(monkeypatch):
    monkeypatch.setenv(fake_rpicam_vid.VARIABLE, "stubborn")
    source = pi()
    source.close()
    assert source._child._process.returncode == -9
    assert nothing_left()


def test_a_pipe_that_somebody_else_holds_open_hangs_nothing(tmp_path, monkeypatch):
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\n{FAKE} "$@" &\nwait\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv(PROGRAM_VARIABLE, str(wrapper))
    pi().close()
    assert nothing_left()


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_opening_again_and_again_leaves_no_pipe_behind():
    pi().close()
    before = open_files()
    closed = [pi() for _ in range(3)]
    for source in closed:
        source.close()
    assert open_files() == before


def test_closing_ends_an_iteration_in_another_thread(monkeypatch):
    monkeypatch.setenv(fake_rpicam_vid.VARIABLE, "stop=2")
    source = pi()
    frames = iter(source)
    next(frames)
    threading.Timer(0.3, source.close).start()
    assert len(list(frames)) <= 1
    source.close()
    assert nothing_left()


def nothing_left():
    """No thread of a camera is alive a moment later."""
    deadline = time.monotonic() + 5.0
    while any(each.name.startswith("camera") for each in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(each.name.startswith("camera") for each in threading.enumerate())


def test_the_fake_plays_a_clip_turned_and_refuses_what_it_does_not_know(monkeypatch, capfd):
    monkeypatch.setenv(fake_rpicam_vid.VARIABLE, "clip=demo")
    with pi("picamera://0?width=640&height=360&rotation=180") as source:
        turned = cv2.rotate(next(iter(source)).image, cv2.ROTATE_180)
    first = next(fake_rpicam_vid.clip(str(DEMO), 640, 360))
    assert np.abs(turned.astype(int) - first).mean() < 6.0
    with pytest.raises(SystemExit):
        fake_rpicam_vid.main(["--shutter-of-gold", "1"])
    assert "ERROR: ***" in capfd.readouterr().err


def test_the_fake_writes_to_a_file_for_a_time(tmp_path):
    words = "--codec yuv420 --width 128 --height 64 --framerate 100 --nopreview -t 50 -o"
    fake_rpicam_vid.main([*words.split(), str(tmp_path / "raw.yuv")])
    assert (tmp_path / "raw.yuv").stat().st_size % (128 * 64 * 3 // 2) == 0
