"""The board, its power, clock, network, permissions and service, on machines made of small files."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from edge.cli.doctor import machine, service
from edge.decide.schedule import parse_schedule
from edge.device.systemd_host import Host, ProgramResult
from edge.settings import AlertSettings, Camera, CameraSettings, Settings
from tests.helpers.boards import boot
from tests.helpers.doctor_world import by_name, device, put, states
from tests.helpers.small_disk import ROOT

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOT = {"sys__class__hwmon__hwmon0__name": "cpu_thermal", "sys__class__hwmon__hwmon0__temp1_input": "84500"}
LOW = {"sys__class__hwmon__hwmon1__name": "rpi_volt", "sys__class__hwmon__hwmon1__in0_lcrit_alarm": "1"}


@pytest.fixture(autouse=True)
def this_machine(tmp_path, monkeypatch):
    """The one that psutil looks at."""
    boot(tmp_path, monkeypatch)
    monkeypatch.setattr("edge.device.sensors.leads_out", lambda: False)


def test_heat_and_a_weak_supply_are_doubts_with_a_remedy(tmp_path):
    found = by_name(machine.check_power(device(put(tmp_path, **HOT, **LOW))))
    assert found["temperature"].state == found["voltage"].state == "doubt"
    assert "84 °C" in found["temperature"].words or "85 °C" in found["temperature"].words
    assert "heat sink" in found["temperature"].todo
    assert "own power supply" in found["voltage"].todo


def test_a_machine_that_reports_nothing_is_unknown_not_wrong(tmp_path):
    assert set(states(machine.check_power(device(tmp_path))).values()) == {"unknown"}


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_what_happened_since_the_start_is_asked_of_vcgencmd(tmp_path, monkeypatch):
    program(tmp_path / "vcgencmd", "echo throttled=0x50000", monkeypatch)
    found = by_name(machine.check_power(device(put(tmp_path, **(LOW | {"x": "", list(LOW)[1]: "0"})))))
    assert "since the machine was started" in found["voltage"].words
    assert "since the machine was started" in found["throttling"].words


def test_a_file_that_makes_the_kernel_complain_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    put(tmp_path, **(LOW | {"sys__devices__platform__soc__soc:firmware__get_throttled": "4"}))
    assert "throttling" not in states(machine.check_power(device(tmp_path)))


def test_a_laptop_that_is_as_warm_as_laptops_are_is_fine(tmp_path):
    own = {"name": "coretemp", "temp1_input": "88000", "temp1_crit": "100000"}
    put(tmp_path, **{f"sys__class__hwmon__hwmon0__{name}": text for name, text in own.items()})
    found = by_name(machine.check_power(device(tmp_path)))["temperature"]
    assert (found.state, "from 95 on" in found.words) == ("fine", True)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_a_radio_that_sleeps_is_a_doubt_and_its_network_is_not_named(tmp_path, monkeypatch):
    put(tmp_path, sys__class__net__wlan0__type="1", sys__class__net__wlan0__operstate="up")
    (tmp_path / "sys/class/net/wlan0/phy80211").mkdir()
    program(tmp_path / "iw", 'echo "ssid HomeSweetHome"; echo "Power save: on"', monkeypatch)
    found = by_name(machine.check_network(device(tmp_path)))["WiFi wlan0"]
    assert found.state == "doubt"
    assert "iw dev wlan0 set power_save off" in found.todo
    assert "HomeSweetHome" not in str(found)


def test_no_way_out_matters_only_where_somebody_is_notified_over_a_network(tmp_path):
    assert list(machine.check_network(device(tmp_path))) == []
    reported = Settings(alerts=AlertSettings(webhook="https://host/x"))
    assert states(machine.check_network(device(tmp_path, settings=reported))) == {"network": "doubt"}


def test_a_clock_that_was_never_set_and_one_that_nothing_keeps(tmp_path, monkeypatch):
    def clock(now=NOW, synced=False):
        monkeypatch.setattr("edge.record.run.Clock.synced", lambda self: synced)
        return by_name(machine.check_clock(device(tmp_path), now))

    assert clock(datetime(1970, 1, 1, tzinfo=UTC))["clock"].state == "broken"
    assert clock(synced=True)["clock"].state == "fine"
    assert clock()["clock"].state == "doubt"
    (tmp_path / "sys/class/rtc/rtc0").mkdir(parents=True)
    assert clock()["clock"].state == clock()["board clock"].state == "fine"


def test_a_schedule_in_utc_is_a_doubt(tmp_path, time_zone):
    camera = Camera("yard", "0", settings=CameraSettings(schedule=parse_schedule("daily 20-6")))
    target = device(tmp_path, settings=Settings(cameras=(camera,)))
    time_zone("UTC")
    assert by_name(machine.check_clock(target, NOW))["time zone"].state == "doubt"
    for name in ("Europe/Ljubljana", "Europe/London"):
        time_zone(name)
        assert by_name(machine.check_clock(target, NOW))["time zone"].state == "fine", name


def test_the_time_zone_is_called_what_it_is_today(tmp_path, time_zone):
    time_zone("Australia/Sydney")
    now = datetime.now().astimezone()
    assert by_name(machine.check_clock(device(tmp_path), NOW))["time zone"].words == f"{now:%Z} ({now:%z})"


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_secrets_that_everybody_may_read(tmp_path):
    target = device(tmp_path, config=tmp_path / "bear-alarm.yml")
    put(tmp_path, **{"bear-alarm.yml": "", "secrets.yml": "PW: hunter22"})
    (tmp_path / "secrets.yml").chmod(0o644)
    found = by_name(service.check_secrets(target))["secrets"]
    assert found.state == "doubt"
    assert "chmod o-rwx" in found.todo
    (tmp_path / "secrets.yml").chmod(0o640)
    assert states(service.check_secrets(target)) == {"secrets": "fine"}


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_config_that_holds_a_password_itself_and_everybody_may_read(tmp_path):
    settings = Settings(cameras=(Camera("yard", "rtsp://bob:hunter22@host/live"),))
    target = device(tmp_path, config=tmp_path / "bear-alarm.yml", settings=settings)
    put(tmp_path, **{"bear-alarm.yml": "cameras: {yard: 'rtsp://bob:${PW}@host/live'}"})
    assert list(service.check_secrets(target)) == []
    put(tmp_path, **{"bear-alarm.yml": "cameras: {yard: 'rtsp://bob:hunter22@host/live'}"})
    (tmp_path / "bear-alarm.yml").chmod(0o644)
    (found,) = service.check_secrets(target)
    assert found.state == "doubt"
    assert "hunter22" not in str(found)
    (tmp_path / "bear-alarm.yml").chmod(0o640)
    assert list(service.check_secrets(target)) == []


@pytest.mark.skipif(os.name != "posix", reason="groups")
def test_who_sits_at_a_desktop_may_use_its_devices_without_their_groups(tmp_path, monkeypatch):
    put(tmp_path, dev__video0="", dev__snd__controlC0="")
    monkeypatch.setattr(type(tmp_path), "group", lambda self: "audio" if "snd" in str(self) else "video")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(service, "_own_groups", set)
    target = device(tmp_path, settings=Settings(alerts=AlertSettings(sounds=("siren",), relays=("17",))))
    found = by_name(service.check_groups(target))["user"]
    assert "not in the group gpio," in found.words  # of which there is no device that could be asked
    monkeypatch.setattr(os, "access", lambda path, mode: "snd" not in str(path))
    assert "groups audio, gpio" in by_name(service.check_groups(target))["user"].words


@pytest.mark.skipif(os.name != "posix", reason="groups")
def test_groups_that_devices_want_and_the_service_has(tmp_path):
    settings = Settings(alerts=AlertSettings(relays=("17",), sounds=("siren",)))
    put(tmp_path, etc__systemd__system__placeholder="")
    unit = tmp_path / "etc/systemd/system/bear-alarm.service"
    unit.write_text("[Service]\nUser=bear-alarm\nSupplementaryGroups=audio\n")
    target = device(tmp_path, settings=settings)
    assert service.needed(target) == {"gpio", "audio"}
    found = by_name(service.check_groups(target))["service user"]
    assert found.state == "doubt"
    assert "not in the group gpio" in found.words
    unit.write_text("SupplementaryGroups=video gpio\nSupplementaryGroups=audio\n")
    assert by_name(service.check_groups(target))["service user"].state == "fine"


@pytest.mark.skipif(os.name != "posix", reason="groups")
def test_a_user_without_groups_learns_which():
    code = (
        "import grp, os, pathlib\nfrom edge.cli.doctor import findings, service\nfrom edge.settings import *\n"
        "if os.geteuid() == 0:\n    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "settings = Settings(alerts=AlertSettings(relays=('17',)))\n"
        "one = findings.Target(settings, root=pathlib.Path('/nowhere'))\n"
        "print([(each.state, each.words, each.todo) for each in service.check_groups(one)])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert "('doubt', 'not in the group gpio" in ran.stdout, ran.stderr
    assert "usermod -aG gpio" in ran.stdout


def reported(**found):
    """The service as systemd would describe it."""
    words = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active", "WatchdogUSec": "1min"} | found
    out = "\n".join(f"{name}={value}" for name, value in words.items())
    return Host(run=lambda words, **_: ProgramResult(0, out if words[0] == "systemctl" else ""))


def test_the_service_in_every_state(tmp_path):
    def found(**words):
        return by_name(service.check_service(device(tmp_path), reported(**words)))

    assert states(found(StatusText="2 cameras").values()) == {"service": "fine"}
    assert "2 cameras" in found(StatusText="2 cameras")["service"].words
    assert found(LoadState="not-found")["service"].state == "fine"
    failed = found(ActiveState="failed", Result="watchdog", NRestarts="17", UnitFileState="disabled", WatchdogUSec="0")
    assert states(failed.values()) == {
        "service": "broken", "after a power cut": "doubt", "restarts": "doubt", "watchdog": "doubt",
    }  # fmt: skip
    assert "watchdog" in failed["service"].words
    assert found(ActiveState="inactive")["service"].state == "broken"
    assert found(ActiveState="activating", SubState="start")["service"].state == "doubt"
    for sub, restarts in (("auto-restart", "1"), ("start", "9")):  # between two ends, and on the way to the next
        ends = found(ActiveState="activating", SubState=sub, NRestarts=restarts, Result="exit-code")["service"]
        assert ends.state == "broken"
        assert f"(exit-code, {restarts} times by now)" in ends.words
    deaf = Host(run=lambda words, **_: ProgramResult(1, "", "Failed to connect to bus"))
    (asked,) = service.check_service(device(tmp_path), deaf)
    assert (asked.state, "Failed to connect to bus" in asked.words) == ("unknown", True)
    assert states(service.check_service(device(tmp_path))) == {"service": "unknown"}


def program(path, line, monkeypatch):
    """A program of that name on the PATH."""
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)
