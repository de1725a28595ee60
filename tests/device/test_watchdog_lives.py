"""Whole processes under a service manager: what hangs is no longer fed, and a dead camera makes no loop of restarts."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.device.watchdog import REBOOT, RESTART
from tests.helpers.service_manager import Manager
from tests.helpers.sink_world import soon

CHILD = Path(__file__).parents[1] / "helpers" / "watched_child.py"
WATCHDOG_S = 1.5


@contextmanager
def life(manager, how, folder):
    """One process of the service, from its start; what is left of it is ended."""
    # The exec makes it the process whose number is given, as systemd has it.
    start = f'WATCHDOG_PID=$$ exec "{sys.executable}" -X faulthandler "{CHILD}" {how} "{folder}"'
    environment = os.environ | manager.environment(watchdog_s=WATCHDOG_S)
    child = subprocess.Popen(
        ["sh", "-c", start], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate(timeout=60)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("camera", "yard: its loop has not gone on for 2 s"),
        ("model", "the model has not answered for 2 s"),
        ("main", None),  # nobody is left to report it
    ],
)
def test_what_hangs_is_no_longer_fed_and_the_log_shows_where(what, words, tmp_path):
    with Manager() as manager, life(manager, what, tmp_path) as child:
        assert manager.hears("READY=1")
        assert child.stdout.readline() == f"{what} hangs\n"
        if words:
            assert soon(lambda: words in (manager.last("STATUS") or ""), 60)
        assert manager.quiet_s("WATCHDOG", WATCHDOG_S)
        assert manager.count("WATCHDOG") >= 1
        child.send_signal(signal.SIGABRT)  # as systemd does
        printed = child.communicate(timeout=60)[1]
        assert child.returncode == -signal.SIGABRT
        assert "in hang" in printed  # the stack of each thread
        assert words is None or words in printed


def test_a_slow_start_asks_for_time_and_an_end_that_is_meant_is_reported(tmp_path):
    with Manager() as manager, life(manager, "start", tmp_path) as child:
        assert manager.hears("STATUS=starting: reading the model")
        assert manager.said[0] == "EXTEND_TIMEOUT_USEC=300000000"
        assert manager.count("READY") == manager.count("WATCHDOG") == 0
        child.stdin.write("\n")
        child.stdin.flush()
        assert manager.hears("READY=1")
        assert soon(lambda: manager.count("WATCHDOG") >= 3, 60)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
        assert manager.hears("STOPPING=1")
        assert manager.last("STATUS") == "watching yard"


@pytest.mark.slow
def test_a_dead_camera_is_restarted_for_once_then_the_machine_once_and_then_only_fed(tmp_path):
    codes = []
    with Manager() as manager:
        for _ in range(2):
            with life(manager, "dead", tmp_path) as child:
                codes.append(child.wait(60))
        assert codes == [RESTART, REBOOT]
        for _ in range(2):
            before = manager.count("WATCHDOG")
            with life(manager, "dead", tmp_path) as child:
                # Three times as long as what it waited before.
                assert soon(lambda before=before: manager.count("WATCHDOG") >= before + 26, 60)
                assert child.poll() is None
                child.send_signal(signal.SIGTERM)
                assert child.wait(60) == 0
        with life(manager, "well", tmp_path) as child:  # it is back, so the next outage is another one
            assert soon(lambda: '"restart": null' in (tmp_path / "escalation.json").read_text(), 60)
        with life(manager, "dead", tmp_path) as child:
            assert child.wait(60) == RESTART


@pytest.mark.parametrize(("order", "code"), [("restart", RESTART), ("reboot", REBOOT)])
def test_after_an_order_it_ends_though_something_hangs(order, code):
    hangs = "import threading; from edge.cli.watch.command import _end_at_last as end; "
    hangs += f"end({order!r}, 0.1); threading.Event().wait(60.0)"
    assert subprocess.run([sys.executable, "-c", hangs], check=False, timeout=60).returncode == code
