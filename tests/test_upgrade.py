"""What version 0.1.0 left on a disk (tests/upgrade/make_fixture.py), and what today's code makes of it."""

from __future__ import annotations

import json
import re
import shlex
import socket
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.cli.app import load
from edge.device.systemd import install
from edge.settings import Settings
from tests.helpers.broker import Broker, Listener, until
from tests.helpers.command import Ran, bear_alarm
from tests.helpers.service_world import Machine, program
from tests.helpers.webhook_server import PostBox
from tests.helpers.yard import yard_model

ARCHIVE = Path(__file__).parent / "upgrade" / "made_by_0.1.0.tar.xz"
MADE_IN = "/tmp/bear"  # the folder it lay in
WEBHOOK, BROKER = 18080, 18830  # the ports it was told to
SAME = ("kind", "type", "id", "boot_id", "seq", "camera", "captured_at", "score", "box_xywh")
SECRETS = {
    "YARD": "clip.avi", "CAMERA_PASSWORD": "honey", "MQTT_PASSWORD": "honey", "HOOK": "hook", "HOOK_SECRET": "honey",
    "PING": "ping",
}  # fmt: skip


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder of then, unpacked."""
    left = tmp_path / "left"
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(left, filter="data")
    settings = left / "run" / "settings.json"
    settings.write_text(settings.read_text().replace(MADE_IN, str(left)))
    return left


def events(left: Path) -> list[dict[str, Any]]:
    """Its journal's events: the finished one, and the one that was open when the alarm was killed."""
    told = [json.loads(line) for line in (left / "events.jsonl").read_text().splitlines()]
    assert [event["type"] for event in told] == ["new", "end", "new"]
    return told


def refused(ran: Ran) -> str:
    """The one sentence with which a command ended."""
    assert ran.returncode == 2, ran
    assert "Traceback" not in ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("bear-alarm: ")
    return last


@pytest.mark.parametrize("config", ["bear-alarm.yml", "every-setting.yml"])
def test_its_config_is_taken_as_it_is(left: Path, config: str) -> None:
    (left / "clip.avi").touch()
    ran = bear_alarm("config", "check", config, cwd=left, **SECRETS)
    assert ran.returncode == 0, ran.stderr


def test_its_events_are_listed_with_their_evidence(left: Path) -> None:
    new, _, opened = events(left)
    listed = bear_alarm("events", "--state", "state", "--json", cwd=left)
    assert listed.returncode == 0, listed.stderr
    happenings = json.loads(listed.stdout)["happenings"]
    assert {each["id"]: each["state"] for each in happenings} == {new["id"]: "over", opened["id"]: "cut off"}
    shown = bear_alarm("events", "show", new["id"][:8], "--state", "state", cwd=left)
    assert shown.returncode == 0, shown.stderr
    folder = left / "state" / Path(new["evidence"]).parent.relative_to(f"{MADE_IN}/state")
    for name in ("alarm.jpg", "crop.jpg", "clip.mp4"):
        assert (folder / name).is_file()
        assert name in shown.stdout


def test_its_trace_explains_the_alarm(left: Path) -> None:
    ran = bear_alarm("why", "--trace", "trace.bin", cwd=left)
    assert ran.returncode == 0, ran.stderr
    assert f"ALARM, event {events(left)[2]['id'][:8]}" in " ".join(ran.stdout.split())


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Return which port of this machine stands for one of then."""
    stands_for: dict[int, int] = {}
    connect = socket.create_connection

    def redirected(address: tuple[str, int], *more: Any, **options: Any) -> socket.socket:
        host, port = address
        return connect((host, stands_for.get(port, port)), *more, **options)

    monkeypatch.setattr(socket, "create_connection", redirected)
    return stands_for


def watch_on(left: Path) -> Ran:
    """Today's alarm takes the state folder over: it watches an empty place for a moment."""
    with closing(sqlite3.connect(left / "state" / "journal.db")) as db, db:  # the folder lies elsewhere than then
        db.execute("UPDATE outbox SET picture = replace(picture, ?, ?)", (MADE_IN, str(left)))
    clip = cv2.VideoWriter(str(left / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 180))
    for _ in range(10):
        clip.write(np.full((180, 320, 3), (60, 120, 70), np.uint8))
    clip.release()
    model = yard_model(left / "tiny.onnx")
    ran = bear_alarm("watch", "--config", "bear-alarm.yml", "--model", model, cwd=left, **SECRETS)
    assert ran.returncode == 0, ran.stderr
    return ran


def waiting(left: Path, channel: str) -> list[tuple[Any, ...]]:
    """Return what is still to be told to a channel."""
    query = "SELECT * FROM outbox WHERE channel LIKE ? AND state = 'waiting'"
    with closing(sqlite3.connect(left / "state" / "journal.db")) as db:
        return db.execute(query, (f"{channel}%",)).fetchall()


def test_what_its_webhook_was_not_told_is_delivered_once(left: Path, ports: dict[int, int]) -> None:
    opened = events(left)[2]
    assert waiting(left, "webhook")
    with PostBox() as box:
        ports[WEBHOOK] = box.port
        watch_on(left)
    key = f"{opened['boot_id']}-{opened['seq']}"
    old = [each for each in box.posted if each.headers["X-Bear-Alarm-Event"] == opened["id"]]
    assert [each.headers["Idempotency-Key"] for each in old] == [f"{key}-word", f"{key}-picture"]
    word, picture = old
    assert word.path == "/hook"
    assert json.loads(word.body).items() >= {name: opened[name] for name in SAME}.items()
    assert picture.body == (left / "state" / opened["evidence"].removeprefix(f"{MADE_IN}/state/")).read_bytes()
    assert not waiting(left, "webhook")
    listed = json.loads(bear_alarm("events", "--state", "state", "--json", cwd=left).stdout)["happenings"]
    assert [each["state"] for each in listed if each["id"] == opened["id"]] == ["cut off"]  # and is ended by nobody


def test_its_camera_goes_on_as_before_there_were_stages_with_one_notice(left: Path, ports: dict[int, int]) -> None:
    with PostBox() as box:
        ports[WEBHOOK] = box.port
        watch_on(left)
        watch_on(left)
    with closing(sqlite3.connect(left / "state" / "journal.db")) as db:
        assert db.execute("SELECT camera, stage, why FROM stages").fetchall()[0] == (
            "yard", "autonomous", "there were no stages before",
        )  # fmt: skip
        (notice,) = db.execute("SELECT json FROM events WHERE kind = 'notice' AND json LIKE '%stages are new%'")
    assert "camera yard goes on as before (autonomous)" in json.loads(notice[0])["detail"]


@pytest.mark.needs_tool("mosquitto")
def test_what_its_broker_was_not_told_is_delivered(left: Path, ports: dict[int, int], tmp_path: Path) -> None:
    old = events(left)
    with Broker(tmp_path, user="bees", password="honey") as broker, Listener(broker) as listener:
        ports[BROKER] = broker.port
        watch_on(left)
        assert until(lambda: len(listener.of("bear-alarm/events")) >= len(old))  # the broker had them before
        told = listener.of("bear-alarm/events")
    found = [{name: event[name] for name in SAME} for event in map(json.loads, told)]
    assert found[: len(old)] == [{name: event[name] for name in SAME} for event in old]
    assert not waiting(left, "mqtt")


def test_its_model_still_looks_at_pictures(left: Path) -> None:
    checked = bear_alarm("model", "check", "bear.onnx", cwd=left)
    assert checked.returncode == 0, checked.stderr
    assert "made by an older version" in checked.stderr
    looked = bear_alarm("classify", "pictures/no_bear/camera-1", "--model", "bear.onnx", "--jsonl", cwd=left)
    assert looked.returncode == 0, looked.stderr
    assert len(looked.stdout.splitlines()) == len(list((left / "pictures/no_bear/camera-1").iterdir()))


@pytest.mark.parametrize("command", ["export", "report", "clean"])
def test_its_run_is_refused_in_one_sentence(left: Path, command: str) -> None:
    pytest.importorskip("fastai")
    said = refused(bear_alarm(command, "run", cwd=left))
    assert said.endswith(
        "run/learner.pkl: an older version of Bear Alarm made it, and this one cannot use it; train the run again"
    )


def test_its_recipe_is_refused_in_one_sentence(left: Path) -> None:
    said = refused(bear_alarm("train", "pictures", "--recipe", "run/settings.json", "--out", "new", cwd=left))
    assert "run/settings.json: unknown entry 'freeze_epochs'; a recipe has backbone, " in said


@pytest.fixture
def machine(left: Path, tmp_path: Path) -> Machine:
    """A machine on which it is installed as a service."""
    machine = Machine(tmp_path / "machine")
    unit = machine.root / "etc/systemd/system/bear-alarm.service"
    unit.parent.mkdir(parents=True)
    unit.write_bytes((left / "bear-alarm.service").read_bytes())
    return machine


def test_the_command_of_its_unit_is_one_of_today(left: Path) -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", (left / "bear-alarm.service").read_text(), re.MULTILINE)
    _, command, *words = shlex.split(line)
    words[words.index("/etc/bear-alarm/config.yml")] = str(left / "bear-alarm.yml")
    assert load(command).make_context(command, words).params["config"] == left / "bear-alarm.yml"


def test_its_unit_is_written_anew(machine: Machine) -> None:
    said: list[str] = []
    install(machine.host, program(machine.root / "opt"), machine.config, Settings(), dry_run=True, report=said.append)
    assert [line for line in said if "bear-alarm.service" in line], said
