"""`bear-alarm fleet`, a process with a real broker: what it prints, its page, its end, and what it refuses."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from unittest.mock import Mock, patch

import httpx
import pytest

from edge.cli.fleet import _follow, _show
from edge.errors import OptionError
from edge.fleet.devices import Known, State
from edge.fleet.store import NO_BROKER, FleetWriter
from tests.helpers.broker import PATIENCE_S, Broker, Listener, free_port, until
from tests.helpers.command import ROOT, bear_alarm

STATS = {"well": True, "reason": "", "problems": [], "version": "9.9", "cameras": {}, "every_s": 30.0}


@pytest.fixture
def broker(tmp_path):
    """A broker that lets everyone in."""
    (tmp_path / "broker").mkdir()
    with Broker(tmp_path / "broker") as broker:
        yield broker


class Running:
    """A fleet in a process of its own; what it printed is in ``printed``."""

    def __init__(self, url, folder, port):
        self._file = folder.with_suffix(".txt")
        command = [sys.executable, "-m", "edge", "fleet", "--state", folder, "--page", str(port)]
        environment = os.environ | {"BEAR_ALARM_FLEET": url, "PYTHONPATH": str(ROOT)}
        with self._file.open("w") as file:
            self.process = subprocess.Popen(command, stderr=file, env=environment)

    @property
    def printed(self):
        return self._file.read_text("utf-8")

    def prints(self, words):
        """Return what matches these words, once it does."""
        assert until(lambda: re.search(words, self.printed)), self.printed
        return re.search(words, self.printed)


@contextmanager
def running(url, folder, port):
    """Run a fleet until the end of the block."""
    fleet = Running(url, folder, port)
    try:
        yield fleet
    finally:
        fleet.process.kill()
        fleet.process.wait()


@pytest.mark.needs_tool("mosquitto")
@pytest.mark.slow
def test_a_fleet_shows_its_devices_beside_another_command_and_its_page_is_claimed(broker, tmp_path):
    folder, port = tmp_path / "fleet", free_port()
    with running(f"{broker.url}/bears", folder, port) as fleet, Listener(broker, "nothing/#") as device:
        claim = fleet.prints(r"`(bear-alarm page claim .+)` prints")[1]
        fleet.prints(r"MQTT: connected")
        assert until(
            lambda: device.say("bears/north/available", "online") or "it has sent no state yet" in fleet.printed
        )
        fleet.prints(r"\d\d:\d\d:\d\d  Device north is not well: it has sent no state yet\n")
        device.say("bears/north/stats", json.dumps(STATS))
        device.say("bears/north/available", "offline", retain=True)
        fleet.prints(r"\d\d:\d\d:\d\d  Device north is offline since \d\d:\d\d\n")

        ran = bear_alarm(*claim.split()[1:])
        link = re.findall(r"^  (http\S+)$", ran.stdout, re.MULTILINE)[0]
        assert "Nothing runs" not in ran.stdout
        assert httpx.get(link, headers={"Accept": "text/html"}, trust_env=False).status_code == 200

        listed = bear_alarm("fleet", "--list", "--json", "--state", folder)
        assert [(each["name"], each["state"], each["version"]) for each in json.loads(listed.stdout)] == [
            ("north", "offline", "9.9")
        ]
        second = bear_alarm("fleet", "--mqtt", f"{broker.url}/bears", "--state", folder)
        assert second.returncode == 2
        assert "another alarm uses this state folder" in second.stderr
        assert "Traceback" not in second.stderr

        fleet.process.send_signal(signal.SIGTERM)
        assert fleet.process.wait(PATIENCE_S) == 0
    listed = bear_alarm("fleet", "--list", "--state", folder)
    assert re.match(r"NAME +STATE .*\nnorth +offline ", listed.stdout)
    assert "No fleet runs with the folder" in listed.stderr


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path):
    file = tmp_path / "file"
    file.touch()
    taken = socket.create_server(("127.0.0.1", 0))
    url = "mqtt://ranger:secret@127.0.0.1/bears"
    for words, said in (
        ((), "no broker is named"),
        (("--mqtt", "http://ranger:secret@h/bears"), "does not begin with mqtt://"),
        (("--mqtt", "mqtts://ranger:secret@h/bears?ca=nope.pem"), "ca=nope.pem is not there"),
        (("--mqtt", url, "--silent-after", "soon"), "--silent-after 'soon': give a time such as 90s, 10m or 2h"),
        (("--mqtt", url, "--page", "nowhere"), "'nowhere' is no place to listen on"),
        (("--mqtt", url, "--page", "0"), "--page 0: port 0 would be another one at each start; name a port"),
        (("--mqtt", url, "--page", "192.0.2.1:8471"), "cannot be opened there (Cannot assign requested address)"),
        (("--mqtt", url, "--page", str(taken.getsockname()[1])), "cannot be opened there (Address already in use)"),
        (("--mqtt", url, "--state", file), f"{file}: "),
        (("--mqtt", url, "--notify", "nonsense"), "Apprise cannot use this URL"),
    ):
        device = f"{url}/north"  # its variables are not the fleet's
        ran = bear_alarm("fleet", *words, BEAR_ALARM_STATE=str(tmp_path / "state"), BEAR_ALARM_MQTT=device)
        assert ran.returncode == 2, words
        assert said in ran.stderr
        assert len(ran.stderr.splitlines()) == 1
        assert "secret" not in ran.stderr
    taken.close()
    assert not (tmp_path / "state").exists()
    assert (tmp_path / "bear-alarm-fleet").is_dir()


def test_a_folder_that_may_not_be_read_is_a_sentence(tmp_path, monkeypatch):
    with patch("edge.fleet.store.Path.is_file", side_effect=PermissionError(13, "Permission denied")):
        monkeypatch.setattr(os, "access", lambda *_: False)  # root may read all
        with pytest.raises(OptionError, match=r"the devices cannot be read \(.*Permission denied\); run it with sudo"):
            _show(tmp_path, as_json=False)


def test_the_list_says_that_there_is_no_broker_and_what_it_does_not_know(tmp_path, caplog, capsys):
    writer = FleetWriter(tmp_path)
    with writer.writing():
        writer.keep(NO_BROKER, str(time.time() - 120.0))
    writer.close()
    _show(tmp_path, as_json=False)
    assert re.match(r"The fleet has no broker since \d\d:\d\d, 2 min ago: ", caplog.messages[0])
    assert capsys.readouterr().out == f"{tmp_path}: no device is known here yet; name another with --state.\n"


def test_a_device_that_comes_and_goes_has_a_line_each_ten_seconds(caplog, monkeypatch):
    """The last line says how it is in the end."""
    flaps: list[State] = ["well", "offline"] * 30
    states = [*flaps, *flaps[::2]]
    known, view = Known("north", 0.0), Mock()

    def now():
        known.state = states.pop(0)
        return {"north": known.state}

    view.states, view.device = now, lambda name: known.device(0.0)
    view.notices.return_value, view.trouble.return_value = [], None
    caplog.set_level("INFO")
    monkeypatch.setattr("time.monotonic", itertools.count(1000).__next__)
    _follow(view, lambda: None, Mock(wait=Mock(side_effect=[False] * 80 + [True])))
    lines = [message.split("  ")[1] for message in caplog.messages[1:]]
    assert len(lines) <= 8
    assert "offline" in lines[0]
    assert lines[-1] == "Device north is well"
