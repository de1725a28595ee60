"""Cameras that work, that see nothing, that are gone, in use or not allowed: tried as the doctor tries them."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from edge.camera import DEMO
from edge.cli.doctor import cameras
from edge.cli.doctor.findings import Target
from edge.record.days import day_of
from edge.settings import Camera, CameraSettings, Settings
from tests.helpers import fake_rpicam_vid
from tests.helpers.broker import free_port
from tests.helpers.day_rows import journal, write_days
from tests.helpers.doctor_world import by_name, put, states

FAKE = f"{sys.executable} {fake_rpicam_vid.__file__}"


def tried(*sources, **more):
    chosen = tuple(Camera(f"c{number}", source) for number, source in enumerate(sources))
    more.setdefault("settings", Settings())
    return list(cameras.check_cameras(Target(sources=chosen, **more)))


def clip(path, picture, count=60):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    for _ in range(count):
        writer.write(picture)
    writer.release()
    return path


@pytest.fixture
def ribbon(monkeypatch):
    """The Raspberry Pi's camera program, with faults on request."""
    monkeypatch.setenv("BEAR_ALARM_RPICAM_VID", FAKE)
    monkeypatch.setenv("PYTHONPATH", str(cameras.__file__).rsplit("/edge/", 1)[0])

    def faulty(words):
        monkeypatch.setenv("BEAR_ALARM_FAKE_CAMERA", words)

    return faulty


def test_the_demo_is_a_camera_that_is_fine():
    (found,) = tried("demo")
    assert (found.name, found.state) == ("camera c0", "fine")
    assert "1280x720" in found.words


def test_a_dead_address_and_a_missing_file_are_broken_and_show_no_password(tmp_path):
    found = tried(f"rtsp://admin:hunter22@127.0.0.1:{free_port()}/live", str(tmp_path / "no.mp4"))
    assert [each.state for each in found] == ["broken", "broken"]
    assert "cannot be opened" in found[0].words
    assert "check the address, user and password" in found[0].todo
    assert "hunter22" not in str(found)
    (found,) = tried(f"http://127.0.0.1:{free_port()}/video?access=querysecret&channel=1")
    assert found.state == "broken"
    assert "querysecret" not in str(found)


@pytest.mark.skipif(sys.platform == "win32", reason="the camera program of Linux")
def test_a_live_camera_shows_its_size_and_rate(ribbon):
    ribbon("clip=demo")
    found = by_name(tried("picamera://0"))["camera c0"]
    assert "gives 1280x720 at" in found.words
    assert "10 asked for" in found.words
    assert found.state in ("fine", "doubt")  # of a busy machine the rate may be low


@pytest.mark.skipif(sys.platform == "win32", reason="the camera program of Linux")
def test_a_lens_cap_and_a_frozen_picture_are_doubts(ribbon, tmp_path):
    black = clip(tmp_path / "black.avi", np.full((480, 640, 3), 3, np.uint8))
    ribbon(f"clip={black}")
    found = tried("picamera://0?width=640&height=480")
    words = " ".join(each.words for each in found if each.state == "doubt")
    assert "the picture is black" in words
    assert "the same picture for" in words
    assert any("lens cap" in each.todo for each in found)


def test_a_picture_out_of_focus_is_a_doubt(tmp_path):
    sharp = tried("demo")
    assert not [each for each in sharp if "focus" in each.words]
    video = cv2.VideoCapture(str(DEMO))
    picture = cv2.resize(cv2.GaussianBlur(video.read()[1], (0, 0), 14), (640, 480))
    found = tried(str(clip(tmp_path / "blurred.avi", picture)))
    assert [each.state for each in found if "out of focus" in each.words] == ["doubt"]


@pytest.mark.skipif(sys.platform == "win32", reason="the camera program of Linux")
def test_a_camera_that_another_has_is_broken_only_where_no_alarm_runs(ribbon, tmp_path, monkeypatch):
    ribbon("busy")
    assert tried("picamera://0", given_state=tmp_path)[0].state == "broken"
    from edge.record.run import RunLock

    alarm = RunLock(tmp_path, "a" * 32)
    assert alarm.take()
    try:
        (found,) = tried("picamera://0", given_state=tmp_path)
    finally:
        alarm.close()
    assert found.state == "unknown"
    assert "in use by the running alarm" in found.words
    assert "systemctl stop bear-alarm" in found.todo


@pytest.mark.skipif(sys.platform == "win32", reason="the camera program of Linux")
def test_a_camera_that_the_service_has_is_not_broken_for_a_user_who_sees_nothing_of_its_folder(
    ribbon, tmp_path, monkeypatch
):
    ribbon("busy")
    put(tmp_path, **{"systemctl": '#!/bin/sh\n[ "$*" = "is-active --quiet bear-alarm" ]\n'})
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert tried("picamera://0", root=tmp_path, given_state=tmp_path)[0].state == "broken"
    put(tmp_path, **{"etc__systemd__system__bear-alarm.service": ""})
    assert tried("picamera://0", root=tmp_path, given_state=tmp_path)[0].state == "unknown"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the camera program of Linux")
def test_a_camera_that_never_gives_a_frame_is_broken_in_time(ribbon):
    ribbon("stop=0")
    (found,) = tried("picamera://0")
    assert found.state == "broken"
    assert "no frame for" in found.words


@pytest.mark.skipif(os.name != "posix", reason="devices of Linux")
def test_a_device_of_a_group_one_is_not_in_names_the_group(tmp_path, monkeypatch):
    put(tmp_path, dev__video0="")
    monkeypatch.setattr(os, "access", lambda path, mode: "video" not in str(path))
    (found,) = tried("0", root=tmp_path)
    assert found.state == "broken"
    assert f"usermod -aG {(tmp_path / 'dev/video0').group()}" in found.todo


@pytest.mark.skipif(os.name != "posix", reason="devices of Linux")
def test_with_nothing_configured_it_lists_what_there_is(tmp_path, monkeypatch):
    files = {"dev__video0": "", "dev__video10": "", "sys__class__video4linux__video10__name": "bcm2835-codec-decode"}
    put(tmp_path, **files)
    assert [each.camera for each in cameras.devices(tmp_path)] == [True, False]
    found = list(cameras.check_cameras(Target(Settings(), root=tmp_path)))
    assert found[0].words == f"none is configured; there is {tmp_path}/dev/video0"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "none is plugged in" in next(iter(cameras.check_cameras(Target(Settings(), root=tmp_path / "none")))).words


def test_a_folder_that_is_followed_and_a_camera_that_is_not_tried(tmp_path):
    followed = Camera("station", str(tmp_path), follow=True, settings=CameraSettings())
    gone = Camera("gone", str(tmp_path / "no"), follow=True)
    assert states(cameras.check_cameras(Target(Settings(), sources=(followed, gone)))) == {
        "camera station": "fine", "camera gone": "broken",
    }  # fmt: skip
    (found,) = tried("demo", try_cameras=False)
    assert found.state == "unknown"


def test_a_drift_is_in_doubt_and_a_camera_without_one_is_no_line(tmp_path):
    folder = journal(tmp_path / "state")
    last = day_of(datetime.now(UTC), night=True) - timedelta(days=1)
    write_days(folder, last=last, dark_days=10)
    write_days(folder, "bins", last=last)
    settings = Settings(cameras=(Camera("yard", "demo"), Camera("bins", "demo")), state=folder)
    (found,) = cameras.check_drift(Target(settings))
    assert (found.name, found.state) == ("drift yard", "doubt")
    assert found.words.startswith("by day since ")
    assert found.words.endswith("darker than before: is the lens dirty?")
    assert "Has anything changed at a camera?" in found.todo
    assert list(cameras.check_drift(Target(settings, given_state=tmp_path / "elsewhere"))) == []
