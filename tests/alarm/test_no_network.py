"""With nobody to tell over a network, `watch` opens no connection and looks up no name: the offline promise."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.schema import Event

ROOT = Path(__file__).parents[2]
WATCH = [sys.executable, "-m", "edge", "watch", "demo"]
# What Python runs first in each process, children included: whatever reaches for a network is written down.
HEAR = """
import atexit, os, sys
import _socket

log = os.open(os.environ["HEARD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
inet = {_socket.AF_INET, _socket.AF_INET6}


def hear(event, args):
    if event == "socket.__new__":
        reaches = args[1] in inet
    elif event in {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}:
        reaches = not isinstance(args[1], (str, bytes, type(None)))
    else:
        reaches = event.startswith("socket.get") and event != "socket.gethostname"
    if reaches:
        os.write(log, f"{event} {args[1:]} in {sys.orig_argv}\\n".encode())


def imported():
    if "watch" in sys.orig_argv:
        with open(os.environ["HEARD"] + ".modules", "w") as file:
            print(*sorted(sys.modules), sep="\\n", file=file)


atexit.register(imported)
sys.addaudithook(hear)
"""
# Each of these must be noticed, else silence proves nothing.
REACH = """
import socket, subprocess, sys
socket.socket(socket.AF_INET6 if "6" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM).close()
if "name" in sys.argv[1]:
    socket.getaddrinfo("127.0.0.1", 9)
if "child" in sys.argv[1]:
    subprocess.run([sys.executable, "-c", "import socket; socket.create_server(('127.0.0.1', 0))"])
"""


def home(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a user who has set nothing, in a home of their own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BEAR_ALARM", "XDG_", "STATE_"))}
    return clean | {"PYTHONPATH": str(ROOT), "HOME": str(folder)} | more


def alarmed(ran: subprocess.CompletedProcess[str]) -> bool:
    """Return whether the demo's bear was told."""
    assert ran.returncode == 0, ran.stderr
    return "BEAR" in ran.stderr and "1 alarm" in ran.stderr


@dataclass
class Heard:
    """A run with Python's own ear on every socket."""

    ran: subprocess.CompletedProcess[str]
    reached: list[str]
    modules: set[str]


def listen(folder: Path, command: list[str]) -> Heard:
    ear, log = folder / "ear", folder / "heard"
    ear.mkdir()
    (ear / "sitecustomize.py").write_text(HEAR)
    env = home(folder, HEARD=str(log), PYTHONPATH=os.pathsep.join([str(ear), str(ROOT)]))
    ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=180)
    modules = log.with_name("heard.modules")
    return Heard(ran, log.read_text().splitlines(), set(modules.read_text().split()) if modules.exists() else set())


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """`bear-alarm watch demo`, listened to; events to standard output besides."""
    return listen(tmp_path_factory.mktemp("heard"), [*WATCH, "--events", "-"])


@pytest.mark.parametrize(("what", "noticed"), [("4", 1), ("6", 1), ("4 name", 2), ("4 child", 3)])
def test_the_ear_hears_whatever_reaches_for_a_network(what, noticed, tmp_path):
    assert len(listen(tmp_path, [sys.executable, "-c", REACH, what]).reached) >= noticed


@pytest.mark.slow
def test_watch_reaches_for_no_network(heard):
    assert alarmed(heard.ran)
    assert heard.reached == []
    assert "new" in {Event.from_json(line).type for line in heard.ran.stdout.splitlines()}


@pytest.mark.slow
def test_watch_imports_nothing_that_only_remote_sinks_need(heard):
    assert "edge.cli.watch" in heard.modules
    rooms = {name.partition(".")[0] for name in heard.modules}
    assert not rooms & {"paho", "apprise", "requests", "urllib3", "gpiozero"}


def traced(folder: Path, command: list[str]) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """A run under strace, and each system call in which an internet address or socket stands."""
    calls = folder / "calls"
    strace = ["strace", "-f", "-qq", "-e", "trace=%network", "-o", str(calls)]
    ran = subprocess.run(
        [*strace, *command], cwd=folder, env=home(folder), capture_output=True, text=True, check=False, timeout=300
    )
    lines = calls.read_text(errors="replace").splitlines() if calls.exists() else []
    return ran, [line for line in lines if re.search(r"\bAF_INET6?\b|\bPF_INET6?\b", line)]


@pytest.mark.needs_tool("strace")
def test_the_system_sees_no_internet_socket_nor_name_looked_up(tmp_path):
    (tmp_path / "control").mkdir()
    ran, calls = traced(tmp_path / "control", [sys.executable, "-c", REACH, "4 name child"])
    if not calls and "ptrace" in ran.stderr.lower():
        pytest.skip("this system lets nobody trace a process")
    assert len([line for line in calls if "socket(" in line]) >= 2, "strace is blind, or sees no children"
    (tmp_path / "watch").mkdir()
    ran, calls = traced(tmp_path / "watch", WATCH)
    assert alarmed(ran)
    assert calls == []


@pytest.mark.needs_tool("unshare")
def test_the_alarm_works_where_there_is_no_network_at_all(tmp_path):
    """An empty network namespace has not even a loopback that is up."""
    alone = [shutil.which("unshare") or "", "--user", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this system lets nobody have a network of their own")
    up = [sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))"]
    assert "unreachable" in subprocess.run([*alone, *up], capture_output=True, text=True, check=False).stderr
    ran = subprocess.run(
        [*alone, *WATCH], cwd=tmp_path, env=home(tmp_path), capture_output=True, text=True, check=False, timeout=180
    )
    assert alarmed(ran)
