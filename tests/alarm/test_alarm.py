"""The whole alarm in one process: heat and voltage, who is told exchanged while it runs, and what a service hears."""

import time

import pytest

from edge.alarm import Alarm
from edge.schema import Event
from edge.settings import AlertSettings, Camera, CameraSettings, EvidenceSettings, Settings
from tests.helpers.boards import boot, lay, pi
from tests.helpers.fake_camera import LiveYard, soon, watching
from tests.helpers.service_manager import Manager
from tests.helpers.yard import yard_model

SENSOR = "sys/class/hwmon/hwmon0/temp1_input"
VOLTAGE = "sys/class/hwmon/hwmon1/in0_lcrit_alarm"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """An alarm before a live yard on a Raspberry Pi that is not there; what it tells; and its machine."""
    machine = boot(pi(tmp_path / "pi", milli_c="61000\n"), monkeypatch)
    told: list[Event] = []
    with LiveYard() as yard:
        settings = Settings(
            cameras=(Camera("yard", yard.url, settings=CameraSettings(fps=10.0, idle_fps=10.0)),),
            alerts=AlertSettings(bell=False),
            evidence=EvidenceSettings(keep=False),
            model=str(yard_model(tmp_path / "tiny.onnx")),
            state=tmp_path / "state",
            waits=True,
        )
        alarm = Alarm(settings, terminal=told.append, root=machine)
        alarm.start()
        assert soon(lambda: alarm.status().cameras[0].frames > 3)
        yield alarm, told, machine
        alarm.stop_cameras()
        alarm.close(5.0)


def pass_by(alarm, seconds, clock):
    """So many seconds of the alarm's own time, of which frames know nothing."""
    until = clock[0] + seconds
    while clock[0] < until:
        clock[0] += 5.0
        alarm.tick(clock[0])


def labels(told, type_):
    assert soon(lambda: any(each.type == type_ for each in told))
    return [each.label for each in told if each.kind == "health" and each.type == type_]


def test_in_heat_fewer_frames_are_looked_at_and_that_is_reported_until_it_is_over(made):
    alarm, told, machine = made
    clock = [time.monotonic()]
    pass_by(alarm, 120.0, clock)
    assert alarm.status().fps_share == 1.0
    assert alarm.status().temperature_c == 61.0
    lay(machine, {SENSOR: "82500\n"})
    pass_by(alarm, 90.0, clock)
    assert labels(told, "new") == ["hot"]
    assert "82 °C" in told[0].detail
    assert "half" in told[0].detail
    assert alarm.status().fps_share == 0.5
    assert soon(lambda: alarm.status().cameras[0].fps == 5.0)
    lay(machine, {SENSOR: "60000\n"})
    pass_by(alarm, 200.0, clock)
    assert labels(told, "end") == ["hot"]
    assert soon(lambda: alarm.status().cameras[0].fps == 10.0)


def test_low_voltage_is_reported_with_what_to_do(made):
    alarm, told, machine = made
    clock = [time.monotonic()]
    lay(machine, {VOLTAGE: "1\n"})
    pass_by(alarm, 90.0, clock)
    assert labels(told, "new") == ["undervolted"]
    assert "power supply" in told[0].detail
    assert alarm.status().fps_share == 0.5
    assert alarm.status().undervolted is True


@pytest.fixture
def config(tmp_path):
    yard_model(tmp_path / "tiny.onnx")

    def write(url):
        (tmp_path / "bear-alarm.yml").write_text(
            f"model: tiny.onnx\nbell: no\nrecord: {{enabled: no}}\nstate: state\ncameras: {{yard: {url}}}\n"
        )
        return tmp_path

    return write


def test_a_service_manager_hears_that_it_is_ready_lives_and_stops(config):
    with LiveYard() as yard, Manager() as manager:
        folder = config(yard.url)
        with watching(cwd=folder, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="6000000") as alarm:
            assert manager.hears("READY=1")
            assert soon(lambda: manager.count("WATCHDOG") >= 4)
            assert manager.count("EXTEND_TIMEOUT_USEC") >= 1
            assert soon(lambda: manager.last("STATUS") == "watching yard")
            alarm.hang_up()
            assert soon(lambda: manager.count("RELOADING") == 1 and manager.count("READY") == 2)
            alarm.process.terminate()
            assert alarm.ended() == 0
            assert manager.hears("STOPPING=1")


@pytest.mark.slow
def test_with_a_dead_camera_the_watchdog_is_fed_and_the_outage_is_in_the_status(config):
    with LiveYard() as yard:
        url = yard.url
    with Manager() as manager:
        folder = config(url)
        with watching(cwd=folder, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="6000000") as alarm:
            alarm.until("CAMERA")
            fed = manager.count("WATCHDOG")
            assert soon(lambda: manager.count("WATCHDOG") >= fed + 3)
            assert soon(lambda: (manager.last("STATUS") or "").startswith("yard: "))
            assert alarm.process.poll() is None
