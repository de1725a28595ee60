"""``bear-alarm doctor`` as it is typed: on a machine that is well, on a broken one, and its bundle without secrets."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile

import pytest

from edge.cli.doctor import bundle
from edge.cli.doctor.bundle import Redactor, secrets_of_device
from edge.cli.doctor.command import admitted
from edge.cli.doctor.findings import Target, doubt
from edge.cli.options import names
from edge.config import load_config
from edge.errors import OptionError
from edge.settings import Camera, Settings
from tests.helpers.broker import free_port
from tests.helpers.command import bear_alarm, in_a_process
from tests.helpers.doctor_world import put
from tests.helpers.state_folder import StateFolder

CONFIG = """
cameras:
  yard:
    source: rtsp://admin:hunter22@127.0.0.1:{port}/stream
  bins:
    source: rtsp://admin:${{CAM_PW}}@127.0.0.1:{port}/other
    schedule: daily 20:00-06:00
# the old password was oldsecret1
mqtt: {{host: 127.0.0.1, port: {port}, user: bobsuser, password: mqttpass1}}
webhook: {{url: "http://127.0.0.1:{port}/hook/hookpath99", secret: whsecret7}}
notify: ["ntfy://topicsecret5", "mailtos://ranger:mailpass4@forest.example?to=jane@forest.example"]
health: {{heartbeat: {{url: "http://127.0.0.1:{port}/ping/uuid8888"}}}}
command: {{on_alarm: "true --token cmdtoken6", text: "true +1555010177"}}
"""
PLANTED = {
    "of the config": ["hunter22", "oldsecret1", "bobsuser", "mqttpass1", "hookpath99", "whsecret7", "topicsecret5"],
    "of people": ["mailpass4", "jane@", "ranger", "forest.example"],
    "of the heartbeat": ["uuid8888"],
    "of commands": ["cmdtoken6", "1555010177"],
    "of the environment": ["campass33", "apitoken44"],
    "of secrets.yml": ["filesecret55", "nobodyuses66"],
    "of events": ["evtpass77", "1.2.3.4"],
}


@pytest.fixture
def device(tmp_path):
    """A config, secrets and a journal with secrets in every corner."""
    put(tmp_path, **{"bear-alarm.yml": CONFIG.format(port=free_port())})
    put(tmp_path, **{"secrets.yml": "UNUSED: nobodyuses66\nMQTT: 'filesecret55'\n"})
    (tmp_path / "secrets.yml").chmod(0o600)
    state = StateFolder(tmp_path / "state")
    for number in range(bundle.EVENTS):
        state.event(f"{number:032x}", "new", detail="mqttpass1")
    state.event(
        "ab" * 16, "new", kind="health", label="sink",
        detail="POST https://x:evtpass77@1.2.3.4/a failed: apitoken44, filesecret55, campass33 of jane@forest.example",
    )  # fmt: skip
    state.event("cd" * 16, "new", kind="camera", camera="yard", detail="rtsp://admin:hunter22@127.0.0.1/stream is gone")
    return tmp_path


def words_in(path):
    with zipfile.ZipFile(path) as file:
        return {each: file.read(each).decode() for each in file.namelist()}


def test_a_machine_that_is_well(tmp_path):
    ran = bear_alarm("doctor", "demo", "--json", "--state", tmp_path / "state", cwd=tmp_path)
    found = json.loads(ran.stdout)
    wrong = [each for each in found["findings"] if each["state"] == "broken"]
    assert (ran.returncode, wrong) == (0, [])
    names = {each["name"]: each["state"] for each in found["findings"]}
    fine = ("numpy", "onnxruntime", "opencv", "model", "speed", "camera demo", "state folder", "evidence")
    assert {names[name] for name in fine} == {"fine"}
    assert found["kind"] == "doctor"
    assert not list(tmp_path.iterdir())


def test_words_on_a_terminal_come_in_groups_with_a_verdict_and_no_colour(tmp_path):
    ran = bear_alarm("doctor", tmp_path / "no.mp4", "--state", tmp_path, cwd=tmp_path, PYTHONIOENCODING="utf-8")
    assert ran.returncode == 1
    lines = ran.stdout.splitlines()
    assert [line for line in lines if line in ("Python", "Packages", "Model", "Cameras", "Board", "Service")]
    assert "\033" not in ran.stdout
    (at,) = [number for number, line in enumerate(lines) if "✗ camera" in line]
    assert "→" in "".join(lines[at : at + 6])
    assert lines[-1].startswith("1 broken")


@pytest.mark.parametrize("package", ["numpy", "psutil"])
def test_a_package_that_kills_its_process_ends_the_round_with_a_sentence(package, tmp_path):
    (tmp_path / f"{package}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ran = in_a_process("doctor", "--json", PYTHONPATH=path)
    assert ran.returncode == 1, ran.stderr
    found = {each["name"]: each for each in json.loads(ran.stdout)["findings"]}
    assert "illegal instruction" in found[package]["words"]
    assert "model" not in found
    assert "Nothing else can be looked at" in ran.stderr
    ran = in_a_process("doctor", "--bundle", tmp_path / "report.zip", PYTHONPATH=path)
    assert "report.zip is not written" in ran.stderr


def test_cameras_are_called_as_watch_calls_them(tmp_path, monkeypatch):
    words = ["picamera://0", "0", "rtsp://bob:hunter22@10.0.0.9/live", "demo", "demo", "yard=demo", "clips/a.mp4"]

    def called():
        return [each.name for each in admitted(words, None, tmp_path, try_cameras=False).sources]

    assert called() == ["picamera0", "camera0", "10.0.0.9", "demo", "demo-2", "yard", "a"] == names(words)
    with pytest.raises(OptionError, match="two sources are called yard"):
        admitted(["yard=demo", "yard=0"], None, tmp_path, try_cameras=False)
    (tmp_path / "cv2.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    assert called() == ["1", "2", "3", "4", "5", "6", "7"]


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["--config", "no.yml"], "no.yml: no such config"),
        (["--bundle", "report.txt"], "report.txt: a bundle is a zip"),
        (["--bundle", "no/such/report.zip"], "its folder is not there"),
        (["--bundle", "mine.zip"], "exists and is not a bundle"),
        (["--bundle", "pictures.zip"], "exists and is not a bundle"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_code_2(tmp_path, words, printed):
    (tmp_path / "mine.zip").write_text("not a zip")
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as file:
        file.writestr("bear.jpg", "mine")
    ran = bear_alarm("doctor", *words, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert printed in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_every_mistake_of_the_config_is_a_finding(tmp_path):
    put(tmp_path, **{"bear-alarm.yml": "cameras:\n  yard: {sorce: 0}\nhealth: {hot_c: warm}\n"})
    ran = bear_alarm("doctor", "--json", "--state", tmp_path, cwd=tmp_path)
    assert ran.returncode == 1
    found = [each["words"] for each in json.loads(ran.stdout)["findings"] if each["name"] == "config"]
    assert any("bear-alarm.yml:2" in each for each in found)
    assert any("bear-alarm.yml:3" in each for each in found)


def test_the_bundle_holds_no_secret_from_anywhere(device):
    secrets = {"CAM_PW": "campass33", "SOME_API_TOKEN": "apitoken44"}
    ran = bear_alarm("doctor", "--state", device / "state", "--bundle", "report.zip", cwd=device, **secrets)
    assert ran.returncode == 1
    files = words_in(device / "report.zip")
    assert {"findings.json", "versions.txt", "machine.json", "config.yml", "events.jsonl", "model-card.json"} <= set(
        files
    )
    assert not {name for name in files if "secret" in name}
    for name in files:  # exactly what is in it is listed
        assert name in ran.stderr
    assert "Look before you send it." in ran.stderr
    for whence, words in PLANTED.items():
        for word in words:
            assert [name for name, text in files.items() if word in text] == [], f"{word} {whence}"
            assert word not in ran.stdout + ran.stderr, f"{word} {whence}"
    assert len(files["events.jsonl"].splitlines()) == bundle.EVENTS
    shown = json.loads(files["config.yml"])
    assert shown["cameras"]["bins"] == {"source": "rtsp://*** with ${CAM_PW}", "schedule": "daily 20:00-06:00"}


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_log_of_the_service_is_scrubbed_too(device, monkeypatch):
    log = device / "journalctl"
    log.write_text("#!/bin/sh\necho '2026-11-24T02:12:07+00:00 bear-alarm[7]: at mqtt://bobsuser:mqttpass1@h: no'\n")
    log.chmod(0o755)
    monkeypatch.setenv("PATH", str(device), prepend=os.pathsep)
    settings = load_config(_harmless(device))
    bundle.write(device / "report.zip", Target(settings, device / "bear-alarm.yml", root=device), [])
    printed = words_in(device / "report.zip")["service.log"]
    assert printed == "2026-11-24T02:12:07+00:00 bear-alarm[7]: at mqtt://***@h: no\n"


def _harmless(device):
    (device / "harmless.yml").write_text("cameras: {yard: demo}\n")
    return device / "harmless.yml"


@pytest.mark.parametrize(
    "text",
    [
        "password: 123456",
        "notify: [123456]",
        "cameras: {yard: 'rtsp://u:123456@h/x'}",
        "cameras: {yard: {source: /home/123456/clip.mp4}}",
        "unknown: {nested: [{deep: x123456}]}",
        "on_alarm: |\n  curl\n  123456\n",
        "schedule: https://123456",
        "a: &x {token: 123456}\nb: *x",
        "x: [1, 2\n123456",
        "zones: {yard: mail me 123456@b.example}",
        "telephone: 123456",
        "alerts: {pin: 123456}",
        "mqtt: bob:123456@host",
        "cameras: {yard: 10.0.0.9/live?k=123456}",
        "health: {psk: 123456}",
        "cameras: {yard: {source: demo, mask: mail me 123456@b.example}}",
    ],
)
def test_a_config_shows_nothing_that_is_not_known_to_be_harmless(text):
    assert "123456" not in Redactor().config(text)


def test_a_number_of_a_setting_is_shown():
    text = "health: {hot_c: 75}\ncameras: {yard: {source: 0, fps: 5, zones: {hive: '0,0 1,0 1,1'}}}\n"
    assert json.loads(Redactor().config(text)) == {
        "health": {"hot_c": 75}, "cameras": {"yard": {"source": 0, "fps": 5, "zones": {"hive": "0,0 1,0 1,1"}}},
    }  # fmt: skip


def test_secrets_of_a_config_with_mistakes_are_known_too(tmp_path):
    config = "mqtt: {hots: h, user: bobsuser, password: mqttpass1}\nnotify: [ntfy://topic55]\n"
    put(tmp_path, **{"bear-alarm.yml": config})
    known = set(secrets_of_device(tmp_path / "bear-alarm.yml"))
    assert {"bobsuser", "mqttpass1", "ntfy://topic55"} <= known
    put(tmp_path, **{"bear-alarm.yml": "mqtt: {user\npassword: mqttpass1\n"})  # no YAML at all
    assert "mqttpass1" in set(secrets_of_device(tmp_path / "bear-alarm.yml"))


def test_a_serial_number_and_names_of_people_are_not_shown(tmp_path, monkeypatch):
    put(tmp_path, proc__cpuinfo="model name\t: ARMv8\nSerial\t\t: 10000000abcdef12\nRevision\t: c04170\n")
    target = Target(Settings(cameras=(Camera("c", "demo"),)), given_state=tmp_path, root=tmp_path)
    monkeypatch.setattr("platform.node", lambda: "honeyhouse.local")
    monkeypatch.setenv("SUDO_USER", "marjeta")
    words = "/home/jane/clip.mp4, /media/eric/STICK, c:\\Users\\otto\\x and wlan0 at dc:a6:32:00:11:22 of honeyhouse"
    finding = doubt("clip", words, "mail bob@host.example, or marjeta")
    bundle.write(tmp_path / "report.zip", target, [finding])
    words = json.dumps(words_in(tmp_path / "report.zip"))
    assert "c04170" in words
    hidden = ("abcdef12", "jane", "eric", "otto", "dc:a6", "bob@", "honeyhouse", "marjeta")
    assert not [each for each in hidden if each in words]
    assert zipfile.is_zipfile(io.BytesIO((tmp_path / "report.zip").read_bytes()))
