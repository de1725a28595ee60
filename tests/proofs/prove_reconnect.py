"""A real RTSP camera that is killed, and one that hangs: when the command says so, and when it is back.

    python tests/proofs/prove_reconnect.py

GStreamer's RTSP server from Debian (tests/helpers/rtsp_server.py) on loopback, the real command, its events.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SERVER = [os.environ.get("BEAR_ALARM_SYSTEM_PYTHON", "/usr/bin/python3"), str(ROOT / "tests" / "rtsp_server.py")]
STEADY_S, AWAY_S, PATIENCE_S = 8.0, 25.0, 40.0


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(port: int) -> subprocess.Popen[str]:
    """The camera, once it listens."""
    server = subprocess.Popen([*SERVER, str(port)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stdout.readline().strip() == "ready"
    return server


def play(hang: bool) -> tuple[float, float]:
    """Seconds from the fault to the event, and from the return to the event."""
    port = free_port()
    server = serve(port)
    command = [sys.executable, "-m", "edge", "watch", f"rtsp://127.0.0.1:{port}/yard", "--events", "-", "--no-evidence"]
    scratch = tempfile.TemporaryDirectory()
    env = os.environ | {"BEAR_ALARM_STATE": scratch.name}
    watch = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    told: list[tuple[float, dict[str, Any]]] = []

    def listen() -> None:
        for line in watch.stdout or ():
            told.append((time.monotonic(), json.loads(line)))

    threading.Thread(target=listen, daemon=True).start()

    def when(type_: str) -> float:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            for at, event in told:
                if (event["kind"], event["type"]) == ("camera", type_):
                    return at
            time.sleep(0.05)
        raise SystemExit(f"no camera event of type {type_} within {PATIENCE_S:g} s; told: {told}")

    try:
        time.sleep(STEADY_S)
        failed = time.monotonic()
        if hang:
            server.send_signal(signal.SIGSTOP)
        else:
            server.kill()
            server.wait()
        noticed = when("new") - failed
        time.sleep(max(failed + AWAY_S - time.monotonic(), 0))
        returned = time.monotonic()
        if hang:
            server.send_signal(signal.SIGCONT)
        else:
            server = serve(port)
        return noticed, when("end") - returned
    finally:
        watch.send_signal(signal.SIGINT)
        watch.wait(20)
        server.kill()
        server.wait()
        scratch.cleanup()


def main() -> None:
    """Print a table, in Markdown."""
    print(f"| an RTSP camera, away for {AWAY_S:g} s | told after, s | told to be back after, s |")
    print("|---|---|---|")
    for hang, words in ((False, "its process killed and started again"), (True, "its process stopped and continued")):
        noticed, back = play(hang)
        print(f"| {words} | {noticed:.1f} | {back:.1f} |", flush=True)


if __name__ == "__main__":
    main()
