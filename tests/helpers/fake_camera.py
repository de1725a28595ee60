"""A camera that serves its pictures over HTTP, before which a bear stands when it is told to; and `watch` before it."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from tests.alarm.test_watch import GREEN, ROOT
from tests.helpers.tiny import BEAR_COLOUR

# Something to be made out: a lens check takes a plain picture for a covered lens.
_SHADES = np.random.default_rng(0).integers(-40, 40, (36, 64, 1)).repeat(10, 0).repeat(10, 1)
MEADOW = np.clip(GREEN.astype(int) + _SHADES, 0, 255).astype(np.uint8)
LONG_S = 60.0  # on a machine that has much else to do


class LiveYard(ThreadingHTTPServer):
    """JPEGs without end, 20 a second, each a little other than the last; ``bear``: one walks up and down."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Page)
        self.bear = False
        self.came = 0  # connections so far
        self.cut = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), name="yard", daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/live.mjpg"

    def picture(self, number):
        scene = MEADOW.copy()
        scene[:8, :8] = number % 256  # never the same twice
        if self.bear:
            left = 200 + 4 * abs(number % 60 - 30)
            cv2.rectangle(scene, (left, 200), (left + 90, 290), BEAR_COLOUR, -1)
        return np.ascontiguousarray(scene)

    def handle_error(self, request, client_address):
        """A reader that leaves is nothing to speak of."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut.set()
        self.shutdown()
        self.server_close()


class _Page(BaseHTTPRequestHandler):
    server: LiveYard

    def do_GET(self):
        self.server.came += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        number = 0
        while not self.server.cut.wait(0.05):
            number += 1
            _, jpeg = cv2.imencode(".jpg", self.server.picture(number))
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.size}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg.tobytes() + b"\r\n")

    def log_message(self, *_):
        pass


class Watching:
    """`bear-alarm watch` at work; what it says can be waited for."""

    def __init__(self, process):
        self.process = process
        self.said = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            self._lines.put(line.rstrip())

    def until(self, words, within_s=LONG_S):
        """The line that holds these words."""
        end = time.monotonic() + within_s
        while (left := end - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            self.said.append(line)
            if words in line:
                return line
        raise AssertionError(f"{words!r} was not said:\n" + "\n".join(self.said))

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def ended(self, within_s=LONG_S):
        """The exit code."""
        return self.process.wait(within_s)


@contextmanager
def watching(*words, cwd, **variables):
    """The command in a process of its own, ended in the end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BEAR_ALARM")}
    env = clean | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | variables
    command = [sys.executable, "-m", "edge", "watch", *map(str, words)]
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Watching(process)
        finally:
            process.terminate()
            try:
                process.wait(LONG_S)
            except subprocess.TimeoutExpired:
                process.kill()


def soon(happened, within_s=LONG_S):
    """Return whether it happens within so many seconds."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if happened():
            return True
        time.sleep(0.05)
    return bool(happened())
