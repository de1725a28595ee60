"""What a person sees of `config init`, `config check` and `schema config`."""

import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.alert.notify import guessable
from edge.cli.config import asked, check, init
from edge.config.load import load_text
from edge.config.schema import FILLED, NAME, config_schema, editor_schema, settings
from edge.config.template import template
from edge.files import JOURNAL
from tests.cli.test_command import ROOT, sentence
from tests.helpers.command import bear_alarm as run
from tests.helpers.config_text import uncommented

SECRETS = "".join(f"{name}: a-b\n" for name in ("MQTT_PASSWORD", "WEBHOOK_SECRET", "PING", "CAMERA_PASSWORD"))


def test_init_writes_what_check_passes(tmp_path):
    path = tmp_path / "bear-alarm.yml"
    ran = run("config", "init", path)
    assert (ran.returncode, ran.stdout) == (0, f"{path}: written. Try it: bear-alarm config check {path}\n")
    assert os.name != "posix" or path.stat().st_mode & 0o007 == 0
    ran = run("config", "check", path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{path}: fine; 1 camera: yard; notifies the terminal; pictures in evidence\n"
    found = json.loads(run("config", "check", path, "--json").stdout)
    assert (found["fine"], found["cameras"], found["problems"]) == (True, ["yard"], [])


def test_check_says_where_new_models_come_from_and_what_is_missing(tmp_path):
    (tmp_path / "bear-alarm.yml").write_text("cameras: {yard: demo}\nstate: state\nupdates: stick\n")
    ran = run("config", "check", tmp_path / "bear-alarm.yml")
    assert ran.returncode == 0
    assert ran.stderr == (
        f"New models: from {tmp_path / 'stick'} (not there now); no key is trusted here, so none is taken; "
        "bear-alarm model trust KEY.pub.\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_nobody_else_reads_it_not_for_a_moment(tmp_path, monkeypatch):
    """A password may have been answered: it is never on the disk with the rights that files usually have."""
    seen = []
    replace = Path.replace

    def looked(path, to):
        seen.append(path.stat().st_mode & 0o777)
        return replace(path, to)

    monkeypatch.setattr(Path, "replace", looked)
    before = os.umask(0o022)
    try:
        init(tmp_path / "bear-alarm.yml")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert seen == [0o640]


def test_init_overwrites_only_when_asked_to(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text("bell: no\n")
    assert "is there already; name another file, or replace it with --force" in sentence("config", "init", path)
    assert path.read_text() == "bell: no\n"
    assert run("config", "init", path, "--force").returncode == 0
    assert "cameras:" in path.read_text()
    assert "is a folder; name a file" in sentence("config", "init", tmp_path)
    assert "no such folder" in sentence("config", "init", tmp_path / "no" / "x.yml")


def test_the_template_holds_every_setting_and_passes_with_all_of_them(tmp_path):
    (tmp_path / "secrets.yml").write_text(SECRETS)
    text = uncommented(template()).replace("\nmodel:", "\n#model:")  # it contradicts updates.sources
    found = load_text(text, tmp_path / "bear-alarm.yml").settings
    assert found.alerts.anyone
    assert [camera.name for camera in found.cameras] == ["camera0", "trail"]
    # Each by its last word; `ca` would need a file.
    assert not {key[-1] for key in settings()} - {NAME, "ca", "active", "pin"} - set(re.findall(r"(\w+):", text))


def test_check_shows_every_problem_on_a_line_of_its_own(tmp_path):
    path = tmp_path / "bear-alarm.yml"
    path.write_text("cameras:\n  yard:\n    source: 0\n    fsp: 3\nbel: yes\n")
    ran = run("config", "check", path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [
        f"{path}:4: cameras.yard.fsp: no such setting; did you mean fps?",
        f"{path}:5: bel: no such setting; did you mean bell?",
    ]
    ran = run("config", "check", path, "--json")
    found = json.loads(ran.stdout)
    assert (ran.returncode, found["fine"]) == (2, False)
    assert found["problems"][0] == {
        "line": 4, "column": 5, "key": "cameras.yard.fsp", "sentence": "no such setting; did you mean fps?",
    }  # fmt: skip
    assert (
        run("config", "check", tmp_path / "no.yml").stderr
        == f"{tmp_path / 'no.yml'}: no such file; check the path, or write one with `bear-alarm config init`\n"
    )


def test_check_finds_the_config_and_shows_no_secrets(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text(
        "cameras: {yard: 'rtsp://u:s3cr3t@h/', bins: 1}\nmqtt: mqtt://u:s3cr3t@broker\nwebhook: https://h/s3cr3t\n"
        "notify: ntfy://s3cr3t\nrelay: 17\nsound: siren\nrecord: off\nevents: e.jsonl\n"
    )
    ran = run("config", "check", BEAR_ALARM_CONFIG=str(path))
    assert ran.returncode == 0
    assert ran.stdout.endswith(
        "; 2 cameras: yard, bins; notifies sound siren, relay 17, MQTT at broker:1883, webhook https://h/…, "
        f"ntfy://…, the file {tmp_path / 'e.jsonl'}; no pictures kept\n"
    )
    found = run("config", "check", path, "--json").stdout
    assert "s3cr3t" not in ran.stderr + ran.stdout + found
    assert any("short topic" in warning for warning in json.loads(found)["warnings"])


def test_check_names_cameras_in_shadow_and_a_file_made_without_questions_has_none(tmp_path):
    path = tmp_path / "bear-alarm.yml"
    path.write_text("cameras: {yard: {source: demo, stage: shadow}, bins: {source: 0, stage: supervised}}\n")
    printed = run("config", "check", path).stdout
    assert "2 cameras: yard, bins (yard in shadow: no bear alarm will reach anyone); notifies" in printed
    assert json.loads(run("config", "check", path, "--json").stdout)["shadow"] == ["yard"]
    path.write_text(f"{path.read_text()}state: {tmp_path}\n")
    (tmp_path / JOURNAL).write_text("no journal")
    ran = run("config", "check", path)
    assert "so the stages are those of the config" in ran.stderr
    assert "yard in shadow" in ran.stdout
    assert load_text(template(), path).settings.cameras[0].stage == ""


def test_what_this_machine_cannot_do_now_is_a_warning_and_no_mistake(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    path = tmp_path / "bear-alarm.yml"
    path.write_text(
        "cameras: {yard: demo}\nsound: siren\nrelay: 17\ndeterrent: {play: on, lamps: 22}\n"
        "command: no-such-program-here\nnotify: ntfy://my-bees\n"
    )
    check(path)
    for words in ("sound: no program", "relay: pin 17", "deterrent.lamps: pin 22", "command.on_alarm: ", "short topic"):
        assert words in caplog.text, words
    printed = capsys.readouterr().out
    assert "5 warnings" in printed
    assert "fine" not in printed


def test_files_of_a_disk_that_is_not_mounted_are_warnings(tmp_path, caplog):
    path = tmp_path / "bear-alarm.yml"
    path.write_text(
        "cameras: {yard: demo}\nsound: {play: [usb/horn.wav, own.wav]}\ndeterrent: usb/sounds\n"
        "mqtt: {host: b, tls: on, ca: usb/ca.pem}\n"
    )
    check(path)
    for name, file in (("sound.play", "own.wav"), ("sound.play", "usb/horn.wav"), ("deterrent.play", "usb/sounds")):
        assert f"{name}: {tmp_path / file} is not there" in caplog.text
    assert f"mqtt.ca: ca={tmp_path / 'usb/ca.pem'} is not there" in caplog.text


def test_an_empty_config_is_a_mistake_and_one_without_cameras_a_warning(tmp_path, caplog):
    path = tmp_path / "bear-alarm.yml"
    for text in ("", "# sound: siren\n"):
        path.write_text(text)
        ran = run("config", "check", path)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert f"{path}: it is empty: nothing is watched" in ran.stderr
        assert json.loads(run("config", "check", path, "--json").stdout)["fine"] is False
    path.write_text("bell: no\n")
    check(path)
    assert "SOURCE" in caplog.text


def test_a_phone_with_ntfy_gets_a_topic_that_nobody_guesses(monkeypatch, caplog):
    caplog.set_level("INFO")
    answers = iter(["demo", "ntfy", "shadow", "demo", "ntfy", "shadow"])
    monkeypatch.setattr("edge.cli.config._ask", lambda question, usual: next(answers))
    one, two = (asked()["notify"] for _ in range(2))
    assert one != two
    assert guessable(one) is None
    assert any(one.removeprefix("ntfy://") in line for line in caplog.messages)
    assert template() != template()
    (example,) = re.findall(r"ntfy://\S+", template())
    assert guessable(example) is None


def answered(path: Path, *answers: str) -> str:
    """Return what a terminal shows while somebody answers the questions of `config init`."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "edge", "config", "init", str(path)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb"}
    shown = b""
    with subprocess.Popen(words, env=env, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as process:
        os.close(theirs)
        waiting = list(answers)
        until = time.monotonic() + 60.0
        asked = 0
        while time.monotonic() < until:
            if not select.select([ours], [], [], 0.2)[0]:
                continue
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if waiting and shown.count(b"]: ") > asked:
                asked = shown.count(b"]: ")
                os.write(ours, waiting.pop(0).encode() + b"\n")
        process.wait(30)
    os.close(ours)
    return shown.decode()


@pytest.mark.skipif(os.name != "posix", reason="terminals are of POSIX")
def test_on_a_terminal_it_asks_for_the_camera_for_whom_to_notify_and_for_the_stage(tmp_path):
    path = tmp_path / "bear-alarm.yml"
    shown = answered(path, "rtsp://10.0.0.20/main", "siren", "")
    assert "Which camera" in shown
    assert "people are notified, and noises wait for a yes" in shown
    found = load_text(path.read_text(), path).settings
    camera = found.cameras[0]
    assert (camera.source, camera.stage, found.alerts.sounds) == ("rtsp://10.0.0.20/main", "shadow", ("siren",))
    shown = answered(tmp_path / "b.yml", "demo", "nowhere://x", "", "demo", "mqtt://u:p@broker", "Auto", "Autonomous")
    assert "knows no such service" in shown
    assert "does camera yard begin" in shown
    assert "'auto' is none of shadow, supervised, autonomous" in shown
    assert shown.count("Which camera") == 2
    found = load_text((tmp_path / "b.yml").read_text(), path).settings
    assert found.alerts.mqtt is not None
    assert found.alerts.mqtt.where == "broker:1883"
    assert found.cameras[0].stage == "autonomous"


def test_the_schema_is_one_and_refuses_other_keys():
    found = json.loads(run("schema", "config").stdout)
    assert found == editor_schema()
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    sections = [each for each in (found, *found["$defs"].values()) if "properties" in each]
    assert all(each["additionalProperties"] is False for each in sections)
    fps = {"default": 10.0, "description": "Frames analysed a second.", "maximum": 60.0, "minimum": 0.25}
    fps |= {"examples": [5]}
    assert config_schema()["$defs"]["Looking"]["properties"]["fps"] == fps | {"type": "number"}
    # An editor sees ${NAME}, and what is not filled in yet.
    words = {"type": ["number", "string", "null"], "pattern": FILLED}
    assert found["$defs"]["Looking"]["properties"]["fps"] == fps | words
    # And most of them read yes and no as words.
    bell = found["properties"]["bell"]
    assert bell["type"] == ["boolean", "string", "null"]
    for word in ("yes", "No", "on", "OFF", "true", "${BELL}"):
        assert re.search(bell["pattern"], word), word
    assert not re.search(bell["pattern"], "maybe")
    assert found["$defs"]["PinSection"]["properties"]["active"]["anyOf"][0] == {"enum": ["high", "low", None]}
    assert all(each.get("description") for key, each in settings().items() if key[-1] != NAME)
