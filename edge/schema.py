"""Contracts: one frozen dataclass for each boundary, units written once.

Boxes are ``box_xywh``: left, top, width, height as fractions of the frame, 0 to 1, so that
they mean the same on the small motion picture, the full frame and a phone's screen.
Pictures are ``uint8 (H, W, 3)`` in BGR order, as OpenCV gives them.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = 1

Picture = NDArray[np.uint8]  # (H, W, 3) BGR
Luma = NDArray[np.uint8]  # (h, w) brightness, 0 to 255
BoxXYWH = tuple[float, float, float, float]  # left, top, width, height; fractions of the frame
RegionKind = Literal["motion", "scan", "track"]
EventKind = Literal["bear", "camera", "health", "test", "notice"]
EventType = Literal["new", "update", "end"]
Stage = Literal["shadow", "supervised", "autonomous"]  # of a camera: edge.decide.stages
TroubleKind = Literal["gone", "frozen", "black", "white", "covered", "blurred", "moved", "unsteady", "main_gone"]

WHOLE: BoxXYWH = (0.0, 0.0, 1.0, 1.0)
OVERHEAD_BYTES = 200  # of a packet in memory beside its data: objects, and their places
TEST_S = 3.0  # how long a test is heard and seen


class LazyImage:
    """A picture that is made when somebody first asks for it: most frames of a quiet place never are.

    ``make`` gives a ``Picture`` of ``size_wh`` pixels, each time the same; of two threads both may call it, neither
    waits.
    """

    __slots__ = ("_make", "_picture", "size_wh")

    def __init__(self, make: Callable[[], Picture], size_wh: tuple[int, int]) -> None:
        self._make: Callable[[], Picture] | None = make
        self._picture: Picture | None = None
        self.size_wh = size_wh

    def __call__(self) -> Picture:
        """Return the picture."""
        make = self._make  # read first: it is taken away only after the picture is there
        if make is not None:
            self._picture, self._make = make(), None
        assert self._picture is not None
        return self._picture


@dataclass(frozen=True, slots=True, eq=False)
class Packet:
    """One compressed picture: of a camera's own H.264 (Annex B), as it came, or a JPEG.

    A key picture of H.264 has its parameter sets before it.
    """

    data: bytes
    time: float  # when it is shown, seconds on the clock of the frames
    decode_time: float  # when it is decoded: earlier than ``time`` where pictures come in another order
    key: bool  # decoding may begin here

    @property
    def bytes(self) -> int:
        """Return what it takes in memory."""
        return len(self.data) + OVERHEAD_BYTES

    @property
    def h264(self) -> bool:
        """Return True for H.264, False for a JPEG."""
        return self.data.startswith(b"\0\0")


EARLY_S = 10.0  # by which a key picture may be older than the seconds kept


class VideoBuffer:
    """The last seconds of a camera's own H.264, from a key picture on: its reader adds, who records takes.

    ``seconds``: how much to keep, until a recorder has said how much it needs; at most ``max_bytes``. No clip begins
    with a key picture more than ``EARLY_S`` older than that. For any thread.
    """

    def __init__(self, max_bytes: int = 8_000_000) -> None:
        self.seconds = 15.0
        self.max_bytes = max_bytes
        self._bytes = 0
        self._packets: deque[Packet] = deque()
        self._keys: deque[float] = deque()  # when the key pictures among them are decoded
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Return True if there is a key picture, so that a clip can begin."""
        return bool(self._keys)

    def add(self, packet: Packet) -> None:
        """Take one more, later than those before; drop what is older than ``seconds`` and no newer picture needs."""
        with self._lock:
            self._packets.append(packet)
            self._bytes += packet.bytes
            if packet.key:
                self._keys.append(packet.decode_time)
            while self._bytes > self.max_bytes or self._unneeded(packet.decode_time - self.seconds):
                gone = self._packets.popleft()
                self._bytes -= gone.bytes
                if gone.key:
                    self._keys.popleft()

    def since(self, time: float) -> tuple[Packet, ...]:
        """Return the packets from the last key picture at or before ``time`` on, else from the first one on."""
        with self._lock:
            begins = [key for key in self._keys if key <= time][-1:] or list(self._keys)[:1]
            return tuple(each for each in self._packets if begins and each.decode_time >= begins[0])

    def after(self, decode_time: float) -> tuple[Packet, ...]:
        """Return the packets later than one that was taken."""
        with self._lock:
            return tuple(takewhile(lambda each: each.decode_time > decode_time, reversed(self._packets)))[::-1]

    def _unneeded(self, oldest: float) -> bool:
        """Return True if no picture from ``oldest`` on needs the first packet, or a clip would begin too early."""
        if self._packets and not self._packets[0].key:
            return self._packets[0].decode_time <= oldest  # its key picture has gone
        return bool(self._keys) and (
            self._keys[0] < oldest - EARLY_S or (len(self._keys) > 1 and self._keys[1] <= oldest)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture from one camera, with the time it was taken.

    ``time`` is what the logic runs on: seconds that only go forward (a live camera's monotonic
    clock, a file's own clock). ``wall`` is for people. ``handed_over`` is the monotonic clock
    when the camera gave the frame to the loop: latency is counted from there.
    """

    picture: Picture | LazyImage
    time: float  # seconds, monotonic within one source
    wall: datetime  # UTC
    camera: str
    index: int  # 0, 1, 2 … as handed over
    handed_over: float = 0.0  # time.monotonic(), seconds
    media_time_s: float | None = None  # seconds into a file; None on a live source
    luma: Luma | None = None  # what motion looks at, where the source has it apart (a Pi's Y plane, a sub-stream)
    discontinuity: bool = False  # the first frame after the camera was away: whatever was known of the place is old
    frozen_s: float = 0.0  # for how long a live camera has given this very picture: it tells nothing new
    file: str | None = None  # of a source of pictures: which one it is
    jpeg: bytes | None = None  # ``picture`` as the camera compressed it, full size
    video: VideoBuffer | None = None  # the camera's own H.264 up to now; one for all frames of a connection

    @property
    def image(self) -> Picture:
        """Return the picture in full resolution, BGR; decode it now if the source has not."""
        return self.picture() if isinstance(self.picture, LazyImage) else self.picture

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of ``image`` in pixels."""
        if isinstance(self.picture, LazyImage):
            return self.picture.size_wh
        return self.picture.shape[1], self.picture.shape[0]


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the frame worth a look: what moved, a followed animal, or what a look at all of it ("scan") found."""

    box_xywh: BoxXYWH
    kind: RegionKind


@dataclass(frozen=True, slots=True)
class Score:
    """Classifier's result for one region.

    ``bear`` is the sum of the alarm labels' probabilities; ``ood`` grows the less the crop
    resembles anything seen in training.
    """

    region: Region
    probabilities: tuple[float, ...]  # one a label, in the card's order, summing to 1
    bear: float  # 0 to 1
    label: str  # the best alarm label
    ood: float
    share: float = 1.0  # the label's part of ``bear``


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """Evidence of one track after one frame, and what holds it back; ``why`` explains it."""

    track: int
    box_xywh: BoxXYWH
    bear: float | None  # this frame's bear probability; None: nothing was said of the track
    threshold: float  # the bear probability that would have said nothing either way
    said: float  # what the score said, logits, -c to +c
    sum: float  # the evidence gathered, S, logit-seconds
    alarm_at: float  # h, as it holds for this track now
    held: tuple[str, ...] = ()  # in words: "never moved: held to the still threshold", "outside the zones", …
    alone_at: float | None = None  # the bear probability with which one picture alone alarms; None: it never does


@dataclass(frozen=True, slots=True)
class CameraFault:
    """Something wrong with a camera, as it looks at one moment."""

    kind: TroubleKind
    detail: str  # one sentence for people: what, the value seen, what to do


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the event log (JSONL); ``bear-alarm schema event`` prints its JSON Schema.

    What makes a noise acts on ``alarms``: a new bear, an update that ``escalated``, or a test. A ``notice`` (of
    type "new" alone) is what people should know though nothing is broken.
    """

    kind: EventKind
    type: EventType
    id: str  # the same for new, update and end of one happening
    seq: int  # counts up within one run
    boot_id: str  # one a run, so that (boot_id, seq) orders events even when the clock is wrong
    camera: str
    captured_at: str  # ISO 8601, UTC, of the frame that caused it
    clock_synced: bool | None = None  # None: not known on this system
    track: int | None = None
    label: str | None = None
    score: float | None = None  # the bear probability now, 0 to 1
    top_score: float | None = None  # the highest so far
    box_xywh: BoxXYWH | None = None
    media_time_s: float | None = None  # seconds into a file
    latency_ms: float | None = None  # trigger frame handed over -> sink called
    onset_s: float | None = None  # first supporting frame -> alarm
    durable: bool = False  # True once it is safely on disk
    model: str | None = None  # name and short digest
    evidence: str | None = None  # path of the evidence picture
    detail: str | None = None  # words for camera, health, test and notice events
    zones: tuple[str, ...] = ()  # names of the zones the bear stands in
    escalated: str | None = None  # why an update alarms again: "rising score", "zone NAME", "back after 17 s", …
    file: str | None = None  # of a source of pictures: the one that this is about
    quiet: str | None = None  # why nothing may make a noise: "outside the schedule"
    species: str | None = None  # words for what it most likely is there: "bear (brown bears are unusual in US-GA)"
    stage: Stage | None = None  # of its camera: "shadow" alarms nobody, "supervised" waits for a yes; None: no stages
    schema_version: int = field(default=SCHEMA_VERSION)

    @property
    def alarms(self) -> bool:
        """Return True if this is worth a noise: a new bear, one that became more serious, or a test."""
        if self.kind == "test":
            return True
        loud = self.quiet is None and self.stage != "shadow"
        return self.kind == "bear" and loud and (self.type == "new" or self.escalated is not None)

    @property
    def animal(self) -> str:
        """Return words for what a bear is: the likely species with what is unusual of it, else the label's."""
        return self.species or (self.label or "bear").replace("_", " ")

    @property
    def name_and_note(self) -> tuple[str, str]:
        """Return ``animal`` in two: "bear", and "brown bears are unusual in SL" or nothing."""
        name, _, note = self.animal.partition(" (")
        return name, note.removesuffix(")")

    def to_json(self) -> str:
        """Return one line of JSON, no newline at the end; text throughout, whatever bytes a file's name holds."""
        return readable(json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")))

    @staticmethod
    def from_json(line: str) -> Event:
        """Return the event a line of JSONL holds. Raises ValueError when it is not one."""
        found: dict[str, Any] = json.loads(line)
        if not isinstance(found, dict) or found.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"not an event of schema version {SCHEMA_VERSION}: {line[:80]!r}")
        box = found.get("box_xywh")
        known = {name: found[name] for name in Event.__dataclass_fields__ if name in found}
        try:
            pairs = {"box_xywh": None if box is None else tuple(box), "zones": tuple(found.get("zones", ()))}
            return Event(**(known | pairs))
        except TypeError as error:
            raise ValueError(f"not an event: {error}") from None


def readable(words: str) -> str:
    """Return words whose bytes that are no UTF-8 (of a file's name) are escapes, which in JSON mean the same."""
    return words.encode("utf-8", "backslashreplace").decode()


def utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC to the millisecond, as events carry it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
