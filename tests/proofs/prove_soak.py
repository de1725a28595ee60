"""A week of frames through the whole alarm, as fast as it goes: does it grow?

    python tests/proofs/prove_soak.py                  # a week at 2 frames a second: 1,209,600 frames
    python tests/proofs/prove_soak.py --frames 50000

The camera is in memory (640x360, its own clock), the classifier a stub that knows red; all else is real: motion, sweep,
tracks, decision, lens check, trace, evidence within a small quota, clips, a command, JSONL, the journal, an outbox with
one channel that answers and one that never does. After the warm-up neither memory, handles nor threads may grow.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.alerting import JsonLines
from edge.alert.delivery import Deliverer, close_all
from edge.alert.events import EventPublisher
from edge.alert.local_sinks import Command
from edge.background import Worker, in_background
from edge.decide.evidence import Rule
from edge.detect.camera_check import CameraCheck
from edge.detect.frame_rate import CropBudget, FrameRateControl
from edge.record import trace as trace_module
from edge.record.journal import Journal
from edge.record.outbox import Message
from edge.record.recorder import MediaWriter
from edge.record.run import EventFactory
from edge.record.trace import Trace
from edge.schema import Event, Frame, Picture, Region, Score
from edge.watch import Watcher

FPS = 2.0
WEEK = int(7 * 86_400 * FPS)
WARM = 40_000  # frames: the longest memory of a camera's speed is 36,000
BEGAN = datetime(2026, 5, 4, tzinfo=UTC)
BEAR_EVERY_S, BEAR_STAYS_S = 1800.0, 10.0
FOX_EVERY_S, FOX_STAYS_S = 240.0, 6.0
BLACK_EVERY_S, BLACK_LASTS_S = 6 * 3600.0, 30.0
LIGHT_EVERY_S = 3600.0  # a jump, as when the sun comes out
SETTLE_S = 20.0  # what was started may take: a clip is made by a program of its own
MAX_GROWTH_MB = 5.0


@dataclass(frozen=True)
class Reading:
    """What this process holds at one moment."""

    frames: int
    rss_mb: float
    handles: int
    threads: int


class Meadow:
    """A live camera in memory: a clearing with noise, red bears, grey foxes, dark spells and jumps of light."""

    def __init__(self, frames: int, bear_every_s: float, each: Callable[[int], None]) -> None:
        self.frames = frames
        self.bear_every_s = bear_every_s
        self._each = each  # called after so many frames were worked on
        rng = np.random.default_rng(1)
        noise = cv2.GaussianBlur(rng.integers(0, 255, (360, 640), np.uint8), (0, 0), 4).astype(np.float32)
        still = np.clip((noise - noise.mean()) / np.ptp(noise) * 120, -60, 60)[..., None] + (40, 120, 40)
        grain = (rng.normal(0, 2, still.shape) for _ in range(8))
        self._pictures = [np.clip(still + each, 0, 255).astype(np.uint8) for each in grain]
        self._bright = [np.asarray(cv2.convertScaleAbs(each, alpha=1.25, beta=10), np.uint8) for each in self._pictures]

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.frames):
            at = index / FPS
            moment = 1000.0 + at
            yield Frame(self._picture(index, at), moment, BEGAN + timedelta(seconds=at), "soak", index, moment)
            self._each(index + 1)

    def _picture(self, index: int, at: float) -> Picture:
        if at % BLACK_EVERY_S > BLACK_EVERY_S - BLACK_LASTS_S:
            return np.full((360, 640, 3), index % 3, np.uint8)
        light = self._bright if int(at / LIGHT_EVERY_S) % 2 else self._pictures
        picture = light[index % len(light)].copy()
        for every_s, stays_s, colour, turn in (
            (self.bear_every_s, BEAR_STAYS_S, (20, 20, 230), 0.3),
            (FOX_EVERY_S, FOX_STAYS_S, (90, 90, 90), 0.7),
        ):
            since = at % every_s - every_s / 2
            if 0 <= since < stays_s:
                x = 60 + round(since * 30)
                y = 60 + round(180 * (at // every_s * turn % 1.0))
                cv2.rectangle(picture, (x, y), (x + 80, y + 50), colour, -1)
        return picture


class Red:
    """A crop is a bear as far as it is red; it costs next to nothing, for the model is not what is measured here."""

    def score(self, image: Picture, regions: Sequence[Region]) -> list[Score]:
        """One score a region."""
        height, width = image.shape[:2]
        scores = []
        for region in regions:
            x, y, w, h = region.box_xywh
            part = image[
                int(y * height) : math.ceil((y + h) * height) : 4, int(x * width) : math.ceil((x + w) * width) : 4
            ]
            _, green, red = part.reshape(-1, 3).mean(0)
            bear = float(np.clip((red - green) / 150, 0.01, 0.99))
            scores.append(Score(region, (bear, 1.0 - bear), bear, "brown_bear", 0.0))
        return scores


class Place:
    """A channel that answers, or one that never does."""

    pictures, people = True, False

    def __init__(self, key: str, answers: bool) -> None:
        self.key, self.answers, self.sent = key, answers, 0

    def wants(self, event: Event) -> bool:
        """Everything."""
        return True

    def send(self, message: Message) -> None:
        """Take it, or be away."""
        if not self.answers:
            raise ConnectionRefusedError("nobody listens")
        self.sent += len(message.events)

    @property
    def problem(self) -> None:
        """It finds out when something is sent."""

    def listen(self, call: object) -> None:
        """It never says that it is back."""

    def close(self) -> None:
        """Nothing is held."""


def reading(frames: int, wanted: Reading | None) -> Reading:
    """Return the count at rest: wait for what was started to end, while there is more than ``wanted``."""
    until = time.monotonic() + SETTLE_S
    while True:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        now = Reading(
            frames,
            pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1,  # less the one that lists them
            threading.active_count(),
        )
        at_rest = wanted is None or (now.handles <= wanted.handles and now.threads <= wanted.threads)
        if (at_rest and not children()) or time.monotonic() > until:
            return now
        time.sleep(0.05)


def children() -> bool:
    """Return whether a program that was started has not ended; False where this kernel does not say."""
    found = False
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that ended meanwhile
            found |= bool(path.read_text().strip())
    return found


def soak(
    folder: Path,
    frames: int,
    warm: int,
    checks: int,
    *,
    bear_every_s: float = BEAR_EVERY_S,
    say: Callable[[Reading], None] = lambda _: None,
) -> list[Reading]:
    """Readings after the warm-up and then so many more, evenly spread; the last one after all frames."""
    run = EventFactory()
    here, away = Place("here", answers=True), Place("away", answers=False)
    journal = Journal(folder, [here, away], run=run)
    deliverers = [Deliverer(channel, journal) for channel in (here, away)]
    writer = MediaWriter(folder / "evidence", quota_mb=3.0, reserve_mb=1.0)
    vars(trace_module)["FILE_BYTES"] = 2_000_000
    trace = Trace(folder / "trace.jsonl")
    lines = JsonLines(str(folder / "events.jsonl"))
    sinks: list[Worker[Event]] = [
        in_background(Command("cat > /dev/null"), "command"),
        in_background(journal, "journal"),
        in_background(lines, "jsonl"),
    ]
    readings: list[Reading] = []
    due = [warm + round((frames - warm) * part / checks) for part in range(checks + 1)]

    def each(done: int) -> None:
        if done % int(600 * FPS) == 0:
            journal.beat()
        if done in due:
            readings.append(reading(done, readings[0] if readings else None))
            say(readings[-1])

    rule = Rule(threshold=0.5, still_threshold=0.6)
    watcher = Watcher(
        Red(),
        rule,
        EventPublisher(sinks, model="red@1", evidence=writer.camera(), run=run),
        pace=FrameRateControl(FPS / 2, FPS, lambda _: None),
        budget=CropBudget(0.25),
        camera_check=CameraCheck(),
        trace=trace,
    )
    watcher(Meadow(frames, bear_every_s, each))
    for sink in sinks:
        sink.close(30.0)
    lines.close()
    writer.close(30.0)
    trace.close(30.0)
    close_all(deliverers, 5.0)
    journal.close()
    told = watcher.publisher.counts
    # Else it was a quiet week, and proves little.
    assert told["new"] >= frames / FPS / bear_every_s * 0.9, told
    assert here.sent > told["new"], here.sent
    return readings


def main() -> None:
    """Print a table, in Markdown."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    asked.add_argument("--frames", type=int, default=WEEK)
    asked.add_argument("--warm", type=int, default=WARM)
    given = asked.parse_args()
    logging.getLogger("edge").setLevel(logging.ERROR)
    print("| frames | hours of footage | RSS, MB | handles | threads |")
    print("|---|---|---|---|---|")
    started = time.monotonic()

    def say(now: Reading) -> None:
        hours = now.frames / FPS / 3600
        print(f"| {now.frames:,} | {hours:.1f} | {now.rss_mb:.1f} | {now.handles} | {now.threads} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        readings = soak(Path(folder), given.frames, given.warm, 12, say=say)
    first, last = readings[0], readings[-1]
    grown_mb = last.rss_mb - first.rss_mb
    print(f"\nIn {time.monotonic() - started:.0f} s; RSS grew by {grown_mb:.1f} MB after the warm-up.")
    if grown_mb > MAX_GROWTH_MB or last.handles > first.handles or last.threads > first.threads:
        sys.exit(f"it grew: {first} to {last}")


if __name__ == "__main__":
    main()
