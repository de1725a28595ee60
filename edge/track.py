"""Each animal its own evidence: a small greedy tracker over scored regions.

An observation is a ``Score``; it is a *hit* where its bear probability reaches the threshold.
Motion boxes jitter, the whole frame and several tiles may hit the same animal, and a tile without a
bear says nothing about the bear beside it. So:

- A hit joins the track it overlaps most (IoU, or one lying in the other), or a near one that could have
  walked there; several may join one track. A hit that joins none begins a track.
- What is no hit counts against a track only where it is that track's own box (IoU 0.3, for tiles 0.5).
- A track found by the sweep takes every tile that touches it, until something moves in it.
- A track's evidence in a frame is the highest bear probability among what joined it.
- A hit that could as well be of another track says so (``akin``), so that the evidence gathered there is not lost:
  a higher score must not delay an alarm by beginning a second track beside the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.schema import BoxXYWH, Region, Score

OWN_IOU = 0.3
OWN_TILE_IOU = 0.5
SAME_IOU = 0.2
SAME_INSIDE = 0.6  # share of the smaller box that lies in the larger
TOUCHING = 0.1  # tiles overlap by a third, in the corner by a ninth
REACH_MOTION_S = 3.0  # how long a hit's box still belongs to the animal's surroundings
REACH_SWEEP_S = 13.0  # longer than the longest a tile may wait for its turn
LARGE = 0.2  # of the frame: larger than the small tiles of a sweep
STILL_S = 3.0  # without motion for so long, it stands still


@dataclass(eq=False)
class Track:
    """One followed animal (or what looks like one)."""

    number: int  # 1, 2, 3 … within one camera
    box_xywh: BoxXYWH
    born: float  # seconds, the frame's clock
    last_hit: float
    moved: bool = False  # whether motion ever found it
    moved_at: float = -math.inf  # when it did last, seconds
    still: bool = True  # whether nothing has moved in it for a while
    now: Score | None = None  # this frame's best observation; None: nothing was said of it
    own: bool = False  # whether this frame's observations have its own box among them: only that speaks against it
    akin: list[int] = field(default_factory=list)  # tracks that this frame's hits could as well be of
    reach: list[tuple[float, BoxXYWH]] = field(default_factory=list)  # (until, box) of recent hits
    absorbed: list[int] = field(default_factory=list)  # tracks that were merged into this one in this frame

    def touches(self, box_xywh: BoxXYWH) -> float:
        """The largest share in which a box and one of the recent hits' boxes cover each other, 0 to 1."""
        # A hit of the whole frame or of a large tile does not make all that lies in it this animal.
        near = [own for _, own in self.reach if _area(own) <= max(LARGE, _area(self.box_xywh))]
        return max(inside(box_xywh, own) for own in (*near, self.box_xywh))


class Tracker:
    """Scores of one frame in, live tracks out; one for each camera."""

    def __init__(self, threshold: float, *, lost_s: float = 5.0) -> None:
        self.threshold = threshold  # bear probability of a hit, 0 to 1; may be another at night
        self.lost_s = lost_s  # a track without a hit for so long is gone
        self.tracks: list[Track] = []
        self._count = 0

    def regions(self, moving: Sequence[Region]) -> list[Region]:
        """The tracks (kind "track") that none of this frame's motion regions covers: look at them again."""
        return [
            Region(track.box_xywh, "track")
            for track in self.tracks
            if all(iou(track.box_xywh, region.box_xywh) < OWN_IOU for region in moving)
        ]

    def __call__(self, scores: Sequence[Score], time: float) -> list[Track]:
        """The live tracks after this frame's scores (time in seconds), oldest first."""
        self.tracks = [track for track in self.tracks if time - track.last_hit <= self.lost_s]
        for track in self.tracks:
            track.now, track.own, track.akin, track.absorbed = None, False, [], []
            track.reach = [(until, box) for until, box in track.reach if until >= time]
        joined: dict[int, list[Score]] = {}
        for score in sorted(scores, key=_order):
            homes = self._homes(score, time)
            hit = score.bear >= self.threshold
            if not homes and not hit:
                continue
            track = homes[0] if homes else self._begin(score, time)
            joined.setdefault(track.number, []).append(score)
            track.own = track.own or _own(track, score.region)
            if hit:
                track.akin += [other.number for other in homes[1:]]
                track.last_hit = time
                stays = REACH_SWEEP_S if score.region.kind == "sweep" else REACH_MOTION_S
                track.reach.append((time + stays, score.region.box_xywh))
        for track in self.tracks:
            if track.number in joined:
                self._follow(track, joined[track.number], time)
        self._merge()
        for track in self.tracks:
            track.still = time - track.moved_at > STILL_S
        return self.tracks

    def _homes(self, score: Score, time: float) -> list[Track]:
        """The tracks this observation may belong to, the likeliest first."""
        found = [(self._affinity(track, score, time), track) for track in self.tracks]
        return [track for share, track in sorted(found, key=lambda pair: -pair[0]) if share > 0]

    def _affinity(self, track: Track, score: Score, time: float) -> float:
        """How surely an observation is of this track, 0 (not) to 1."""
        box, kind = score.region.box_xywh, score.region.kind
        overlap = iou(track.box_xywh, box)
        if score.bear < self.threshold:
            return overlap if _own(track, score.region) else 0.0
        if kind == "sweep":
            share = track.touches(box)
            return share if share >= TOUCHING else 0.0
        share = inside(track.box_xywh, box) if track.moved else track.touches(box)
        if overlap >= SAME_IOU or share >= SAME_INSIDE:
            return max(overlap, share)
        return 0.1 if _walked(track.box_xywh, box, time - track.last_hit) else 0.0

    def _begin(self, score: Score, time: float) -> Track:
        self._count += 1
        track = Track(self._count, score.region.box_xywh, time, time)
        self.tracks.append(track)
        return track

    def _follow(self, track: Track, scores: list[Score], time: float) -> None:
        """Take this frame's evidence and move the box to where the animal is."""
        track.now = max(scores, key=lambda score: score.bear)
        moved = [score for score in scores if score.region.kind == "motion"]
        hits = [score for score in moved if score.bear >= self.threshold]
        if hits or (moved and track.moved):
            track.moved, track.moved_at = True, time
            track.box_xywh = max(hits or moved, key=lambda score: score.bear).region.box_xywh
            return
        # A smaller tile that still says bear is the tighter crop.
        tiles = [s for s in scores if s.region.kind == "sweep" and s.bear >= self.threshold]
        tighter = [s for s in tiles if _area(s.region.box_xywh) < 0.9 * _area(track.box_xywh)]
        if tighter:
            track.box_xywh = max(tighter, key=lambda score: score.bear).region.box_xywh

    def _merge(self) -> None:
        """Two tracks that have come to lie on one another are one: the older stays."""
        kept: list[Track] = []
        for track in self.tracks:
            twin = next((k for k in kept if self._same(k, track)), None)
            if twin is None:
                kept.append(track)
                continue
            twin.last_hit = max(twin.last_hit, track.last_hit)
            twin.moved = twin.moved or track.moved
            twin.moved_at = max(twin.moved_at, track.moved_at)
            twin.reach += track.reach
            twin.own = twin.own or track.own
            twin.akin += track.akin
            twin.absorbed += [track.number, *track.absorbed]
            if track.now and (twin.now is None or track.now.bear > twin.now.bear):
                twin.now, twin.box_xywh = track.now, track.box_xywh
        self.tracks = kept

    @staticmethod
    def _same(one: Track, other: Track) -> bool:
        if one.moved and other.moved:
            return iou(one.box_xywh, other.box_xywh) >= 0.5
        return inside(one.box_xywh, other.box_xywh) >= SAME_INSIDE


def iou(one: BoxXYWH, other: BoxXYWH) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    common = _common(one, other)
    union = _area(one) + _area(other) - common
    return common / union if union > 0 else 0.0


def inside(one: BoxXYWH, other: BoxXYWH) -> float:
    """The share of the smaller box that the larger one covers, 0 to 1."""
    smaller = min(_area(one), _area(other))
    return _common(one, other) / smaller if smaller > 0 else 0.0


def _own(track: Track, region: Region) -> bool:
    """Whether a region is the track's own box, whatever was scored in it."""
    return iou(track.box_xywh, region.box_xywh) >= (OWN_TILE_IOU if region.kind == "sweep" else OWN_IOU)


def _order(score: Score) -> tuple[int, float]:
    """Motion first, for its boxes are tight; then large tiles, which gather the small ones around them."""
    return ("motion", "track", "sweep").index(score.region.kind), -_area(score.region.box_xywh)


def _walked(was: BoxXYWH, box: BoxXYWH, seconds: float) -> bool:
    """Whether an animal could have gone from one box to the other: half its length, and one more each second."""
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
