"""``bear-alarm service`` as somebody types it."""

import json
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from edge.cli import service
from edge.cli.app import as_command
from edge.device.systemd_host import ServiceError
from edge.errors import OptionError
from tests.helpers.service_world import ABSENT, ROOT, Machine

CAMERA = "cameras:\n  yard: 0\n"


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


def test_without_a_configuration_the_line_that_makes_one_is_shown(machine, monkeypatch):
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


def test_elsewhere_the_page_that_shows_how_is_named(machine, monkeypatch):
    monkeypatch.setattr(service, "machine", lambda: replace(machine.host, platform="darwin"))
    for words in (["install"], ["status"], ["uninstall"]):
        with pytest.raises(ServiceError, match=r"no systemd runs .*docs/service\.md"):
            typed(*words)
    typed("install", "--print")


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="a systemd runs on this machine")
def test_as_a_program_it_shows_where_no_systemd_runs():
    here = Path(__file__).parents[2]
    words = [sys.executable, "-m", "edge", "service", "status"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bear-alarm: no systemd runs on this machine")
