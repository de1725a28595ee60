"""Does the sentence of ``bench`` hold? As many busy cameras as it names keep their frame rate, two more do not.

    python tests/proofs/prove_bench.py

``bench`` and ``watch`` have one core, the same one; the cameras (MJPEG over HTTP, the bundled clip from the fox to the
bear, again and again, ten pictures a second) are served by this process on another. As root they go before other work,
so that a busy machine gives the same answer.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from edge.camera import open_source

FPS = 10.0
BEGINS_S, ENDS_S = 1.8, 24.0  # of the clip: a fox, a boar, a bear
WATCHED_S = 40.0
WORKS, SERVES = sorted(os.sched_getaffinity(0))[:2]


def pictures() -> list[bytes]:
    """The busy part of the clip, as a camera compresses it."""
    with open_source("demo", fps=FPS) as source:
        images = [frame.image for frame in source if BEGINS_S <= frame.time < ENDS_S]
    return [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes() for image in images]


@contextmanager
def cameras(count: int, shots: list[bytes]) -> Iterator[list[str]]:
    """So many cameras, each at another place of the clip; their addresses."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = int(self.path.strip("/").split(".")[0])
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            place, due = number * len(shots) // count, time.monotonic() + number / count / FPS
            with suppress(OSError):
                while not over.is_set():
                    time.sleep(max(due - time.monotonic(), 0.0))
                    shot = shots[place % len(shots)]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(shot)}\r\n\r\n".encode()
                    self.wfile.write(head + shot + b"\r\n")
                    place, due = place + 1, due + 1 / FPS

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield [f"http://127.0.0.1:{server.server_port}/{number}.mjpg" for number in range(count)]
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def begin(*words: str) -> subprocess.Popen[str]:
    """The command as a user types it, on one core, before other work where that is allowed."""
    child = subprocess.Popen(
        [sys.executable, "-m", "edge", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.sched_setaffinity(child.pid, {WORKS})
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, child.pid, -15)
    return child


def watched(count: int, shots: list[bytes]) -> str:
    """A row of the table: so many cameras for a while."""
    with tempfile.TemporaryDirectory() as folder, cameras(count, shots) as urls:
        lines = Path(folder) / "events.jsonl"
        kept = ("--evidence", f"{folder}/evidence", "--state", f"{folder}/state", "--events", str(lines))
        child = begin("watch", *urls, "--no-bell", *kept)
        time.sleep(WATCHED_S)
        child.send_signal(signal.SIGINT)
        printed = "".join(child.communicate())
        events = [json.loads(line) for line in lines.read_text().splitlines()]
    rates = [float(rate) / FPS for rate in re.findall(r"frames? \((\d+\.\d) a second\)", printed)]
    if len(rates) != count:
        raise SystemExit(f"{len(rates)} of {count} cameras were watched: {printed[-500:]}")
    bears = [event for event in events if event["kind"] == "bear" and event["type"] != "end"]
    middle, most = np.percentile([event["latency_ms"] for event in bears], [50, 95])
    alarms = sum(event["type"] == "new" for event in bears)
    return f"| {count} | {np.mean(rates):.0%} | {min(rates):.0%} | {alarms} | {middle:.0f} ms | {most:.0f} ms |"


def main() -> None:
    """Print a table, in Markdown."""
    os.sched_setaffinity(0, {SERVES})
    shots = pictures()
    found = json.loads(begin("bench", "--json").communicate()[0])
    busy = int(found["follows"]["cameras_active"])
    frame = found["frames"]["active"]["MJPEG"]["mean"]
    print(f"bench, on one core: {found['follows']['words'][0]} A busy frame: {frame:.1f} ms.\n", flush=True)
    print("| cameras | of the frames asked for: average | the slowest camera | alarms | latency: half | 95 % |")
    print("|---|---|---|---|---|---|")
    for count in (busy, busy + 2):
        print(watched(count, shots), flush=True)


if __name__ == "__main__":
    main()
