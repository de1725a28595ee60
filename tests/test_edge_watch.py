"""The loop on lists of frames with a scorer that knows bears by their colour, and the command on small clips."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.crops import cut_all
from edge.decide import Rule
from edge.errors import SourceError
from edge.evidence import EvidenceWriter
from edge.pictures import read_picture
from edge.schema import Event, Frame, Score
from edge.watch import Watcher
from tests.test_edge_motion import WALL
from tests.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, write_tiny_model

ROOT = Path(__file__).parents[1]
RULE = Rule(threshold=0.5, still_threshold=0.5)
BOAR = (60, 60, 60)
GREEN = np.full((360, 640, 3), NO_BEAR_COLOUR, np.uint8)


class Colours:
    """A crop is a bear as far as it is red."""

    def __init__(self, factor=1.3):
        self.factor, self.calls = factor, []

    def score(self, image, regions):
        self.calls.append(len(regions))
        crops = cut_all(image, [region.box_xywh for region in regions], 32, 1.1).astype(np.float32)
        red = (crops[..., 2] - crops[..., 1]).clip(0).mean((1, 2)) / 210 * self.factor
        return [
            Score(r, (float(p), 1 - float(p)), float(p), "brown_bear", 0.0)
            for r, p in zip(regions, red.clip(0.01, 0.99), strict=True)
        ]


def scene(width=640, height=360, seed=0):
    """A green meadow with texture (height, width, 3)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 255, (height, width), np.uint8), (0, 0), 4)
    texture = (noise - noise.mean()) / np.ptp(noise) * 120
    return np.clip(texture[..., None] + (20, 150, 20), 0, 255).astype(np.uint8)


def walk(seconds, *animals, fps=10, background=None):
    """Frames; an animal is (from_s, to_s, colour, left_px, px a second)."""
    empty = scene() if background is None else background
    for i in range(round(seconds * fps)):
        picture, at = empty.copy(), i / fps
        for start, end, colour, left, speed in animals:
            if start <= at < end:
                x = round(left + speed * (at - start))
                cv2.rectangle(picture, (x, 200), (x + 59, 259), colour, -1)
        yield Frame(picture, at, WALL, "yard", i, time.monotonic(), media_time_s=at)


def watch(frames, scorer=None, **options):
    told: list[Event] = []
    watcher = Watcher(scorer or Colours(), RULE, [told.append], model="test@1", **options)
    watcher(frames)
    return told, watcher


def test_a_bear_that_walks_in_is_told_once_and_its_end():
    told, watcher = watch(walk(15, (3.0, 7.0, BEAR_COLOUR, 100, 60)))
    assert [event.type for event in told] == ["new", "end"]
    new, end = told
    assert 3.0 <= new.media_time_s <= 3.0 + RULE.seconds_at_best + 0.2
    assert 0 <= new.onset_s <= RULE.seconds_at_best + 0.1
    assert new.latency_ms > 0
    assert (new.kind, new.camera, new.label, new.model) == ("bear", "yard", "brown_bear", "test@1")
    assert (new.id, new.boot_id) == (end.id, end.boot_id)
    assert [event.seq for event in told] == [1, 2]
    x, y, w, h = new.box_xywh
    assert (x * 640 - 100, y * 360, w * 640, h * 360) == pytest.approx((30, 200, 65, 65), abs=30)
    assert Event.from_json(new.to_json()) == new
    assert watcher.tally.told == {"new": 1, "end": 1}


def test_a_boar_raises_nothing():
    assert watch(walk(8, (2.0, 6.0, BOAR, 100, 60)))[0] == []


def test_a_model_without_bears_raises_nothing():
    assert watch(walk(8, (2.0, 6.0, BEAR_COLOUR, 100, 60)), Colours(factor=0.0))[0] == []


def test_a_bear_there_from_the_first_frame_that_never_moves_is_found():
    standing = scene()
    cv2.rectangle(standing, (200, 60), (420, 300), BEAR_COLOUR, -1)
    told, _ = watch(walk(3, background=standing))
    assert [event.type for event in told] == ["new", "end"]
    assert told[0].media_time_s <= RULE.seconds_at_best + 0.2


def test_a_bear_that_stops_keeps_its_event_open():
    told, _ = watch(walk(25, (2.0, 4.0, BEAR_COLOUR, 100, 60), (4.0, 25.0, BEAR_COLOUR, 220, 0)))
    assert [event.type for event in told if event.type != "update"] == ["new", "end"]
    assert told[-1].media_time_s > 24


def pan(bear):
    wide = scene(1800, 700)
    if bear:
        cv2.rectangle(wide, (700, 150), (1000, 420), BEAR_COLOUR, -1)
    for i in range(60):
        picture = wide[4 * i : 4 * i + 360, 14 * i : 14 * i + 640].copy()
        yield Frame(picture, i / 10, WALL, "hand", i, time.monotonic(), media_time_s=i / 10)


def test_a_panning_camera_sweeps_and_keeps_to_its_budget():
    scorer = Colours()
    told, watcher = watch(pan(bear=False), scorer)
    assert told == []
    assert max(scorer.calls[2:]) <= watcher.most_crops
    assert np.median(scorer.calls) >= 8


def test_a_panning_camera_sees_a_bear():
    assert [event.type for event in watch(pan(bear=True))[0]] == ["new", "end"]


def test_two_bears_are_two_events():
    told, _ = watch(walk(8, (2.0, 6.0, BEAR_COLOUR, 60, 20), (3.5, 6.0, BEAR_COLOUR, 500, -20)))
    assert [event.type for event in told if event.type != "end"] == ["new", "new"]
    assert len({event.id for event in told}) == 2


def test_sinks_are_called_in_order_before_any_evidence_is_written(tmp_path):
    order, writer = [], EvidenceWriter(tmp_path)
    told: list[Event] = []

    def siren(_):
        order.append(("siren", list(tmp_path.rglob("*.jpg"))))

    Watcher(Colours(), RULE, [siren, told.append], evidence=writer)(walk(5, (2.0, 4.0, BEAR_COLOUR, 100, 60)))
    assert writer.close(5.0)
    assert order[0] == ("siren", [])
    assert {Path(event.evidence or "").is_file() for event in told} == {True}
    assert len(list(tmp_path.rglob("*.jpg"))) == sum(event.type != "end" for event in told)


def test_a_camera_that_dies_ends_its_events():
    def dying():
        yield from walk(3, (1.0, 3.0, BEAR_COLOUR, 100, 60))
        raise SourceError("yard: no frame for 10 s")

    told: list[Event] = []
    with pytest.raises(SourceError):
        Watcher(Colours(), RULE, [told.append])(dying())
    assert [event.type for event in told] == ["new", "end"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "yard.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 360))
    for frame in walk(9, (2.0, 5.0, BEAR_COLOUR, 100, 60), background=GREEN):
        writer.write(frame.image)
    writer.release()
    return path


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    """Six minutes, small, so that a signal comes while it plays."""
    path = tmp_path_factory.mktemp("clips") / "long.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 180))
    once = [
        cv2.resize(frame.image, (320, 180)) for frame in walk(9, (2.0, 5.0, BEAR_COLOUR, 100, 60), background=GREEN)
    ]
    for picture in once * 40:
        writer.write(picture)
    writer.release()
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tests.tiny import tiny_card

    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx", tiny_card())


def start(*words, cwd):
    env = {name: value for name, value in os.environ.items() if not name.startswith("BEAR_ALARM")}
    command = [sys.executable, "-m", "edge", *map(str, words)]
    env |= {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*words, cwd):
    with start(*words, cwd=cwd) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_the_command_tells_keeps_and_sums_up(clip, model, tmp_path):
    hook = f"\"{sys.executable}\" -c \"import sys; open('rang.json', 'a').write(sys.stdin.read())\""
    code, out, err = run("watch", clip, "--model", model, "--events", "-", "--on-alarm", hook, cwd=tmp_path)
    assert code == 0, err
    events = [Event.from_json(line) for line in out.splitlines()]
    assert [event.type for event in events] == ["new", "end"]
    assert 2.0 <= (events[0].media_time_s or 0.0) <= 3.0
    assert (tmp_path / str(events[0].evidence)).is_file()
    assert json.loads((tmp_path / "rang.json").read_text())["id"] == events[0].id
    for words in (
        "tiny@",
        "CC0",
        "For tests only.",
        "not a life-safety device",
        "2 scored frames or 0.6 s",
        "90 frames",
    ):
        assert words in err
    assert "BEAR  yard at 2." in err
    assert "1 alarms" in err
    assert "\a" not in err
    assert "\x1b" not in err


def test_events_in_a_file_are_durable_and_appended(clip, model, tmp_path):
    for _ in range(2):
        code, out, err = run(
            "watch", clip, "--model", model, "--events", "e.jsonl", "--no-evidence", "--quiet", cwd=tmp_path
        )
        assert (code, out, err) == (0, "", "")
    events = [Event.from_json(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert [event.type for event in events] == ["new", "end"] * 2
    assert all(event.durable for event in events)
    assert len({event.boot_id for event in events}) == 2
    assert not (tmp_path / "evidence").exists()


def test_several_sources_share_the_numbers(clip, model, tmp_path):
    code, out, err = run("watch", clip, clip, "--model", model, "--events", "-", "--no-evidence", cwd=tmp_path)
    assert code == 0, err
    events = [Event.from_json(line) for line in out.splitlines()]
    assert sorted(event.seq for event in events) == [1, 2, 3, 4]
    assert {event.camera for event in events} == {"yard", "yard-2"}


def test_a_failing_alarm_command_is_said_and_the_rest_goes_on(clip, model, tmp_path):
    code, out, err = run("watch", clip, "--model", model, "--events", "-", "--on-alarm", "exit 3", cwd=tmp_path)
    assert code == 0
    assert len(out.splitlines()) == 2
    assert "--on-alarm failed: `exit 3` ended with exit code 3" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["watch"], "nothing to watch"),
        (["watch", "nowhere.mp4"], "nowhere.mp4: no such camera, file or folder"),
        (["watch", "."], ".: no pictures there"),
        (["watch", "bad.jpg"], "bad.jpg"),
        (["watch", "zero.mp4"], "zero.mp4: the video file is empty"),
        (["watch", "CLIP", "--evidence", "zero.mp4"], "zero.mp4: cannot keep evidence there"),
        (["watch", "CLIP", "--events", "."], ".: cannot write events there"),
        (["snapshot", "CLIP", "--zone", "0,0 1,1"], "three corners"),
        (["snapshot", "CLIP", "--out", "shot.txt"], "shot.txt"),
        (["snapshot", "CLIP", "--at", "300"], "its last frame is at 8.9 s"),
    ],
)
def test_a_users_mistake_is_one_sentence(words, says, clip, model, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / "zero.mp4").touch()
    if words[-1] == ".":
        (tmp_path / "bad.jpg").unlink()
    words = [clip if word == "CLIP" else word for word in words]
    code, out, err = run(*words, *(["--model", model] if len(words) > 1 else []), cwd=tmp_path)
    assert code == 2, err
    assert out == ""
    assert says in err
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(number, long_clip, model, tmp_path):
    with start("watch", long_clip, "--model", model, "--events", "e.jsonl", "--no-evidence", cwd=tmp_path) as process:
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
        reader.start()
        until = time.monotonic() + 30
        # extend() takes lines as they come.
        while not any("BEAR" in line for line in lines) and time.monotonic() < until:
            time.sleep(0.02)
        assert process.poll() is None
        process.send_signal(number)
        try:
            assert process.wait(15) == 0
        finally:
            process.kill()
        reader.join(5)
    assert any("frames," in line for line in lines)
    events = [Event.from_json(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert {event.id for event in events if event.type == "new"} == {e.id for e in events if e.type == "end"}


def test_a_snapshot_shows_what_the_alarm_sees(clip, model, tmp_path):
    code, out, err = run(
        "snapshot", clip, "--model", model, "--at", "3.5", "--zone", "0.1,0.1 0.9,0.1 0.5,0.9", cwd=tmp_path
    )
    assert code == 0, err
    assert "what moves" in out
    assert "brown bear" in out
    shot = read_picture(tmp_path / "snapshot.jpg")
    assert shot.shape == (360, 640, 3)
