"""Evidence of each alarm: pictures, the best crop, a clip and the event itself, in one folder within a quota.

``CameraRecorder`` gets every frame and event of one camera and chooses what to keep, ``EventRecorder`` gathers it for
one event, and ``MediaWriter`` writes it for all cameras.
"""

from __future__ import annotations

import json
import logging
import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import dropwhile
from pathlib import Path
from typing import Any

from edge.background import Worker
from edge.decide.alarms import Incident
from edge.detect.crops import square
from edge.detect.tracker import inside
from edge.detect.zones import BLACK, Polygon, PrivacyMask
from edge.drawing import Mark, annotate
from edge.errors import OptionError
from edge.files import make_folder, mistaken
from edge.record.clip import ClipBuffer, ClipError, ClipMaker, Ring, at_most, jpeg
from edge.record.media_store import MB, PLAIN, MediaStore, NoRoomError, sample_path, still_path, visit_folder
from edge.schema import (
    BoxXYWH,
    Event,
    Frame,
    LazyImage,
    Luma,
    Packet,
    Picture,
    Score,
    VideoBuffer,
    readable,
    utc_text,
)

log = logging.getLogger(__name__)

QUOTA_MB = 2000.0
RESERVE_MB = 200.0
NEGATIVES_PER_DAY = 4.0
PRE_S, POST_S, MAX_CLIP_S = 5.0, 10.0, 60.0  # of a clip: before the alarm, after the bear was last seen, in all


@dataclass(frozen=True, eq=False)
class WriteJob:
    """Files to write, each made in the writing thread, in this order."""

    unit: Path  # the event's folder, or the one file itself
    files: tuple[tuple[Path, Callable[[], bytes]], ...]
    still_of: Event | None = None  # the first file is this event's picture


@dataclass(frozen=True, eq=False)
class ClipJob:
    """Compressed pictures for one clip."""

    unit: Path  # the event's folder
    path: Path
    packets: tuple[Packet, ...]
    masks: tuple[Polygon, ...]

    @property
    def bytes(self) -> int:
        """Return the size of the pictures, which their clip never exceeds by much."""
        return sum(packet.bytes for packet in self.packets)


# One camera's evidence: the last seconds in memory, and what is kept from an alarm on. A camera's own H.264 waits in
# its ``VideoBuffer``, and nothing is done for a frame; of other cameras, and of those with masks, JPEGs are held.

ACTIVE_S, IDLE_S = 0.2, 1.0  # between two frames in memory, while something moves and while nothing does
SLACK_S = 0.01  # without it a camera at 10 frames a second would give every third one
WIDTH = 640  # of frames that are compressed here
QUALITY = 78
MAX_OWN_BYTES = 400_000  # of a frame the camera compressed: a trail camera's stills are too large
RING_BYTES = 8_000_000
CLIP_BYTES = 16_000_000
MARGIN_S = 2.0  # by which a frame that is looked at may be older than its camera's last packet
KNOWN_S = 600.0  # how long after its end a bear may be found again
MAX_KNOWN = 100
FULL_QUALITY = 92


class CameraRecorder:
    """Chooses what to keep of one camera's frames and events, and never waits.

    ``writer`` takes the jobs and knows what to keep; without ``clips`` no frames are held in memory. An error here is
    logged and never reaches the alarm. Call it from one thread; ``busy`` may be read from any.
    """

    def __init__(self, writer: MediaWriter, masks: Sequence[Polygon], context: float, *, clips: bool) -> None:
        self.context = context
        self.ring = Ring(writer.pre_s, RING_BYTES) if clips else None
        self.busy: frozenset[Path] = frozenset()  # folders that are still written to
        self._writer = writer
        self._mask = PrivacyMask(masks, BLACK)
        self._negatives = Negatives(writer.folder, writer.negatives_per_day, self._mask)
        self._recorders: dict[str, EventRecorder] = {}  # by event id; the event published last is the last
        self._shot_at = float("-inf")
        self._looked_at = float("-inf")
        self._logged = False  # an error here

    def place(self, event: Event, frame: Frame) -> str | None:
        """Return where the still of this event will lie; without one of its own, that of the last."""
        recorder = self._recorders.pop(event.id, None)
        if recorder is None:
            recorder = EventRecorder(visit_folder(self._writer.folder, event.camera, frame.wall, event.id), frame.time)
        self._recorders[event.id] = recorder
        if event.type != "end" and recorder.wants_still(event):
            recorder.still = still_path(recorder.folder, event)
            if not self._writer.trouble:  # else the next event brings a picture too
                recorder.shown = max(recorder.shown, event.score or 0.0)
            recorder.still_waits = True
            return str(recorder.still)  # a disk that fails now may be well before this is written
        # A path at which nothing will lie would only mislead.
        return None if recorder.still is None or self._writer.trouble else str(recorder.still)

    def add(self, event: Event, frame: Frame, marks: Sequence[Mark], scores: Sequence[Score]) -> None:
        """Keep what belongs to a published event that ``place`` has seen."""
        self._safely(lambda: self._add(event, frame, marks, scores))

    def look(
        self, frame: Frame, *, moving: bool, scores: Sequence[Score] = (), incidents: Sequence[Incident] = ()
    ) -> None:
        """Take every frame, after its events. ``moving``: something moves or is followed; ``incidents``: the open."""
        self._safely(lambda: self._look(frame, moving, scores, incidents))

    def finish(self) -> None:
        """Make the clips of what there is: no more frames will come."""
        for recorder in list(self._recorders.values()):
            self._finish_clip(recorder)

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            level = logging.DEBUG if self._logged else logging.WARNING
            log.log(level, "internal error while keeping evidence (%s: %s)", type(error).__name__, error, exc_info=True)
            self._logged = True

    def _add(self, event: Event, frame: Frame, marks: Sequence[Mark], scores: Sequence[Score]) -> None:
        recorder = self._recorders[event.id]
        again = recorder.ended_at is not None and event.type != "end"
        recorder.add(event, frame.time)
        if self.ring is not None and recorder.buffer is None and (again or event.type == "new"):
            self._begin_clip(recorder, frame, self.ring, event.seq)
        files: list[tuple[Path, Callable[[], bytes]]] = []
        pictured = recorder.still if recorder.still_waits else None
        recorder.keep_crop(frame, scores, self.context, self._mask)
        if pictured:
            image = frame.image  # decoded in this thread, once
            files.append((pictured, partial(still, image, marks, event, self._mask)))
            if event.type == "new":
                files.append((recorder.folder / PLAIN, partial(plain, image, self._mask)))
            if self._writer.full and event.type == "new":
                files.append((recorder.folder / "full.jpg", lambda: jpeg(self._mask(image), FULL_QUALITY)))
        if crop := recorder.take_crop():
            files.append((recorder.folder / "crop.jpg", crop))
        state = recorder.as_json(event)
        files.append((recorder.folder / "event.json", lambda: state))
        recorder.still_waits = False
        self._note_busy()
        self._writer.write(WriteJob(recorder.folder, tuple(files), event if pictured else None))
        # An end with a frame that ``look`` has had: no more frames will come, the source has ended or is gone.
        if event.type == "end" and frame.time <= self._looked_at:
            self._finish_clip(recorder)

    def _look(self, frame: Frame, moving: bool, scores: Sequence[Score], incidents: Sequence[Incident]) -> None:
        self._looked_at = frame.time
        for incident in incidents:
            recorder = self._recorders.get(incident.id)
            if recorder and incident.followed:
                recorder.follow(incident, frame.time)
                recorder.keep_crop(frame, scores, self.context, self._mask)
        filming = [recorder for recorder in self._recorders.values() if recorder.buffer is not None]
        if self.ring is not None:
            video = self._own_video(frame)
            if video is None and frame.video is not None:
                frame.video.seconds = 0.0  # nothing of it will be taken
            if video is not None:
                video.seconds = self._writer.pre_s + MARGIN_S
                for recorder in filming:
                    recorder.film(video)
            lacking = [recorder.buffer for recorder in filming if recorder.buffer and recorder.buffer.lacks(frame.time)]
            if lacking or video is None or not video.ready:
                self._shoot(frame, self.ring, lacking, scores, active=moving or bool(filming))
        for recorder in filming:
            if frame.time >= min(recorder.seen_at + self._writer.post_s, recorder.clip_ends):
                self._finish_clip(recorder)
        lately = [v for v in self._recorders.values() if v.ended_at is None or frame.time - v.ended_at < WAIT_S]
        if job := self._negatives(frame, scores, bear=bool(lately)):
            self._writer.write(job)
        if self._recorders and not incidents:
            self._forget(frame.time)

    def _shoot(
        self, frame: Frame, ring: Ring, lacking: Sequence[ClipBuffer], scores: Sequence[Score], *, active: bool
    ) -> None:
        gap_s = ACTIVE_S if active else IDLE_S
        if self._shot_at - 1.0 < frame.time < self._shot_at + gap_s - SLACK_S:
            return
        # Counted from when it was due, so that the rate holds on average; after a pause from now.
        due = self._shot_at + gap_s
        self._shot_at = due if frame.time < due + gap_s else frame.time
        data = compressed(frame, self._mask, coloured=active or bool(scores))
        shot = Packet(data, frame.time, frame.time, key=True)
        ring.add(shot)
        small = shot
        if data is frame.jpeg and any(buffer.full for buffer in lacking):
            small = replace(shot, data=compressed(frame, self._mask, own=False))
        for buffer in lacking:
            buffer.add(small if buffer.full else shot)

    def _own_video(self, frame: Frame) -> VideoBuffer | None:
        """Return the camera's own video, which shows what masks hide: with masks there is none."""
        return None if self._mask.masks else frame.video

    def _begin_clip(self, recorder: EventRecorder, frame: Frame, ring: Ring, seq: int) -> None:
        from_s = frame.time - self._writer.pre_s
        video = self._own_video(frame)
        own = video.since(from_s) if video else ()
        packets = [shot for shot in ring.packets() if shot.time >= from_s and (not own or shot.time < own[0].time)]
        packets += own
        recorder.buffer, recorder.clip_ends = ClipBuffer(packets, CLIP_BYTES), from_s + MAX_CLIP_S
        recorder.video = video if own else None
        recorder.clip = recorder.folder / (f"clip-{seq}.mp4" if recorder.clips else "clip.mp4")
        begins = packets[0].time if packets else frame.time
        recorder.clips.append({"file": recorder.clip.name, "from_s": round(begins - recorder.began, 3)})

    def _finish_clip(self, recorder: EventRecorder) -> None:
        buffer, recorder.buffer = recorder.buffer, None
        if buffer is not None and recorder.clip and len(buffer) > 1:
            self._writer.make_clip(ClipJob(recorder.folder, recorder.clip, buffer.packets(), self._mask.masks))
        self._note_busy()

    def _note_busy(self) -> None:
        self.busy = frozenset(v.folder for v in self._recorders.values() if v.buffer is not None or v.ended_at is None)

    def _forget(self, time: float) -> None:
        for id_, recorder in list(self._recorders.items()):
            if recorder.ended_at is None or recorder.buffer is not None:
                continue
            if time - recorder.ended_at > KNOWN_S or len(self._recorders) > MAX_KNOWN:
                del self._recorders[id_]


def compressed(frame: Frame, mask: PrivacyMask | None = None, *, coloured: bool = True, own: bool = True) -> bytes:
    """Return a frame as a JPEG: the camera's own where it is small enough, else masked and at most 640 pixels wide.

    Without ``coloured`` it may be grey if its colours are not decoded yet; without ``own`` it is never the camera's.
    Raises OSError.
    """
    if own and frame.jpeg is not None and len(frame.jpeg) <= MAX_OWN_BYTES:
        return frame.jpeg
    image: Picture | Luma = frame.image if coloured or not isinstance(frame.picture, LazyImage) else _grey(frame)
    # Before it is made smaller: what is hidden must not mix with what is beside it.
    return jpeg(at_most(mask(image) if mask else image, WIDTH, even=True), QUALITY)


def _grey(frame: Frame) -> Picture | Luma:
    """Return the brightness of a frame where it is large enough to be shown, else its picture."""
    return frame.image if frame.luma is None or frame.luma.shape[1] < WIDTH else frame.luma


# One event: its folder, the path of its box, and the best crop of the bear.

STEP_S = 0.5  # between two places of the path
MAX_STEPS = 400  # beyond, every second one is dropped
LARGER = 1.2  # times the pixels: worth another crop of a bear as sure
SURER = 0.05  # bear probability
SCAN_LESS = 0.2  # a score of the frame scan is of a window around the bear, not of its crop
OWN_INSIDE = 0.5  # the share in which a region and the bear's box cover each other
STILL_QUALITY = 88
CROP_QUALITY = 92


class EventRecorder:
    """Gathers one event from its alarm on; ``began`` is that frame's time in seconds."""

    def __init__(self, folder: Path, began: float) -> None:
        self.folder = folder
        self.began = began
        self.seen_at = began  # when the bear was last seen, seconds
        self.ended_at: float | None = None  # when its end was published, seconds; None: it is open
        self.still: Path | None = None  # of the last event that got one
        self.shown = -1.0  # the highest score that a still shows
        self.still_waits = False  # to be written
        self._crop: Callable[[], bytes] | None = None  # makes one that is better than what was written
        self._best = (-1.0, 0)  # worth and pixels of the best crop so far
        self.buffer: ClipBuffer | None = None
        self.clip_ends = 0.0  # at the latest, seconds
        self.clip: Path | None = None  # of the buffer
        self.video: VideoBuffer | None = None  # the camera's own that the buffer is fed from
        self.clips: list[dict[str, Any]] = []
        self._box: BoxXYWH | None = None
        self._path: list[tuple[float | None, ...]] = []
        self._step_s = STEP_S
        self._stepped_at = float("-inf")

    def wants_still(self, event: Event) -> bool:
        """Return True for the alarm, for what has become more serious, and for a score higher than shown."""
        return self.still is None or event.escalated is not None or (event.score or 0.0) > self.shown

    def add(self, event: Event, time: float) -> None:
        """Note a published event: where the bear is, and whether it goes on."""
        self._box = event.box_xywh or self._box
        self.ended_at = time if event.type == "end" else None
        if event.type != "end":
            self.seen_at = time
            self._step(time, event.score)

    def follow(self, incident: Incident, time: float) -> None:
        """Note where the bear is at a time in seconds."""
        track = incident.surest
        self.seen_at = max(self.seen_at, track.last_hit)
        self._box = track.box_xywh
        self._step(time, track.now.bear if track.now else None)

    def film(self, video: VideoBuffer) -> None:
        """Take what a camera's own video has more; of a new connection, and after JPEGs, from a key picture on."""
        if self.buffer is None or self.buffer.full:
            return
        last = self.buffer.last
        more: Iterable[Packet] = video.after(last.decode_time if last else -math.inf)
        if video is not self.video or last is None or not last.h264:
            more = dropwhile(lambda packet: not packet.key, more)
        for packet in more:
            self.video = video
            self.buffer.add(packet)

    def keep_crop(self, frame: Frame, scores: Sequence[Score], context: float, mask: PrivacyMask) -> None:
        """Keep the crop of the bear in this frame, if it is the best so far.

        ``context`` is of the crops that the classifier gets.
        """
        own = [s for s in scores if self._box and inside(s.region.box_xywh, self._box) > OWN_INSIDE]
        score = max(own, key=_worth, default=None)
        if score is None:
            return
        rect = square(score.region.box_xywh, frame.size_wh, context)
        (worth, pixels), size = self._best, rect[2] * rect[3]
        if size <= LARGER * pixels if abs(_worth(score) - worth) < SURER else _worth(score) < worth:
            return
        self._best = _worth(score), size
        self._crop = partial(jpeg, mask(frame.image, rect), CROP_QUALITY, _note(frame, score))

    def take_crop(self) -> Callable[[], bytes] | None:
        """Return what makes the best crop, once, if it is better than the one taken last."""
        crop, self._crop = self._crop, None
        return crop

    def as_json(self, event: Event) -> bytes:
        """Return the event as JSON that ``Event.from_json`` reads, with its clips and the path of its box."""
        path = [[None if each is None else round(each, 4) for each in step] for step in self._path]
        # A place of the path: seconds from the alarm, x, y, width, height, bear probability.
        found = asdict(event) | {"clips": self.clips, "path": path}
        return readable(json.dumps(found, ensure_ascii=False, separators=(",", ":"))).encode() + b"\n"

    def _step(self, time: float, bear: float | None) -> None:
        if self._box is None or time < self._stepped_at + self._step_s - 0.01:
            return
        self._stepped_at = time
        self._path.append((time - self.began, *self._box, bear))
        if len(self._path) > MAX_STEPS:
            self._path, self._step_s = self._path[::2], 2 * self._step_s


def still(image: Picture, marks: Sequence[Mark], event: Event, mask: PrivacyMask) -> bytes:
    """Return the annotated picture of an event as a JPEG."""
    when = event.captured_at if event.media_time_s is None else f"{event.media_time_s:.1f} s"
    words = f"{event.camera}  {when}  {event.name_and_note[0]} {event.score or 0.0:.2f}  {event.model or ''}"
    return jpeg(annotate(mask(image), marks, words), STILL_QUALITY)


def plain(image: Picture, mask: PrivacyMask) -> bytes:
    """Return the picture of an alarm as a JPEG with nothing drawn on it: it looks like one of a random negative."""
    return jpeg(at_most(mask(image), NEGATIVE_WIDTH), NEGATIVE_QUALITY)


def _note(frame: Frame, score: Score) -> dict[str, Any]:
    return {
        "camera": frame.camera, "captured_at": utc_text(frame.wall), "media_time_s": frame.media_time_s,
        "label": score.label, "score": round(score.bear, 4), "frame_wh": frame.size_wh,
        "box_xywh": [round(side, 5) for side in score.region.box_xywh],
    }  # fmt: skip


def _worth(score: Score) -> float:
    return score.bear - (SCAN_LESS if score.region.kind == "scan" else 0.0)


# A few frames a day that raised no alarm, at random moments: for review, and for training later.

DAY_S = 86_400.0
WAIT_S = 30.0  # an alarm within this makes it no negative
NEGATIVE_WIDTH = 1280
NEGATIVE_QUALITY = 80
DICE = random.Random()


class Negatives:
    """Frames in, now and then a job to write one; ``per_day`` on average, 0 for none.

    The moments are a Poisson process, which has no memory: neither a restart nor the hour of the day makes one more
    likely. While a bear is followed, no picture is kept.
    """

    def __init__(self, root: Path, per_day: float, mask: PrivacyMask) -> None:
        self.root = root
        self.per_day = per_day
        self.mask = mask
        self._due = math.inf
        self._drawn = False
        self._held: tuple[float, WriteJob] | None = None  # and until when, seconds

    def __call__(self, frame: Frame, scores: Sequence[Score], *, bear: bool) -> WriteJob | None:
        """Return the job to write now; ``bear``: one is followed, or was a moment ago."""
        if self.per_day <= 0:
            return None
        if not self._drawn:
            self._draw(frame.time)
        if bear:
            self._held = None
            if frame.time >= self._due:
                self._draw(frame.time)
            return None
        found = None
        if self._held and frame.time >= self._held[0]:
            found, self._held = self._held[1], None
        if frame.time >= self._due and scores:
            self._held = self._held or (frame.time + WAIT_S, self._job(frame, scores))
            self._draw(frame.time)
        return found

    def _draw(self, time: float) -> None:
        self._drawn, self._due = True, time + DICE.expovariate(self.per_day / DAY_S)

    def _job(self, frame: Frame, scores: Sequence[Score]) -> WriteJob:
        best = max(scores, key=lambda score: score.bear)
        # Compressed now, because a frame is large.
        data = jpeg(at_most(self.mask(frame.image), NEGATIVE_WIDTH), NEGATIVE_QUALITY, _note(frame, best))
        path = sample_path(self.root, frame.camera, frame.wall, DICE.randrange(1 << 16))
        return WriteJob(path, ((path, lambda: data),))


# What writes for all cameras.

RETRY_S = 60.0  # between two checks of the disk, also without an alarm
HANGS_S = 60.0  # a disk that has taken nothing for so long hangs
RETRY_BYTES = 500_000  # a still, plain and marked, and a crop
DEPTH = 8  # sets of pictures that wait at most: a 720p frame holds 2.7 MB
MAX_CLIPS_BYTES = 48_000_000  # of frames that wait in memory to be made into clips


class MediaWriter:
    """Keeps evidence in a folder, the newest within ``quota_mb``.

    Pictures and clips have a thread each: a clip may take minutes, and the next alarm's picture must not wait for it.
    ``reserve_mb`` stay free on the disk. ``negatives_per_day``: frames without an alarm, at random; ``full``: the whole
    frame of each alarm as well; ``pre_s``, ``post_s``: seconds of a clip before the alarm and after the bear was last
    seen. A disk that takes nothing is a
    ``problem``, and tried again. Raises OptionError for a path at which no folder can ever be.
    """

    def __init__(
        self,
        folder: Path,
        *,
        quota_mb: float = QUOTA_MB,
        reserve_mb: float = RESERVE_MB,
        negatives_per_day: float = NEGATIVES_PER_DAY,
        full: bool = False,
        clips: bool = True,
        pre_s: float = PRE_S,
        post_s: float = POST_S,
    ) -> None:
        refused: OSError | None = None
        try:
            make_folder(folder)
        except OSError as error:
            if mistaken(error):
                raise OptionError(f"{folder}: cannot keep evidence there ({error.strerror})") from None
            refused = error
        self.folder = folder
        self.negatives_per_day = negatives_per_day
        self.full = full
        self.clips = clips
        self.pre_s, self.post_s = pre_s, post_s  # of a clip: before the alarm, after the bear was last seen
        self.failures = 0  # sets of files and clips that were not written
        self.store = MediaStore(
            folder, quota_bytes=round(quota_mb * MB), reserve_bytes=round(reserve_mb * MB), busy=self.busy
        )
        self._maker = ClipMaker()
        self._cameras: list[CameraRecorder] = []
        self._problem: str | None = None
        self._looked_at = time.monotonic()
        self._since: float | None = None  # when the present turn began, time.monotonic()
        self._hung_logged = False
        self._dropped_logged = 0
        self._lock = threading.Lock()
        self._in_work: Counter[Path] = Counter()  # folders of jobs that are written now, and of clips that wait
        self._queue = WriteQueue(DEPTH)
        # One turn for each job that waits, and now and then one to check the disk.
        self._turns: Worker[bool] = Worker(lambda check, _: self._turn(check), "evidence", depth=DEPTH + 8)
        self._clips: Worker[ClipJob] = Worker(lambda job, _: self._make(job), "clips", depth=1000)
        self._clip_bytes = 0
        if refused:
            self._failed(refused)
        # While nothing happens yet: a card with thousands of events takes seconds to read.
        self._turns(True)

    def camera(self, masks: Sequence[Polygon] = (), *, context: float = 1.0, clips: bool = True) -> CameraRecorder:
        """Make the recorder of one camera; ``context`` is of the crops its classifier gets."""
        made = CameraRecorder(self, masks, context, clips=clips and self.clips)
        self._cameras.append(made)
        return made

    def write(self, job: WriteJob) -> None:
        """Queue files; returns at once."""
        if self._queue.put(job):
            self._turns(False)

    def make_clip(self, job: ClipJob) -> None:
        """Queue a clip; returns at once. Where too many frames wait, it is dropped."""
        with self._lock:
            if self._clip_bytes + job.bytes > MAX_CLIPS_BYTES:
                self.failures += 1
                log.warning("%s: no clip is made, for too many others wait to be", job.path)
                return
            self._clip_bytes += job.bytes
            self._in_work[job.unit] += 1
        self._clips(job)

    @property
    def trouble(self) -> str | None:
        """Return why nothing can be written now, without logging it: an alarm must not wait for a terminal."""
        since = self._since
        if since is not None and time.monotonic() - since > HANGS_S:
            return f"evidence is not kept: {self.folder}: its disk hangs, for more than {HANGS_S:g} s by now"
        return self._problem

    def problem(self) -> str | None:
        """Return why nothing can be written now, None while all is well; after a while the disk is tried again."""
        now, trouble = time.monotonic(), self.trouble
        if trouble != self._problem:  # it hangs
            if not self._hung_logged:
                self._hung_logged = True
                log.warning("%s", trouble)
        elif now - self._looked_at > RETRY_S:
            self._looked_at = now
            self._turns(True)
        return trouble

    def close(self, within_s: float) -> bool:
        """Write what waits and make the last clips, for at most so many seconds; False when something was left."""
        until = time.monotonic() + within_s
        for camera in self._cameras:
            camera.finish()
        written = self._turns.close(until - time.monotonic())
        clipped = self._clips.close(until - time.monotonic())
        self._maker.stop()
        return written and clipped

    def busy(self) -> list[Path]:
        """Return the folders that pictures and clips are on their way to."""
        with self._lock:
            working = list(self._in_work)
        return [*working, *(folder for camera in self._cameras for folder in camera.busy)]

    def _turn(self, check: bool) -> None:
        """Write the job that waits longest; without one, check the disk if ``check`` asks for it."""
        job = self._queue.take()
        dropped = self._queue.dropped
        if dropped > self._dropped_logged:
            self.failures += dropped - self._dropped_logged
            self._dropped_logged = dropped
            log.warning("evidence: the disk is too slow: %d sets of pictures were given up so far", dropped)
        self._since = time.monotonic()
        try:
            if job:
                self._write(job)
                self._worked()
            elif check:
                self.store.make_room(0)
                if self._problem:
                    self.store.try_out(RETRY_BYTES)
                    self._worked()
        except (NoRoomError, OptionError, OSError) as error:
            self.failures += job is not None
            self._failed(error)
        finally:
            self._since = None
            if self._hung_logged:
                self._hung_logged = False
                log.warning("%s: its disk answers again", self.folder)

    def _write(self, job: WriteJob) -> None:
        with self._lock:
            self._in_work[job.unit] += 1
        try:
            for path, make in job.files:
                self.store.write(job.unit, path, make())
        finally:
            self._release(job.unit)

    def _make(self, job: ClipJob) -> None:
        try:
            self.store.make_room(job.bytes)
            try:
                made = self._maker(job.packets, job.path, job.masks)
            except ClipError:
                if self.store.short(job.bytes) <= 0:
                    raise
                self.store.make_room(job.bytes)  # the disk has filled up meanwhile
                made = self._maker(job.packets, job.path, job.masks)
            if made:
                self.store.grown(job.unit, job.path.stat().st_size)
        except (ClipError, NoRoomError, OSError) as error:
            self.failures += 1
            # That nothing can be written is known already.
            log.log(logging.DEBUG if self._problem else logging.WARNING, "%s: no clip is made: %s", job.path, error)
        finally:
            self._release(job.unit)
            with self._lock:
                self._clip_bytes -= job.bytes

    def _release(self, unit: Path) -> None:
        with self._lock:
            self._in_work[unit] -= 1
            self._in_work += Counter()  # drops zero counts

    def _failed(self, error: Exception) -> None:
        self._looked_at = time.monotonic()
        words = str(error)
        if isinstance(error, OSError):
            words = f"{error.filename or self.folder}: cannot be written ({error.strerror or error})"
        if self._problem is None:
            log.warning("evidence is not kept for now: %s", words)
        self._problem = f"evidence is not kept: {words}"

    def _worked(self) -> None:
        if self._problem is not None:
            self._problem = None
            log.warning("evidence is kept again, in %s", self.folder)


class WriteQueue:
    """Jobs in the order they came, at most ``depth`` of them; safe to use from any thread.

    A job without a still joins one of the same folder that waits: of each file only the newest counts. Where too many
    wait, one is dropped: first one without a still, then an update's still, then an alarm's; among equals the oldest.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.dropped = 0  # jobs
        self._waiting: deque[WriteJob] = deque()
        self._lock = threading.Lock()

    def put(self, job: WriteJob) -> bool:
        """Take it at once; True when one more waits now."""
        with self._lock:
            if job.still_of is None and self._joined(job):
                return False
            self._waiting.append(job)
            if len(self._waiting) <= self.depth:
                return True
            self._waiting.remove(min(self._waiting, key=_priority))
            self.dropped += 1
            return False

    def take(self) -> WriteJob | None:
        """Return the one that waits longest; None: none does."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _joined(self, job: WriteJob) -> bool:
        for number, waiting in reversed(list(enumerate(self._waiting))):
            if waiting.unit == job.unit:
                files = dict(waiting.files) | dict(job.files)  # each keeps its place, for the still comes first
                self._waiting[number] = replace(waiting, files=tuple(files.items()))
                return True
        return False


def _priority(job: WriteJob) -> int:
    if job.still_of is None:
        return 0
    return 2 if job.still_of.type == "new" else 1
