"""Cameras of this machine: how they are opened on each system, and the error where that is not possible."""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from edge.camera import opencv
from edge.errors import SourceError
from edge.pictures import decode_picture, segments
from tests.helpers.decoding import noted_flags


class Camera:
    """Stands for cv2.VideoCapture, and notes in ``calls`` what is asked of it."""

    there = True
    gives = cv2.VideoWriter.fourcc(*"YUYV")
    calls: ClassVar[list[Any]] = []

    def __init__(self, *given):
        self.calls[:] = [given]

    def isOpened(self):
        return self.there

    def set(self, what, value):
        self.calls.append((what, value))

    def get(self, what):
        return float(self.gives) if what == cv2.CAP_PROP_FOURCC else 0.0

    def grab(self):
        time.sleep(0.01)
        return False

    def release(self):
        self.calls.append("released")


@pytest.fixture
def camera(monkeypatch):
    monkeypatch.setattr(Camera, "there", True)
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    return Camera


@pytest.fixture
def drivers(tmp_path, monkeypatch):
    """Make a /sys/class/video4linux of a Linux machine with these drivers."""
    monkeypatch.setattr(opencv, "PLATFORM", "linux")
    monkeypatch.setattr(opencv, "SYSFS", tmp_path)

    def make(*drivers):
        for number, driver in enumerate(drivers):
            (tmp_path / f"video{number}").mkdir()
            (tmp_path / f"video{number}" / "name").write_text(f"{driver}\n")

    return make


MJPG = (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
SIZE = [(cv2.CAP_PROP_FRAME_WIDTH, 1280), (cv2.CAP_PROP_FRAME_HEIGHT, 720)]


@pytest.mark.parametrize(
    ("platform", "backend", "settings"),
    [
        ("linux", cv2.CAP_V4L2, [MJPG, *SIZE]),
        ("win32", cv2.CAP_DSHOW, [MJPG, *SIZE]),
        ("darwin", cv2.CAP_AVFOUNDATION, SIZE),
        ("freebsd", cv2.CAP_ANY, [MJPG, *SIZE]),
    ],
)
def test_a_camera_is_asked_for_jpegs_and_then_for_its_size(camera, drivers, monkeypatch, platform, backend, settings):
    monkeypatch.setattr(opencv, "PLATFORM", platform)
    opencv.open_device("0")
    assert camera.calls == [(0, backend), *settings]


@pytest.mark.parametrize(("platform", "bytes_asked"), [("linux", True), ("win32", False)])
def test_only_of_v4l2_the_jpegs_themselves_are_asked(camera, drivers, monkeypatch, platform, bytes_asked):
    monkeypatch.setattr(Camera, "gives", MJPG[1])
    monkeypatch.setattr(opencv, "PLATFORM", platform)
    opencv.open_device("0")
    assert ((cv2.CAP_PROP_CONVERT_RGB, 0) in camera.calls) == bytes_asked


def test_jpegs_of_a_usb_camera_are_decoded_small_and_damage_is_passed_over(camera, monkeypatch):
    scene = cv2.resize(np.random.default_rng(1).integers(0, 256, (9, 16, 3), np.uint8), (1280, 720))
    whole = cv2.imencode(".jpg", scene)[1].tobytes()
    tables = [each for each in segments(whole) if each.kind == 0xC4]
    bare = whole[: tables[0].start] + whole[tables[-1].end :]  # as UVC cameras send them: AVI1, no Huffman tables
    smaller = cv2.imencode(".jpg", scene[:480, :640])[1].tobytes()
    given = [b"\xff\xd8 begins", b"", whole, whole[:2000], b"\0" * 500, bare, smaller]
    rows = iter([np.frombuffer(each, np.uint8)[None] for each in given])
    monkeypatch.setattr(Camera, "grab", lambda _: True)
    monkeypatch.setattr(Camera, "retrieve", lambda _: (True, next(rows)), raising=False)
    flags = noted_flags(monkeypatch)
    source = opencv.CaptureSource("0", name="yard", fps=1e6, open_=Camera)
    frames = list(itertools.islice(source, 3))
    assert [frame.jpeg for frame in frames] == [whole, bare, smaller]
    assert [frame.luma.shape for frame in frames if frame.luma is not None] == [(180, 320), (180, 320), (240, 320)]
    assert [frame.size_wh for frame in frames] == [(1280, 720), (1280, 720), (640, 480)]
    assert cv2.IMREAD_COLOR not in flags
    assert np.array_equal(frames[1].image, decode_picture(whole, "whole"))


def test_a_camera_by_its_stable_path_is_the_device_it_links_to(camera, drivers, tmp_path, monkeypatch):
    path = tmp_path / "usb-B-video-index0"
    path.symlink_to("/dev/video1")
    opencv.open_device(str(path))
    assert camera.calls[0] == (1, cv2.CAP_V4L2)
    path.unlink()
    path.symlink_to("/dev/video7")  # plugged in again
    opencv.open_device(str(path))
    assert camera.calls[0] == (7, cv2.CAP_V4L2)
    assert [opencv.device_number(word) for word in ("3", "/dev/video3", "/dev/nowhere")] == [3, 3, "/dev/nowhere"]
    monkeypatch.setattr(opencv, "PLATFORM", "darwin")
    assert opencv.device_number("/dev/video3") == "/dev/video3"


@pytest.mark.parametrize(
    "driver", ["unicam", "unicam-image", "rp1-cfe-csi2_ch0", "bcm2835-isp-output0", "pispbe-input"]
)
def test_a_ribbon_camera_is_sent_to_picamera(drivers, driver):
    drivers(driver)
    with pytest.raises(SourceError, match=rf"^0: /dev/video0 \({driver}\) .*; use picamera://0$"):
        opencv.open_device("0")


def test_a_decoder_is_no_camera(drivers):
    drivers("UVC Camera", "rpi-hevc-dec")
    with pytest.raises(SourceError, match=r"/dev/video1: /dev/video1 \(rpi-hevc-dec\).*no camera"):
        opencv.open_device("/dev/video1")


def test_a_camera_that_is_absent_is_one_sentence_with_what_there_is(camera, drivers, tmp_path, monkeypatch):
    camera.there = False
    monkeypatch.setattr(opencv, "BY_ID", tmp_path)
    with pytest.raises(SourceError, match=r"^5: no such camera.*picamera://0.*`bear-alarm watch demo` needs none"):
        opencv.open_device("5")
    assert camera.calls[-1] == "released"
    for name in ("usb-A-video-index0", "usb-A-video-index1"):
        (tmp_path / name).touch()
    with pytest.raises(SourceError, match=r"plugged in: \S*usb-A-video-index0; "):
        opencv.open_device("5")
    monkeypatch.setattr(opencv, "PLATFORM", "darwin")
    with pytest.raises(SourceError, match="System Settings"):
        opencv.open_device("0")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="V4L2 is Linux")
def test_opencv_reads_the_limit_set_for_silent_usb_cameras():
    wanted = b"OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"
    assert any(wanted in path.read_bytes() for path in Path(cv2.__file__).parent.glob("*.so*"))
    code = f"import os, edge.camera; print(os.environ[{wanted.decode()!r}])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV")}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "2"
