"""What the tests of local sinks share: an event, patience, and programs that stand in for others."""

import os
import time
from pathlib import Path

from edge.alert.sound import Player
from edge.schema import Event


def event(type_="new", seq=1, *, kind="bear", id_=None, **more):
    """An event of happening ``id{seq}``, 5 ms old."""
    more = {"latency_ms": 5.0} | more
    return Event(kind, type_, id_ or f"id{seq}", seq, "run", "yard", "2026-01-01T00:00:00.000Z", **more)


def soon(true, within_s=20.0):
    """Return whether it becomes true, on however busy a machine."""
    until = time.monotonic() + within_s
    while not (happened := true()) and time.monotonic() < until:
        time.sleep(0.005)
    return happened  # not asked again: what is asked may do something, and another time in vain


def script(folder, name, lines):
    """A stand-in for a player: a shell script that is given the WAV file's path last."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return Player(name, (str(path),))


def lines(path):
    """Return what a stand-in has written so far."""
    return path.read_text().splitlines() if path.exists() else []


def alive(pid):
    """Return whether a process is there and at work."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
