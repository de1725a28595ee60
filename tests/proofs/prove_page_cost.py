"""What the page costs `watch`: memory, processor, and the time of a frame, with nobody, one and two who look.

    python tests/proofs/prove_page_cost.py [ROUNDS]

Two alarms with the bundled model watch the same camera at the same time, the demo clip over HTTP: one without a page,
the other with one, at which nobody, then one, then two look at the live picture. Each time lasts as long as the clip.
So each figure has its own beside it, of the same pictures on an equally busy machine. The ratios count.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import cv2
import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.camera import DEMO
from edge.page.accounts import Accounts
from edge.page.guard import COOKIE
from tests.helpers.broker import free_port
from tests.helpers.fake_camera import watching

FPS = 10.0
WARM_S = 15.0
MOST_MB = 25.0
LOOKING = ("nobody looks", "one looks", "two look")
TICKS = os.sysconf("SC_CLK_TCK")


class Clip(ThreadingHTTPServer):
    """The demo clip again and again: the same picture for all who ask, half a frame apart, or one would be first."""

    daemon_threads = True
    came = 0

    def __init__(self) -> None:
        clip, self.jpegs = cv2.VideoCapture(str(DEMO)), list[bytes]()
        while (read := clip.read())[0]:
            self.jpegs.append(cv2.imencode(".jpg", read[1])[1].tobytes())
        super().__init__(("127.0.0.1", 0), _Pictures)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def lasts_s(self) -> float:
        """Return how long it lasts."""
        return len(self.jpegs) / FPS


class _Pictures(BaseHTTPRequestHandler):
    server: Clip

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        number, self.server.came = int(time.monotonic() * FPS), self.server.came + 1
        later = self.server.came % 2 / 2
        while True:
            number += 1
            time.sleep(max((number + later) / FPS - time.monotonic(), 0.0))
            jpeg = self.server.jpegs[number % len(self.server.jpegs)]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:
                return

    def log_message(self, *_: object) -> None:
        """Quiet."""


@dataclass(frozen=True)
class Cost:
    """What one alarm took in one time."""

    cpu: float  # share of a core
    frame_ms: float  # median
    late_ms: float  # of the slowest twentieth, the fastest
    pss_mb: float


class Alarm:
    """A `watch` that runs, and what it has used so far."""

    def __init__(self, pid: int, trace: Path) -> None:
        self.pid = pid
        self._trace = trace.open()
        self._rest = ""

    def cpu_s(self) -> float:
        """Return seconds of processor so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def pss_mb(self) -> float:
        """Return its share of the memory now."""
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{self.pid}/smaps_rollup").read_text(), re.MULTILINE)
        assert found
        return int(found[1]) * 1024 / 1e6

    def frames_ms(self) -> list[float]:
        """Return what each frame took since the last call."""
        *lines, self._rest = (self._rest + self._trace.read()).split("\n")
        return [json.loads(line)["frame_ms"] for line in lines if '"frame_ms"' in line]


@contextmanager
def running(folder: Path, camera: str, *more: str) -> Iterator[Alarm]:
    """Run `watch` until the end."""
    folder.mkdir()
    trace = folder / "trace.jsonl"
    words = (camera, "--state", folder / "state", "--trace", trace, *more)
    with watching(*words, cwd=folder) as made:
        while not trace.exists() or not trace.stat().st_size:
            time.sleep(0.2)
            assert made.process.poll() is None, "\n".join(made.said)
        yield Alarm(made.process.pid, trace)


@contextmanager
def viewer(address: str, state: Path) -> Iterator[None]:
    """Look at the live picture, and at how all of it is, in threads."""
    over = threading.Event()
    cookie = {COOKIE: Accounts(state).log_in("four words in a row", "proof")}

    def look(place: str) -> None:
        with (
            httpx.Client(base_url=address, cookies=cookie, trust_env=False) as client,
            client.stream("GET", place, timeout=60.0) as answer,
        ):
            assert answer.status_code == 200, answer.status_code
            for _ in answer.iter_raw():
                if over.is_set():
                    return

    page = httpx.get(address, cookies=cookie, headers={"Accept": "text/html"}, trust_env=False).text
    live = re.findall(r'data-live="([^"]+)"', page)
    threads = [threading.Thread(target=look, args=(place,), daemon=True) for place in (*live, "/stream")]
    for thread in threads:
        thread.start()
    yield
    over.set()
    threads[0].join(10.0)


def measured(alarms: list[Alarm], seconds: float) -> list[Cost]:
    """Return what each alarm takes in so many seconds."""
    for alarm in alarms:
        alarm.frames_ms()
    before = [alarm.cpu_s() for alarm in alarms]
    began = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    found = []
    for alarm, used in zip(alarms, before, strict=True):
        frames = sorted(alarm.frames_ms())
        late = frames[len(frames) * 19 // 20]
        found.append(Cost((alarm.cpu_s() - used) / took, median(frames), late, alarm.pss_mb()))
    return found


def main() -> None:
    """Print a table, in Markdown."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else 3
    found: dict[str, list[list[Cost]]] = {who: [] for who in LOOKING}
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        clip = open_.enter_context(Clip())
        camera = f"http://127.0.0.1:{clip.server_address[1]}/live.mjpg"
        port = free_port()
        off = open_.enter_context(running(folder / "off", camera))
        on = open_.enter_context(running(folder / "on", camera, "--page", str(port)))
        state, address = folder / "on" / "state", f"http://127.0.0.1:{port}"
        accounts = Accounts(state)
        accounts.claim(accounts.new_claim(), "four words in a row")
        time.sleep(WARM_S)
        for _ in range(rounds):
            for number, who in enumerate(LOOKING):
                with ExitStack() as looking:
                    for _ in range(number):
                        looking.enter_context(viewer(address, state))
                    found[who].append(measured([off, on], clip.lasts_s))
    print(f"| page, {rounds} times {clip.lasts_s:.0f} s | frame, ms | ratio | slowest 5 %, ms | ratio "
          "| cores | without | memory, MB | without |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for who, times in found.items():
        without, with_ = (list(each) for each in zip(*times, strict=True))
        row = [who, f"{median(each.frame_ms for each in with_):.1f}",
               f"{median(b.frame_ms / a.frame_ms for a, b in times):.2f}",
               f"{median(each.late_ms for each in with_):.1f}",
               f"{median(b.late_ms / a.late_ms for a, b in times):.2f}",
               *(f"{median(each.cpu for each in some):.2f}" for some in (with_, without)),
               *(f"{median(each.pss_mb for each in some):.0f}" for some in (with_, without))]  # fmt: skip
        print(f"| {' | '.join(row)} |")
    mores = [with_.pss_mb - without.pss_mb for without, with_ in found[LOOKING[0]]]
    more = median(mores)
    print(f"\nWith nobody looking the page takes {more:.1f} MB more, at most {MOST_MB:g}; {mores[0]:.1f} MB before "
          "anybody had looked.")  # fmt: skip
    if more > MOST_MB:
        raise SystemExit("more than it may take")


if __name__ == "__main__":
    main()
