"""Each animal its own evidence: a small greedy tracker over scored regions.

An observation is a ``Score`` of some region: what moved, the box of a track, or where the frame scan found a bear. It
is a *hit* where its bear probability reaches the threshold. The kind of its region does not matter, only how the region
and the track's box lie:

- A hit is of a track where the overlap is real: IoU 0.2, or six tenths of the region lie in the track's box. A region
  that merely touches is another place. For a hit of motion or of a track's box the animal may also have walked there.
- A region much larger than the track in it shows that a bear is somewhere in it. It adds to the strongest track in it
  that another region hit in this very frame; so it keeps none alive, and moves none.
- A hit that is of no track begins one. A hit of the frame scan does not, beside a track with a higher score in this
  frame: motion finds the legs, and the scan finds the back.
- A track stays at its box while that is hit. Where it is not, and a region that overlaps it is, the animal is there.
- An observation that is no hit counts against a track only where it is that track's own box (IoU 0.3, of the frame scan
  0.5).
- A track's evidence in a frame is the highest bear probability among what joined it.
- A hit that could as well be of another track names it (``likely_same_ids``), so that the evidence of that track is
  not lost: a higher score must not delay an alarm by beginning a second track beside the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.schema import BoxXYWH, Region, Score

LOST_S = 5.0  # a track without a hit for so long is gone
OWN_IOU = 0.3
OWN_SCAN_IOU = 0.5  # of what the frame scan found, which is rough
SAME_IOU = 0.2
SAME_INSIDE = 0.6  # share of the smaller box that lies in the larger
TWIN_IOU = 0.5
TOUCHING = 0.1  # share of the smaller box
BODY = 0.25  # share of its box by which an animal may reach beyond what moved of it, on each side
REACH_S = 3.0  # how long a hit's box still belongs to the animal's surroundings: longer than between two scores
LARGE = 0.2  # of the frame
PAUSED_S = 1.0  # without motion for so long, the next score is of the same picture again
STILL_S = 3.0  # and for so long, it stands still


@dataclass(eq=False)
class Track:
    """One followed animal, or what seems to be one."""

    number: int  # 1, 2, 3 … within one camera
    box_xywh: BoxXYWH
    born: float  # seconds, the frame's clock
    last_hit: float
    moved: bool = False  # whether motion ever found it
    moved_at: float = -math.inf  # when it did last, seconds
    unmoved_s: float = math.inf  # how long nothing has moved in it, seconds
    unmoved: int = 0  # frames with a score of it since then
    now: Score | None = None  # this frame's best observation; None: it was not scored
    scanned_at: float = -math.inf  # when the frame scan last hit it, seconds
    own: bool = False  # whether this frame's observations have its own box among them: only that speaks against it
    likely_same_ids: list[int] = field(default_factory=list)  # tracks that this frame's hits could as well be of
    reach: list[tuple[float, BoxXYWH]] = field(default_factory=list)  # (until, box) of recent hits
    absorbed: list[int] = field(default_factory=list)  # tracks that were merged into this one in this frame

    @property
    def still(self) -> bool:
        """Return True if nothing has moved in it for ``STILL_S``."""
        return self.unmoved_s > STILL_S

    @property
    def paused(self) -> bool:
        """Return True if nothing has moved in it for ``PAUSED_S`` and more than one score, or never has."""
        return self.still or (self.unmoved_s > PAUSED_S and self.unmoved > 1)

    def scanned(self, time: float, within_s: float = 0.0) -> bool:
        """Return True if the frame scan hit it at a time (seconds), or so shortly before."""
        return time - self.scanned_at <= within_s

    def touches(self, box_xywh: BoxXYWH) -> float:
        """Return the largest share in which a box and one of the recent hits' boxes cover each other, 0 to 1."""
        # A hit of the whole frame or of a large part does not make all that lies in it this animal.
        most = max(LARGE, _area(self.box_xywh))
        near = [own for _, own in self.reach if _area(own) <= most and inside(own, self.box_xywh) >= TOUCHING]
        return max(inside(box_xywh, own) for own in (*near, self.box_xywh))


class Tracker:
    """Scores of one frame in, live tracks out; one for each camera."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold  # bear probability of a hit, 0 to 1; may be another at night
        self.tracks: list[Track] = []
        self._count = 0

    def regions(self, moving: Sequence[Region]) -> list[Region]:
        """Return the tracks (kind "track") that none of this frame's motion regions covers, to score them again."""
        return [
            Region(track.box_xywh, "track")
            for track in self.tracks
            if all(iou(track.box_xywh, region.box_xywh) < OWN_IOU for region in moving)
        ]

    def follows(self, region: Region) -> bool:
        """Return True if a region is where one of the tracks is."""
        return any(_overlap(track.box_xywh, region.box_xywh) for track in self.tracks)

    def __call__(self, scores: Sequence[Score], time: float) -> list[Track]:
        """Return the live tracks after this frame's scores (time in seconds), oldest first."""
        if not (scores or self.tracks):
            return self.tracks
        self.tracks = [track for track in self.tracks if time - track.last_hit <= LOST_S]
        for track in self.tracks:
            track.now, track.own, track.likely_same_ids, track.absorbed = None, False, [], []
            track.reach = [(until, box) for until, box in track.reach if until >= time]
        seen: dict[int, list[Score]] = {}  # of each track, what overlaps it
        around: dict[int, list[Score]] = {}  # and hits of much larger regions that it lies in
        elsewhere: list[Score] = []
        for score in sorted(scores, key=_order):
            if homes := self._homes(score, time):
                self._join(homes, score, time, seen)
            elif score.bear >= self.threshold:
                elsewhere.append(score)
        for score in elsewhere:
            box = score.region.box_xywh
            sure = {
                track: _surest(seen[track.number])
                for track in self.tracks
                if track.last_hit == time and track.number in seen
            }
            within = [track for track in self.tracks if _lies(track.box_xywh, box)]
            if homes := self._homes(score, time):  # one that began in this frame
                self._join(homes, score, time, seen)
            elif hit := [track for track in within if track in sure]:
                around.setdefault(max(hit, key=lambda track: sure[track]).number, []).append(score)
            elif score.region.kind != "scan" or not any(_beside(track, score, bear) for track, bear in sure.items()):
                self._join([self._begin(score, time), *within], score, time, seen)
        for track in self.tracks:
            if track.number in seen:
                self._follow(track, seen[track.number], around.get(track.number, []), time)
        self._merge(time)
        for track in self.tracks:
            track.unmoved_s = time - track.moved_at
            track.unmoved = 0 if track.unmoved_s == 0 else track.unmoved + (track.now is not None)
        return self.tracks

    def _join(self, homes: Sequence[Track], score: Score, time: float, seen: dict[int, list[Score]]) -> None:
        """Give an observation to the first of these tracks; note that a hit could be of the others too."""
        track = homes[0]
        seen.setdefault(track.number, []).append(score)
        track.own = track.own or _own(track, score.region)
        if score.bear >= self.threshold:
            track.likely_same_ids += [other.number for other in homes[1:]]
            track.last_hit = time
            if score.region.kind == "scan":
                track.scanned_at = time
            track.reach.append((time + REACH_S, score.region.box_xywh))

    def _homes(self, score: Score, time: float) -> list[Track]:
        """Return the tracks this observation may be of, the likeliest first."""
        found = [(self._affinity(track, score, time), track) for track in self.tracks]
        return [track for share, track in sorted(found, key=lambda pair: -pair[0]) if share > 0]

    def _affinity(self, track: Track, score: Score, time: float) -> float:
        """Return how surely an observation is of this track, 0 (not) to 1."""
        box = score.region.box_xywh
        overlap = iou(track.box_xywh, box)
        if score.bear < self.threshold:
            return overlap if _own(track, score.region) else 0.0
        if overlap >= SAME_IOU:
            return overlap
        if _lies(box, track.box_xywh):
            return SAME_IOU * _common(box, track.box_xywh) / _area(box)
        if score.region.kind == "scan" or _lies(track.box_xywh, box):
            return 0.0
        return 0.1 if _walked(track.box_xywh, box, time - track.last_hit) else 0.0

    def _begin(self, score: Score, time: float) -> Track:
        self._count += 1
        track = Track(self._count, score.region.box_xywh, time, time, moved=score.region.kind == "motion")
        self.tracks.append(track)
        return track

    def _follow(self, track: Track, seen: Sequence[Score], around: Sequence[Score], time: float) -> None:
        """Move the box to where the animal is, and take this frame's evidence of what overlaps it there."""
        moved = [score for score in seen if score.region.kind == "motion"]
        hits = [score for score in moved if score.bear >= self.threshold]
        parts = [score for score in seen if score.region.kind == "scan" and score.bear >= self.threshold]
        own = [score.bear for score in seen if _own(track, score.region)]
        if hits or (moved and track.moved):
            track.moved, track.moved_at = True, time
            parts = hits or moved
        elif not own or max(own) >= self.threshold:
            # It is still there; what the frame scan found is the tighter crop if it is smaller.
            parts = [score for score in parts if _area(score.region.box_xywh) < 0.9 * _area(track.box_xywh)]
        if parts:
            track.box_xywh = max(parts, key=lambda score: score.bear).region.box_xywh
        there = [score for score in (*seen, *around) if _overlap(track.box_xywh, score.region.box_xywh)]
        track.now = max(there, key=lambda score: score.bear, default=None)

    def _merge(self, time: float) -> None:
        """Two tracks that have come to lie on one another are one: the older stays."""
        kept: list[Track] = []
        for track in self.tracks:
            twin = next((k for k in kept if _twins(k, track, time)), None)
            if twin is None:
                kept.append(track)
                continue
            if iou(twin.box_xywh, track.box_xywh) >= TWIN_IOU:
                best = max(twin, track, key=lambda each: each.now.bear if each.now else 0.0)
            else:
                best = min(twin, track, key=lambda each: _area(each.box_xywh))
            twin.now, twin.box_xywh = best.now, best.box_xywh
            twin.last_hit = max(twin.last_hit, track.last_hit)
            twin.moved = twin.moved or track.moved
            twin.moved_at = max(twin.moved_at, track.moved_at)
            twin.reach += track.reach
            twin.own = twin.own or track.own
            twin.scanned_at = max(twin.scanned_at, track.scanned_at)
            twin.likely_same_ids += track.likely_same_ids
            twin.absorbed += [track.number, *track.absorbed]
        self.tracks = kept


def _twins(one: Track, other: Track, time: float) -> bool:
    """Return True if two tracks are one: they overlap, or the larger one saw what is in the smaller one."""
    if iou(one.box_xywh, other.box_xywh) >= TWIN_IOU:
        return True
    smaller = min(one, other, key=lambda each: _area(each.box_xywh))
    seen = smaller.last_hit == time and not (one.moved and other.moved)
    return seen and inside(one.box_xywh, other.box_xywh) >= SAME_INSIDE


def iou(one: BoxXYWH, other: BoxXYWH) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    common = _common(one, other)
    union = _area(one) + _area(other) - common
    return common / union if union > 0 else 0.0


def inside(one: BoxXYWH, other: BoxXYWH) -> float:
    """Return the share of the smaller box that the larger one covers, 0 to 1."""
    smaller = min(_area(one), _area(other))
    return _common(one, other) / smaller if smaller > 0 else 0.0


def _overlap(one: BoxXYWH, other: BoxXYWH) -> bool:
    return iou(one, other) >= SAME_IOU or inside(one, other) >= SAME_INSIDE


def _lies(one: BoxXYWH, other: BoxXYWH) -> bool:
    return _common(one, other) >= SAME_INSIDE * _area(one) > 0


def _beside(track: Track, score: Score, bear: float) -> bool:
    """Return True if a frame scan's hit is more of an animal that another region found with ``bear`` in this frame."""
    x, y, w, h = track.box_xywh
    margin = BODY if track.moved else 0.0
    body = (x - margin * w, y - margin * h, w * (1 + 2 * margin), h * (1 + 2 * margin))
    return bear >= score.bear and inside(body, score.region.box_xywh) >= TOUCHING


def _own(track: Track, region: Region) -> bool:
    return iou(track.box_xywh, region.box_xywh) >= (OWN_SCAN_IOU if region.kind == "scan" else OWN_IOU)


def _surest(scores: Sequence[Score]) -> float:
    return max(score.bear for score in scores)


def _order(score: Score) -> tuple[int, float]:
    """Motion first, for its boxes are tight; then the surest, for it stands for those around it."""
    return ("motion", "track", "scan").index(score.region.kind), -score.bear


def _walked(was: BoxXYWH, box: BoxXYWH, seconds: float) -> bool:
    """Return True if an animal could have gone from one box to the other: half its length, and one more each second."""
    longer = max(*was[2:], *box[2:])
    shorter = min(max(was[2:]), max(box[2:]))
    dx = was[0] + was[2] / 2 - box[0] - box[2] / 2
    dy = was[1] + was[3] / 2 - box[1] - box[3] / 2
    # Two and a half times as large is another animal.
    return bool(longer <= 2.5 * shorter and (dx * dx + dy * dy) ** 0.5 <= (0.5 + min(seconds, 1.0)) * longer)


def _area(box: BoxXYWH) -> float:
    return box[2] * box[3]


def _common(one: BoxXYWH, other: BoxXYWH) -> float:
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)
