"""Measure ``classify`` on a folder of stills, next to a bare loop of the same looks in the same run.

    python tests/proofs/prove_classify.py [--stills 10000] [--camera]

The stills are frames of the demo, 1280 pixels wide, as hard links. The bare loop is what anybody would write: read,
resize to the scan's size, run the model, in as many threads as there are cores; it keeps nothing. It goes
through half of them before and half after. Busy: the share of the time in which the threads that look ran or waited
for a core that another program had; what is missing, they waited for each other, the disk or work. With other work on
the machine the last column is the one to compare: cores, times busy, by CPU time. Only on Linux.
``--camera``: all in one folder, as of one camera, so that each is also compared with its neighbours, and looked at
closer where it differs. The bare loop does not do that.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.background import cores
from edge.camera import open_source
from edge.detect.classifier import BUNDLED, Classifier

DISTINCT, IN_A_FOLDER = 200, 4  # five of one folder and size would count as one camera's


def make_stills(folder: Path, count: int, in_a_folder: int) -> None:
    """Fill ``folder`` with so many stills, in folders of so many each."""
    with open_source("demo", fps=10.0) as source:
        frames = [cv2.imencode(".jpg", cv2.resize(frame.image, (1280, 720)))[1].tobytes() for frame in source]
    firsts: list[Path] = []
    for number in range(count):
        file = folder / f"{number // in_a_folder:05}" / f"{number:05}.jpg"
        file.parent.mkdir(exist_ok=True)
        if number < DISTINCT:
            file.write_bytes(frames[number * len(frames) // DISTINCT])
            firsts.append(file)
        else:
            os.link(firsts[number % DISTINCT], file)


def bare(files: list[Path], side: int) -> None:
    """Read, resize and run; as short as it can be written."""
    import onnxruntime as ort

    cv2.setNumThreads(1)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(str(BUNDLED), options, providers=["CPUExecutionProvider"])

    def look(part: list[Path]) -> None:
        for file in part:
            image = np.asarray(cv2.imread(str(file)))
            height, width = (max(round(each * side / max(image.shape) / 32), 7) * 32 for each in image.shape[:2])
            frame = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            session.run(["windows", "heat", "ood"], {"crops": frame[None], "scan": np.array(True)})

    parts = [files[start :: cores()] for start in range(cores())]
    threads = [threading.Thread(target=look, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@dataclass
class Pass:
    """One pass of a program over stills."""

    stills: int
    wall_s: float
    cpu_s: float
    busy: float  # share of the time of its busiest threads, as many as there are cores
    rss_mb: dict[int, float]  # after so many lines

    @property
    def rate(self) -> float:
        """Stills a second, with whatever else ran on this machine."""
        return self.stills / self.wall_s

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of a core for each still."""
        return 1000 * self.cpu_s / self.stills

    @property
    def own_rate(self) -> float:
        """Stills a second, had all cores been its own."""
        return 1000 * cores() * self.busy / self.cpu_ms


def threads_of(pid: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the threads of a process and its children: seconds of a core, and of waiting for one, in ns."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            ran, waited, _ = map(int, (task / "schedstat").read_text().split())
            yield task.name, (ran, waited)
            for child in (task / "children").read_text().split():
                yield from threads_of(int(child))


def measure(words: list[str], stills: int, every: int) -> Pass:
    """Run a program to its end. Its RSS is noted after each ``every`` lines that it prints."""
    started, before = time.perf_counter(), os.times()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    first: dict[str, tuple[float, int]] = {}
    last: dict[str, tuple[float, int]] = {}
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.2):
            with suppress(OSError):
                for name, times in threads_of(process.pid):
                    first.setdefault(name, (time.perf_counter(), sum(times)))
                    last[name] = time.perf_counter(), sum(times)

    sampling = threading.Thread(target=sample, daemon=True)
    sampling.start()
    rss_mb = {}
    assert process.stdout is not None
    for number, _ in enumerate(process.stdout):
        if number and (number % every == 0 or number == stills):  # line 0 is the heading
            pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
            rss_mb[number] = int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6
    assert process.wait() == 0, words
    wall_s, after = time.perf_counter() - started, os.times()
    over.set()
    sampling.join()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    shares = sorted(
        ((ns - first[name][1]) / 1e9 / (at - first[name][0]), name)
        for name, (at, ns) in last.items()
        if at - first[name][0] > wall_s / 2
    )
    busiest = [share for share, _ in shares[-cores() :]]
    return Pass(stills, wall_s, cpu_s, sum(busiest) / len(busiest), rss_mb)


def main() -> None:
    """Print a table, in Markdown."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    asked.add_argument("--stills", type=int, default=10_000)
    asked.add_argument("--camera", action="store_true")
    asked.add_argument("--bare", nargs=3, help=argparse.SUPPRESS)
    given = asked.parse_args()
    rule = Classifier(BUNDLED).card.frame if not given.bare else None
    if given.bare:
        folder, part, side = given.bare
        bare(sorted(Path(folder).rglob("*.jpg"))[int(part) :: 2], int(side))
        return
    assert rule is not None
    (side,) = rule.sides
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "stills"
        folder.mkdir()
        make_stills(folder, given.stills, given.stills if given.camera else IN_A_FOLDER)
        script = [sys.executable, __file__, "--bare", str(folder)]
        half = given.stills // 2
        before = measure([*script, "0", str(side)], half, half)
        words = [sys.executable, "-m", "edge", "classify", str(folder), "--out", f"{place}/results.json"]
        whole = measure(words, given.stills, max(given.stills // 10, 1))
        after = measure([*script, "1", str(side)], half, half)
    loop = Pass(
        before.stills + after.stills,
        before.wall_s + after.wall_s,
        before.cpu_s + after.cpu_s,
        (before.busy + after.busy) / 2,
        {},
    )
    print(f"| {given.stills:,} stills, {cores()} cores | stills/s | ms of CPU a still | busy "
          "| stills/s, with the cores for itself |")  # fmt: skip
    print("|---|---|---|---|---|")
    for name, done in (("bare loop", loop), ("`classify`", whole)):
        print(f"| {name} | {done.rate:.1f} | {done.cpu_ms:.2f} | {done.busy:.0%} | {done.own_rate:.0f} |")
    print(f"| ratio | {whole.rate / loop.rate:.2f} | {loop.cpu_ms / whole.cpu_ms:.2f} | "
          f"| {whole.own_rate / loop.own_rate:.2f} |")  # fmt: skip
    print("\nMemory: " + "; ".join(f"{mb:.0f} MB after {number:,}" for number, mb in whole.rss_mb.items()) + ".")


if __name__ == "__main__":
    main()
