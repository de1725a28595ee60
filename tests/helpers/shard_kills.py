"""Shards of real pictures, a command that notes who looked at which, and an engine whose processes are killed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import psutil

from edge.batch.shards import Shards
from edge.camera import open_source
from edge.detect.classifier import load

ROOT = Path(__file__).parents[2]
COMMAND = f"""#!{sys.executable}
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from edge.batch.shards import Shards

run = Shards.run

def noted(self, number, *more, **words):
    ended = run(self, number, *more, **words)
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"{{number}} {{ended}}\\n")
    return ended

Shards.run = noted
sys.executable = __file__  # of the children of the engine of this machine, which are noted as well
if sys.argv[1:4] == ["-P", "-m", "edge"]:
    del sys.argv[1:4]
from edge.cli.main import main

main()
"""


class World:
    """A folder of pictures, its folder of shards, and ``bear-alarm`` on the path."""

    def __init__(self, folder: Path, shards: int, pictures: int) -> None:
        self.folder, self.shards, self.notes = folder / "pictures", folder / "shards", folder / "notes"
        with open_source("demo", fps=10.0) as source:
            frames = [cv2.imencode(".jpg", frame.image)[1].tobytes() for frame in source]
        for number in range(shards * pictures):
            file = self.folder / f"{number // pictures:03}" / f"{number:05}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(frames[number % len(frames)])
        self.files = {file.relative_to(self.folder).as_posix() for file in self.folder.rglob("*.jpg")}
        Shards.cut(self.shards, [self.folder], load(None).name, 1.0, workers=1, size=pictures)
        command = folder / "bin" / "bear-alarm"
        command.parent.mkdir()
        command.write_text(COMMAND)
        command.chmod(0o755)
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("BEAR_ALARM", "RAY", "DASK"))
        }
        self.environment = clean | {"PATH": f"{command.parent}:{os.environ['PATH']}", "NOTES": str(self.notes)}

    def start(self, words: Sequence[object]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(word) for word in words],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder.parent,
        )  # fmt: skip

    def run(self, words: Sequence[object]) -> subprocess.CompletedProcess[str]:
        process = self.start(words)
        said, _ = process.communicate(timeout=300)
        return subprocess.CompletedProcess(list(map(str, words)), process.returncode, said)

    def looked_at(self) -> Counter[str]:
        """Return how often each picture is in the results."""
        files = sorted(self.shards.glob("[0-9]*.json"))
        return Counter(image["file"] for file in files for image in json.loads(file.read_bytes())["images"])

    def twice(self) -> list[str]:
        """Return the shards that were looked at more than once to the end."""
        ended = Counter(self.notes.read_text().splitlines())
        return [line for line, count in ended.items() if line.endswith("done") and count > 1]


def kill_at_random(world: World, words: Sequence[object], kills: int, seed: int) -> int:
    """Run the engine, kill so many of its workers or their children, one after another, and at last the engine itself.

    Return how many were killed. A seed makes the choice, not the moment.
    """
    dice, killed = random.Random(seed), 0
    engine = world.start(words)
    everything = psutil.Process(engine.pid)
    while killed < kills and engine.poll() is None:
        time.sleep(dice.uniform(0.2, 1.0))
        if victims := list(_at_work(everything)):
            with suppress(psutil.NoSuchProcess):
                dice.choice(victims).kill()
                killed += 1
    if engine.poll() is None:
        engine.kill()
        killed += 1
    engine.communicate(timeout=60)
    return killed


def _at_work(engine: psutil.Process) -> Iterator[psutil.Process]:
    """Yield the processes that look at a shard, and those that started them, but the engine itself."""
    for process in engine.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "--shard" in process.cmdline():
                yield process
                parent = process.parent()
                if parent is not None and parent != engine:
                    yield parent
