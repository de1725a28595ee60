"""What keeping evidence costs: of a frame, of a clip, of a day on which nothing happens, and of a card full of events.

    python tests/proofs/prove_evidence.py

A frame's cost is the thread's own CPU time of the whole loop, and within it of what is kept; means, since of an idle
second only one frame is kept. A clip is made by a child of lower priority.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import cv2

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.events import EventPublisher
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.record.clip import ClipMaker
from edge.record.media_store import MediaStore, visit_folder
from edge.record.recorder import CameraRecorder, MediaWriter
from edge.schema import Event
from edge.watch import Watcher
from tests.helpers import stage

cv2.setNumThreads(1)
EVENTS = 10_000
# The clip maker as it is, which leaves behind how much memory it held.
ENCODE = """
import sys
from pathlib import Path
from edge.record.clip import main
code = main()
said = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
Path(sys.argv[1]).with_suffix(".kb").write_text(said)
sys.exit(code)
"""


def frame_costs(root: Path, fps: float) -> Event:
    """Two rows of the table: a frame while nothing moves, and while a bear is there. Gives the alarm."""
    spent: dict[bool, list[tuple[float, float]]] = defaultdict(list)
    writer = MediaWriter(root, reserve_mb=0.0, negatives_per_day=0.0)
    evidence = writer.camera(context=1.1)
    kept = [0]

    def look(*args: Any, **more: Any) -> None:
        started = time.thread_time_ns()
        CameraRecorder.look(evidence, *args, **more)
        kept[0] += time.thread_time_ns() - started

    evidence.look = look  # type: ignore[method-assign]
    told: list[Event] = []
    classifier = Classifier(BUNDLED)
    watcher = Watcher(classifier, Rule.from_card(classifier.card), EventPublisher([told.append], evidence=evidence))

    def timed() -> Any:
        for frame in stage.film(60.0, [stage.bear(40.0, 59.0)], fps=fps):
            if frame.time == 10.0:
                spent.clear()  # the first sweep and the warming up
            kept[0], started = 0, time.thread_time_ns()
            yield frame
            quiet = not watcher.tracker.tracks and frame.time < 40.0
            spent[quiet].append(((time.thread_time_ns() - started) / 1e6, kept[0] / 1e6))

    watcher(timed())
    writer.close(60.0)
    for quiet, words in ((True, "idle"), (False, "a bear is there")):
        whole, evidence_ms = (mean(column) for column in zip(*spent[quiet], strict=True))
        print(
            f"| {words}, {fps:g} frames a second | {whole - evidence_ms:.2f} | {evidence_ms:.3f} "
            f"| {100 * evidence_ms / (whole - evidence_ms):.0f} % |"
        )
    return told[0]


def clip_cost(folder: Path) -> None:
    """One row for each width: how large a clip is, and how long it takes to make."""
    from edge.record import clip
    from edge.record.clip import CompressedFrame, at_most, jpeg

    clip.PROGRAM = (sys.executable, "-c", ENCODE)
    film = list(stage.film(15.0, [stage.bear(3.0, 14.0)], fps=5.0))
    for width, quality in ((640, 78), (1280, 85)):
        shots = [CompressedFrame(frame.time, jpeg(at_most(frame.image, width), quality)) for frame in film]
        path, started = folder / f"clip{width}.mp4", time.perf_counter()
        ClipMaker()(shots, path)
        took_s = time.perf_counter() - started
        most_mb = int(path.with_suffix(".kb").read_text()) / 1024
        print(
            f"| {width} wide, 15 s, {len(shots)} frames | {sum(shot.bytes for shot in shots) / 1e6:.1f} "
            f"| {path.stat().st_size / 1e3:.0f} | {took_s:.2f} | {took_s / 15:.2f} | {most_mb:.0f} |"
        )


def idle_day(root: Path) -> None:
    """What a day without a bear writes: the random negatives."""
    writer = MediaWriter(root, reserve_mb=0.0)
    one = next(iter(stage.film(0.2)))
    evidence = writer.camera()
    data = dict(evidence._negatives._job(one, watch_scores()).files)
    size = sum(len(make()) for make in data.values())
    writer.close(10.0)
    print(
        f"\nA day without a bear writes {writer.negatives_per_day:g} frames on average, {size / 1e3:.0f} kB each here."
    )


def watch_scores() -> Any:
    """One score, as the sweep gives it."""
    from edge.schema import WHOLE, Region, Score

    return [Score(Region(WHOLE, "scan"), (0.1, 0.9), 0.1, "brown_bear", 0.0)]


def full_card(root: Path) -> None:
    """How long a folder of so many events is looked through, and what one more then takes."""
    for number in range(EVENTS):
        folder = visit_folder(root, "yard", stage.WALL.replace(day=1 + number % 28), f"{number:08x}")
        folder.mkdir(parents=True)
        for name in ("alarm.jpg", "crop.jpg", "clip.mp4", "event.json"):
            (folder / name).write_bytes(b"x" * 100)
    store = MediaStore(root, quota_bytes=EVENTS * 400, reserve_bytes=0)
    started = time.perf_counter()
    store.scan()
    scanned_s, started = time.perf_counter() - started, time.perf_counter()
    last = visit_folder(root, "yard", stage.WALL.replace(day=29), "ffffffff")
    for name in ("alarm.jpg", "crop.jpg", "clip.mp4", "event.json"):
        store.write(last, last / name, b"x" * 100)
    wrote_s = time.perf_counter() - started
    print(
        f"A folder of {EVENTS} events is looked through in {scanned_s:.2f} s; one more event, which throws the oldest "
        f"away, then takes {wrote_s * 1000:.0f} ms."
    )


def main() -> None:
    """Print tables, in Markdown."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        print("| a 1280x720 frame, reading it not counted | ms of one core without | evidence, ms | more |")
        print("|---|---|---|---|")
        for fps in (5.0, 10.0):
            told = frame_costs(folder / f"{fps:g}", fps)
        alarm = Path(told.evidence or "").parent
        sizes = {path.name: path.stat().st_size for path in sorted(alarm.iterdir())}
        print(f"\nOne event of 35 s of footage, bytes: {json.dumps(sizes)}\n")
        print("| a clip | frames in memory, MB | kB | s to make | of its length | peak memory of the child, MB |")
        print("|---|---|---|---|---|---|")
        clip_cost(folder)
        idle_day(folder / "idle")
        full_card(folder / "card")


if __name__ == "__main__":
    main()
