"""Measure 1 to 8 cameras in one process, and quiet ones beside a busy one.

    python tests/proofs/prove_cameras.py [--rounds 3]

Each camera is a thread that decodes JPEGs 1280 pixels wide of one film at ten a second, behind the real reader, loop
and model. A walking bear: a crop or two in most frames. The busy camera: twelve crops in each frame. By turns, each in
a process of its own. CPU time is that of all threads of the process. Latency: from the picture to the decision.
"in step": all cameras take their pictures at the same moments. "apart": without the queue, each camera runs the model
by itself, as before.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.camera import Source
from edge.camera.live import LiveSource
from edge.camera_thread import CameraThread, Shared, end_all, make_watcher
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.run_queue import Outcome, Rows, RunQueue
from edge.record.run import EventFactory
from edge.schema import Frame
from edge.settings import Camera, CameraSettings
from tests.helpers import stage

FPS, SECONDS, WARM_S = 10.0, 10.0, 2.0


def write_films(folder: Path) -> None:
    """Write a film of a bear, and one in which sixteen things move as well, as JPEGs."""
    for name in ("bear", "busy"):
        (folder / name).mkdir()
    for frame in stage.film(SECONDS + WARM_S, [stage.bear(0.0, 99.0)], fps=FPS):
        picture = frame.image
        cv2.imwrite(str(folder / "bear" / f"{frame.index:03}.jpg"), picture)
        busy = picture.copy()
        for number in range(16 if frame.time >= 1.0 else 0):  # more, or at once, and the whole picture would move
            x, y = 150 + number % 4 * 320, 100 + number // 4 * 170
            angle = frame.index * 0.9 + number
            cv2.circle(busy, (round(x + 30 * np.cos(angle)), round(y + 30 * np.sin(angle))), 18, (20, 30, 50), -1)
        cv2.imwrite(str(folder / "busy" / f"{frame.index:03}.jpg"), busy)


class Film(Source):
    """A camera that sends JPEGs at ``FPS`` from ``begins`` on, time.monotonic(); what is not read in time is lost."""

    live = True

    def __init__(self, jpegs: list[bytes], name: str, begins: float) -> None:
        self.jpegs, self.name, self.fps, self.problems, self.begins = jpegs, name, FPS, [], begins

    def __iter__(self) -> Iterator[Frame]:
        for index, jpeg in enumerate(self.jpegs):
            due = self.begins + index / FPS
            wait_s = due - time.monotonic()
            if wait_s < -1 / FPS:
                continue
            time.sleep(max(wait_s, 0.0))
            picture = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
            yield Frame(picture, due, datetime.now(UTC), self.name, index, due)

    def close(self) -> None:
        return


def child(folder: Path, cameras: int, busy: int, apart: bool, cores: int, in_step: bool) -> dict[str, Any]:
    """Watch so many cameras, the first ``busy`` of them busy ones; the figures."""
    if cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    cv2.setNumThreads(1)
    classifier = Classifier(BUNDLED)
    sizes: list[int] = []
    run = classifier._run_crops

    def counted(crops: Rows) -> Outcome:
        sizes.append(len(crops))
        return run(crops)

    classifier._run_crops = counted  # type: ignore[method-assign]
    if apart:
        classifier._runs = RunQueue(cameras)
    films = [[file.read_bytes() for file in sorted((folder / name).iterdir())] for name in ("bear", "busy")]
    shared = Shared(classifier, EventFactory())
    begins = time.monotonic() + 1.0
    threads = []
    late: dict[str, list[float]] = {}
    for number in range(cameras):
        name = f"camera{number}"
        film = Film(films[number < busy], name, begins + (0.0 if in_step else number * 0.37 / FPS % (1 / FPS)))
        source = LiveSource(lambda film=film: film, name, name=name, fps=FPS)  # type: ignore[misc]
        camera = Camera(name, name, settings=CameraSettings(fps=FPS, idle_fps=FPS))
        watcher = make_watcher(source, camera, shared, [])
        late[name] = []
        watcher.trace = lambda moment, seen=late[name]: seen.append(time.monotonic() - moment.time)  # type: ignore[misc]
        threads.append(CameraThread(camera, source, watcher))
    for thread in threads:
        thread.start()
    time.sleep(begins + WARM_S - time.monotonic())
    before, cpu_s, skip = [len(each) for each in late.values()], time.process_time(), len(sizes)
    crops = [thread.watcher.stats.crops for thread in threads]
    time.sleep(SECONDS - 0.5)
    cpu_s = time.process_time() - cpu_s
    seen = [each[start:] for each, start in zip(late.values(), before, strict=True)]
    rates = [len(each) / (SECONDS - 0.5) for each in seen]
    crops = [thread.watcher.stats.crops - start for thread, start in zip(threads, crops, strict=True)]
    end_all(threads)
    quiet = list(itertools.chain(*seen[busy:]))
    return {
        "frame_ms": cpu_s / sum(map(len, seen)) * 1000,
        "rows": mean(sizes[skip:]),
        "crops": sum(crops[busy:]) / len(quiet),
        "busy_crops": crops[0] / len(seen[0]),
        "busy_fps": rates[0],
        "fps": min(rates[busy:]),
        "p50_ms": median(quiet) * 1000,
        "p95_ms": quantiles(quiet, n=20)[-1] * 1000,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "alarms": sum(thread.watcher.publisher.counts["new"] for thread in threads[busy:]),
    }


Way = tuple[int, int, bool, int, bool]  # the arguments of ``child``


def main() -> None:
    """Print two tables, in Markdown."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.child:
        folder, *numbers = given.child
        cameras, busy, apart, cores, in_step = map(int, numbers)
        print(json.dumps(child(Path(folder), cameras, busy, bool(apart), cores, bool(in_step))))
        return
    rows = ((1, False), (2, False), (4, False), (8, False), (4, True), (8, True))
    costs: list[Way] = [(n, 0, apart, 0, in_step) for n, in_step in rows for apart in (False, True)]
    beside: list[Way] = [
        (cameras, busy, apart, cores, False)
        for cores, cameras in ((1, 4), (2, 8))
        for busy, apart in ((0, False), (1, False), (1, True))
    ]
    found: dict[Way, list[dict[str, Any]]] = {way: [] for way in (*costs, *beside)}
    with tempfile.TemporaryDirectory() as folder:
        write_films(Path(folder))
        for _ in range(given.rounds):
            for way, figures in found.items():
                words = [sys.executable, __file__, "--child", folder, *(str(int(each)) for each in way)]
                done = subprocess.run(words, capture_output=True, text=True, check=True)
                figures.append(json.loads(done.stdout))

    def middle(way: Way, name: str) -> float:
        return median(each[name] for each in found[way])

    def table(*lines: str) -> None:
        print(f"\n| {lines[0]} |\n|{'---|' * (lines[0].count('|') + 1)}")
        print("\n".join(f"| {line} |" for line in lines[1:]))

    one = middle((1, 0, False, 0, False), "frame_ms")
    lines = []
    for n, in_step in rows:
        queue, each = (n, 0, False, 0, in_step), (n, 0, True, 0, in_step)
        cost, cost_apart = middle(queue, "frame_ms"), middle(each, "frame_ms")
        lines.append(
            f"{n}{', in step' * in_step} | {cost:.2f} | {cost / one:.2f}, {cost_apart / one:.2f} "
            f"| {middle(queue, 'rows'):.2f}, {middle(each, 'rows'):.2f} | {middle(queue, 'fps'):.1f} "
            f"| {middle(queue, 'p50_ms'):.0f}, {middle(queue, 'p95_ms'):.0f} "
            f"| {middle(each, 'p50_ms'):.0f}, {middle(each, 'p95_ms'):.0f} "
            f"| {middle(queue, 'mb'):.0f}, {middle(each, 'mb'):.0f}"
        )
    table(
        "cameras, a bear before each | ms of CPU a camera's frame | to one camera, apart | crops a run, apart "
        "| frames/s, the slowest | latency p50, p95, ms | apart | memory, MB, apart",
        *lines,
    )
    lines = []
    for way in beside:
        cameras, busy, alone, cores, _ = way
        what = "all quiet" if not busy else "one busy, apart" if alone else "one busy"
        noisy = f"{middle(way, 'busy_crops'):.1f}, {middle(way, 'busy_fps'):.1f}" if busy else ""
        lines.append(
            f"{cores}, {cameras} | {what} | {noisy} | {middle(way, 'fps'):.1f} "
            f"| {middle(way, 'p50_ms'):.0f}, {middle(way, 'p95_ms'):.0f} | {middle(way, 'frame_ms'):.2f}"
        )
    table(
        "cores, cameras | | busy: crops a frame, frames/s | quiet: frames/s, the slowest | latency p50, p95, ms "
        "| ms of CPU a camera's frame",
        *lines,
    )
    print(f"\nMedians of {given.rounds} rounds.")


if __name__ == "__main__":
    main()
