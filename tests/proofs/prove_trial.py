"""Measure what a new model that is tried beside the one in use costs the alarm: latency, CPU time and memory.

    python tests/proofs/prove_trial.py [ROUNDS]

The demo clip is shown as a camera would, ten frames a second, to one watcher; in turns with a trial beside it and
without, in one process. Latency is what the loop took for a frame. Once on all cores, once on one.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from statistics import median, quantiles

import cv2

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.events import EventPublisher
from edge.background import cores
from edge.camera import DEMO, Source
from edge.camera.video import VideoSource
from edge.camera_thread import CameraThread, make_decider
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.frame_rate import CropBudget
from edge.model_store import Entry, ModelStore
from edge.schema import Frame
from edge.settings import Camera, CameraSettings
from edge.update.trial import Trial
from edge.watch import Watcher
from tests.helpers.trials import in_step

cv2.setNumThreads(1)
FPS = 10.0


class Shown(Source):
    """A clip as a camera shows it, with the loop's time for each frame: of the wall, and of its thread's CPU."""

    live = True

    def __init__(self, frames: Iterable[Frame]) -> None:
        self.name, self.fps, self.problems = "demo", FPS, []
        self.frames = frames
        self.wall_ms: list[float] = []
        self.cpu_ms: list[float] = []

    def __iter__(self) -> Iterator[Frame]:
        began = time.monotonic()
        for number, frame in enumerate(self.frames):
            time.sleep(max(began + number / FPS - time.monotonic(), 0.0))
            wall, cpu = time.perf_counter(), time.thread_time()
            yield frame
            self.wall_ms.append((time.perf_counter() - wall) * 1e3)
            self.cpu_ms.append((time.thread_time() - cpu) * 1e3)

    def close(self) -> None:
        """Nothing is open."""


def watch(classifier: Classifier, store: ModelStore | None) -> tuple[Shown, float, str, float]:
    """Watch the clip once; return what each frame took, CPU seconds of all threads, the trial's words, and its misses.

    Those are a share of the frames in which something moved or was followed.
    """
    settings = CameraSettings()
    decider = make_decider(classifier, settings, single_images=False)
    watcher = Watcher(
        classifier,
        decider.rule,
        EventPublisher(),
        settings,
        decider=decider,
        budget=CropBudget(settings.frame_s),
    )
    clip = VideoSource(DEMO, name="demo", fps=FPS)
    shown, trial = Shown(clip), None
    if store:
        trial = Trial([CameraThread(Camera("demo", "demo"), shown, watcher)], store, entry(), classifier)
        in_step(trial)
    cpu = time.process_time()
    watcher(shown)
    clip.close()
    if trial is None:
        return shown, time.process_time() - cpu, "", 0
    in_step(trial)
    cpu = time.process_time() - cpu
    trial.close(5.0)
    counts = trial.counts
    return shown, cpu, counts.words, counts.missed / (counts.looked + counts.missed)


def entry() -> Entry:
    """Return the model that ships as one that was installed."""
    return Entry(sha256(BUNDLED.read_bytes()).hexdigest(), "bear@new")


def resident_mb() -> float:
    """Return what this process holds in memory, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    classifier = Classifier(BUNDLED)
    watch(classifier, None)
    all_cores = os.sched_getaffinity(0)
    print("| | cores | p50 ms | p95 ms | CPU of the loop | CPU of the process | memory, MB | frames missed |")
    print("|---|---|---|---|---|---|---|---|")
    words = ""
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder))
        store.slot(entry()).write_bytes(BUNDLED.read_bytes())
        for cpus in (all_cores, {min(all_cores)}):
            os.sched_setaffinity(0, cpus)
            wall, loop, process, held, missed = (defaultdict[bool, list[float]](list) for _ in range(5))
            for _ in range(rounds):
                for tried in (False, True):
                    shown, cpu, said, left = watch(classifier, store if tried else None)
                    wall[tried] += shown.wall_ms
                    loop[tried].append(sum(shown.cpu_ms))
                    process[tried].append(cpu)
                    held[tried].append(resident_mb())
                    missed[tried].append(left)
                    words = said or words
            for tried in (False, True):
                p95 = quantiles(wall[tried], n=20)[-1]
                ratios = [median(each[tried]) / median(each[False]) for each in (loop, process)]
                print(
                    f"| {'with a trial' if tried else 'alone'} | {cores()} | {median(wall[tried]):.1f} | {p95:.1f} | "
                    f"{ratios[0]:.2f} | {ratios[1]:.2f} | {median(held[tried]):.0f} | "
                    f"{median(missed[tried]):.0%} |"
                )
        os.sched_setaffinity(0, all_cores)
    print(f"\nThe same model beside itself: {words}.")


if __name__ == "__main__":
    main()
