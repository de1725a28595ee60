"""``bear-alarm service`` as somebody types it; and the files it writes for systems that are not this one."""

import json
import plistlib
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edge.cli import service
from edge.cli.app import as_command
from edge.device import other_systems
from edge.device.systemd import ServiceError
from edge.errors import OptionError
from tests.service_world import ABSENT, ROOT, Machine

CAMERA = "cameras:\n  yard: 0\n"
TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """The one it thinks it runs on, with a configuration in the working folder."""
    found = Machine(tmp_path / "machine")
    monkeypatch.setattr(service, "machine", lambda: found.host)
    monkeypatch.setattr("edge.device.systemd.CONFIG", found.config)
    monkeypatch.delenv("BEAR_ALARM_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    found.config.write_text(CAMERA)
    return found


def typed(*words):
    """The exit code."""
    return as_command("service", service.app).main(args=list(map(str, words)), standalone_mode=False) or 0


@pytest.mark.skipif(not ROOT, reason="only root can give a file to the service's user")
def test_install_then_status_then_uninstall(machine, capsys):
    typed("install")
    assert f"its configuration: {machine.config}" in capsys.readouterr().out
    assert f"--config {machine.config}\n" in machine.unit
    assert typed("status") == 0
    assert "watching 2 cameras" in capsys.readouterr().out
    typed("uninstall")
    machine.shows = [ABSENT]
    assert typed("status") == 4
    capsys.readouterr()
    assert typed("status", "--json") == 4
    assert json.loads(capsys.readouterr().out)["installed"] is False


def test_a_dry_run_changes_nothing(machine, capsys):
    typed("install", "--dry-run")
    assert "would be done: started" in capsys.readouterr().out
    assert not (machine.root / "etc/systemd").exists()


def test_one_that_is_named_beats_the_services_own(machine, tmp_path, capsys):
    (tmp_path / "other.yml").write_text(CAMERA)
    typed("install", "--print", "--config", "other.yml")
    assert f"--config {tmp_path / 'other.yml'}\n" in capsys.readouterr().out


def test_without_a_configuration_the_line_that_makes_one_is_said(machine, monkeypatch):
    machine.config.unlink()
    monkeypatch.setattr("edge.config.SYSTEM", machine.config)
    with pytest.raises(ServiceError, match=r"sudo .* config init /etc/bear-alarm/config\.yml"):
        typed("install")


def test_a_configuration_with_a_mistake_is_refused_before_anything_is_done(machine):
    machine.config.write_text("cameras:\n  yard: {source: 0, fsp: 3}\n")
    with pytest.raises(Exception, match="did you mean fps"):
        typed("install")
    assert machine.did == []


def test_a_configuration_without_a_camera_is_refused(machine):
    machine.config.write_text("health: {hot_c: 70}\n")
    with pytest.raises(ServiceError, match="names no camera"):
        typed("install")
    assert machine.did == []


def test_somebody_who_is_not_root_is_given_the_line(machine, monkeypatch, tmp_path):
    host = replace(machine.host, is_root=False)
    monkeypatch.setattr(service, "machine", lambda: host)
    (tmp_path / "other.yml").write_text(CAMERA)
    with pytest.raises(ServiceError, match=rf"sudo .* service install --config {tmp_path}/other.yml --reboot"):
        typed("install", "--config", "other.yml", "--reboot")
    with pytest.raises(ServiceError, match=r"sudo .* service uninstall --purge"):
        typed("uninstall", "--purge")


def test_a_folder_of_the_service_that_somebody_may_not_look_into_is_no_fault(machine, monkeypatch):
    monkeypatch.setattr(service, "machine", lambda: replace(machine.host, is_root=False))
    looks = Path.is_file

    def is_file(path):
        if path == machine.config:
            raise PermissionError(13, "Permission denied")
        return looks(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    with pytest.raises(ServiceError, match="only root may do that; run: sudo"):
        typed("install")


def test_a_purge_that_nobody_can_confirm_needs_yes(machine, monkeypatch, capsys):
    state = machine.root / "var/lib/bear-alarm"
    state.mkdir(parents=True)
    monkeypatch.setattr("sys.stdin", StringIO())
    with pytest.raises(OptionError, match="give --yes as well"):
        typed("uninstall", "--purge")
    assert state.exists()
    typed("uninstall", "--purge", "--yes")
    assert not state.exists()


def test_the_file_of_launchd_is_one(machine, capsys):
    typed("install", "--print", "--kind", "launchd")
    found = plistlib.loads(capsys.readouterr().out.encode())
    assert found["ProgramArguments"][-3:] == ["watch", "--config", str(machine.config)]
    assert Path(found["ProgramArguments"][0]).is_absolute()
    assert found["KeepAlive"] is True
    assert found["RunAtLoad"] is True


def test_the_task_of_windows_is_one(machine, monkeypatch, capsys):
    monkeypatch.setenv("USERDOMAIN", "HIVE")
    monkeypatch.setenv("USERNAME", "pi")
    typed("install", "--print", "--kind", "windows")
    root = ElementTree.fromstring(capsys.readouterr().out.replace('encoding="UTF-16"', ""))
    words = root.findtext(f".//{TASK}Arguments")
    assert words
    assert words.endswith(f"watch --config {machine.config}")
    assert root.findtext(f".//{TASK}ExecutionTimeLimit") == "PT0S"
    assert root.findtext(f".//{TASK}Repetition/{TASK}Interval") == "PT1M"
    assert root.findtext(f".//{TASK}MultipleInstancesPolicy") == "IgnoreNew"
    assert {each.text for each in root.iter(f"{TASK}UserId")} == {r"HIVE\pi"}


def test_what_a_path_is_made_of_means_nothing_to_them():
    words = [r"C:\My Bears & Co\bear-alarm.exe", "watch", "--config", r"C:\a b\<x>.yml"]
    root = ElementTree.fromstring(other_systems.task(words, Path("x")).replace('encoding="UTF-16"', ""))
    assert root.findtext(f".//{TASK}Command") == words[0]
    assert root.findtext(f".//{TASK}Arguments") == r'watch --config "C:\a b\<x>.yml"'
    assert plistlib.loads(other_systems.agent(words, Path("/Users/pi")).encode())["ProgramArguments"] == words


@pytest.mark.parametrize(("platform", "line"), [("darwin", "launchctl bootstrap"), ("win32", "schtasks /Create")])
def test_there_the_file_is_written_and_handing_it_over_is_said(platform, line, machine, monkeypatch, capsys, tmp_path):
    host = replace(machine.host, platform=platform)
    monkeypatch.setattr(service, "machine", lambda: host)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "me")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "me"))
    typed("install", "--dry-run")
    assert not (tmp_path / "me").exists()
    typed("install")
    assert line in capsys.readouterr().out
    assert [path for path in (tmp_path / "me").rglob("*") if path.suffix in (".plist", ".xml")]
    with pytest.raises(OptionError, match="that is for systemd"):
        typed("status")
    with pytest.raises(OptionError, match="that is for systemd"):
        typed("uninstall")


def test_the_file_of_another_system_can_only_be_printed(machine):
    with pytest.raises(OptionError, match="--kind windows: this system is not of that kind; give --print"):
        typed("install", "--kind", "windows")


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="a systemd runs on this machine")
def test_as_a_program_it_says_where_no_systemd_runs():
    here = Path(__file__).parent.parent
    words = [sys.executable, "-m", "edge", "service", "status"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bear-alarm: no systemd runs on this machine")
