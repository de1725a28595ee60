"""Stands for `bear-alarm watch` in tests/proofs/prove_service.py: tries what the service's fence allows, then obeys.

Run by systemd as the service's user, in the state folder; what it found lies in found.json, an order in the file order.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOUND, ORDER = Path("found.json"), Path("order")


def notify(words: str) -> None:
    """Tell the service manager."""
    where = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gate:
        gate.sendto(words.encode(), f"\0{where[1:]}" if where.startswith("@") else where)


def tried(work: Callable[[], Any]) -> str:
    """ "yes", or why not."""
    try:
        answer = work()
    except Exception as error:
        return f"no: {getattr(error, 'strerror', None) or error}"
    return answer if isinstance(answer, str) else "yes"


def clock() -> str:
    """Return how the clock is known to be right, or why that is not known."""
    from edge.record.run import Clock

    found = Clock()
    return "yes" if found.synced() is not None else f"no: {found.how}"


def model() -> str:
    """Scores one crop with the model that would be used; its path."""
    import numpy as np

    from edge.detect.classifier import load

    classifier = load()
    classifier(np.zeros((1, classifier.size, classifier.size, 3), np.uint8))
    return str(classifier.path)


def clip() -> None:
    """A child with less right to the processor and to memory, as the one that writes clips."""
    code = "import os; os.nice(10); open('/proc/self/oom_score_adj', 'w').write('1000'); import av"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def opened(path: str) -> Callable[[], None]:
    """Opens a device or file to read it."""
    return lambda: os.close(os.open(path, os.O_RDONLY))


def looked() -> dict[str, str]:
    """Everything that is asked, with the answer."""
    return {
        "model": tried(model),
        "clock asked": tried(clock),
        "clock set": tried(lambda: time.clock_settime(time.CLOCK_REALTIME, time.time())),
        "state": tried(lambda: Path("kept").write_text("x")),
        "config": tried(lambda: Path(sys.argv[-1]).read_text() and "yes"),
        "sound in memory": tried(lambda: os.close(os.memfd_create("sound"))),
        "lgpio's folder": tried(lambda: Path(os.environ["RUNTIME_DIRECTORY"], "x").write_text("x")),
        "clip": tried(clip),
        "shell command": tried(lambda: subprocess.run("true", shell=True, check=True)),
        "names": tried(lambda: socket.getaddrinfo("localhost", 80) and "yes"),
        "udev": tried(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15).bind((0, 2))),
        "board": tried(lambda: Path("/proc/meminfo").read_text() and Path("/proc/cpuinfo").read_text() and "yes"),
        "write /etc": tried(lambda: Path("/etc/bear-alarm/x").write_text("x")),
        "write /opt": tried(lambda: Path("/opt/bear-alarm/x").write_text("x")),
        "read /home": tried(lambda: bool(list(Path("/home").iterdir()))),
        "raw packets": tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
        "another device": tried(opened(os.environ.get("OTHER_DEVICE", "/dev/fenced"))),
        "null device": tried(opened("/dev/null")),
        "as root": tried(lambda: os.setuid(0)),
        "words": json.dumps(sys.argv[1:]),
    }


def main() -> None:
    """Look, say that it is ready, and be fed until an order comes: `exit CODE` or `hang`."""
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    signal.signal(signal.SIGHUP, lambda *_: notify("STATUS=read anew"))
    FOUND.write_text(json.dumps(looked()))
    notify("READY=1\nSTATUS=watching 1 camera")
    while not ended:
        order = ORDER.read_text().split() if ORDER.exists() else []
        if order:
            ORDER.unlink()
            if order[0] == "exit":
                sys.exit(int(order[1]))
            subprocess.Popen(["sleep", "4711"], start_new_session=True)  # a siren that sounds
            time.sleep(600)  # a stuck loop
        notify("WATCHDOG=1")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
