"""How long from the scene to the alarm, and how do 1, 2 and 4 cameras share one process? Real streams, real command.

    python tests/proofs/prove_glass_to_alarm.py

A server on this machine sends each camera's pictures as MJPEG. Every picture carries the monotonic clock of the
moment it was drawn, as a row of black and white squares, so that the evidence picture itself tells how old the
frame was that raised the alarm. A bear appears at a known moment and stands there.
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
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.schema import Picture
from tests.helpers import stage

FPS = 15
QUIET_S, STAGGER_S, STANDS_S = 8.0, 1.0, 8.0
BITS, SQUARE_PX = 40, 16  # the clock in tenths of milliseconds, as Gray code from the left upper corner


def stamped(picture: Picture, at: float) -> Picture:
    """A copy of the picture that carries a time (seconds) in its upper edge."""
    ticks = round(at * 10_000)
    code, out = ticks ^ (ticks >> 1), picture.copy()
    for bit in range(BITS):
        shade = 255 if code >> (BITS - 1 - bit) & 1 else 0
        out[:SQUARE_PX, bit * SQUARE_PX : (bit + 1) * SQUARE_PX] = shade
    return out


def read_stamp(picture: Picture) -> float:
    """The time (seconds) a picture carries."""
    code = 0
    for bit in range(BITS):
        middle = picture[4 : SQUARE_PX - 4, bit * SQUARE_PX + 4 : (bit + 1) * SQUARE_PX - 4]
        code = code << 1 | int(middle.mean() > 127)
    ticks = 0
    while code:
        ticks ^= code
        code >>= 1
    return ticks / 10_000


class Camera:
    """One camera's pictures, drawn at ``FPS``; the newest JPEG for whoever asks."""

    def __init__(self, bear_after_s: float) -> None:
        self.ready = threading.Condition()
        self.jpeg, self.count, self.over = b"", 0, False
        self.shown_at: float | None = None  # when the bear was first drawn, monotonic seconds
        self.bear_after_s = bear_after_s
        self.empty = stage.place().copy()
        self.bear = self.empty.copy()
        stage.animal("european-bear", (0.0,), (640.0,), 240.0).draw(self.bear, 0.0)
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Draw, until it is over."""
        due = time.monotonic()
        while not self.over:
            now = time.monotonic()
            shows = self.bear_after_s <= now - self.began
            picture = stamped(self.bear if shows else self.empty, now)
            if shows and self.shown_at is None:
                self.shown_at = now
            done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
            assert done
            with self.ready:
                self.jpeg, self.count = data.tobytes(), self.count + 1
                self.ready.notify_all()
            due = max(due + 1 / FPS, time.monotonic() - 1)
            time.sleep(max(due - time.monotonic(), 0))


@contextmanager
def serving(cameras: list[Camera]) -> Iterator[list[str]]:
    """The cameras as MJPEG streams; their addresses."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            camera, last = cameras[int(self.path.strip("/").split(".")[0])], 0
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                while not camera.over:
                    with camera.ready:
                        camera.ready.wait_for(lambda: camera.count > last or camera.over, 2)  # noqa: B023
                        data, last = camera.jpeg, camera.count
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                    self.wfile.write(head + data + b"\r\n")
            except OSError:
                return

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield [f"http://127.0.0.1:{server.server_port}/{n}.mjpg" for n in range(len(cameras))]
    finally:
        for camera in cameras:
            camera.over = True
        server.shutdown()
        server.server_close()


@dataclass
class Outcome:
    """What one camera's alarm was like; seconds."""

    scene_to_alarm_s: float  # from the first picture with the bear being drawn to the event being printed
    frame_to_alarm_s: float  # from the picture that raised the alarm being drawn to the event being printed
    latency_ms: float  # the event's own: from the frame being handed over to the sink being called


def run(count: int) -> tuple[list[Outcome], list[str]]:
    """The command on so many cameras; an outcome for each, and what it said at the end."""
    cameras = [Camera(QUIET_S + STAGGER_S * n) for n in range(count)]
    with tempfile.TemporaryDirectory() as folder, serving(cameras) as urls:
        words = ["watch", *urls, "--idle-fps", "10", "--events", "-", "--evidence", folder, "--no-bell"]
        words += ["--state", f"{folder}/state"]
        process = subprocess.Popen(
            [sys.executable, "-m", "edge", *words],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        said: list[str] = []
        threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True).start()
        found: dict[str, Outcome] = {}
        ender = threading.Timer(QUIET_S + STAGGER_S * count + STANDS_S, process.send_signal, [signal.SIGINT])
        ender.start()
        names: list[str] = []
        for line in process.stdout or ():
            at, event = time.monotonic(), json.loads(line)
            if (event["kind"], event["type"]) != ("bear", "new"):
                continue
            names.append(event["camera"])
            number = int(event["camera"].rpartition("-")[2]) - 1 if "-" in event["camera"] else 0
            evidence, patience = Path(event["evidence"]), time.monotonic() + 5
            while not evidence.exists() and time.monotonic() < patience:
                time.sleep(0.02)
            drawn = read_stamp(np.asarray(cv2.imread(str(evidence)), np.uint8))
            shown = cameras[number].shown_at
            assert shown is not None, "an alarm before the bear was there"
            found[event["camera"]] = Outcome(at - shown, at - drawn, event["latency_ms"])
        process.wait(20)
        ender.cancel()
    assert len(found) == count, f"{count} bears and {len(found)} alarms: {names}, {said}"
    return list(found.values()), [line.strip() for line in said]


def main() -> None:
    """Print a table, in Markdown."""
    print(
        "| cameras | scene to alarm, s | trigger frame to alarm, s | of that in the alarm, ms | frames a second each |"
    )
    print("|---|---|---|---|---|")
    for count in (1, 2, 4):
        outcomes, said = run(count)
        rates = [float(rate) for line in said for rate in re.findall(r"\(([\d.]+) a second\)", line)]
        if not rates:
            rates = [
                float(frames) / float(s)
                for line in said
                for s, frames in re.findall(r"in ([\d.]+) s of footage: (\d+) frames", line)
            ]
        scene, frame = [o.scene_to_alarm_s for o in outcomes], [o.frame_to_alarm_s for o in outcomes]
        print(
            f"| {count} | {median(scene):.2f} (worst {max(scene):.2f}) | {median(frame):.3f} (worst {max(frame):.3f}) "
            f"| {median(o.latency_ms for o in outcomes):.0f} | {', '.join(f'{rate:.1f}' for rate in rates)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
