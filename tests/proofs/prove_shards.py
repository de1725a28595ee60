"""Measure shards: two workers over one, a process's cost and memory, simulated nodes, kills, a million on paper.

    python tests/proofs/prove_shards.py [--pictures 2000] [--size 250] [--kills 12]

The pictures are frames of the demo, 1280 pixels wide, as hard links in folders of 50, each one camera's. One worker and
two take turns, each with ``bear-alarm classify --shards``. Busy: the CPU time that the processes of the shards used,
of that of all cores meanwhile. Only on Linux, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.background import cores
from edge.batch.local import run_shards
from edge.batch.shards import Shards
from edge.detect.classifier import load
from tests.helpers.shard_kills import World, kill_at_random
from tests.proofs.prove_classify import make_stills

CHILD = Path(__file__).parents[1] / "helpers" / "shard_child.py"
COMMAND = [sys.executable, "-m", "edge", "classify"]
IN_A_FOLDER = 50
ROUNDS = 3
TWO_OVER_ONE, LINEAR = 1.6, 0.8  # asked, at least
NODES, NODE_SHARDS, PICTURE_S, NODE_PICTURES = 8, 6, 0.1, 40
LARGE = 10, 60  # pictures of 4000 × 2250 pixels
MILLION = 1_000_000
# Assumptions: watts at work, and a crop's time on a core of a board (docs/boards.md).
BOARDS = {"Raspberry Pi 4": (85.0, 2.5, 6.0), "Raspberry Pi 5": (16.0, 3.0, 9.0)}  # ms a crop, cores' worth, watts
PC_CORES, PC_W = 8, 100.0
KWH, CORE_HOUR = 0.30, 0.04  # € a kilowatt hour, € an hour of a rented core


@dataclass
class Usage:
    """CPU time, memory and duration of the processes of a run."""

    wall_s: float = 0.0
    ran_s: float = 0.0  # CPU of all of them
    engine_s: float = 0.0  # CPU of the engine alone
    rss_mb: list[float] = field(default_factory=list)  # the most of each child, in the order of their starts
    driver_mb: list[float] = field(default_factory=list)

    @property
    def busy(self) -> float:
        """Return the share of all cores' time that the children used."""
        return (self.ran_s - self.engine_s) / self.wall_s / cores()


def children_s() -> float:
    """Return the seconds of CPU that the processes used which this one has waited for, and those that they had."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(words: list[str]) -> Usage:
    """Run a command to its end, and sum up what it and its children took."""
    usage, most = Usage(), dict[int, float]()
    started, before_s = time.perf_counter(), children_s()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    over = threading.Event()

    def sample() -> None:
        driver = psutil.Process(process.pid)
        while not over.wait(0.1):
            with suppress(OSError, psutil.Error):
                usage.driver_mb += filter(None, [driver.memory_info().rss / 1e6])  # 0 once it has ended
                usage.engine_s = sum(driver.cpu_times()[:2])
                for each in driver.children():
                    most[each.pid] = max(most.get(each.pid, 0.0), each.memory_info().rss / 1e6)

    sampling = threading.Thread(target=sample, daemon=True)
    sampling.start()
    _, said = process.communicate()
    usage.wall_s = time.perf_counter() - started
    over.set()
    sampling.join()
    assert process.returncode == 0, said
    usage.ran_s = children_s() - before_s
    usage.rss_mb = list(most.values())
    return usage


def cut(pictures: Path, folder: Path, size: int) -> Path:
    """Cut the folder of pictures into shards; return their folder."""
    Shards.cut(folder, [pictures], load(None).name, 1.0, workers=cores(), size=size)
    return folder


def looked_at(pictures: Path, folder: Path, size: int, workers: int) -> Usage:
    """Look at all pictures with so many workers."""
    return measure([*COMMAND, "--shards", str(cut(pictures, folder, size)), "--workers", str(workers)])


def two_over_one(place: Path, pictures: int, size: int) -> tuple[float, float]:
    """Print how much faster two workers are; return that, and the seconds of CPU that a picture takes."""
    make_stills(place / "pictures", pictures, IN_A_FOLDER)
    runs: dict[int, list[Usage]] = {1: [], cores(): []}
    for turn in range(ROUNDS):
        for workers, usages in runs.items():
            usages.append(looked_at(place / "pictures", place / f"{turn}-{workers}", size, workers))
    print(f"| {pictures:,} pictures in shards of {size}, {cores()} cores, {ROUNDS} turns | pictures/s "
          "| CPU ms a picture | cores busy |")  # fmt: skip
    print("|---|---|---|---|")
    rates = {}
    for workers, usages in runs.items():
        rates[workers] = statistics.median(pictures / each.wall_s for each in usages)
        cpu_ms = statistics.median(1000 * each.ran_s / pictures for each in usages)
        busy = statistics.median(each.busy for each in usages)
        print(f"| {workers} worker(s) | {rates[workers]:.1f} | {cpu_ms:.1f} | {busy:.0%} |")
    most = cores()
    print(f"| ratio (asked: {TWO_OVER_ONE}) | {rates[most] / rates[1]:.2f} | | |\n")
    children = [each for usage in runs[most] for each in usage.rss_mb]
    usage = runs[most][-1]
    print(f"Memory: a shard's process takes {statistics.median(children):.0f} MB at most (all: {min(children):.0f} to "
          f"{max(children):.0f}); the engine {usage.driver_mb[len(usage.driver_mb) // 2]:.0f} MB in the middle of its "
          f"run, {usage.driver_mb[-1]:.0f} at the end.\n")  # fmt: skip
    return rates[most] / rates[1], statistics.median(each.ran_s for each in runs[most]) / pictures


def cost_of_a_process(place: Path) -> None:
    """Print what a shard's process takes before its first picture, beside a shard of 2,000."""
    single = place / "single" / "0001"
    single.mkdir(parents=True)
    os.link(next((place / "pictures").rglob("*.jpg")), single / "1.jpg")
    alone = []
    for turn in range(ROUNDS):
        shards = cut(single.parent, place / f"single-{turn}", 10)
        alone.append(measure([*COMMAND, "--shards", str(shards), "--shard", "1", "--workers", "1"]))
    many = place / "many"
    make_stills(many, 2000, IN_A_FOLDER)
    whole = measure([*COMMAND, "--shards", str(cut(many, place / "whole", 2000)), "--shard", "1", "--workers", "1"])
    start_s = statistics.median(each.ran_s for each in alone)
    print(f"A process for each shard: start, model and one picture take {start_s:.2f} s of CPU, a shard of 2,000 "
          f"{whole.ran_s:.1f} s: {start_s / whole.ran_s:.1%} for starting.\n")  # fmt: skip


def simulated_nodes(place: Path) -> float:
    """Print and return how near to linear so many nodes are, with a sleep in place of inference: scheduling alone."""

    def run(folder: Path, nodes: int, shards: int) -> float:
        folder.mkdir()
        started = time.perf_counter()
        outcome = run_shards(
            lambda number: [sys.executable, str(CHILD), str(folder), str(number), str(NODE_PICTURES), str(PICTURE_S)],
            range(1, shards + 1),
            workers=nodes,
            done=lambda number: (folder / f"{number}.done").exists(),
            free=lambda number: True,
            pictures=lambda number: NODE_PICTURES,
            progress=lambda count: None,
        )
        assert not outcome.failed
        assert not outcome.refused
        return shards / (time.perf_counter() - started)

    one = run(place / "nodes-1", 1, NODE_SHARDS)
    eight = run(place / f"nodes-{NODES}", NODES, NODES * NODE_SHARDS)
    linear = eight / one / NODES
    print(f"{NODES} simulated nodes on {cores()} cores, a sleep of {PICTURE_S:g} s in place of each picture: "
          f"{eight / one:.2f} × one, {linear:.2f} of linear (asked: {LINEAR}). Scheduling only.\n")  # fmt: skip
    return linear


def kills(place: Path, count: int) -> tuple[int, int]:
    """Print and return how many pictures are lost and how many there twice, after kills of workers and engine."""
    world = World(place / "world", 24, 25)
    words: list[object] = ["bear-alarm", "classify", world.folder, "--shards", world.shards]
    killed = engines = 0
    while killed < count:
        killed += kill_at_random(world, words, 3, seed=killed)
        engines += 1
    ran = world.run(words)
    found = world.looked_at()
    lost, twice = len(world.files - found.keys()), sum(times > 1 for times in found.values())
    print(f"Kills: {killed} processes, {engines} of them the engine; then the same command ended with "
          f"{ran.returncode}. Of {len(world.files)} pictures {lost} lost, "
          f"{twice} twice; {len(world.twice())} shards were looked at "
          "to the end twice.\n")  # fmt: skip
    return lost, twice


def of_large_pictures(place: Path) -> float:
    """Return the seconds of CPU that a picture of 4000 × 2250 pixels takes, its share of a process's start aside."""
    small = iter(sorted((place / "pictures").rglob("*.jpg")))
    used = []
    for count in LARGE:
        folder = place / f"large-{count}"
        folder.mkdir()
        for number in range(count):
            image = cv2.resize(np.asarray(cv2.imread(str(next(small)))), (4000, 2250), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / f"{number:03}.jpg"), image)
        shards = cut(folder, place / f"large-shards-{count}", 1000)
        used.append(measure([*COMMAND, "--shards", str(shards), "--shard", "1", "--workers", "1"]).ran_s)
    return (used[1] - used[0]) / (LARGE[1] - LARGE[0])


def crop_ms() -> float:
    """Return the milliseconds of CPU that a crop takes here."""
    classifier = load(None)
    crops = np.random.default_rng(1).integers(0, 256, (200, classifier.size, classifier.size, 3), np.uint8)
    classifier(crops[:1])
    started_s = time.process_time()
    classifier(crops)
    return 1000 * (time.process_time() - started_s) / len(crops)


def on_paper(small_s: float, large_s: float) -> None:
    """Print hours and cost of a million pictures, from the measured seconds of CPU a picture."""
    here_ms = crop_ms()
    machines = [("these cores", float(cores()), cores() * CORE_HOUR, "rent")]
    for name, (board_ms, worth, watts) in BOARDS.items():
        machines.append((f"one {name}", worth * here_ms / board_ms, watts / 1000 * KWH, "electricity"))
    for count, name in ((1, "one PC"), (10, "ten PCs")):
        machines.append((name, float(count * PC_CORES), count * PC_W / 1000 * KWH, "electricity"))
    print("| a million pictures | hours, 1280 × 720 | hours, 4000 × 2250 | cost |")
    print("|---|---|---|---|")
    for name, worth, hourly, what in machines:
        small_h, large_h = (MILLION * each / worth / 3600 for each in (small_s, large_s))
        print(
            f"| {name} | {small_h:,.1f} | {large_h:,.1f} | {hourly * small_h:.2f} to {hourly * large_h:.2f} € {what} |"
        )
    print(f"\nMeasured: {1000 * small_s:.0f} and {1000 * large_s:.0f} ms of one core a picture, so the first row; "
          f"{here_ms:.1f} ms a crop. "
          f"Assumed: a PC has {PC_CORES} cores as fast as these, all of them busy, and takes {PC_W:g} W; "
          + ", ".join(f"a {name} {watts:g} W" for name, (_, _, watts) in BOARDS.items())
          + f"; {KWH:.2f} € a kWh, {CORE_HOUR:.2f} € an hour of a rented core; boards are slower by as much as for a "
          "crop (docs/boards.md, on paper: may be wrong by a factor of two).")  # fmt: skip


def main() -> None:
    """Print the figures, in Markdown; exit with 1 and say what falls short."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    asked.add_argument("--pictures", type=int, default=2000)
    asked.add_argument("--size", type=int, default=250)
    asked.add_argument("--kills", type=int, default=12)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for folder in ("pictures", "many", "world"):
            (place / folder).mkdir()
        ratio, small_s = two_over_one(place, given.pictures, given.size)
        cost_of_a_process(place)
        linear = simulated_nodes(place)
        lost, twice = kills(place, given.kills)
        on_paper(small_s, of_large_pictures(place))
    falls_short = {
        f"two workers are {ratio:.2f} × one, below {TWO_OVER_ONE}": ratio < TWO_OVER_ONE,
        f"the nodes are {linear:.2f} of linear, below {LINEAR}": linear < LINEAR,
        f"{lost} pictures are lost": lost > 0,
        f"{twice} pictures are there twice": twice > 0,
    }
    if short := "; ".join(words for words, true in falls_short.items() if true):
        sys.exit(f"Falls short: {short}.")


if __name__ == "__main__":
    main()
