"""Measure the cost of the page to `watch`: memory, processor, time of a frame, with nobody, one and two who look.

    python tests/proofs/prove_page_cost.py [PAIRS]

Two alarms with the bundled model watch the same camera at the same time, the demo clip over HTTP: one without a page,
the other with one, at which nobody, then one, then two, then nobody look at the live picture. Each time lasts as long
as the clip. Which alarm starts first, and so gets each picture first, matters more than the page does: it is the one
without a page in every second time, and the mean of the ratios counts. Their spread is what cannot be measured here.
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
from statistics import geometric_mean, median

import cv2
import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.camera import DEMO
from edge.page.accounts import Accounts
from edge.page.guard import COOKIE
from tests.helpers.broker import free_port
from tests.helpers.fake_camera import watching

FPS = 10.0
WARM_S = 10.0
MOST_MB = 25.0
LOOKING = {"nobody has looked yet": 0, "one looks": 1, "two look": 2, "nobody looks any more": 0}
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
    """Use of memory and processor by one alarm in one time."""

    cpu: float  # share of a core
    frame_ms: float  # median
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
        found.append(Cost((alarm.cpu_s() - used) / took, median(alarm.frames_ms()), alarm.pss_mb()))
    return found


def once(clip: Clip, found: dict[str, list[list[Cost]]], *, page_first: bool) -> None:
    """Measure two new alarms, and add what they took: without a page, and with one."""
    camera, port, alarms = f"http://127.0.0.1:{clip.server_address[1]}/live.mjpg", free_port(), dict[bool, Alarm]()
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        for page in (page_first, not page_first):
            more = ("--page", str(port)) if page else ()
            alarms[page] = open_.enter_context(running(folder / str(page), camera, *more))
        state, address = folder / "True" / "state", f"http://127.0.0.1:{port}"
        accounts = Accounts(state)
        accounts.claim(accounts.new_claim(), "four words in a row")
        time.sleep(WARM_S)
        for who, number in LOOKING.items():
            with ExitStack() as looking:
                for _ in range(number):
                    looking.enter_context(viewer(address, state))
                found[who].append(measured([alarms[False], alarms[True]], clip.lasts_s))


def main() -> None:
    """Print a table, in Markdown."""
    pairs = int(sys.argv[1]) if sys.argv[1:] else 3
    found: dict[str, list[list[Cost]]] = {who: [] for who in LOOKING}
    with Clip() as clip:
        for number in range(2 * pairs):
            once(clip, found, page_first=bool(number % 2))
    print(
        f"| {2 * pairs} times {clip.lasts_s:.0f} s | a frame, ms | ratio, mean | of each time | cores | without "
        "| memory more, MB |\n|---|---|---|---|---|---|---|"
    )
    more = 0.0
    for who, times in found.items():
        without, with_ = (list(each) for each in zip(*times, strict=True))
        ratios = [b.frame_ms / a.frame_ms for a, b in times]
        grown = median(b.pss_mb - a.pss_mb for a, b in times)
        more = grown if LOOKING[who] == 0 else more
        row = [
            who,
            f"{median(each.frame_ms for each in with_):.1f}",
            f"{geometric_mean(ratios):.2f}",
            " ".join(f"{each:.2f}" for each in ratios),
            *(f"{median(each.cpu for each in some):.2f}" for some in (with_, without)),
            f"{grown:.1f}",
        ]
        print(f"| {' | '.join(row)} |")
    if more > MOST_MB:
        raise SystemExit(f"{more:.1f} MB more while nobody looks; at most {MOST_MB:g} are allowed")


if __name__ == "__main__":
    main()
