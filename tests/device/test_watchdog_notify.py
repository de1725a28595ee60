"""Notifications to a service manager over a real socket; one that is full, gone or none never holds up the alarm."""

import os
import subprocess
import sys
import time

import pytest

from edge.device.watchdog import Notifier
from tests.helpers.service_manager import Manager
from tests.helpers.sink_world import soon


@pytest.fixture(params=["abstract", "path"])
def manager(request, tmp_path):
    with Manager(None if request.param == "abstract" else str(tmp_path / "notify")) as found:
        yield found


def test_a_service_reports_what_it_does_from_start_to_end(manager):
    notifier = Notifier.from_environment(manager.environment(watchdog_s=60.0))
    assert (notifier.present, notifier.watchdog_s) == (True, 60.0)
    before = time.monotonic()
    reported = [notifier.extend(300.0), notifier.ready("watching yard"), notifier.feed(), notifier.reloading()]
    assert all([*reported, notifier.ready("watching yard, bin"), notifier.stopping()])
    assert manager.hears("STOPPING=1")
    printed = [line for line in manager.said if not line.startswith("MONOTONIC_USEC=")]
    assert printed == [
        "EXTEND_TIMEOUT_USEC=300000000", "READY=1", "STATUS=watching yard", "WATCHDOG=1", "RELOADING=1",
        "READY=1", "STATUS=watching yard, bin", "STOPPING=1",
    ]  # fmt: skip
    assert before <= int(manager.last("MONOTONIC_USEC")) / 1e6 + 1e-6 <= time.monotonic()


def test_the_status_is_sent_only_when_it_changes_and_is_one_short_line(manager):
    notifier = Notifier.from_environment(manager.environment())
    for words in ("well", "well", "yard:\nWATCHDOG=trigger", "yard:\nWATCHDOG=trigger", "bär " * 3000, "\udcff"):
        assert notifier.status(words)
    assert soon(lambda: manager.count("STATUS") == 4)
    assert manager.said[:2] == ["STATUS=well", "STATUS=yard: WATCHDOG=trigger"]
    assert 300 < len(manager.said[2]) < 500
    assert manager.count("WATCHDOG") == 0


def test_where_no_manager_listens_nothing_happens():
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "1000000"})
    assert (notifier.present, notifier.watchdog_s) == (False, None)
    reported = [notifier.ready("a"), notifier.status("b"), notifier.feed(), notifier.extend(1.0), notifier.reloading()]
    assert not any(reported)
    assert not notifier.stopping()


@pytest.mark.parametrize("named", ["run/notify", "vsock:2:1234"])
def test_an_address_that_is_none_is_logged(named, caplog):
    assert not Notifier(named).present
    assert named in caplog.text


def test_the_watchdog_of_another_process_is_not_ours_to_feed(manager):
    assert Notifier.from_environment(manager.environment(watchdog_s=2.5)).watchdog_s == 2.5
    assert Notifier.from_environment(manager.environment(watchdog_s=2.5, pid=1)).watchdog_s is None
    given = manager.environment(watchdog_s=2.5)
    del given["WATCHDOG_PID"]
    assert Notifier.from_environment(given).watchdog_s == 2.5
    line = "from edge.device.watchdog import Notifier; print(Notifier.from_environment().watchdog_s)"
    child = subprocess.run(
        [sys.executable, "-c", line], env=os.environ | manager.environment(watchdog_s=2.5), timeout=60, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert child.stdout == "None\n"


@pytest.mark.parametrize("given", ["", "0", "-5", "soon", "1e6"])
def test_a_time_that_is_none_asks_for_no_feeding(given, manager, caplog):
    assert Notifier.from_environment(manager.environment() | {"WATCHDOG_USEC": given}).watchdog_s is None
    assert ("microseconds" in caplog.text) == bool(given)


def test_a_full_socket_never_blocks_and_what_must_arrive_is_sent_again(caplog):
    with Manager(reads=False) as manager:
        notifier = Notifier.from_environment(manager.environment(watchdog_s=60.0))
        before = time.monotonic()
        while notifier.feed():  # the kernel keeps so many
            assert time.monotonic() - before < 60
        before = time.monotonic()
        assert not any([notifier.reloading(), notifier.ready("watching yard"), notifier.status("watching bin")])
        assert not any(notifier.feed() for _ in range(100))
        assert time.monotonic() - before < 5
        assert caplog.text.count("cannot be notified") == 1
        manager.read()
        assert soon(notifier.feed)
        assert manager.hears("READY=1")
        assert soon(lambda: manager.last("STATUS") == "watching bin")
        assert manager.count("READY") == 1
        assert manager.count("RELOADING") == 0  # it is over, and would be taken for another one


def test_a_manager_that_goes_and_comes_again_gets_the_state(tmp_path, caplog):
    address = str(tmp_path / "notify")
    notifier = Notifier(address, watchdog_s=60.0)
    assert not notifier.ready("watching yard")  # it does not listen yet
    with Manager(address):
        assert notifier.feed()
    assert not notifier.status("watching bin")  # closed, and its file is there
    (tmp_path / "notify").unlink()
    assert not notifier.feed()
    with Manager(address) as again:
        assert notifier.status("watching bin")
        assert again.hears("STATUS=watching bin")
        assert again.count("READY") == 0  # the first one heard it
    assert not Notifier("/" + "x" * 200).feed()  # no file can be called so
    assert "too long" in caplog.text
