"""One event as evidence follows it: its folder, the path of its box, and the best look at the bear."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.detect.crops import square
from edge.detect.tracker import Track, inside
from edge.drawing import Mark, annotate
from edge.evidence.picture import Blackout, jpeg
from edge.evidence.ring import Reel
from edge.schema import BoxXYWH, Event, Frame, Picture, Score, readable, utc_text

STEP_S = 0.5  # between two places of the way
MOST_STEPS = 400  # of a long visit every second one goes, again and again
LARGER = 1.2  # times the pixels: worth another crop of a bear as sure
SURER = 0.05  # bear probability
SCAN_LESS = 0.2  # what the frame scan says is of a window around the bear, not of its crop
OWN_INSIDE = 0.5  # the share in which a region and the bear's box cover each other
STILL_QUALITY = 88
CROP_QUALITY = 92


@dataclass(frozen=True, eq=False)
class Crop:
    """A look at the bear, in full resolution, nothing drawn on it."""

    picture: Picture
    note: dict[str, Any]

    def as_jpeg(self) -> bytes:
        """The picture with its note."""
        return jpeg(self.picture, CROP_QUALITY, self.note)


class Visit:
    """What is gathered of one event from its alarm on; ``began`` is that frame's time in seconds."""

    def __init__(self, folder: Path, event: Event, began: float) -> None:
        self.folder = folder
        self.began = began
        self.seen_at = began  # the last frame in which it was surely a bear, seconds
        self.ended_at: float | None = None
        self.still: Path | None = None  # of the last event that got one
        self.shown = -1.0  # the highest score that a still shows
        self.still_waits = False  # to be written
        self._crop: Crop | None = None  # better than what was written
        self._best = (-1.0, 0)  # worth and pixels of the best crop so far
        self.reel: Reel | None = None
        self.reel_ends = 0.0  # at the latest, seconds
        self.clip: Path | None = None  # of the reel
        self.clips: list[dict[str, Any]] = []
        self._tracks: set[int] = set()
        self._box: BoxXYWH | None = event.box_xywh
        self._path: list[tuple[float | None, ...]] = []
        self._step_s = STEP_S
        self._stepped_at = float("-inf")

    def wants_still(self, event: Event) -> bool:
        """Whether an event is worth a picture: the alarm, what has become more serious, a score higher than shown."""
        return self.still is None or event.escalated is not None or (event.score or 0.0) > self.shown

    def told(self, event: Event, time: float) -> None:
        """An event of this visit was told: whose track it is, and whether it goes on."""
        if event.track is not None:
            self._tracks.add(event.track)
        self._box = event.box_xywh or self._box
        self.ended_at = time if event.type == "end" else None
        if event.type != "end":
            self.seen_at = time
            self._step(time, event.score)

    def mine(self, tracks: Sequence[Track], others: Collection[int], time: float) -> Track | None:
        """The likeliest of a frame's tracks that is this visit's bear; ``others``: those of other visits."""
        mine = [t for t in tracks if t.number in self._tracks or not self._tracks.isdisjoint(t.absorbed)]
        if not mine:  # lost and found again: another track, the same bear
            mine = [t for t in tracks if t.number not in others and t.last_hit == time and self._near(t.box_xywh)]
        self._tracks.update(track.number for track in mine)
        return max(mine, key=lambda t: (t.now.bear if t.now else 0.0, t.last_hit), default=None)

    @property
    def tracks(self) -> frozenset[int]:
        """The numbers of the tracks that are this bear."""
        return frozenset(self._tracks)

    def follow(self, track: Track, time: float) -> None:
        """Where the bear is at a time in seconds."""
        self.seen_at = max(self.seen_at, track.last_hit)
        self._box = track.box_xywh
        self._step(time, track.now.bear if track.now else None)

    def look(self, frame: Frame, scores: Sequence[Score], context: float, hidden: Blackout) -> None:
        """Keep what the classifier saw of the bear in this frame, if it is the best look so far.

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
        note = {
            "camera": frame.camera, "captured_at": utc_text(frame.wall), "media_time_s": frame.media_time_s,
            "label": score.label, "score": round(score.bear, 4), "frame_wh": frame.size_wh,
            "box_xywh": [round(side, 5) for side in score.region.box_xywh],
        }  # fmt: skip
        self._crop = Crop(hidden(frame.image, rect), note)

    def take_crop(self) -> Crop | None:
        """The best look, once, if it is better than the one taken last."""
        crop, self._crop = self._crop, None
        return crop

    def as_json(self, event: Event) -> bytes:
        """The event as it stands, which ``Event.from_json`` reads, with its clips and the path of its box."""
        path = [[None if each is None else round(each, 4) for each in step] for step in self._path]
        # A place of the path: seconds from the alarm, x, y, width, height, bear probability.
        found = asdict(event) | {"clips": self.clips, "path": path}
        return readable(json.dumps(found, ensure_ascii=False, separators=(",", ":"))).encode() + b"\n"

    def _step(self, time: float, bear: float | None) -> None:
        if self._box is None or time < self._stepped_at + self._step_s - 0.01:
            return
        self._stepped_at = time
        self._path.append((time - self.began, *self._box, bear))
        if len(self._path) > MOST_STEPS:
            self._path, self._step_s = self._path[::2], 2 * self._step_s

    def _near(self, box_xywh: BoxXYWH) -> bool:
        """Whether a box touches the bear's last one when each is grown by its own size on every side."""
        if self._box is None:
            return False
        (x0, y0, w0, h0), (x1, y1, w1, h1) = self._box, box_xywh
        return abs((x0 + w0 / 2) - (x1 + w1 / 2)) < 1.5 * (w0 + w1) and abs((y0 + h0 / 2) - (y1 + h1 / 2)) < 1.5 * (
            h0 + h1
        )


def still(image: Picture, marks: Sequence[Mark], event: Event, hidden: Blackout) -> bytes:
    """The annotated picture of an event as a JPEG."""
    when = event.captured_at if event.media_time_s is None else f"{event.media_time_s:.1f} s"
    words = f"{event.camera}  {when}  {event.label} {event.score or 0.0:.2f}  {event.model or ''}".replace("_", " ")
    return jpeg(annotate(hidden(image), marks, words), STILL_QUALITY)


def _worth(score: Score) -> float:
    return score.bear - (SCAN_LESS if score.region.kind == "sweep" else 0.0)
