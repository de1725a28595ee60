"""However the alarm ends, what makes a noise is silenced first: signals, impatience, a terminal that hangs up."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from edge.cli.watch.signals import Stop
from tests.alarm.test_watch import ROOT
from tests.helpers.broker import free_port
from tests.helpers.sink_world import alive, lines, soon

PROGRAM = """
import os, sys, time
def say(word):
    os.write(1, word.encode() + b"\\n")
sys.path.insert(0, {root!r})
from edge.cli.watch import signals
signals.LAST_S = {last_s}
with signals.stop_on_signal(reloads={reloads}) as stop:
    stop.silenced_by(lambda: say("silent"))
    say("ready")
    stop.wait(60)
    say("stopped")
    time.sleep({hangs_s})
time.sleep({lingers_s})
say("done")
"""


def program(*, hangs_s=0.0, lingers_s=0.0, last_s=30.0, nohup=False, reloads=False, **streams):
    code = PROGRAM.format(root=str(ROOT), hangs_s=hangs_s, lingers_s=lingers_s, last_s=last_s, reloads=reloads)
    words = [sys.executable, "-c", code]
    words = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *words] if nohup else words
    running = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, **streams)
    assert running.stdout
    assert running.stdout.readline() == "ready\n"
    return running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_silences_and_ends_in_good_order(number):
    running = program()
    running.send_signal(number)
    printed, _ = running.communicate(timeout=30)
    assert sorted(printed.split()) == ["done", "silent", "stopped"]
    assert running.returncode == 0


def test_a_second_signal_ends_it_the_hard_way_and_noises_are_off_by_then():
    running = program(hangs_s=60.0)
    running.send_signal(signal.SIGINT)
    time.sleep(1.2)  # sooner, it would be the same one
    running.send_signal(signal.SIGINT)
    printed, _ = running.communicate(timeout=30)
    assert "silent" in printed
    assert "done" not in printed
    assert running.returncode == 130


def test_two_signals_at_once_are_one():
    running = program()
    for _ in range(2):
        running.send_signal(signal.SIGTERM)
    printed, _ = running.communicate(timeout=30)
    assert "done" in printed
    assert running.returncode == 0


@pytest.mark.parametrize("where", ["hangs_s", "lingers_s"])
def test_what_hangs_on_the_way_out_is_ended(where):
    running = program(**{where: 60.0}, last_s=0.3)
    running.send_signal(signal.SIGTERM)
    printed, _ = running.communicate(timeout=30)
    assert "silent" in printed
    assert running.returncode == 143


def test_under_nohup_the_end_of_the_terminal_is_nobodys_business():
    running = program(nohup=True)
    running.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=30)
    assert running.returncode == 0


def test_a_config_to_be_read_again_ends_nothing_not_even_when_it_ends_already():
    running = program(reloads=True, hangs_s=2.0, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    running.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    time.sleep(1.2)
    running.send_signal(signal.SIGHUP)
    printed, _ = running.communicate(timeout=30)
    assert "done" in printed
    assert running.returncode == 0


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
def test_a_terminal_that_is_closed_ends_it_whichever_of_its_streams_it_was(stream):
    ours, theirs = os.openpty()
    others = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = program(reloads=True, start_new_session=True, **(others | {stream: theirs}))
    os.close(theirs)
    running.send_signal(signal.SIGHUP)  # somebody wants the config read again
    time.sleep(0.3)
    assert running.poll() is None
    os.close(ours)
    running.send_signal(signal.SIGHUP)
    printed, _ = running.communicate(timeout=30)
    assert "done" in printed


def test_what_is_to_be_silenced_and_comes_late_is_silenced_at_once():
    stop, called = Stop(), []
    stop.set()
    stop.silenced_by(lambda: called.append(1))
    assert called == [1]


def test_noises_that_cannot_be_ended_do_not_end_the_ending():
    stop = Stop()

    def fails():
        raise RuntimeError("can't start new thread")

    stop.silenced_by(fails)
    stop.silence()
    assert stop.silent


@pytest.fixture
def player(tmp_path):
    """A stand-in for a loudspeaker's program, found first: it notes its process and plays for ever."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "pw-play"
    # What is short is the moment's silence that tries the loudspeaker.
    longer = 'for file; do :; done; [ "$(stat -L -c %s "$file")" -gt 1000000 ] || exit 0'
    program.write_text(f"#!/bin/sh\n{longer}\necho $$ >> {tmp_path}/players\nexec sleep 60\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}, tmp_path / "players"


def alert_test(env, *words):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BEAR_ALARM")}
    command = [sys.executable, "-m", "edge", "alert", "test", "--sound", "siren", "--sound-seconds", "60", *words]
    return subprocess.Popen(command, env=clean | {"PYTHONPATH": str(ROOT)} | env, stderr=subprocess.PIPE, text=True)


def sounding(players):
    return [int(pid) for pid in lines(players) if alive(int(pid))]


def test_a_test_is_loud_for_three_seconds_however_long_the_network_takes(player, tmp_path):
    env, players = player
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it never answers
        nobody = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        running = alert_test(env, "--webhook", nobody, "--wait", "40")
        assert soon(lambda: sounding(players))
        assert soon(lambda: not sounding(players))
        assert running.poll() is None  # the network is still waited for
        running.terminate()
        _, printed = running.communicate(timeout=30)
    assert running.returncode == 1
    assert "sound siren" in printed
    assert "FAILED: " in printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_test_that_is_ended_is_silent(player, tmp_path, number):
    env, players = player
    nobody = f"http://127.0.0.1:{free_port()}/"
    running = alert_test(env, "--webhook", nobody, "--wait", "60")
    assert soon(lambda: sounding(players))
    running.send_signal(number)
    running.communicate(timeout=30)
    assert not sounding(players)
