"""A service whose user may not read its program, its model or its secrets would never start: refused, in a sentence."""

import sys
import sysconfig
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from edge.alert.mqtt_settings import MqttSettings as Mqtt
from edge.device.systemd import READ, check_named, check_program, closed_by, denied, named
from edge.device.systemd_host import NOBODY, Account, Program, ServiceError, this_program
from edge.settings import AlertSettings, Camera, EvidenceSettings, Settings, UpdateSettings
from tests.helpers.service_world import ROOT, Machine, installed, program

SOMEBODY = Account(NOBODY, NOBODY)

pytestmark = pytest.mark.skipif(not ROOT, reason="only root can ask what others may read")


@pytest.fixture
def place():
    """A folder that everybody may enter; those of pytest are closed."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def machine(place):
    return Machine(place / "machine", real_reading=True)


def closed(folder):
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def refusal(machine, settings=None, **more):
    with pytest.raises(ServiceError) as raised:
        installed(machine, settings, **more)
    assert machine.did == []  # refused before anything was done
    return str(raised.value)


def test_the_kernel_is_asked_as_that_user(place):
    machine = Machine(place / "m", SOMEBODY, real_reading=True)
    (hidden := closed(place / "home" / "pi") / "bear.onnx").touch()
    (own := place / "secret").touch(0o600)
    (shared := place / "shared").touch(0o640)
    (link := place / "link").symlink_to(hidden)
    gone = place / "gone"
    assert denied(machine.host, [hidden, own, place, shared, link, gone], READ) == [hidden, own, shared, link, gone]
    printed = f", for {place / 'home' / 'pi'} is closed to others"
    assert closed_by(machine.host, hidden) == closed_by(machine.host, link) == printed
    assert closed_by(machine.host, own) == ""
    machine.account = Account(NOBODY, NOBODY, (0,))
    assert denied(machine.host, [shared], READ) == []  # as one of its group


def test_a_program_in_a_closed_home_is_refused_and_the_place_where_it_can_be_is_offered(machine, place):
    lies = program(closed(place / "home" / "pi") / "bears" / "bin")
    with pytest.raises(ServiceError) as raised:
        check_program(machine.host, lies)
    reported = str(raised.value)
    assert reported.startswith(f"this bear-alarm cannot be a service where it lies: {lies.command[0]} cannot be read")
    assert f"for {place / 'home' / 'pi'} is closed to others" in reported
    *_, make, fill, start = reported.splitlines()
    assert make == "  sudo python3 -m venv /opt/bear-alarm"
    assert fill.startswith("  sudo /opt/bear-alarm/bin/pip install '")
    assert start == "  sudo /opt/bear-alarm/bin/bear-alarm service install"


def test_an_interpreter_behind_a_link_into_a_closed_home_is_refused(machine, place):
    script = program(place / "opt").command
    hidden = closed(place / "home" / "pi") / "python3"
    hidden.write_text("#!/bin/sh\n")
    hidden.chmod(0o755)
    (place / "opt" / "python").symlink_to(hidden)
    with pytest.raises(ServiceError, match=rf"{place}/opt/python cannot be read .* {place}/home/pi is closed"):
        check_program(machine.host, Program(script, place / "opt" / "python", (place / "opt",)))


def test_packages_that_only_their_owner_finds_are_refused(machine, place):
    (lonely := place / "opt" / "python").parent.mkdir()
    lonely.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'cv2'\" >&2; exit 1\n")
    lonely.chmod(0o755)
    with pytest.raises(ServiceError, match=r"does not find all it needs .*No module named 'cv2'"):
        check_program(machine.host, Program((str(lonely),), lonely, (place / "opt",)))
    lonely.write_text("#!/bin/sh\nexit 0\n")
    check_program(machine.host, Program((str(lonely),), lonely, (place / "opt",)))


def test_this_program_is_started_by_its_absolute_path():
    found = this_program()
    script = Path(sysconfig.get_path("scripts")) / "bear-alarm"
    assert found.command in ((str(script),), (sys.executable, "-m", "edge"))
    assert Path(sys.prefix) in found.folders


FILES = {
    "model": lambda file: Settings(model=str(file)),
    "sound": lambda file: Settings(alerts=AlertSettings(sounds=("siren", str(file)))),
    "ca": lambda file: Settings(alerts=AlertSettings(mqtt=Mqtt("hub", tls=True, ca=file))),
    "camera": lambda file: Settings(cameras=(Camera("yard", str(file)),)),
    "deterrent": lambda file: Settings(alerts=AlertSettings(deterrent=str(file))),
}


@pytest.fixture
def runs(machine, monkeypatch):
    """Its program can be read; what is asked here is the rest."""
    monkeypatch.setattr("edge.device.systemd.check_program", lambda host, program: None)
    return machine


@pytest.mark.parametrize("what", FILES)
def test_a_file_of_the_configuration_that_the_service_cannot_read_is_named(what, runs, place):
    settings = FILES[what]
    (own := place / "own").touch(0o600)
    (hidden := closed(place / "home" / "pi") / "file").touch()
    assert f"{own} cannot be read by the user bear-alarm; put it into /etc/bear-alarm" in refusal(runs, settings(own))
    reported = refusal(runs, settings(hidden))
    assert f"{hidden} cannot be read by the user bear-alarm, for {hidden.parent} is closed to others" in reported
    assert refusal(runs, settings(place / "gone")) == f"{place / 'gone'}: no such file, but the configuration names it"


def test_streams_devices_and_noises_are_no_files(place):
    settings = Settings(
        cameras=(Camera("a", "/dev/video0"), Camera("b", "rtsp://a/x", motion_source="rtsp://a/y"), Camera("c", "0")),
        alerts=AlertSettings(sounds=("siren",), deterrent="on", events="-"),
        evidence=EvidenceSettings(keep=False, folder=Path("/srv/unused")),
    )  # fmt: skip
    assert named(settings, place / "c.yml") == ((place / "c.yml",), ())


def test_a_configuration_elsewhere_must_be_readable_and_keeps_its_rights(runs, place):
    runs.config = place / "bears.yml"
    runs.config.touch(0o600)
    assert f"{runs.config} cannot be read" in refusal(runs)
    runs.config.chmod(0o644)
    installed(runs)
    assert runs.config.stat().st_mode & 0o777 == 0o644


def test_passwords_beside_a_configuration_elsewhere_must_be_readable_and_are_not_shown_to_everybody(runs, place):
    runs.config = place / "bears.yml"
    runs.config.touch(0o644)
    (secrets := place / "secrets.yml").touch(0o600)
    reported = refusal(runs)
    assert f"{secrets} cannot be read by the user bear-alarm; put it into /etc/bear-alarm" in reported
    assert "chmod" not in reported
    secrets.unlink()
    runs.config.chmod(0o600)
    assert "chmod" not in refusal(runs)


def test_a_configuration_in_a_closed_folder_of_the_services_is_refused_too(runs):
    closed(runs.config.parent)
    reported = refusal(runs)
    assert f"{runs.config.parent} is closed to the user bear-alarm" in reported
    runs.config.parent.chmod(0o711)  # as the refusal asks
    installed(runs)


def test_a_folder_it_writes_to_must_be_its_own_and_is_opened_for_it(runs, place):
    runs.account = SOMEBODY
    runs.config.chmod(0o644)
    (stick := place / "stick").mkdir(mode=0o755)
    settings = Settings(evidence=EvidenceSettings(folder=stick), state=Path("/var/lib/bear-alarm/inner"))
    assert f"sudo install -d -o bear-alarm -g bear-alarm '{stick}'" in refusal(runs, settings)
    stick.chmod(0o777)
    inner = closed(place / "pi") / "bears"  # as sticks are that a desktop mounts: giving away the inner one is no help
    inner.mkdir(mode=0o777)
    reported = refusal(runs, Settings(evidence=EvidenceSettings(folder=inner)))
    assert f"for {inner.parent} is closed to others; give a folder to that user: sudo install" in reported
    installed(runs, settings)
    assert f"ReadWritePaths=-{stick}\n" in runs.unit
    assert "inner" not in runs.unit


def test_what_lies_under_home_is_seen_where_it_may_be_read(runs, place):
    (sound := place / "machine" / "home" / "pi" / "moo.wav").parent.mkdir(parents=True)
    sound.touch()
    installed(runs, Settings(alerts=AlertSettings(sounds=(str(sound),))))
    assert "ProtectHome=read-only\n" in runs.unit
    installed(runs)
    assert "ProtectHome=yes\n" in runs.unit
    sources = ("https://example.org/bear.onnx", str(place / "machine/home/pi/not-plugged-in"))
    installed(runs, Settings(updates=UpdateSettings(sources=sources)))
    assert "ProtectHome=read-only\n" in runs.unit


def test_temporary_folders_are_refused_for_the_service_has_its_own(runs, place):
    (sound := place / "moo.wav").touch()
    for private, settings in (
        (sound, Settings(alerts=AlertSettings(sounds=(str(sound),)))),
        (place / "stick", Settings(updates=UpdateSettings(sources=(str(place / "stick"),)))),
    ):
        with pytest.raises(ServiceError, match="the service has a folder for temporary files of its own"):
            check_named(replace(runs.host, private=(private,)), settings, runs.config, ())
    with pytest.raises(ServiceError, match="a folder for temporary files"):
        check_program(replace(runs.host, private=(place,)), program(place / "opt"))
