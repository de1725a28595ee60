"""What a config may say an alarm can run on, and what an alarm would refuse is refused before: nobody is near then."""

import os

import pytest

from edge.alarm import Alarm
from edge.camera import is_live
from edge.config.check import STREAMS
from edge.config.load import load_text
from edge.config.schema import settings
from edge.device.heartbeat import MAX_PERIOD_S, MIN_PERIOD_S
from tests.helpers.config_text import made, problems


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("clip.mp4", "no such file or folder; a camera is 0"), ("dev/video0", "no such file or folder"),
        ("rtsp:/10.0.0.2/x", "no such file or folder"), ("picamera", "no such file or folder"),
        ("nowhere/*.jpg", "no such file or folder"), ("x" * 4000, "no such file or folder"),
        ("rstp://u:hunter2@10.0.0.2/x", "no such kind of stream"), ("file:///x.mp4", "no such kind of stream; there"),
        ("'/dev/video0# yard'", "a # begins a comment only behind a space"), ("'rtsp://h/a b'", "a space"),
        ("rtsp://u:hunter#2@10.0.0.2/x", "are written %2F %3F %23 %40 %25"), ("rtsp:///x", "no address"),
        ("rtsp://h:0/x", "no address"),
    ],
)  # fmt: skip
def test_a_source_that_can_never_be_is_found(source, words, tmp_path):
    for text in (f"cameras:\n  a: {source}\n", f"cameras:\n  a:\n    source: {source}\n"):
        (found,) = problems(text, tmp_path)
        assert words in found
        assert "hunter" not in found
    assert problems(f"cameras:\n  b: 0\n  a:\n    source: {source}\n    enabled: no\n", tmp_path) == []


def test_the_smaller_stream_is_looked_at_too():
    (found,) = problems("cameras:\n  a:\n    source: rtsp://h/x\n    motion_source: rstp://h/y\n")
    assert found == f"4: cameras.a.motion_source: no such kind of stream; there are {'://, '.join(STREAMS)}://"


def test_a_camera_that_is_missing_is_none_of_these(tmp_path):
    """It is waited for: a stick, a stream, a folder into which nothing was uploaded yet."""
    text = "cameras: {a: /dev/video9, b: rtsp://10.0.0.2/x, c: picamera://0, d: {source: uploads, follow: yes}, e: 7}"
    assert len(made(text, tmp_path).cameras) == 5
    (tmp_path / "uploads").write_text("")
    (found,) = problems(text, tmp_path)
    assert "the source is no folder" in found


def test_the_kinds_of_streams_are_those_that_a_camera_may_have():
    for scheme in STREAMS:
        assert is_live(f"{scheme}://10.0.0.2/x"), scheme
    assert not is_live("file://10.0.0.2/x")


def test_a_question_mark_in_an_address_is_no_pattern():
    assert problems("cameras: {a: 'rtsp://10.0.0.2/x?channel=1', b: 'picamera://0?rotation=180'}") == []


@pytest.mark.parametrize(
    ("cameras", "key"),
    [
        ("{a: 0, b: /dev/video0}", "cameras.b"), ("{a: picamera://0, b: 'picamera://0?rotation=180'}", "cameras.b"),
        ("{a: {source: 0, motion_source: 0}}", "cameras.a.motion_source"),
    ],
)  # fmt: skip
def test_a_device_is_that_of_one_camera(cameras, key):
    (found,) = problems(f"cameras: {cameras}")
    assert found == f"1: {key}: it is the device of cameras.a.source, which only one can have"


def test_a_folder_is_followed_by_one_camera(tmp_path):
    (tmp_path / "inbox").mkdir()
    once, again = "a: {source: inbox, follow: yes}", "b: {source: ./inbox/, follow: yes}"
    (found,) = problems(f"cameras: {{{once}, {again}}}", tmp_path)
    assert found == "1: cameras.b.source: it is the folder of cameras.a.source, which only one can follow"
    assert problems(f"cameras: {{{once}, {again.replace('}', ', enabled: no}')}}}", tmp_path) == []


def test_a_stream_may_be_had_twice_and_a_device_by_one_that_is_off():
    assert problems("cameras: {a: rtsp://h/x, b: rtsp://h/x, c: 0, d: {source: 0, enabled: no}}") == []


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("detect: {fps: 0.25, alarm_at: 6}", "1: detect.alarm_at: "),
        ("cameras:\n  a: {source: 0, fps: 0.25, alarm_at: 4}", "2: cameras.a.alarm_at: "),
        ("detect: {alarm_at: 6}\ncameras:\n  a: {source: 0, fps: 0.25}", "3: cameras.a.fps: "),
    ],
)
def test_a_rule_that_could_never_alarm_is_found(text, begins):
    (found,) = problems(text)
    assert found.startswith(begins)
    assert "a sure bear would never alarm" in found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sound:\n  seconds: 30\n", "2: sound.seconds: nothing would sound; give sound.play too"),
        ("sound:\n  device: default\n", "2: sound.device: nothing would sound"),
        ("health:\n  heartbeat:\n    every_s: 60\n", "3: health.heartbeat.every_s: there is a time but no address"),
        ("health: {heartbeat: {url: 'https://h/x', every_s: 5}}", "'5' is not between 10 and 86400"),
        ("health: {heartbeat: 'https://a..b/x'}", "has a host's name that cannot be"),
        ("notify: ['ntfy://bees', ' ntfy://bees']", "the same address is there twice"),
    ],
)  # fmt: skip
def test_what_an_alarm_would_refuse_or_pass_over_is_found(text, words, tmp_path):
    (tmp_path / "file").write_text("")
    (found,) = problems(text, tmp_path)
    assert words in found


def test_a_device_alone_may_be_the_deterrents():
    assert problems("deterrent: on\nsound: {device: default}") == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
@pytest.mark.parametrize(
    "text",
    [
        "sound: pipe",
        "model: pipe",
        "events: pipe",
        "trace: pipe",
        "mqtt: {host: h, tls: yes, ca: pipe}",
        "deterrent: d",
    ],
)
def test_a_pipe_holds_up_nobody(text, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "d" / "a.wav")
    (found,) = problems(text, tmp_path)
    assert "is no ordinary file" in found


def test_the_heartbeats_bounds_are_its_own():
    found = settings()["health", "heartbeat", "every_s"]
    assert (found["minimum"], found["maximum"]) == (MIN_PERIOD_S, MAX_PERIOD_S)


def test_an_alarm_runs_on_what_passes(tmp_path, monkeypatch):
    """The least and most of what needs no hardware."""
    monkeypatch.chdir(tmp_path)
    text = """
        state: state
        cameras: {a: demo, b: {source: demo, fps: 0.25, alarm_at: 3}}
        detect: {alarm_at: 6, schedule: daily 0-24}
        bell: no
        events: events/log.jsonl
        trace: trace/trace.bin
        record: {path: kept/here, quota_mb: 1, pre_capture_s: 0, post_capture_s: 0}
        webhook: {url: "http://127.0.0.1:1/x", secret: é}
        mqtt: {host: 127.0.0.1, port: 1, client_id: a, every_s: 3600}
        health: {heartbeat: {url: "http://127.0.0.1:1/x", every_s: 10}, listen: 0}
    """
    alarm = Alarm(load_text("\n".join(map(str.strip, text.splitlines())), tmp_path / "bear-alarm.yml").settings)
    try:
        assert len(alarm.status().cameras) == 2
    finally:
        alarm.close(0.0)
