"""Cameras of this machine: how they are opened on each system, and what is said where that is not possible."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import cv2
import pytest

from edge.camera import open_source, opencv
from edge.errors import SourceError


class Camera:
    """Stands for cv2.VideoCapture, and notes in ``calls`` what is asked of it."""

    there = True
    calls: ClassVar[list[Any]] = []

    def __init__(self, *given):
        self.calls[:] = [given]

    def isOpened(self):
        return self.there

    def set(self, what, value):
        self.calls.append((what, value))

    def get(self, what):
        return 0.0

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
def system(tmp_path):
    """A made-up /sys/class/video4linux and /dev/v4l/by-id."""

    def make(*drivers, plugged=()):
        for number, driver in enumerate(drivers):
            (tmp_path / "sys" / f"video{number}").mkdir(parents=True)
            (tmp_path / "sys" / f"video{number}" / "name").write_text(f"{driver}\n")
        (tmp_path / "by-id").mkdir()
        for number, name in enumerate(plugged):
            (tmp_path / "by-id" / name).symlink_to(f"/dev/video{number}")
        return {"sysfs": tmp_path / "sys", "by_id": tmp_path / "by-id", "platform": "linux"}

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
def test_a_camera_is_asked_for_jpegs_and_then_for_its_size(camera, system, platform, backend, settings):
    opencv.open_device("0", (1280, 720), **(system() | {"platform": platform}))
    assert camera.calls == [(0, backend), *settings]
    opencv.open_device("0", None, platform=platform)
    assert camera.calls == [(0, backend), *settings[:-2]]


def test_a_camera_by_its_stable_path_is_the_device_it_links_to(camera, system):
    places = system("UVC Camera", "UVC Camera", plugged=["usb-A-video-index0", "usb-B-video-index0"])
    path = str(places["by_id"] / "usb-B-video-index0")
    opencv.open_device(path, None, **places)
    assert camera.calls[0] == (1, cv2.CAP_V4L2)
    (places["by_id"] / "usb-B-video-index0").unlink()
    (places["by_id"] / "usb-B-video-index0").symlink_to("/dev/video7")  # plugged in again
    opencv.open_device(path, None, **places)
    assert camera.calls[0] == (7, cv2.CAP_V4L2)
    assert [opencv.device_number(word, "linux") for word in ("3", "/dev/video3", "/dev/nowhere")] == [
        3,
        3,
        "/dev/nowhere",
    ]
    assert opencv.device_number("/dev/video3", "darwin") == "/dev/video3"


@pytest.mark.parametrize(
    "driver", ["unicam", "unicam-image", "rp1-cfe-csi2_ch0", "bcm2835-isp-output0", "pispbe-input"]
)
def test_a_ribbon_camera_is_sent_to_picamera(camera, system, driver):
    with pytest.raises(SourceError, match=rf"^0: /dev/video0 \({driver}\) .*; use picamera://0$"):
        opencv.open_device("0", None, **system(driver))


def test_a_decoder_is_no_camera(camera, system):
    with pytest.raises(SourceError, match=r"/dev/video1: /dev/video1 \(rpi-hevc-dec\).*no camera"):
        opencv.open_device("/dev/video1", None, **system("UVC Camera", "rpi-hevc-dec"))


def test_a_camera_that_is_absent_is_one_sentence_with_what_there_is(camera, system, tmp_path):
    camera.there = False
    places = system("UVC Camera", "unicam", plugged=["usb-A-video-index0", "usb-A-video-index1"])
    with pytest.raises(SourceError, match=r"^5: no such camera, .*plugged in: \S*usb-A-video-index0$"):
        opencv.open_device("5", None, **places)
    assert camera.calls[-1] == "released"
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match=r"no such camera.*picamera://0$"):
        opencv.open_device("5", None, **(places | {"by_id": tmp_path / "none"}))
    with pytest.raises(SourceError, match=r"no such camera.*`bear-alarm watch demo` needs none"):
        opencv.open_device("5", None, **(places | {"by_id": tmp_path / "none", "sysfs": tmp_path / "none"}))
    with pytest.raises(SourceError, match="System Settings > Privacy & Security > Camera"):
        opencv.open_device("0", None, **(places | {"platform": "darwin"}))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="V4L2 is Linux")
def test_opencv_reads_the_limit_set_for_silent_usb_cameras():
    wanted = b"OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"
    assert any(wanted in path.read_bytes() for path in Path(cv2.__file__).parent.glob("*.so*"))
    code = f"import os, edge.camera; print(os.environ[{wanted.decode()!r}])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV")}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "2"


def test_a_camera_s_size_can_be_left_alone(camera):
    for size_wh in (None, (640, 480)):
        open_source("94", size_wh=size_wh).close()
        assert ((cv2.CAP_PROP_FRAME_WIDTH, 640) in camera.calls) == (size_wh is not None)
        assert (cv2.CAP_PROP_FRAME_WIDTH, 1280) not in camera.calls
