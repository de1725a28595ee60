"""Measure what the alarm costs here: its real loop on the bundled clip, stage by stage, and the whole program.

Everything takes turns in five rounds, because a board becomes slower as it grows warm: four cameras alone (H.264 and
MJPEG, idle and active), the ways to score a crop, the journal, and as many active cameras as there are cores together.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import av
import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from edge.alert.events import EventPublisher
from edge.background import call_in_thread, in_background
from edge.camera import open_source
from edge.decide.alarms import Decision
from edge.decide.evidence import Rule
from edge.detect.camera_check import CameraCheck
from edge.detect.classifier import Classifier
from edge.detect.crops import cut
from edge.detect.frame_rate import CropBudget
from edge.detect.frame_scan import scan_of
from edge.detect.motion import Motion, MotionFinder
from edge.device.sensors import (
    About,
    Power,
    about,
    asked_throttling,
    clock_mhz,
    existing,
    memory,
    pairs,
    power,
    temperature_c,
    throttled,
)
from edge.errors import OptionError
from edge.files import state_folder
from edge.record.journal import Journal
from edge.record.recorder import MediaWriter
from edge.record.run import EventFactory
from edge.schema import Event, Frame, LazyImage, Picture, Region, Score
from edge.settings import CameraSettings
from edge.watch import Watcher

log = logging.getLogger(__name__)

ROUNDS = 5
SETTINGS = CameraSettings()
FPS = {"idle": SETTINGS.quiet_fps, "active": SETTINGS.fps}  # frames analysed a second, as the alarm has it
CODECS = {"H.264": "demo", "MJPEG": "mjpeg.avi"}
MJPG = cv2.VideoWriter.fourcc(*"MJPG")
STAGES = ("decode", "motion", "scan", "crop", "inference", "decide", "evidence")
# Seconds of the clip: until then nothing moves; until then a fox and a boar pass by. The bear's clip is not made here.
STILL_S, ENDS_S = 1.8, 13.35
# Frames of a fifth of a pass: the clip's active part, or the time between two scans of a picture that stays the same.
FIFTH = {"idle": 10, "active": 23}
STILL = 3  # of its first frames: further on the grass sways in them
ALONE, TOGETHER = 0.11, 0.36  # shares of a round: each of the cameras alone; all cores
SHARE = 0.85  # of what all cores can do together: the rest is for receiving, sending and the system
CAMERA_MB = 60.0  # what one more camera of 1280x720 takes: 40 as MJPEG with its share of the clips, 20 more as H.264
CLIP_S = 120.0  # to wait for the alarm's own clip of the bear
LOOK_S = 0.05
REST_S = 2.0
DISTURBED = 1.3  # wall-clock to CPU time of a frame in one thread: above it other programs had the processor
FLOAT = "float"


@dataclass(frozen=True, slots=True)
class Spread:
    """Times of one thing, milliseconds of wall-clock time."""

    p50: float
    p95: float
    max: float
    mean: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread | None:
        """Return the spread of some times in seconds; None of none."""
        if not seconds:
            return None
        ms = np.array(seconds) * 1000.0
        half, most, worst, average = (
            round(float(each), 3) for each in (*np.percentile(ms, [50, 95]), ms.max(), ms.mean())
        )
        return cls(half, most, worst, average, len(ms))


@dataclass(frozen=True, slots=True)
class Way:
    """One way to score a crop, and its cost."""

    model: str  # name and short digest
    precision: str  # "int8", "fp32"; "float": an int8 file that is run so
    threads: int
    crop: Spread


@dataclass(frozen=True, slots=True)
class Round:
    """State of the machine at the end of one fifth of the time."""

    crop_ms: float  # median of scoring a crop, as the alarm does
    temperature_c: float | None
    mhz: float | None
    slowed: bool | None  # by heat or low voltage, as the firmware or the kernel reports it
    watts: float | None  # with all cores at work


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that was measured, and on what. None: not measured."""

    machine: About
    processor: str | None  # its name, where the kernel has one
    model: str
    stages: dict[str, dict[str, Spread | None]]  # "idle", "active"; of the frames in which a stage had work
    frames: dict[str, dict[str, Spread | None]]  # the same, by codec: a whole frame, decoding included
    cpu_ms: dict[str, dict[str, float | None]]  # mean CPU time of it in the loop's thread
    crops: float  # of an active frame, on average
    latency_ms: Spread | None  # of active frames: handed over -> the sinks called, had there been an alarm
    journal: Spread | None  # an event written to the disk, in a thread of its own
    ways: tuple[Way, ...]  # the first is how the alarm runs
    speedup: float  # frames all cores analyse together, times those of one
    rounds: tuple[Round, ...]
    start_s: float | None  # of the program, until the first frame was scored
    memory_mb: float | None  # peak of the program and its children, 10^6 bytes
    free_mb: float  # memory, before it began
    rest_w: float | None  # before it began
    power_of: str | None  # what the sensor measures
    seconds: float

    def cameras(self, kind: str, fps: float | None = None) -> float:
        """Return how many cameras fit where all are "idle" or "active", at so many frames a second of each."""
        return min(self.by_processor(kind, fps), self.by_memory)

    def by_processor(self, kind: str, fps: float | None = None) -> float:
        """Return how many of them the processor is fast enough for."""
        slowest = max(each.mean for each in self.frames[kind].values() if each)
        return SHARE * self.speedup * 1000.0 / slowest / (fps or FPS[kind])

    @property
    def by_memory(self) -> float:
        """Return how many cameras have room in the memory that was free."""
        return max(1.0 + (self.free_mb - (self.memory_mb or 0.0)) / CAMERA_MB, 0.0)

    @property
    def disturbed(self) -> bool:
        """Return True if other programs had the processor while a camera had its turn alone."""
        wall = [each.mean for kind in FPS for each in self.frames[kind].values() if each]
        cpu = [each for kind in FPS for each in self.cpu_ms[kind].values() if each]
        return sum(wall) > DISTURBED * sum(cpu)

    @property
    def busy_w(self) -> float | None:
        """Return the watts with all cores at work."""
        found = [each.watts for each in self.rounds if each.watts is not None]
        return mean(found) if found else None


class Stopwatch(threading.local):
    """Times of one frame by stage, seconds; each thread has its own. What runs inside a stage counts there alone."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._at = 0.0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time inside for a stage."""
        self._settle()
        self._open.append(stage)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.spent[self._open[-1]] += now - self._at
        self._at = now


class TimedClassifier(Classifier):
    """Classifier whose inference is timed."""

    clock: Stopwatch | None = None

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Score crops, as ``Classifier`` does."""
        if self.clock is None:
            return super().__call__(crops)
        with self.clock("inference"):
            return super().__call__(crops)


class TimedWatcher(Watcher):
    """The alarm's own loop, with a clock on each stage."""

    def __init__(self, classifier: Classifier, clock: Stopwatch, publisher: EventPublisher) -> None:
        finder, scan = MotionFinder(), scan_of(classifier, ())
        self.clock = clock
        self.crops = 0  # of the last frame
        self.latency_s = 0.0  # and from its being handed over to the sinks

        def motion(frame: Frame) -> Motion:
            with clock("motion"):
                return finder(frame)

        def scanned(image: Picture) -> list[Score]:
            with clock("scan"):
                return scan(image)

        super().__init__(
            classifier,
            Rule.from_card(classifier.card),
            publisher,
            SETTINGS,
            budget=CropBudget(SETTINGS.frame_s),
            camera_check=CameraCheck(),
            motion=motion,
            scan=scanned,
        )

    def score(self, frame: Frame, regions: Sequence[Region]) -> list[Score]:
        """Score the regions, timed."""
        self.crops = sum(region.kind != "scan" for region in regions)
        if not self.crops:
            return super().score(frame, regions)
        with self.clock("crop"):
            return super().score(frame, regions)

    def decide(self, frame: Frame, scores: Sequence[Score]) -> list[Decision]:
        """Decide, timed."""
        with self.clock("decide"):
            return super().decide(frame, scores)

    def publish(self, frame: Frame, decisions: Sequence[Decision], scores: Sequence[Score]) -> list[Event]:
        """Publish, timed."""
        with self.clock("decide"):
            events = super().publish(frame, decisions, scores)
        self.latency_s = time.monotonic() - frame.handed_over
        return events

    def keep(self, frame: Frame, motion: Motion, scores: Sequence[Score]) -> None:
        """Keep evidence, timed."""
        with self.clock("evidence"):
            super().keep(frame, motion, scores)


@dataclass(frozen=True, slots=True)
class Row:
    """Cost of one frame, seconds."""

    wall_s: float
    cpu_s: float
    crops: int
    latency_s: float
    spent: dict[str, float]


@dataclass
class Lane:
    """One camera in a thread of its own: it analyses frames of the clip, as fast as it can, while it has its turn."""

    kind: str  # "idle", "active"
    codec: str
    source: str
    watcher: TimedWatcher
    rows: list[Row] = field(default_factory=list)
    _until: float = 0.0
    _from: int = -1  # rows before this turn
    _closed: bool = False
    _go: threading.Event = field(default_factory=threading.Event)
    _rests: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._loop = call_in_thread(lambda: self.watcher(self._frames()), f"bench {self.kind} {self.codec}")
        self._loop.add_done_callback(lambda _: self._rests.set())

    def begin(self, seconds: float) -> None:
        """Have a turn of so many seconds, and on to the end of a fifth of a pass. Raises what ended the loop."""
        self.end()
        self._until, self._from = time.monotonic() + seconds, len(self.rows)
        self._rests.clear()
        self._go.set()

    def end(self) -> None:
        """Wait for the end of the turn. Raises what ended the loop."""
        self._rests.wait()
        if self._loop.done():
            self._loop.result()

    def close(self) -> None:
        """End the loop."""
        self._closed = True
        self._go.set()
        self._loop.exception()

    @property
    def whole(self) -> list[Row]:
        """Rows of whole passes, so that a fast and a slow machine have the same frames."""
        each = ROUNDS * FIFTH[self.kind]
        return self.rows[: len(self.rows) // each * each]

    def _turn(self) -> bool:
        # At least a fifth, also where the clip ends at the beginning of a turn.
        over = time.monotonic() >= self._until and len(self.rows) != self._from
        if over and len(self.rows) % FIFTH[self.kind] == 0:
            self._rests.set()
            self._go.wait()
            self._go.clear()
        return not self._closed

    def _frames(self) -> Iterator[Frame]:
        """Yield the clip again and again, on one clock, and note what each frame has cost."""
        clock, fps = self.watcher.clock, FPS[self.kind]
        still = cycle(still_frames(self.source)) if self.kind == "idle" else None
        skipped_s, ends_s = (0.0, STILL_S) if still else (STILL_S, ENDS_S)
        while True:
            with open_source(self.source, fps=fps) as source:
                frames = iter(source)
                while next(frames).time < skipped_s:  # with the first the decoder starts
                    continue
                while self._turn():
                    clock.spent.clear()
                    began, cpu = time.perf_counter(), time.thread_time()
                    with clock("decode"):
                        frame = next(frames, None)
                    if frame is None or frame.time >= ends_s:
                        break
                    shown = timed(standing(frame, next(still)) if still else frame, clock)
                    self.watcher.crops, number = 0, len(self.rows)
                    yield replace(shown, time=number / fps, index=number, handed_over=time.monotonic())
                    took = time.perf_counter() - began, time.thread_time() - cpu
                    self.rows.append(Row(*took, self.watcher.crops, self.watcher.latency_s, dict(clock.spent)))
                else:
                    return


def still_frames(source: str) -> list[Frame]:
    """Return frames in which nothing moves, to and fro: from the last to the first it would jump."""
    with open_source(source, fps=SETTINGS.fps) as opened:
        frames = [frame for frame, _ in zip(opened, range(STILL), strict=False)]
    return [*frames, *frames[-2:0:-1]]


def standing(frame: Frame, still: Frame) -> Frame:
    """Return a frame in which motion sees a still one; its colours cost what they cost."""
    return replace(frame, picture=still.picture) if still.luma is None else replace(frame, luma=still.luma)


def timed(frame: Frame, clock: Stopwatch) -> Frame:
    """Return the frame; what its colours cost when somebody asks for them is decoding."""
    picture = frame.picture
    if not isinstance(picture, LazyImage):
        return frame

    def make() -> Picture:
        with clock("decode"):
            return picture()

    return replace(frame, picture=LazyImage(make, picture.size_wh))


def measure(models: Sequence[Path], seconds: float) -> Bench:
    """Measure for about so many seconds; ``models``: the alarm's own, then some to compare it with.

    Raises ModelError, SourceError, OptionError.
    """
    from edge.cli.output import track

    machine, free_mb = about(Path("/")), memory().available_mb
    rest = drawn(REST_S)
    clock, classifier = Stopwatch(), TimedClassifier(models[0])
    ways, works = ways_of(models, machine.cores)
    took: list[list[float]] = [[] for _ in works]
    with ExitStack() as last_first:
        folder = Path(last_first.enter_context(scratch()))
        write_mjpeg(folder / CODECS["MJPEG"])
        run = EventFactory()
        journal = Journal(folder / "state", run=run)
        last_first.callback(journal.close)
        writer = MediaWriter(folder / "evidence")
        last_first.callback(writer.close, 1.0)
        sink = in_background(journal, "the journal")
        last_first.callback(sink.close, 5.0)
        classifier.clock = clock

        def lane(kind: str, codec: str) -> Lane:
            evidence = writer.camera(context=classifier.card.crop.context)
            publisher = EventPublisher([sink], model=classifier.name, evidence=evidence, run=run)
            source = CODECS[codec] if codec == "H.264" else str(folder / CODECS[codec])
            made = Lane(kind, codec, source, TimedWatcher(classifier, clock, publisher))
            last_first.callback(made.close)
            return made

        lanes = [lane(kind, codec) for kind in FPS for codec in CODECS]
        together = [lane("active", "H.264") for _ in range(machine.cores)]
        works = [*works, lambda: journal(run.event("test", "new", run.id, "bench"))]
        took.append([])
        rounds: list[Round] = []
        began, part_s = time.monotonic(), seconds / ROUNDS
        for _ in track(range(ROUNDS), "measuring, rounds"):
            before = len(took[0])
            for each in lanes:
                each.begin(ALONE * part_s)
                each.end()
            by_turns(works, took, (1.0 - ALONE * len(lanes) - TOGETHER) * part_s)
            for each in together:
                each.begin(TOGETHER * part_s)
            busy = drawn(TOGETHER * part_s * 0.9, rest.of if rest else None)
            rounds.append(_round(took[0][before:], busy.watts if busy else None))
            for each in together:
                each.end()
        lasted_s = time.monotonic() - began
    start_s, memory_mb = program(models[0])
    active = [each for each in lanes if each.kind == "active"]
    moving = [row for each in active for row in each.whole]
    return Bench(
        machine,
        pairs(Path("/proc/cpuinfo")).get("model name"),
        classifier.name,
        {kind: _stages([each for each in lanes if each.kind == kind]) for kind in FPS},
        _by_codec(lanes, lambda rows: Spread.of([row.wall_s for row in rows])),
        _by_codec(lanes, lambda rows: round(mean(row.cpu_s for row in rows) * 1000.0, 3)),
        round(mean(row.crops for row in moving), 2),
        Spread.of([row.latency_s for row in moving if row.crops]),
        Spread.of(took[-1]),
        tuple(Way(*way, spread) for way, each in zip(ways, took, strict=False) if (spread := Spread.of(each))),
        speedup(active[0].whole, [each.whole for each in together], machine.cores),
        tuple(rounds),
        start_s,
        memory_mb,
        free_mb,
        round(rest.watts, 2) if rest else None,
        rest.of if rest else None,
        round(lasted_s, 1),
    )


def drawn(seconds: float, of: str | None = None) -> Power | None:
    """Return the mean power for so many seconds, all by one sensor (``of``; default: the best); None without one."""
    watts, until = list[float](), time.monotonic() + seconds
    while time.monotonic() < until:
        if (found := power(Path("/"))) and found.of == (of := of or found.of):
            watts.append(found.watts)
        time.sleep(LOOK_S)
    return Power(mean(watts), of) if watts and of else None


def scratch() -> TemporaryDirectory[str]:
    """Make a temporary folder on the disk that the alarm would write on; elsewhere where that cannot be written."""
    make = partial(TemporaryDirectory, prefix="bear-alarm-", ignore_cleanup_errors=True)
    try:
        return make(dir=existing(state_folder()))
    except (OSError, OptionError):
        return make()


def write_mjpeg(path: Path) -> None:
    """Write the clip as a camera sends it that compresses each picture by itself. Raises OptionError without room."""
    written = found = 0
    with open_source("demo", fps=SETTINGS.fps) as source:
        writer: cv2.VideoWriter | None = None
        for frame in source:
            writer = writer or cv2.VideoWriter(str(path), MJPG, SETTINGS.fps, frame.size_wh)
            writer.write(frame.image)
            written += 1
            if frame.time >= ENDS_S:
                break
        if writer:
            writer.release()
    with suppress(av.FFmpegError), av.open(str(path)) as video:
        found = sum(packet.size > 0 for packet in video.demux(video=0))
    if found < written:
        raise OptionError(
            f"no room in {path.parent} for a clip of 20 MB: {found} of its {written} pictures were written; make room "
            "there, or name another disk with TMPDIR and BEAR_ALARM_STATE"
        )


def ways_of(models: Sequence[Path], cores: int) -> tuple[list[tuple[str, str, int]], list[Callable[[], object]]]:
    """Return the ways to score a crop of the clip, the alarm's own first: model, precision, threads; and the work."""
    with open_source("demo", fps=SETTINGS.fps) as source:
        image = next(iter(source)).image
    ways, works = list[tuple[str, str, int]](), list[Callable[[], object]]()
    for path in models:
        usual = Classifier(path)
        for name, in_float in precisions(usual):
            for threads in sorted({1, cores}):
                own = threads == 1 and in_float == usual.fallback
                classifier = usual if own else Classifier(path, threads=threads, in_float=in_float)
                crop = cut(image, (0.6, 0.6, 0.2, 0.3), classifier.size)[None]
                ways.append((classifier.name, name, threads))
                works.append(lambda classifier=classifier, crop=crop: classifier(crop))  # type: ignore[misc]
    return ways, works


def precisions(classifier: Classifier) -> list[tuple[str, bool]]:
    """Return how this machine can run a model, the alarm's own way first: a name, and whether that is in float."""
    if classifier.fallback:
        return [(FLOAT, True)]
    own = classifier.card.precision
    return [(own, False), (FLOAT, True)] if own == "int8" else [(own, False)]


def by_turns(works: Sequence[Callable[[], object]], took: Sequence[list[float]], seconds: float) -> None:
    """Do all the work by turns for so many seconds, once at least, and add the seconds each took."""
    until = time.monotonic() + seconds
    while True:
        for work, times in zip(works, took, strict=True):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        if time.monotonic() >= until:
            return


def speedup(alone: Sequence[Row], together: Sequence[Sequence[Row]], cores: int) -> float:
    """Return how many times as many frames a second all cores analyse as one does; at most the number of cores.

    All rows are of whole passes: of the same frames.
    """

    def rate(rows: Sequence[Row]) -> float:
        return len(rows) / sum(row.wall_s for row in rows)

    return round(min(sum(map(rate, together)) / rate(alone), cores), 2)


def program(model: Path) -> tuple[float | None, float | None]:
    """Run ``bear-alarm watch demo``, with journal and evidence, and return what it costs.

    Seconds until its first frame was scored, and the most memory that it and its children held until the alarm's clip
    was made, MB (10^6 bytes); None where it came to neither.
    """
    with scratch() as name:
        folder = Path(name)
        trace, evidence = folder / "trace.jsonl", folder / "evidence"
        words = ["watch", "demo", "--model", str(model.absolute()), "--no-bell", "--quiet", "--trace", str(trace)]
        words += ["--state", str(folder / "state"), "--evidence", str(evidence)]
        began = time.monotonic()
        child = psutil.Popen(
            [sys.executable, "-m", "edge", *words],
            cwd=Path(__file__).parents[2],
            # What is set there is for true alarms: their config, webhooks and messages must not go off.
            env={name: value for name, value in os.environ.items() if not name.startswith("BEAR_ALARM_")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        start_s: float | None = None
        peak, made = 0, False
        while child.poll() is None and not made and time.monotonic() - began < CLIP_S:
            if start_s is None and trace.is_file() and b'"kind":"moment"' in trace.read_bytes():
                start_s = round(time.monotonic() - began, 2)
            peak = max(peak, _held(child))
            made = any(evidence.rglob("clip.mp4"))
            time.sleep(LOOK_S)
        made = made or any(evidence.rglob("clip.mp4"))
        if child.poll() is None:
            child.terminate()
        child.wait()
    if start_s is None:
        log.warning("`bear-alarm watch demo` analysed no frame here, so its start and its memory are not known")
    elif not made:
        log.warning("`bear-alarm watch demo` made no clip of the bear here, so its memory is not known")
    return start_s, round(peak / 1e6, 1) if made else None


def _held(child: Any) -> int:
    """Return the bytes that a process and its children hold now; on Linux what they share counts once."""
    held = 0
    for each in [child, *_children(child)]:
        try:
            held += each.memory_full_info().pss if sys.platform == "linux" else each.memory_info().rss
        except psutil.Error:
            continue  # it has just ended
    return held


def _children(child: Any) -> list[Any]:
    try:
        return list(child.children(recursive=True))
    except psutil.Error:
        return []


def _round(crops_s: Sequence[float], watts: float | None) -> Round:
    firmware, root = asked_throttling(), Path("/")
    return Round(
        round(median(crops_s) * 1000.0, 3),
        temperature_c(),
        clock_mhz(root),
        firmware.slowed or firmware.undervolted if firmware else throttled(root),
        None if watts is None else round(watts, 2),
    )


def _stages(lanes: Sequence[Lane]) -> dict[str, Spread | None]:
    found: dict[str, Spread | None] = {}
    for lane in lanes:
        found[f"decode {lane.codec}"] = Spread.of([row.spent["decode"] for row in lane.whole])
    rows = [row for lane in lanes for row in lane.whole]
    for stage in STAGES[1:]:
        found[stage] = Spread.of([row.spent[stage] for row in rows if stage in row.spent])
    return found


def _by_codec(lanes: Sequence[Lane], of: Callable[[Sequence[Row]], Any]) -> dict[str, dict[str, Any]]:
    return {kind: {each.codec: of(each.whole) for each in lanes if each.kind == kind} for kind in FPS}
