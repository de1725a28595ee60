"""Test vectors for what the phone decides: scored regions of made-up scenes, and what Python says of each frame.

    python -m tests.helpers.make_phone_decisions

writes edge/phone/web/test/vectors/decisions.json; the web app's tests replay it. All that goes in is whole numbers, so
that both sides see the same: boxes in thousandths of the frame, probabilities in ten-thousandths, times in ms.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.decide.alarms import Decider, Decision, State
from edge.decide.evidence import Rule
from edge.decide.repeat_alarms import RepeatAlarmFilter, Thumbnail, thumbnail
from edge.detect.card import logit, sigmoid
from edge.detect.tracker import Track, Tracker, inside, iou
from edge.detect.zones import Zone, contains, covered, drawn
from edge.schema import BoxXYWH, Region, RegionKind, Score

FILE = Path(__file__).parents[2] / "edge" / "phone" / "web" / "test" / "vectors" / "decisions.json"
SEEDS = (  # in which much happens, and what happens seldom; the last digit is the theme
    510, 20, 770, 390, 521, 31, 11, 721, 162, 652, 232, 462, 703, 203, 373, 223, 474, 764, 4, 794,
    175, 235, 325, 405, 556, 216, 776, 436, 527, 797, 307, 47, 788, 228, 118, 468, 189, 699, 1119, 439,
)  # fmt: skip
FRAMES = 104  # of a scene
LABELS = ("brown bear", "polar bear")
KINDS: tuple[RegionKind, ...] = ("motion", "track", "scan")
TYPES = ("new", "update", "end")
STRANGE = 9.0  # ood of a score that is unlike training; all others have 0
CARD = {"crop": 0.42, "prior": 0.3, "oodThreshold": 4.0}
WALL = datetime(2026, 5, 1, tzinfo=UTC)
ABOUT = (
    "Made by tests/helpers/make_phone_decisions.py. Boxes are in thousandths of the frame, probabilities in "
    "ten-thousandths. A frame is [ms since the one before, scores, asked, tracks, sums, more]. A score is x y w h kind "
    "bear, kind 0 motion, 1 track, 2 scan, and 3 more for an ood of 9; its label is labels[bear % 2]. asked: the bear "
    "of each region that the tracker asks for beside what moved, negative for that ood; they come after the scores. A "
    "track is number, box, hit, moved, motion, now: box is the index of a score of this frame, or -n for the box that "
    "track n had one frame before; hit and motion are frames since then, -1 never; now is the index of a score, or -1. "
    "sums: evidence of each track in millionths. more.before: what happened before the frame, with its decisions; "
    "more.look: what a thumbnail shows, 100 if not told. A decision is type, incident (0, 1, 2 … in order), track, "
    "label, score, top score, [x y w h], onset ms, unknown, zones, escalated. follows: motion regions that lay where "
    "a track was."
)

Row = list[Any]
Ints = tuple[int, int, int, int]


@dataclass(frozen=True)
class Theme:
    """Kind of a scene; shares of frames or of turns, 0 to 1."""

    name: str
    bears: int = 1
    levels: tuple[float, ...] = (0.9, 0.97)  # bear probability of each stay
    spread: float = 0.15
    walks: float = 0.6
    stays_s: tuple[float, ...] = (4.0, 8.0, 15.0)
    away_s: tuple[float, ...] = (3.0, 8.0, 20.0)
    leaves: float = 0.5
    moves: bool = True
    others: int = 0  # animals that are no bears
    blind: float = 0.0  # that the camera stops seeing, a frame
    cut: float = 0.0  # that open incidents are interrupted or closed, a frame
    reviews: float = 0.0  # that a person says wrong after an alarm
    free: bool = False  # regions anywhere, not those that the tracker asks for
    strips: int = 0  # zones beside one another; 0: in some scenes there are zones anywhere
    fps: float = 2.0


THEMES = (
    Theme("through zones", walks=1.0, stays_s=(8.0, 12.0), others=1, strips=3),
    Theme("stands still", walks=0.3, stays_s=(5.0, 15.0)),
    Theme("two bears", bears=2, walks=0.7, stays_s=(3.0, 6.0), away_s=(4.0, 9.0)),
    Theme(
        "stump", moves=False, spread=0.05, stays_s=(8.0, 12.0), away_s=(1500.0, 3600.0, 5400.0), reviews=0.1, fps=1.0
    ),
    Theme("comes and goes", walks=1.0, leaves=1.0, spread=0.05, stays_s=(4.0, 5.0), away_s=(17.0, 24.0), fps=0.8),
    Theme("the camera fails", blind=0.02, cut=0.03, walks=0.9, leaves=1.0, stays_s=(4.0, 7.0), away_s=(7.0, 12.0)),
    Theme("in doubt", walks=1.0, levels=(0.62, 0.65, 0.99), spread=0.05, stays_s=(6.0, 9.0), away_s=(2.0, 31.0)),
    Theme("anything", 2, free=True, levels=(0.3, 0.5, 0.8, 0.97), spread=0.6, cut=0.02, blind=0.02, reviews=0.05),
    Theme("all night", levels=(0.8, 0.9), leaves=0.9, stays_s=(4.0, 6.0), away_s=(40.0, 400.0, 1300.0), reviews=0.1),
    Theme("flicker", walks=0.4, spread=0.6, levels=(0.6, 0.95), away_s=(9.0, 60.0), reviews=0.05),
)


class Chance:
    """Random numbers by ``random()`` alone, which is the same in every Python."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random

    def between(self, low: float, high: float) -> float:
        """Return a number from low to high."""
        return low + (high - low) * self.random()

    def one(self, of: Sequence[Any]) -> Any:
        """Return one of these."""
        return of[int(self.random() * len(of))]

    def happens(self, share: float) -> bool:
        """Return True in this share of cases."""
        return self.random() < share


class Animal:
    """Something that comes, walks, stands and goes."""

    def __init__(self, chance: Chance, theme: Theme, *, bear: bool) -> None:
        self.chance, self.theme, self.bear = chance, theme, bear
        self.wh = (chance.between(0.06, 0.3), chance.between(0.08, 0.3))
        self.at = (chance.between(0.0, 0.7), chance.between(0.1, 0.7))
        self.mode, self.left_s, self.level, self.step = "away", chance.between(0.0, 3.0), 0.0, (0.0, 0.0)

    @property
    def here(self) -> bool:
        """Return True unless it is away."""
        return self.mode != "away"

    def go_on(self, seconds: float) -> None:
        """Let so much time pass."""
        chance, theme = self.chance, self.theme
        self.left_s -= seconds
        if self.left_s <= 0:
            if self.here and chance.happens(theme.leaves):
                self.mode, self.left_s = "away", chance.one(theme.away_s)
            else:
                if not self.here and theme.moves and chance.happens(0.4):
                    self.at = (chance.between(0.0, 0.7), chance.between(0.1, 0.7))
                self.mode = "walks" if theme.moves and chance.happens(theme.walks) else "stands"
                self.left_s = chance.one(theme.stays_s)
                self.level = chance.one(theme.levels) if self.bear else 0.1
                self.step = (chance.between(-0.12, 0.12), chance.between(-0.04, 0.04))
        if self.mode == "walks":
            x, y = (self.at[i] + min(seconds, 1.0) * self.step[i] for i in (0, 1))
            self.at = (min(max(x, 0.0), 1 - self.wh[0]), min(max(y, 0.0), 1 - self.wh[1]))

    def box(self, rough: float) -> Ints:
        """Return where it seems to be, in thousandths."""
        by = [1 + rough * self.chance.between(-1, 1) for _ in range(4)]
        (x, y), (w, h) = self.at, self.wh
        w, h = w * by[0], h * by[1]
        return thousandths((x + (by[2] - 1) * w, y + (by[3] - 1) * h, w, h))

    def score(self) -> float:
        """Return a bear probability."""
        return self.level + self.theme.spread * (self.chance.random() - 0.6)


def thousandths(box: Iterable[float]) -> Ints:
    """Whole numbers of a box inside the frame."""
    x, y, w, h = (round(1000 * at) for at in box)
    x, y = min(max(x, 0), 990), min(max(y, 0), 990)
    return x, y, min(max(w, 10), 1000 - x), min(max(h, 10), 1000 - y)


def box_of(ints: Sequence[int]) -> BoxXYWH:
    """Fractions of a box in thousandths."""
    return ints[0] / 1000, ints[1] / 1000, ints[2] / 1000, ints[3] / 1000


def ints_of(box: BoxXYWH) -> list[int]:
    """Thousandths of a box in fractions."""
    return [round(1000 * at) for at in box]


def score_of(row: Sequence[int]) -> Score:
    """Return the score that six whole numbers stand for."""
    bear = row[5] / 10000
    region = Region(box_of(row), KINDS[row[4] % 3])
    return Score(region, (bear, 1 - bear), bear, LABELS[row[5] % 2], STRANGE if row[4] >= 3 else 0.0)


def look(number: int, box: BoxXYWH) -> Thumbnail:
    """Return what stands in a box: hundreds of ``number`` are what it is, the rest is how it differs; 0 is blank."""
    place = round(1000 * box[0]) // 100
    cells = [
        (i * 7919 + (number // 100 + place) * 104729) * 31 % 251 + i * (number % 100) * 13 % 37 for i in range(256)
    ]
    mean = sum(cells) / 256
    spread = math.sqrt(sum((cell - mean) ** 2 for cell in cells) / 256)
    shown = [(cell - mean) / spread if number else 0.0 for cell in cells]
    return np.array(shown, np.float32).reshape(16, 16)


@dataclass
class Scene:
    """One scene as it goes on: the Python side, and the rows that are written of it."""

    seed: int
    chance: Chance = field(init=False)
    theme: Theme = field(init=False)
    rows: list[Row] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    follows: int = 0  # motion regions that lay where a track was

    def __post_init__(self) -> None:
        self.theme, self.chance = THEMES[self.seed % len(THEMES)], Chance(self.seed)
        chance = self.chance
        self.threshold = round(chance.between(0.3, 0.6), 2) if chance.happens(0.25) else None
        self.again_s = 0.0 if chance.happens(0.1) else 30.0
        self.zones = tuple(self._zone(f"zone-{i}") for i in range(int(chance.between(0, 3))) if chance.happens(0.3))
        if many := self.theme.strips:
            sides = [(i / many, (i + 1) / many) for i in range(many)]
            self.zones = tuple(
                Zone(f"strip {i}", ((a, 0.0), (b, 0.0), (b, 1.0), (a, 1.0))) for i, (a, b) in enumerate(sides)
            )
        self.rule = rule_of(self.threshold)
        self.tracker = Tracker(self.rule.threshold)
        self.filter = RepeatAlarmFilter()
        self.decider = Decider(self.rule, zones=self.zones, repeat_alarms=self.filter, again_s=self.again_s)
        self.animals = [Animal(chance, self.theme, bear=True) for _ in range(self.theme.bears)]
        self.animals += [Animal(chance, self.theme, bear=False) for _ in range(self.theme.others)]
        self.ids: list[str] = []
        self.ended: set[str] = set()
        self.times: list[float] = []
        self.boxes: dict[int, BoxXYWH] = {}  # of each track, one frame before
        self.ms, self.scanned_ms, self.blind_ms, self.look = 0, -10000, 0, 100

    def _zone(self, name: str) -> Zone:
        chance = self.chance
        x, y, w, h = chance.between(0, 0.6), chance.between(0, 0.6), chance.between(0.1, 0.5), chance.between(0.1, 0.5)
        corners = [
            (x, y),
            (x + w, y + h * chance.random()),
            (x + w, y + h),
            (x + w * chance.random(), y + h),
            (x, y + h),
        ]
        return Zone(name, tuple((round(min(a, 1.0), 3), round(min(b, 1.0), 3)) for a, b in corners))

    def run(self) -> dict[str, Any]:
        """Return the scene with everything in it."""
        before: list[Any] = []
        while len(self.rows) < FRAMES:
            before = self._frame(before)
        return {
            "name": f"{self.theme.name} {self.seed}",
            "threshold": self.threshold,
            "again_s": self.again_s,
            "zones": [[zone.name, zone.corners] for zone in self.zones],
            "follows": self.follows,
            "frames": self.rows,
        }

    def _frame(self, before: list[Any]) -> list[Any]:
        """Add one row; return what happens before the next."""
        chance, theme = self.chance, self.theme
        step_ms = round(1000 / theme.fps * chance.between(0.85, 1.15))
        if not any(animal.here for animal in self.animals):
            # Seldom where nothing is to be seen; not at all in a long absence.
            step_ms = round(1000 * max(min(6.0, 0.7 * min(a.left_s for a in self.animals)), 0.5))
            if (wait := min(animal.left_s for animal in self.animals)) > 12 and not any(
                row[3] for row in self.rows[-3:]
            ):
                step_ms = round(1000 * (wait - 1))
        self.ms += step_ms
        time = self.ms / 1000
        here = sum(animal.here for animal in self.animals)
        for animal in self.animals:
            animal.go_on(step_ms / 1000)
        left = sum(animal.here for animal in self.animals) < here
        if chance.happens(theme.blind) or (theme.blind and left and chance.happens(0.8)):
            self.blind_ms = self.ms + round(1000 * chance.one((2.0, 9.0, 40.0)))
        seeing = self.ms >= self.blind_ms
        if chance.happens(0.03):
            self.look = chance.one((0, 100, 100, 100, 300, 101, 102, 120))
        rows, asked = self._scores() if seeing or chance.happens(0.3) else ([], [])
        scores = [score_of(row) for row in (*rows, *asked)]
        self.follows += sum(self.tracker.follows(s.region) for s in scores if s.region.kind == "motion")
        tracks = self.tracker(scores, time)
        self.times.append(time)
        shown = self.look
        decisions = self.decider(tracks, time, wall=WALL, thumbnail_of=lambda box: look(shown, box), seeing=seeing)
        told = [number for track in tracks for number in self._track(track, scores)]
        states = self.decider.evidence_states()
        more: dict[str, Any] = {}
        if before:
            more["before"] = before
        if not seeing:
            more["blind"] = 1
        if twice := [s.track for s in states if s.alarm_at > self.rule.alarm_at]:
            more["twice"], self.counts["twice"] = twice, self.counts["twice"] + 1
        if decisions:
            more["decisions"] = [self._decision(each) for each in decisions]
        if shown != 100:
            more["look"] = shown
        self.counts["held"] += sum(i.state is State.END_HELD and i.lost_at == time for i in self.decider.open_incidents)
        self.boxes = {track.number: track.box_xywh for track in tracks}
        sums = [round(1e6 * state.sum) for state in states]
        self.rows.append([
            step_ms, [number for row in rows for number in row],
            [row[5] if row[4] < 3 else -row[5] for row in asked], told, sums, *([more] if more else []),
        ])  # fmt: skip
        return self._between(decisions)

    def _scores(self) -> tuple[list[Row], list[Row]]:
        """Return the scores of this frame, and those of the regions that the tracker asks for."""
        chance, here = self.chance, [animal for animal in self.animals if animal.here]
        if self.theme.free:
            count = [int(chance.between(0, 2.5)) for _ in here]
            kinds = [
                (animal, int(chance.between(0, 3)))
                for animal, many in zip(here, count, strict=True)
                for _ in range(many)
            ]
            return [self._row(animal.box(0.5), kind, animal.score()) for animal, kind in kinds], []
        rows = []
        for animal in here:
            if animal.mode == "walks" and chance.happens(0.85):
                rows.append(self._row(animal.box(0.12), 0, animal.score()))
                if chance.happens(0.08):  # its legs apart
                    rows.append(self._row(animal.box(0.5), 0, animal.score()))
        moving = [Region(box_of(row), "motion") for row in rows]
        boxes = [region.box_xywh for region in self.tracker.regions(moving)]
        asked = [self._row(ints_of(box), 1, self._seen_in(box)) for box in boxes]
        if self.ms - self.scanned_ms >= 3000:
            self.scanned_ms = self.ms
            for animal in here:
                if chance.happens(0.8):
                    box = (0, 0, 1000, 1000) if chance.happens(0.05) else animal.box(0.3)
                    rows.append(self._row(box, 2, animal.score()))
        return rows, asked

    def _row(self, box: Sequence[int], kind: int, score: float) -> Row:
        strange = 3 if self.chance.happens(0.03) else 0
        return [*box, kind + strange, min(max(round(10000 * score), 1), 9999)]

    def _seen_in(self, box: BoxXYWH) -> float:
        """Return the bear probability of a box, by what is in it."""
        for animal in self.animals:
            own = (*animal.at, *animal.wh)
            if animal.here and (iou(own, box) > 0.15 or inside(own, box) > 0.5):
                return animal.score()
        return self.chance.between(0.01, 0.3)

    def _track(self, track: Track, scores: Sequence[Score]) -> Row:
        """Return six whole numbers for a track."""

        def ago(at: float) -> int:
            return len(self.times) - 1 - self.times.index(at) if at > -math.inf else -1

        boxes = [-number for number, box in self.boxes.items() if box == track.box_xywh]
        boxes = sorted(boxes, key=lambda number: number != -track.number)
        boxes += [i for i, score in enumerate(scores) if score.region.box_xywh == track.box_xywh]
        now = next((i for i, score in enumerate(scores) if score is track.now), -1)
        assert track.unmoved_s == self.times[-1] - track.moved_at
        return [track.number, boxes[0], ago(track.last_hit), int(track.moved), ago(track.moved_at), now]

    def _between(self, decisions: Sequence[Decision]) -> list[Any]:
        """Let something happen to the camera, or a person review an event."""
        chance, done = self.chance, []
        if chance.happens(self.theme.cut):
            what = chance.one(("interrupt", "interrupt", "close"))
            ends: list[Decision] = getattr(self.decider, what)()
            self.counts["interrupted"] += len(ends)
            done.append([what, [self._decision(end) for end in ends]])
        for decision in decisions:
            if decision.type != "end" and chance.happens(self.theme.reviews):
                ago_s, wrong = chance.one((0, 5, 90000)), chance.happens(0.8)
                time = self.ms / 1000
                self.filter.reviewed(decision.id, decision.box_xywh, time - ago_s, time, wrong=wrong)
                number = self.ids.index(decision.id)
                done.append(["review", number, ints_of(decision.box_xywh), ago_s, int(wrong)])
        return done

    def _decision(self, decision: Decision) -> Row:
        if decision.id not in self.ids:
            self.ids.append(decision.id)
        self.counts["alarms"] += decision.type == "new"
        self.counts["escalated"] += decision.escalated is not None
        self.counts[(decision.escalated or "")[:4]] += 1
        self.counts["rejoined"] += decision.type == "update" and decision.id in self.ended
        self.ended.discard(decision.id)
        if decision.type == "end":
            self.ended.add(decision.id)
        return [
            TYPES.index(decision.type), self.ids.index(decision.id), decision.track,
            LABELS.index(decision.label), round(1e4 * decision.score), round(1e4 * decision.top_score),
            ints_of(decision.box_xywh), None if decision.onset_s is None else round(1000 * decision.onset_s),
            int(decision.unknown), list(decision.zones), decision.escalated,
        ]  # fmt: skip


def rule_of(threshold: float | None) -> Rule:
    """Return the rule of ``CARD``."""
    thresholds = {"crop": SimpleNamespace(value=CARD["crop"])}
    card: Any = SimpleNamespace(
        prior=CARD["prior"], ood=SimpleNamespace(threshold=CARD["oodThreshold"]), thresholds=thresholds
    )
    return Rule.from_card(card, threshold=threshold)


def rules() -> list[Any]:
    """Rules and what single scores count by them."""
    told = []
    for threshold in (None, 0.1, 0.42, 0.9):
        rule = rule_of(threshold)
        counts = [
            [bear, ood, still, rule.evidence(bear, ood=ood, still=still)]
            for bear in (0.0, 1e-7, 0.05, 0.42, 0.5, 0.7, 0.9, 0.9999, 1.0)
            for ood in (0.0, STRANGE)
            for still in (False, True)
        ]
        told.append({"threshold": threshold, "crop": rule.threshold, "still": rule.still_threshold, "counts": counts})
    return told


POLYGONS = (
    ((0.1, 0.1), (0.6, 0.15), (0.5, 0.9), (0.05, 0.7)),
    ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),
    ((0.2, 0.2), (0.8, 0.8), (0.8, 0.2), (0.2, 0.8)),  # crosses itself
    ((0.701, 0.401), (0.702, 0.401), (0.702, 0.402)),  # hardly anything
    ((0.0, 0.5), (0.3, 0.4), (0.3, 1.0), (0.25, 1.0), (0.25, 0.5), (0.0, 0.95)),
)
POINTS = ((0.3, 0.5), (0.0, 0.0), (1.0, 1.0), (-0.2, 0.6), (0.5, 1.4), (0.5, 0.2), (0.5, 0.5), (0.1, 0.1), (0.28, 0.7))
BOXES = ((0.1, 0.1, 0.4, 0.5), (0.0, 0.0, 1.0, 1.0), (0.7, 0.4, 0.1, 0.1), (0.2, 0.3, 0.05, 0.7), (0.9, 0.9, 0.3, 0.3))
GRID_WH = (13, 9)


def zones() -> dict[str, Any]:
    """Polygons, and what lies in them."""
    return {
        "polygons": POLYGONS,
        "points": POINTS,
        "contains": [[contains(corners, point) for point in POINTS] for corners in POLYGONS],
        "boxes": BOXES,
        "covered": [[covered([corners], box) for box in BOXES] for corners in POLYGONS],
        "together": [covered(POLYGONS[::4], box) for box in BOXES],
        "holds": [[Zone("zone", corners).holds(box) for box in BOXES] for corners in POLYGONS],
        "touches": [[Zone("zone", corners).touches(box) for box in BOXES] for corners in POLYGONS],
        "size": GRID_WH,
        "drawn": [_rows(drawn([corners], GRID_WH)) for corners in POLYGONS],
        "drawn_together": _rows(drawn(POLYGONS[::4], GRID_WH)),
    }


def _rows(found: NDArray[np.bool_]) -> list[str]:
    return ["".join("#" if each else "." for each in row) for row in found]


PICTURE_WH = (160, 96)
CUT: tuple[Ints, ...] = (  # the whole, parts, over the edge, even, too small twice
    (0, 0, 1000, 1000), (100, 0, 400, 1000), (203, 500, 400, 333), (700, 600, 600, 900),
    (0, 0, 200, 166), (500, 500, 2, 2), (0, 0, 1, 300),
)  # fmt: skip


def picture(width: int, height: int) -> NDArray[np.uint8]:
    """Return a picture by formula, even in a corner: uint8 (H, W, 3) BGR."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    planes = [(x * (3 + c) + y * (7 - c) + x * y // (11 + 2 * c)) % 256 for c in range(3)]
    return np.stack([np.where((x < 32) & (y < 16), 90, plane) for plane in planes], axis=-1).astype(np.uint8)


def thumbnails() -> list[Any]:
    """Boxes and their thumbnails, in ten-thousandths."""
    image = picture(*PICTURE_WH)
    flat = [[ints, thumbnail(image, box_of(ints)).ravel().tolist()] for ints in CUT]
    return [[ints, [round(10000 * cell) for cell in cells] if any(cells) else []] for ints, cells in flat]


def vectors() -> dict[str, Any]:
    """Everything the file holds."""
    scenes = [Scene(seed) for seed in SEEDS]
    told = [scene.run() for scene in scenes]
    counts: Counter[str] = sum((scene.counts for scene in scenes), Counter())
    wanted = {"alarms": 60, "escalated": 20, "held": 10, "rejoined": 10, "interrupted": 5, "twice": 5}
    wanted |= {"zone": 3, "risi": 3, "back": 3}  # why it escalated
    missing = {name: (counts[name], least) for name, least in wanted.items() if counts[name] < least}
    assert not missing, missing
    return {
        "about": ABOUT, "labels": LABELS, "card": CARD, "rules": rules(), "zones": zones(),
        "picture": PICTURE_WH, "thumbnails": thumbnails(),
        "logits": [[p, logit(p), sigmoid(10 * p - 5)] for p in (0.0, 0.001, 0.3, 0.5, 0.99, 1.0)],
        "scenes": told,
    }  # fmt: skip


def as_text(found: dict[str, Any]) -> str:
    """JSON, one scene a line."""
    dumps: Callable[[Any], str] = lambda what: json.dumps(what, separators=(",", ":"), ensure_ascii=False)  # noqa: E731
    scenes = ",\n".join(dumps(scene) for scene in found["scenes"])
    head = {key: value for key, value in found.items() if key != "scenes"}
    return dumps(head)[:-1] + ',"scenes":[\n' + scenes + "\n]}\n"


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(as_text(vectors()), encoding="utf-8")
