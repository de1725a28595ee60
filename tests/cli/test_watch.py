"""What a person sees of `watch` and `snapshot`: the commands, run as a user runs them."""

from __future__ import annotations

import getpass
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import cv2
import pytest

from edge.alert.local_sinks import command_in_doubt
from edge.cli.watch.command import MIN_FPS
from edge.decide.evidence import Evidence
from edge.pictures import read_picture
from edge.schema import Event
from tests.alarm.test_watch import GREEN, ROOT, RULE, walk
from tests.helpers.command import bear_alarm
from tests.helpers.tiny import BEAR_COLOUR
from tests.helpers.yard import yard_clip, yard_model


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return yard_clip(tmp_path_factory.mktemp("clips") / "yard.avi")


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
    return yard_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


def start(*words, cwd):
    env = {name: value for name, value in os.environ.items() if not name.startswith("BEAR_ALARM")}
    command = [sys.executable, "-m", "edge", *map(str, words)]
    env |= {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*words, cwd):
    ran = bear_alarm(*words, cwd=cwd)
    return ran.returncode, ran.stdout, ran.stderr


def test_the_command_notifies_keeps_and_sums_up(clip, model, tmp_path):
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
        "about half a second",
        "1 alarm in 8.9 s of footage: 90 frames.",
    ):
        assert words in err
    assert "BEAR  yard at 2." in err
    assert "s before, evidence" in err
    assert "\a" not in err
    assert "\x1b" not in err


def test_each_start_names_what_alarms_nobody_and_what_waits(clip, model, tmp_path):
    (tmp_path / "bear-alarm.yml").write_text(
        f"cameras:\n  yard: {{source: '{clip}', stage: shadow}}\n  bins: {{source: '{clip}', stage: supervised}}\n"
        f"  hives: '{clip}'\nmodel: '{model}'\nstate: state\nstages: {{unanswered: silence}}\n"
        "command: 'echo \"$BEAR_CAMERA\" >> rang'\n"
    )
    for words in (("watch", "--quiet"), ("watch",)):
        code, _, err = run(*words, cwd=tmp_path)
        assert code == 0, err
        named = [line for line in err.splitlines() if line.split(":")[0] in ("yard", "bins", "hives")]
        assert named[0].startswith("yard: SHADOW: no bear alarm will reach anyone; you are reminded on ")
        nobody = "nobody can answer: see docs/notifications.md"
        assert named[1].endswith(f"noises wait for a yes; it stays SILENT until somebody says yes; {nobody}.")
        assert "noises wait for a yes: it stays silent until somebody says yes (until " in err
        assert f"); {nobody}, evidence/" in err
    assert len(re.findall("^(?:yard|bins|hives): (?:SHADOW|supervised|autonomous)", err, re.MULTILINE)) == 2
    assert "in shadow: nobody is notified" in err
    assert set((tmp_path / "rang").read_text().split()) == {"hives"}


def test_where_the_journal_has_another_stage_than_the_config_both_are_shown(clip, model, tmp_path):
    (tmp_path / "bear-alarm.yml").write_text(
        f"cameras:\n  yard: {{source: '{clip}', stage: shadow}}\n  bins: {{source: '{clip}', stage: shadow}}\n"
        f"model: '{model}'\nstate: state\nsound: siren\nbell: no\n"
    )
    checked, shadow = run("config", "check", cwd=tmp_path)[1], "in shadow: no bear alarm will reach anyone"
    assert f"(yard, bins {shadow}); notifies sound siren (no bears: shadow);" in checked
    assert run("watch", cwd=tmp_path)[0] == 0
    assert run("stage", "yard", "supervised", cwd=tmp_path)[0] == 0
    _, checked, beside = run("config", "check", cwd=tmp_path)
    both = f"yard: the config says shadow, and it is supervised now (chosen by {getpass.getuser()})"
    assert both in beside.splitlines()
    assert f"(bins {shadow}); notifies sound siren;" in checked
    said = run("alert", "test", "--config", "bear-alarm.yml", cwd=tmp_path)[2].splitlines()
    assert said[-2:] == [
        "yard is supervised: people would be notified, and noises would wait for a yes.",
        "bins is in shadow: a real bear would reach nobody.",
    ]
    code, _, err = run("watch", cwd=tmp_path)
    assert code == 0
    assert f"{both}." in err.splitlines()
    code, _, err = run("watch", f"yard={clip}", "1=demo", "--config", "bear-alarm.yml", "--no-evidence", cwd=tmp_path)
    assert code == 0
    assert [line for line in err.splitlines() if "named on the command line" in line] == [
        f"{name} is named on the command line, so it has no stage: its alarms reach everyone; with the config it is "
        f"{stage}. `bear-alarm watch` alone uses the config."
        for name, stage in (("yard", "supervised"), ("bins", "in shadow"))
    ]


def test_events_in_a_file_are_durable_and_appended(clip, model, tmp_path):
    for _ in range(2):
        code, out, err = run(
            "watch", clip, "--model", model, "--events", "e.jsonl", "--no-evidence", "--quiet", cwd=tmp_path
        )
        assert (code, out) == (0, "")
        assert [line[:15] for line in err.splitlines()] == ["BEAR  yard at 2"]  # a bear is what goes wrong
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


def test_a_failing_alarm_command_is_shown_and_the_rest_goes_on(clip, model, tmp_path):
    code, out, err = run("watch", clip, "--model", model, "--events", "-", "--on-alarm", "exit 3", cwd=tmp_path)
    assert code == 0
    assert len(out.splitlines()) == 2
    assert "--on-alarm failed: `exit …` ended with exit code 3" in err
    assert "--on-alarm: 0 done" in err.splitlines()[-1]  # the sum says it again


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["watch"], "nothing to watch"),
        (["watch", "nowhere.mp4"], "nowhere.mp4: no such camera, file or folder"),
        (["watch", "."], ".: no pictures there"),
        (["watch", "CLIP", "--fps", "0.2"], "0.25"),
        (["watch", "CLIP", "--quiet", "--verbose"], "contradict"),
        (["watch", "bad.jpg"], "bad.jpg"),
        (["watch", "zero.mp4"], "zero.mp4: the video file is empty"),
        (["watch", "CLIP", "--evidence", "zero.mp4"], "zero.mp4: cannot keep evidence there"),
        (["watch", "CLIP", "--events", "."], ".: cannot write events there"),
        (["snapshot", "CLIP", "--zone", "0,0 1,1"], "three corners"),
        (["snapshot", "CLIP", "--out", "shot.txt"], "shot.txt"),
        (["snapshot", "CLIP", "--out", "mistyped/shot.jpg"], "there is no folder mistyped"),
        (["watch", "CLIP", "--trace", "mistyped/t.jsonl"], "there is no folder mistyped"),
        (["watch", "CLIP", "--events", "mistyped/e.jsonl"], "there is no folder mistyped"),
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
    assert not (tmp_path / "mistyped").exists()


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
    assert any("frames." in line for line in lines)
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


def test_two_sure_frames_alarm_at_the_least_frame_rate():
    gathered = Evidence(RULE)
    assert [gathered(RULE.cap, at) for at in (0.0, 1 / MIN_FPS)] == [False, True]


@pytest.mark.skipif(os.name != "posix", reason="the POSIX shell's words")
@pytest.mark.parametrize(
    ("line", "doubted"),
    [
        ("sirne --loud", True),
        ("./gone.sh", True),
        ("sh alarm.sh", False),
        ("exit 3", False),
        ("LOUD=1 sirne", False),
        ("$SIREN on", False),
        ("(sirne; bell)", False),
        ("'unbalanced", False),
        (f'"{sys.executable}" -c 1', False),
    ],
)
def test_an_alarm_command_that_is_not_there_is_doubted(line, doubted):
    assert bool(command_in_doubt(line, "--on-alarm")) is doubted


def test_a_folder_is_shown_to_be_a_film_and_no_frame_is_not_no_bear(model, tmp_path):
    (tmp_path / "cards").mkdir()
    cv2.imwrite(str(tmp_path / "cards" / "a.png"), GREEN)
    code, _, err = run("watch", "cards", "--model", model, "--on-alarm", "sirne", cwd=tmp_path)
    assert code == 0, err
    assert "played as a film" in err
    assert "bear-alarm classify" in err
    assert "`sirne` is no program" in err
    assert "No alarm: 1 frame." in err
    assert "cards: one picture alone raises no alarm, whatever it shows" in err
    (tmp_path / "cards" / "a.png").write_bytes(b"gone")
    code, _, err = run("watch", "cards", "--model", model, cwd=tmp_path)
    assert code == 2
    assert "No alarm" not in err
    assert "cards: no frame came" in err


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no SIGUSR1")
def test_signals_that_come_twice_or_for_nothing_harm_nothing(long_clip, model, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "edge", "watch", str(long_clip), "--model", str(model), "--no-evidence"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stderr
        for line in process.stderr:
            if "visible bear" in line:
                break
        time.sleep(0.5)
        for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGINT):
            process.send_signal(number)
            time.sleep(0.05)
        printed = process.stderr.read()
    assert process.returncode == 0, printed
    assert "frames" in printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["watch", "demo", "--on-alarm", " "], "--on-alarm is empty"),
        (["watch", "demo", "--mask", "0,0 1,0 1,1 0,1"], "leave nothing to look at"),
        (["snapshot", "demo", "--mask", "0,0 1,0 1,1 0,1"], "leave nothing to look at"),
        (["watch", "demo", "demo", "--zone", "0,0 1,0 1,1"], "belongs to one camera"),
        (["why", "--trace", "."], "is a folder"),
    ],
)
def test_what_could_never_work_is_refused(words, says, tmp_path):
    done = bear_alarm(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_one_model_by_hand_and_sources_of_new_ones_contradict_each_other(tmp_path):
    (tmp_path / "bear-alarm.yml").write_text("cameras: {yard: demo}\nupdates: stick\n")
    code, _, err = run("watch", "--model", "own.onnx", cwd=tmp_path)
    assert code == 2
    assert "--model own.onnx names the one file to use, and the config takes new ones (updates.sources)" in err
