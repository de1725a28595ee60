"""One camera's evidence: the last seconds in memory, and from an alarm on what is to be kept of it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from edge.detect.tracker import Track
from edge.detect.zones import Polygon
from edge.drawing import Mark
from edge.evidence.layout import visit_folder
from edge.evidence.negatives import WAIT_S, Negatives
from edge.evidence.papers import Desk, Film, Papers
from edge.evidence.picture import Blackout, at_most, jpeg
from edge.evidence.ring import Reel, Ring, Shot
from edge.evidence.visit import Visit, still
from edge.schema import Event, Frame, Later, Luma, Picture, Score

log = logging.getLogger(__name__)

PRE_S, POST_S, MOST_S = 5.0, 10.0, 60.0  # of a clip: before the alarm, after the bear was last seen, in all
ACTIVE_S, IDLE_S = 0.2, 1.0  # between two shots, while something moves and while nothing does
SLACK_S = 0.01  # without it a camera at 10 frames a second would give every third one
WIDTH = 640  # of shots that we compress ourselves
QUALITY = 78
MOST_OWN_BYTES = 400_000  # of a shot the camera compressed: a trail camera's stills are too large
RING_BYTES = 8_000_000
REEL_BYTES = 16_000_000
KNOWN_S = 600.0  # how long after its end a bear may be found again
MOST_KNOWN = 100
FULL_QUALITY = 92


class CameraEvidence:
    """Given every frame and every event of one camera; it hands on what is to be written and never waits.

    ``desk`` takes what is to be written; ``full`` keeps the whole frame of an alarm as well; without ``clips`` none are
    held in memory. What goes wrong here is said and never reaches the alarm. Call it from one thread; ``busy`` may be
    asked from any.
    """

    def __init__(
        self,
        root: Path,
        desk: Desk,
        *,
        masks: Sequence[Polygon] = (),
        context: float = 1.0,
        clips: bool = True,
        full: bool = False,
        negatives_per_day: float = 0.0,
        pre_s: float = PRE_S,
        post_s: float = POST_S,
        dice: random.Random | None = None,
    ) -> None:
        self.root = root
        self.context = context
        self.full = full
        self.pre_s, self.post_s = pre_s, post_s  # of a clip: before the alarm, after the bear was last seen
        self.ring = Ring(pre_s, RING_BYTES) if clips else None
        self.busy: frozenset[Path] = frozenset()  # folders that are still written to
        self._desk = desk
        self._hidden = Blackout(masks)
        self._negatives = Negatives(root, negatives_per_day, self._hidden, dice)
        self._visits: dict[str, Visit] = {}  # by event id, the last one told last
        self._shot_at = float("-inf")
        self._looked_at = float("-inf")
        self._said = False  # that something went wrong here

    def place(self, event: Event, frame: Frame) -> str | None:
        """Where the still of this event will lie; the last one's, where it brings none of its own."""
        visit = self._visits.pop(event.id, None)
        if visit is None:
            visit = Visit(visit_folder(self.root, event.camera, frame.wall, event.id), event, frame.time)
        self._visits[event.id] = visit
        if event.type != "end" and visit.wants_still(event):
            visit.still = visit.folder / ("alarm.jpg" if visit.still is None else f"alarm-{event.seq}.jpg")
            visit.shown = max(visit.shown, event.score or 0.0)
            visit.still_waits = True
        # A path at which nothing will lie would only mislead.
        return None if visit.still is None or self._desk.trouble else str(visit.still)

    def told(self, event: Event, frame: Frame, marks: Sequence[Mark], scores: Sequence[Score]) -> None:
        """An event that ``place`` has seen was told to everyone: keep what belongs to it."""
        self._safely(lambda: self._told(event, frame, marks, scores))

    def look(self, frame: Frame, *, moving: bool, scores: Sequence[Score] = (), tracks: Sequence[Track] = ()) -> None:
        """Every frame, after its events were told. ``moving``: something moves or is followed; ``tracks``: the live."""
        self._safely(lambda: self._look(frame, moving, scores, tracks))

    def finish(self) -> None:
        """No more frames will come: make the clips of what there is."""
        for visit in list(self._visits.values()):
            self._finish_reel(visit)

    def _safely(self, work: Callable[[], None]) -> None:
        """Watching goes on whatever becomes of the evidence."""
        try:
            work()
        except Exception as error:
            level = logging.DEBUG if self._said else logging.WARNING
            log.log(level, "internal error while keeping evidence (%s: %s)", type(error).__name__, error, exc_info=True)
            self._said = True

    def _told(self, event: Event, frame: Frame, marks: Sequence[Mark], scores: Sequence[Score]) -> None:
        visit = self._visits[event.id]
        again = visit.ended_at is not None and event.type != "end"
        visit.told(event, frame.time)
        if self.ring is not None and visit.reel is None and (again or event.type == "new"):
            before = [shot for shot in self.ring.shots() if shot.time >= frame.time - self.pre_s]
            self._begin_reel(visit, frame.time, before, event.seq)
        files: list[tuple[Path, Callable[[], bytes]]] = []
        pictured = visit.still if visit.still_waits else None
        visit.look(frame, scores, self.context, self._hidden)
        if pictured:
            image = frame.image  # in this thread: what was left for later is not made in two
            files.append((pictured, partial(still, image, marks, event, self._hidden)))
            if self.full and event.type == "new":
                files.append((visit.folder / "full.jpg", partial(self._whole, image)))
        if crop := visit.take_crop():
            files.append((visit.folder / "crop.jpg", crop.as_jpeg))
        state = visit.as_json(event)
        files.append((visit.folder / "event.json", lambda: state))
        visit.still_waits = False
        self._note_busy()
        self._desk.write(Papers(visit.folder, tuple(files), event if pictured else None))
        # An end that comes with a frame already seen: no more frames will come, the source has ended or is gone.
        if event.type == "end" and frame.time <= self._looked_at:
            self._finish_reel(visit)

    def _look(self, frame: Frame, moving: bool, scores: Sequence[Score], tracks: Sequence[Track]) -> None:
        self._looked_at = frame.time
        open_ones = [visit for visit in self._visits.values() if visit.ended_at is None]
        for visit in open_ones:
            others = frozenset().union(*(other.tracks for other in open_ones if other is not visit))
            if track := visit.mine(tracks, others, frame.time):
                visit.follow(track, frame.time)
                visit.look(frame, scores, self.context, self._hidden)
        reels = [visit for visit in self._visits.values() if visit.reel is not None]
        if self.ring is not None:
            self._shoot(frame, self.ring, reels, scores, active=moving or bool(reels))
        for visit in reels:
            if frame.time >= min(visit.seen_at + self.post_s, visit.reel_ends):
                self._finish_reel(visit)
        lately = [v for v in self._visits.values() if v.ended_at is None or frame.time - v.ended_at < WAIT_S]
        if papers := self._negatives(frame, scores, bear=bool(lately)):
            self._desk.write(papers)
        if self._visits and not open_ones:
            self._forget(frame.time)

    def _shoot(
        self, frame: Frame, ring: Ring, reels: Sequence[Visit], scores: Sequence[Score], *, active: bool
    ) -> None:
        gap_s = ACTIVE_S if active else IDLE_S
        if self._shot_at - 1.0 < frame.time < self._shot_at + gap_s - SLACK_S:
            return
        # When it was due, so that the rate holds on average; after a pause from now on.
        due = self._shot_at + gap_s
        self._shot_at = due if frame.time < due + gap_s else frame.time
        shot = Shot(frame.time, compressed(frame, coloured=active or bool(scores)))
        ring.add(shot)
        for visit in reels:
            if visit.reel is not None:
                visit.reel.add(shot)

    def _begin_reel(self, visit: Visit, time: float, shots: Sequence[Shot], seq: int) -> None:
        visit.reel, visit.reel_ends = Reel(shots, REEL_BYTES), time - self.pre_s + MOST_S
        visit.clip = visit.folder / (f"clip-{seq}.mp4" if visit.clips else "clip.mp4")
        begins = shots[0].time if shots else time
        visit.clips.append({"file": visit.clip.name, "from_s": round(begins - visit.began, 3)})

    def _finish_reel(self, visit: Visit) -> None:
        reel, visit.reel = visit.reel, None
        if reel is not None and visit.clip and len(reel) > 1:
            self._desk.film(Film(visit.folder, visit.clip, reel.shots(), self._hidden.masks))
        self._note_busy()

    def _whole(self, image: Picture) -> bytes:
        return jpeg(self._hidden(image), FULL_QUALITY)

    def _note_busy(self) -> None:
        self.busy = frozenset(v.folder for v in self._visits.values() if v.reel is not None or v.ended_at is None)

    def _forget(self, time: float) -> None:
        """Visits that nobody can come back to, the oldest first."""
        for id_, visit in list(self._visits.items()):
            if visit.ended_at is None or visit.reel is not None:
                continue
            if time - visit.ended_at > KNOWN_S or len(self._visits) > MOST_KNOWN:
                del self._visits[id_]


def compressed(frame: Frame, *, coloured: bool = True) -> bytes:
    """A frame as a JPEG: the camera's own where it is small enough, else at most 640 pixels wide.

    Without ``coloured`` it may be grey, where its colours are yet to be worked out. Raises OSError.
    """
    if frame.jpeg is not None and len(frame.jpeg) <= MOST_OWN_BYTES:
        return frame.jpeg
    image: Picture | Luma = (
        frame.image if coloured or frame.luma is None or not isinstance(frame.picture, Later) else (frame.luma)
    )
    return jpeg(at_most(image, WIDTH, even=True), QUALITY)
