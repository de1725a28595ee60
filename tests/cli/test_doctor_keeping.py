"""Where events and evidence are kept, and the model: full, read-only, damaged and forbidden."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge.cli import model
from edge.cli.doctor import keys, machine, software
from edge.cli.doctor.findings import Target
from edge.detect.classifier import BUNDLED
from edge.device.systemd_host import Account, Host, ProgramResult
from edge.minisign import SecretKey
from edge.model_store import ModelStore
from edge.record.outbox import WITHDRAWN
from edge.settings import EvidenceSettings, HealthSettings, Settings, UpdateSettings
from tests.helpers.boards import boot
from tests.helpers.doctor_world import by_name, device, put
from tests.helpers.signed_models import trusting
from tests.helpers.small_disk import fill, remount, there
from tests.helpers.state_folder import StateFolder
from tests.helpers.tiny import tiny_card, write_tiny_model

DISK = "/dev/mmcblk0p2 / ext4 {},noatime 0 0\n"


def findings_on(disk):
    """The findings on a state folder and evidence that lie on ``disk``, as JSON can hold them."""
    settings = Settings(evidence=EvidenceSettings(folder=Path(disk) / "evidence"))
    target = Target(settings, given_state=Path(disk) / "state")
    checks = (machine.check_disk, machine.check_state, machine.check_evidence)
    return {each.name: [each.state, each.words, each.todo] for look in checks for each in look(target)}


def on_a_full_disk(disk):
    Path(disk, "state").mkdir()
    fill(disk)
    return findings_on(disk)


def on_a_read_only_disk(disk):
    Path(disk, "state").mkdir()
    remount(disk, "ro")
    return findings_on(disk)


@pytest.mark.needs_tool("unshare")
def test_a_full_disk_is_broken_with_the_remedy_to_make_room(tmp_path):
    found = there(on_a_full_disk, tmp_path / "disk", 400)
    assert found["state folder"][0] == found["evidence"][0] == "broken"
    assert "No space left" in found["state folder"][1]
    assert found["state folder"][2] == "make room on that disk"
    assert found["room"][0] == "doubt"
    assert "(tmpfs)" in found["disk"][1]


@pytest.mark.needs_tool("unshare")
def test_a_read_only_disk_is_broken_with_the_remedy_to_remount(tmp_path):
    found = there(on_a_read_only_disk, tmp_path / "disk", 400)
    assert found["disk"][0] == found["state folder"][0] == "broken"
    assert "is read-only" in found["disk"][1]
    assert f"mount -o remount,rw {tmp_path}/disk" in found["disk"][2]


def test_a_folder_that_can_be_written_and_is_left_as_it_was(tmp_path):
    state = StateFolder(tmp_path / "state")
    row = state.bear("ab" * 16)
    state.delivery(row, "mqtt", part="picture", state="parked", error=WITHDRAWN)
    target = device(tmp_path, settings=Settings(health=HealthSettings(low_disk_mb=0.001)))
    before = sorted(path.name for path in state.folder.rglob("*") if not path.name.endswith(("-wal", "-shm")))
    found = by_name((*machine.check_state(target), *machine.check_disk(target)))
    after = sorted(path.name for path in state.folder.rglob("*") if not path.name.endswith(("-wal", "-shm")))
    assert before == after
    assert {name: found[name].state for name in ("state folder", "journal", "room")} == {
        "state folder": "fine", "journal": "fine", "room": "fine",
    }  # fmt: skip
    assert found["journal"].words.startswith("2 events, 0 waiting to be sent")
    assert "refused" not in found["journal"].words, "nobody refused a picture that did not come"


def test_a_damaged_journal_is_broken(tmp_path):
    state = StateFolder(tmp_path / "state")
    for number in range(200):
        state.event(f"{number:032x}", "new")
    data = bytearray(state.path.read_bytes())
    data[8192:20480] = os.urandom(12288)
    state.path.write_bytes(data)
    found = by_name(machine.check_state(device(tmp_path)))["journal"]
    assert found.state == "broken"
    assert "damaged" in found.words
    (tmp_path / "state/journal.db").write_bytes(b"hello" * 1000)
    assert by_name(machine.check_state(device(tmp_path)))["journal"].state == "broken"


def test_no_journal_yet_is_fine_and_makes_no_folder(tmp_path):
    assert by_name(machine.check_state(device(tmp_path)))["journal"].state == "fine"
    assert not (tmp_path / "state").exists()


def test_a_worn_card_is_a_doubt(tmp_path, monkeypatch):
    boot(tmp_path, monkeypatch)
    put(tmp_path, proc__self__mounts=DISK.format("rw"), sys__fs__ext4__mmcblk0p2__errors_count="3")
    put(tmp_path, sys__class__block__mmcblk0p2__stat="1 2 3 4 5 6 7 8 9 10 11")
    found = by_name(machine.check_disk(device(tmp_path)))["disk mmcblk0p2"]
    assert found.state == "doubt"
    assert "3 errors" in found.words
    assert "new card" in found.todo
    put(tmp_path, proc__self__mounts=DISK.format("ro"))
    assert by_name(machine.check_disk(device(tmp_path)))["disk"].state == "broken"


def test_an_overlay_is_a_doubt(tmp_path, monkeypatch):
    boot(tmp_path, monkeypatch)
    put(tmp_path, proc__self__mounts="overlay / overlay rw,upperdir=/x 0 0\n")
    found = by_name(machine.check_disk(device(tmp_path)))["disk"]
    assert found.state == "doubt"
    assert "(overlay)" in found.words


def test_evidence_lies_where_watch_puts_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = device(tmp_path, config=tmp_path / "bear-alarm.yml")
    assert target.evidence == tmp_path / "evidence"
    put(tmp_path, **{"etc__systemd__system__bear-alarm.service": ""})
    assert target.evidence == tmp_path / "state/evidence"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can ask as another user")
def test_a_folder_that_only_root_may_write_is_broken_for_the_service(tmp_path):
    put(tmp_path, **{"etc__systemd__system__bear-alarm.service": ""})
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    host = Host(root=tmp_path, find_account=lambda name: Account(65534, 65534))
    (found,) = machine.of_service(device(tmp_path), "evidence", tmp_path, host)
    assert found.state == "broken"
    assert "chown -R bear-alarm" in found.todo
    tmp_path.chmod(0o777)
    assert list(machine.of_service(device(tmp_path), "evidence", tmp_path, host)) == []


def test_evidence_that_is_off_is_fine(tmp_path):
    off = Settings(evidence=EvidenceSettings(folder=tmp_path / "no", keep=False))
    (found,) = machine.check_evidence(device(tmp_path, settings=off))
    assert (found.state, found.words) == ("fine", "off, as the config sets it")


def test_the_bundled_model_is_fine_and_its_speed_is_shown(tmp_path):
    found = by_name(software.check_model(device(tmp_path)))
    assert found["model"].state == "fine"
    assert found["golden vectors"].state in ("fine", "doubt")  # some processors compute int8 wrongly
    assert "one crop takes" in found["speed"].words
    slow = device(tmp_path, settings=Settings(health=HealthSettings(slow_ms=1e-6)))
    assert by_name(software.check_model(slow))["speed"].state == "doubt"


def test_a_truncated_model_is_broken_and_names_the_file(tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(BUNDLED.read_bytes()[:100_000])
    found = by_name(software.check_model(device(tmp_path, settings=Settings(model=str(path)))))
    assert list(found) == ["model"]
    assert found["model"].state == "broken"
    assert str(path) in found["model"].words
    assert "bear-alarm model use" in found["model"].todo


def test_a_chosen_model_gone_bad_is_a_doubt_for_another_takes_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("BEAR_ALARM_MODEL", raising=False)
    (tmp_path / "bear-alarm").mkdir()
    (tmp_path / "bear-alarm/model.onnx").write_bytes(b"no model at all")
    (first, *_) = list(software.check_model(device(tmp_path)))
    assert first.state == "doubt"
    assert f"the alarm goes on with {BUNDLED}" in first.words


def test_the_model_of_the_service_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.delenv("BEAR_ALARM_MODEL", raising=False)
    put(tmp_path, **{"etc__bear-alarm__model.onnx": "no model at all", "etc__systemd__system__bear-alarm.service": ""})
    (first, *_) = list(software.check_model(device(tmp_path)))
    assert first.state == "doubt"
    assert str(tmp_path / "etc/bear-alarm/model.onnx") in first.words
    assert device(tmp_path, config=tmp_path / "mine.yml").environment == {}
    path = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    model.use(str(path), state=device(tmp_path).state)
    (first, *_) = list(software.check_model(device(tmp_path)))
    assert first.words.startswith("tiny@")
    assert first.state == "fine"


@pytest.mark.skipif(os.name != "posix", reason="a stand-in that kills itself")
def test_a_model_that_kills_its_process_is_a_finding(tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (found,) = software.check_model(device(tmp_path))
    assert found.state == "broken"
    assert "illegal instruction" in found.words


def test_where_new_models_come_from_and_what_keeps_them_from_being_taken(tmp_path, monkeypatch):
    stick = tmp_path / "stick"
    updates = UpdateSettings((str(stick), "https://example.org/new.onnx?token=hunter2", "mqtt"))
    target = device(tmp_path, settings=Settings(updates=updates))
    (found,) = keys.check_new_models(target)
    place = f"from {stick} (not there now), https://example.org, the MQTT broker"
    assert (found.state, found.words) == ("doubt", f"{place}; no key is trusted here, so none is taken")
    assert found.todo == "bear-alarm model trust KEY.pub"
    trusting(ModelStore.of(tmp_path / "state"), SecretKey.new())
    stick.mkdir()
    (found,) = keys.check_new_models(target)
    assert (found.state, found.words) == ("fine", place.replace(" (not there now)", ""))
    put(tmp_path, **{"etc__systemd__system__bear-alarm.service": ""})
    asked = []

    def run(command, **more):
        asked.append((command[-1], more["account"].uid))
        return ProgramResult(0, "0\n", "")

    host = Host(root=tmp_path, run=run, is_root=True, find_account=lambda name: Account(9, 9), private=())
    *_, found = keys.check_new_models(target, host)
    assert asked == [(str(stick), 9)]
    assert (found.state, found.words) == ("doubt", f"{stick}: the service's user, bear-alarm, may not read there")
    *_, found = keys.check_new_models(target, replace(host, home=(tmp_path,)))
    assert (len(asked), found.state) == (1, "doubt"), "the service sees no homes"
    (tmp_path / "state/models/installed.json").write_text("{")
    found, *_ = keys.check_new_models(target)
    assert "is damaged" in found.words
    assert list(keys.check_new_models(device(tmp_path))) == []
