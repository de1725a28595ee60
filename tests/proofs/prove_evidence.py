"""What keeping evidence costs: of a frame, of a clip, of a day on which nothing happens, and of a card full of events.

    python tests/proofs/prove_evidence.py

A frame's cost is the thread's own CPU time of the whole loop, and within it of what is kept; means, since of an idle
second only one frame is kept. A camera gives pictures alone, JPEGs (MJPEG), or video (H.264), whose packets are put in
their buffer within the time. A clip is made by a child of lower priority; its processor time is all of its life's.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import cv2

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.events import EventPublisher
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.zones import Polygon
from edge.record import clip
from edge.record.clip import ClipMaker, at_most, jpeg
from edge.record.media_store import MediaStore, visit_folder
from edge.record.recorder import CameraRecorder, MediaWriter
from edge.schema import Event, Frame, Packet, VideoBuffer
from edge.watch import Watcher
from tests.helpers import stage
from tests.helpers.h264 import filmed

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


def film(camera: str, seconds: float, animals: list[Any], fps: float) -> Iterator[tuple[Frame, list[Packet]]]:
    """Yield the frames of a camera of a kind, each with the packets that have come since the last."""
    video = VideoBuffer() if camera == "H.264" else None
    if video is not None:
        found = stage.film(seconds, animals, fps=fps)
        packets = filmed((frame.image for frame in found), fps=fps, group=round(2 * fps))
    for frame in stage.film(seconds, animals, fps=fps):
        if video is not None:
            come = [
                packet for packet in packets if frame.time - 0.5 / fps <= packet.decode_time < frame.time + 0.5 / fps
            ]
            yield replace(frame, video=video), come
        elif camera == "MJPEG":
            yield replace(frame, jpeg=jpeg(frame.image, 85)), []
        else:
            yield frame, []


def frame_costs(root: Path, camera: str, fps: float = 10.0) -> Event:
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
        for frame, packets in film(camera, 30.0, [stage.bear(16.0, 29.0)], fps):
            if frame.time == 6.0:
                spent.clear()  # the first sweep and the warming up
            kept[0], started = 0, time.thread_time_ns()
            for packet in packets:
                assert frame.video
                frame.video.add(packet)
            kept[0] = time.thread_time_ns() - started
            yield frame
            quiet = not watcher.tracker.tracks and frame.time < 16.0
            spent[quiet].append(((time.thread_time_ns() - started) / 1e6, kept[0] / 1e6))

    watcher(timed())
    writer.close(600.0)
    for quiet, words in ((True, "idle"), (False, "a bear is there")):
        whole, evidence_ms = (mean(column) for column in zip(*spent[quiet], strict=True))
        print(
            f"| {camera} | {words} | {whole - evidence_ms:.2f} | {evidence_ms:.3f} "
            f"| {100 * evidence_ms / (whole - evidence_ms):.1f} % |"
        )
    return told[0]


def clip_cost(folder: Path) -> None:
    """One row for each way to make a clip: how large it is, and what it takes to make."""
    clip.PROGRAM = (sys.executable, "-c", ENCODE)
    bear = [stage.bear(3.0, 14.0)]
    shots = {
        width: [
            Packet(jpeg(at_most(frame.image, width), quality), frame.time, frame.time, key=True)
            for frame in stage.film(15.0, bear, fps=5.0)
        ]
        for width, quality in ((640, 78), (1280, 85))
    }
    own = filmed((frame.image for frame in stage.film(15.0, bear, fps=25.0)), group=50)
    mixed = [*own[: len(own) // 2], *(shot for shot in shots[640] if shot.time >= own[len(own) // 2].time)]
    ways: list[tuple[str, list[Packet], list[Polygon]]] = [
        ("JPEGs made here, 640 wide", shots[640], []),
        ("MJPEG, 1280 wide", shots[1280], []),
        ("H.264, 1280 wide, copied", own, []),
        ("H.264, 1280 wide, that went on in JPEGs made here", mixed, []),
        ("of a camera with a mask, JPEGs made here", shots[640], [((0.0, 0.0), (0.2, 0.0), (0.2, 0.2))]),
    ]
    for number, (words, packets, masks) in enumerate(ways):
        path, before, started = folder / f"clip{number}.mp4", child_s(), time.perf_counter()
        ClipMaker()(packets, path, masks)
        took_s, cpu_s = time.perf_counter() - started, child_s() - before
        most_mb = int(path.with_suffix(".kb").read_text()) / 1024
        print(
            f"| {words}, {len(packets)} pictures | {sum(packet.bytes for packet in packets) / 1e6:.1f} "
            f"| {path.stat().st_size / 1e3:.0f} | {took_s:.2f} | {cpu_s:.2f} | {most_mb:.0f} |"
        )


def child_s() -> float:
    """Return the processor time of all children that have ended, seconds."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


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
        print("| a 1280x720 camera, ten frames a second, reading not counted | | loop, ms | evidence, ms | more |")
        print("|---|---|---|---|---|")
        for camera in ("pictures", "MJPEG", "H.264"):
            told = frame_costs(folder / camera, camera)
        alarm = Path(told.evidence or "").parent
        sizes = {path.name: path.stat().st_size for path in sorted(alarm.iterdir())}
        print(f"\nOne event of 20 s of footage, bytes: {json.dumps(sizes)}\n")
        print("| a clip of 15 s | in memory, MB | kB | s to make | CPU s of the child | its peak memory, MB |")
        print("|---|---|---|---|---|---|")
        clip_cost(folder)
        idle_day(folder / "idle")
        full_card(folder / "card")


if __name__ == "__main__":
    main()
