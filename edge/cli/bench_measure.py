"""Measure what the alarm costs here: the steps take turns, because boards slow down in heat.

python -m edge.cli.bench_measure MODEL [float]      the peak memory of a process that does each step once, MB
"""

from __future__ import annotations

import itertools
import logging
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import numpy as np
from numpy.typing import NDArray

from edge.camera import open_source
from edge.detect.classifier import Classifier
from edge.detect.crops import cut_all
from edge.detect.frame_rate import SCAN_EVERY_S, SCAN_SHARE, CropBudget
from edge.detect.frame_scan import FrameScanner
from edge.detect.motion import MotionFinder
from edge.device.sensors import about, peak_memory_mb, temperature_c
from edge.record.recorder import ACTIVE_S, IDLE_S, compressed
from edge.schema import Frame
from edge.settings import CameraSettings

log = logging.getLogger(__name__)

MANY = 12  # crops a frame is given at most
ACROSS, DOWN = 4, 3  # of them over a frame
MIN_ROUNDS = 5
FPS = CameraSettings.fps
STILL = 3  # of the demo's first frames: further on the grass sways in them
MIN_CROPS = 3  # crops a frame is given in any case (edge.detect.frame_rate)
USABLE = 0.7  # of all cores: the rest is for the system, writing and sending
CHILD_S = 300.0
FLOAT = "float"


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one step, milliseconds of wall-clock time."""

    median_ms: float
    low_ms: float  # a tenth was faster
    high_ms: float  # a tenth was slower
    slowed: float  # the last third took so many times what the first third did

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Cost:
        """Return the cost of three measurements or more, in the order in which they were made."""
        tenths = quantiles(seconds, n=10, method="inclusive")
        third = len(seconds) // 3
        middle, low, high = (round(each * 1000.0, 3) for each in (median(seconds), tenths[0], tenths[-1]))
        return cls(middle, low, high, round(median(seconds[-third:]) / median(seconds[:third]), 2))


@dataclass(frozen=True, slots=True)
class Way:
    """One way of scoring crops."""

    model: str  # name and short digest
    precision: str  # "int8", "fp32"; "float": an int8 file that is run so
    threads: int
    crops: int  # scored together
    cost: Cost  # of all of them

    @property
    def crop_ms(self) -> float:
        """Return the milliseconds that one crop takes."""
        return self.cost.median_ms / self.crops


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that was measured, and on what."""

    machine: str
    cores: int
    dot_products: bool | None  # whether the processor has what makes int8 fast
    ways: tuple[Way, ...]  # the first is how the alarm runs
    read: Cost  # a 1280x720 frame of H.264
    motion: Cost  # looking for motion in it where nothing moves
    jpeg: Cost  # compressing it for evidence
    scan: Cost  # looking at it as a whole, as the alarm runs
    memory_mb: dict[str, float | None]  # peak of the whole process, by precision, of the first model; 10^6 bytes
    before_c: float | None
    after_c: float | None
    rounds: int
    seconds: float

    def crops_within(self, seconds: float) -> int:
        """Return how many crops of a frame can be scored within so many seconds, as the alarm counts them."""
        budget = CropBudget(seconds)
        budget.note(1, self.ways[0].crop_ms / 1000.0)
        return budget.crops

    def cameras(self, crops_each: int = 0) -> float:
        """Return how many 1280x720 streams of so many frames a second this machine can watch, on most of its cores.

        ``crops_each``: scored in every frame, because something moves in it; 0: nothing does. The whole frame is looked
        at as often as ``edge.detect.frame_rate.ScanTimer`` has it.
        """
        frame_ms = FPS * (self.read.median_ms + self.motion.median_ms)
        kept = 1.0 / (ACTIVE_S if crops_each else IDLE_S)
        scan_ms = min(self.scan.median_ms / SCAN_EVERY_S, 1000.0 * SCAN_SHARE)
        busy_ms = frame_ms + FPS * crops_each * self.ways[0].crop_ms + scan_ms + kept * self.jpeg.median_ms
        return USABLE * self.cores * 1000.0 / busy_ms

    @property
    def slowed(self) -> float:
        """Return how many times as long the alarm's own way took at the end as at the beginning."""
        return self.ways[0].cost.slowed


class Steps:
    """Steps on a frame of the demo, without scoring it; each call takes the next frame."""

    def __init__(self) -> None:
        self._source = open_source("demo", fps=FPS)
        self._frames = iter(self._source)
        self._still = list(itertools.islice(self._frames, 1, 1 + STILL))
        # To and fro: from the last to the first it would jump.
        self._again = itertools.cycle([*self._still, *self._still[-2:0:-1]])
        self._finder = MotionFinder()
        self._numbers = itertools.count()

    def close(self) -> None:
        """Close the clip."""
        self._source.close()

    def crops(self, size: int, count: int) -> NDArray[np.uint8]:
        """Return so many crops of one frame: uint8 (count, size, size, 3)."""
        grid = [(x / ACROSS, y / DOWN, 1 / ACROSS, 1 / DOWN) for y in range(DOWN) for x in range(ACROSS)]
        return cut_all(self._still[0].image, itertools.islice(itertools.cycle(grid), count), size)

    def scan(self, scanner: FrameScanner) -> int:
        """Look at a frame as a whole: how many bears were found."""
        return len(scanner(self._still[0].image))

    def read(self) -> Frame:
        """Return the next frame of the clip, from its beginning again after its end."""
        try:
            return next(self._frames)
        except StopIteration:
            self._source.close()
            self._source = open_source("demo", fps=FPS)
            self._frames = iter(self._source)
            return next(self._frames)

    def motion(self) -> int:
        """Look for motion where nothing moves: how many regions were found."""
        return len(self._finder(replace(next(self._again), time=next(self._numbers) / FPS)).regions)

    def jpeg(self) -> int:
        """Compress a frame as evidence wants it: its bytes."""
        return len(compressed(self._still[0]))


def measure(models: Sequence[Path], seconds: float) -> Bench:
    """Measure for so many seconds, five rounds at least; ``models``: the alarm's own, then some to compare it with.

    Raises ModelError, SourceError.
    """
    from edge.cli.output import track

    machine, before_c = about(Path("/")), temperature_c()
    memory = {name: peak_mb(models[0], in_float) for name, in_float in precisions(models[0])}
    with closing(Steps()) as steps:
        ways: list[tuple[str, str, int, int]] = []
        scanner = FrameScanner(Classifier(models[0]))
        works: list[Callable[[], object]] = [steps.read, steps.motion, steps.jpeg, partial(steps.scan, scanner)]
        for path in models:
            for (name, in_float), threads in itertools.product(precisions(path), sorted({1, machine.cores})):
                classifier = Classifier(path, threads=threads, in_float=in_float)
                for count in (1, MANY):
                    ways.append((classifier.name, name, threads, count))
                    works.append(partial(classifier, steps.crops(classifier.size, count)))
        started = time.monotonic()
        took = by_turns(works, track(rounds(seconds), "measuring, rounds"))
    read, motion, jpeg, scan, *scored = map(Cost.of, took)
    return Bench(
        machine.board or machine.system or machine.machine,
        machine.cores,
        machine.dot_products,
        tuple(Way(*way, cost) for way, cost in zip(ways, scored, strict=True)),
        read,
        motion,
        jpeg,
        scan,
        memory,
        before_c,
        temperature_c(),
        len(took[0]),
        round(time.monotonic() - started, 1),
    )


def precisions(path: Path) -> list[tuple[str, bool]]:
    """Return how this machine can run a model file, the alarm's own way first: a name, and whether that is in float."""
    classifier = Classifier(path)
    if classifier.fallback:
        return [(FLOAT, True)]
    own = classifier.card.precision
    return [(own, False), (FLOAT, True)] if own == "int8" else [(own, False)]


def by_turns(works: Sequence[Callable[[], object]], rounds: Iterable[int]) -> list[list[float]]:
    """Return the seconds each piece of work took, in another order each round; the first round is dropped."""
    took: list[list[float]] = [[] for _ in works]
    order = list(range(len(works)))
    for number in rounds:
        random.shuffle(order)
        for index in order:
            started = time.perf_counter()
            works[index]()
            if number:
                took[index].append(time.perf_counter() - started)
    return took


def rounds(seconds: float) -> Iterator[int]:
    """Yield 0, 1, 2 … until so many seconds have passed and there were five after the first."""
    until = time.monotonic() + seconds
    for number in itertools.count():
        if number > MIN_ROUNDS and time.monotonic() >= until:
            return
        yield number


def peak_mb(path: Path, in_float: bool) -> float | None:
    """Return the most memory that a process of its own takes to look at a frame and score a full set of crops."""
    command = [sys.executable, "-m", "edge.cli.bench_measure", str(path.absolute()), *([FLOAT] if in_float else [])]
    home = Path(__file__).parents[2]
    try:
        ran = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True, timeout=CHILD_S)
        return float(ran.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.debug("peak memory: %s", error)
        return None


def main() -> None:
    """Do each step once and write the peak memory, MB."""
    path, *words = sys.argv[1:]
    classifier = Classifier(path, in_float=FLOAT in words)
    with closing(Steps()) as steps:
        steps.motion()
        steps.jpeg()
        steps.scan(FrameScanner(classifier))
        classifier(steps.crops(classifier.size, MANY))
    peak = peak_memory_mb()
    sys.stdout.write("unknown\n" if peak is None else f"{peak:.1f}\n")


if __name__ == "__main__":
    main()
