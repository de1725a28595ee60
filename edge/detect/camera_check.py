"""Check that the camera still sees: that it is not black, blinded, covered, blurred or turned away.

Works on the small grey picture of ``edge.detect.motion``, about once a second, against what was usual at this
place before. Light, infrared and weather change brightness and contrast; these measures hardly follow them:

- structure: |5x5 mean - 21x21 mean|; where nearly every block has none, nothing can be made out.
- contrast: |picture - 9x9 mean| by brightness, which fog takes away.
- sharpness: |picture - 5x5 mean| by structure, which dew and a lens out of focus take away.
- likeness: the correlation of edge maps, each evened out by its surroundings, which a turned camera takes away.

``FaultDebouncer`` turns faults into reports: one after a grace time, and one when the fault is over. A camera that
flickers must not flood: each time a fault is back soon, the next end has to be good for twice as long. ``Night`` tells
night from day by the same pictures: infrared has no colour, and dark is dark.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detect.motion import Grey
from edge.schema import CameraFault, EventType, Luma, Picture, TroubleKind

Blocks = NDArray[np.float32]  # (9, 16), one value a block

BLOCKS_WH = (16, 9)
CELLS_WH = (8, 6)  # likeness is judged in these
MIDDLE = slice(1, 8)  # rows of blocks; into the uppermost and the lowermost cameras write their clock
DARK, BRIGHT = 24.0, 245.0  # brightness between which a block can be compared
MIN_CONTRAST = 0.02  # usual contrast, 2 grey levels of 100, below which a block is smooth and cannot be compared
MIN_COMPARED = 0.1  # share of blocks
MIN_LIKE = 0.25  # share of the cells with edges that must still have edges, for a comparison

CLEAR_S = 3.0
MAX_CLEAR_S = 300.0
AGAIN_S = 600.0
MAX_RETURNS = 10  # further ones change nothing

SAMPLE_PX = 45  # the shorter side of the sample
# What three quarters of the pixels' channels differ by at most: infrared, and surely not.
COLOURLESS, COLOURED = 4.0, 7.0
NIGHT_BELOW, DAY_FROM = 40.0, 55.0  # mean brightness, 0 to 255: night, and surely day
APART_S = 30.0
LASTS_S = 10.0  # headlights and lightning make no day, a shadow no night


@dataclass(frozen=True)
class CameraCheckSettings:
    """When something counts as wrong, and for how long it must last (seconds)."""

    structure: float = 1.5  # grey levels, below which a block is flat
    flat: float = 0.95  # share of flat blocks from which on nothing can be made out
    black: float = 32.0  # median brightness below which that is black
    white: float = 235.0  # and above which white
    blinded: float = 0.8  # share of blocks over 250 that is white too, whatever the rest shows
    contrast: float = 0.3  # of what is usual, median of the blocks
    sharpness: float = 0.5
    elsewhere: float = 0.25  # median likeness to the view below which it is another
    at_rest: float = 0.5  # likeness of two views in one direction
    lasts_s: dict[TroubleKind, float] = field(
        default_factory=lambda: {"black": 2.0, "white": 2.0, "covered": 2.0, "blurred": 60.0, "moved": 20.0}
    )
    reported_s: float = 60.0  # how long a turned camera is reported; the new view counts at once
    settle_s: float = 60.0  # until so much was seen of a place nothing is missed there
    rise_s: float = 600.0  # how fast what is usual follows upwards
    fall_s: float = 86_400.0  # and downwards: dew takes hours
    view_s: float = 600.0  # how fast the view's edges follow: shadows wander


@dataclass(eq=False)
class View:
    """Measures of one picture, or the usual ones of a place."""

    mean: Blocks  # brightness, grey levels
    structure: Blocks  # grey levels
    contrast: Blocks  # a share of brightness
    sharpness: Blocks  # a share of structure
    edges: Grey  # (h, 320), about 1 on an edge

    @staticmethod
    def at(grey: Grey) -> View:
        """Measure a picture, float32 (h, 320)."""
        fine, wide = _mean(grey, 5), _mean(grey, 21)
        mean, structure = _blocks(grey), _blocks(np.abs(fine - wide))
        contrast = _blocks(np.abs(grey - _mean(grey, 9))) / (mean + 8)
        sharpness = _blocks(np.abs(grey - fine)) / (structure + 1)
        across, down = (cv2.Sobel(grey, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
        steep = np.asarray(cv2.magnitude(across, down), np.float32)
        edges = _mean(steep / (_mean(steep, 21) + np.float32(1.5)), 5)
        return View(mean, structure, contrast, sharpness, edges)


class CameraCheck:
    """Small grey picture and its time in, what is wrong out; one for each camera, called about once a second."""

    def __init__(self, settings: CameraCheckSettings | None = None) -> None:
        self.settings = settings or CameraCheckSettings()
        self._usual: View | None = None
        self._begun = self._time = 0.0  # start of what is usual; time of the last picture
        self._since: dict[TroubleKind, float] = {}  # since when something looks wrong
        self._other: Grey | None = None  # the edges of another view, while it holds still
        self._turned: tuple[float, CameraFault] | None = None  # when a turned camera was noticed

    def __call__(self, grey: Grey, time: float) -> tuple[CameraFault, ...]:
        """Return what is wrong with this picture, float32 (h, 320), taken at ``time`` seconds."""
        view, dt, self._time = View.at(grey), max(time - self._time, 0.0), time
        wrong = self._unseen(view)
        if wrong:
            self._other = None
        elif self._usual is None or self._usual.edges.shape != view.edges.shape:
            self._take(view)
        else:
            wrong = self._missed(view, self._usual)
            if "moved" not in wrong:
                self._learn(view, self._usual, dt)
        self._since = {kind: self._since.get(kind, time) for kind in wrong}
        lasting = [kind for kind, since in self._since.items() if time - since >= self.settings.lasts_s[kind]]
        if "moved" in lasting:
            if time - self._begun >= self.settings.settle_s:
                self._turned = (time, CameraFault("moved", wrong["moved"]))
            self._take(view)
        troubles = [CameraFault(kind, wrong[kind]) for kind in lasting if kind != "moved"]
        if self._turned and time - self._turned[0] < self.settings.reported_s:
            troubles.append(self._turned[1])
        return tuple(troubles)

    def _take(self, view: View) -> None:
        self._usual, self._begun, self._other = view, self._time, None
        self._since = {}

    def _unseen(self, view: View) -> dict[TroubleKind, str]:
        """Return what is wrong with a picture in which nothing can be made out, whatever was there before."""
        s = self.settings
        light = float(np.median(view.mean))
        white = float(np.mean(view.mean > 250))
        if white >= s.blinded:
            words = f"the picture is white (brightness {light:.0f} of 255): turn the camera away from the sun or lamp"
            return {"white": words}
        flat = float(np.mean(view.structure[MIDDLE] < s.structure))
        if flat < s.flat:
            return {}
        if light < s.black:
            return {
                "black": f"the picture is black (brightness {light:.0f} of 255): look for a lens cap or a dead "
                "infrared lamp; a camera without one sees nothing at night"
            }
        if light > s.white:
            words = f"the picture is white (brightness {light:.0f} of 255): look for frost, snow or a lamp at the lens"
            return {"white": words}
        return {
            "covered": f"hardly anything can be made out ({100 * flat:.0f} % of the picture is without structure): "
            "clean the lens and clear what hangs before it, or wait for thick fog to lift"
        }

    def _missed(self, view: View, usual: View) -> dict[TroubleKind, str]:
        """Return what is usual at this place and cannot be seen now."""
        s = self.settings
        lit = (view.mean > DARK) & (view.mean < BRIGHT)
        blurry = False
        wrong: dict[TroubleKind, str] = {}
        comparable = lit & (usual.contrast >= MIN_CONTRAST)
        if np.mean(comparable) >= MIN_COMPARED:
            contrast = float(np.median(view.contrast[comparable] / usual.contrast[comparable]))
            sharpness = float(np.median(view.sharpness[comparable] / usual.sharpness[comparable]))
            if (contrast < s.contrast or sharpness < s.sharpness) and self._time - self._begun >= s.settle_s:
                left = 100 * min(contrast, sharpness)
                wrong["blurred"] = (
                    f"the picture has lost its sharpness ({left:.0f} % of what is usual here is left): "
                    "wipe dew or dirt off the lens and check its focus, or wait for the fog to lift"
                )
            now = view.sharpness[lit & (view.structure >= s.structure)]
            # Another view through the same lens is as sharp as the last; drops on the lens make edges elsewhere too.
            blurry = len(now) > 0 and bool(np.median(now) < s.sharpness * np.median(usual.sharpness[comparable]))
        alike = likeness(view.edges, usual.edges)
        if blurry or alike is None or alike >= s.elsewhere:
            self._other = None
            return wrong
        still = None if self._other is None else likeness(view.edges, self._other)
        if still is None or still < s.at_rest:
            # A passing animal or a swaying pole does not show one other view for long.
            self._other = view.edges
            self._since.pop("moved", None)
        wrong["moved"] = (
            f"the camera shows another view than before (likeness {max(alike, 0.0):.2f} of 1): if nobody turned it, "
            "straighten it; if somebody did, check its zones and masks"
        )
        return wrong

    def _learn(self, view: View, usual: View, dt: float) -> None:
        """Let the usual view follow what is seen, more slowly downwards; skip dark and blinded blocks."""
        s = self.settings
        age = self._time - self._begun
        first = dt / age if 0 < age < s.settle_s else 0.0  # a plain mean to begin with
        rise, fall, follow = (max(first, 1 - math.exp(-dt / t)) for t in (s.rise_s, s.fall_s, s.view_s))
        lit = (view.mean > DARK) & (view.mean < BRIGHT)
        usual.contrast = _follow(usual.contrast, view.contrast, lit, rise, fall)
        usual.sharpness = _follow(usual.sharpness, view.sharpness, lit, rise, fall)
        usual.edges = usual.edges + np.float32(follow) * (view.edges - usual.edges)


def likeness(one: Grey, other: Grey) -> float | None:
    """Return the median correlation of two edge maps over the cells in which both have edges, -1 to 1.

    None where too little of what ``other`` shows can be compared.
    """
    one_mean, other_mean = _cells(one), _cells(other)
    one_spread = _cells(one * one) - one_mean * one_mean
    other_spread = _cells(other * other) - other_mean * other_mean
    there = other_spread > 0.01
    both = there & (one_spread > 0.01)
    if np.mean(there) < MIN_COMPARED or np.sum(both) < MIN_LIKE * np.sum(there):
        return None
    common = _cells(one * other) - one_mean * other_mean
    return float(np.median(common[both] / np.sqrt(one_spread[both] * other_spread[both])))


def _follow(usual: Blocks, now: Blocks, lit: NDArray[np.bool_], rise: float, fall: float) -> Blocks:
    step = np.where(now > usual, rise, fall) * lit
    return np.asarray(usual + step * (now - usual), np.float32)


def _mean(grey: Grey, side: int) -> Grey:
    return np.asarray(cv2.blur(grey, (side, side)), np.float32)


def _blocks(grey: Grey) -> Blocks:
    return np.asarray(cv2.resize(grey, BLOCKS_WH, interpolation=cv2.INTER_AREA), np.float32)


def _cells(grey: Grey) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(grey, CELLS_WH, interpolation=cv2.INTER_AREA), np.float32)


# Seconds a fault must last before it is reported. What a source or the lens check reports is some seconds old already.
GRACE_S: Mapping[TroubleKind, float] = {
    "gone": 3.0, "frozen": 3.0, "black": 5.0, "white": 5.0, "covered": 5.0, "blurred": 60.0, "moved": 0.0,
    "unsteady": 0.0, "main_gone": 3.0,
}  # fmt: skip
UNSEEING: frozenset[TroubleKind] = frozenset({"gone", "frozen", "black", "white", "covered"})  # no bear is seen then


@dataclass(frozen=True, slots=True)
class FaultReport:
    """A fault that is new or over (end)."""

    type: EventType
    id: str  # of its events: new and end share it
    trouble: CameraFault
    lasted_s: float


@dataclass(eq=False)
class _Case:
    """One kind of fault: what is known of it now, and how often it came back."""

    trouble: CameraFault
    since: float
    seen_at: float
    id: str | None = None  # None: not published
    ended_at: float | None = None  # when the last end was published
    returns: int = 0


class FaultDebouncer:
    """Faults of one moment in, reports out; one for each camera. Call it about once a second.

    Without the fault for ``CLEAR_S`` it is over; doubled, up to five minutes, for each time it was back within
    ``AGAIN_S`` of its end. Times in seconds, from one clock that only goes forward.
    """

    def __init__(self) -> None:
        self._cases: dict[TroubleKind, _Case] = {}

    @property
    def now(self) -> tuple[CameraFault, ...]:
        """Return the faults that were published and last."""
        return tuple(case.trouble for case in self._cases.values() if case.id)

    def __call__(
        self, troubles: Sequence[CameraFault], time: float, *, at_once: Collection[TroubleKind] = ()
    ) -> list[FaultReport]:
        """Return the reports to publish now (seconds); ``at_once``: kinds that are sure and need no grace time."""
        kinds = {trouble.kind for trouble in troubles}
        # While no picture comes, nothing else can be known to be over.
        gone_by = [self._gone_by(kind, time) for kind in self._cases if kind not in kinds and "gone" not in kinds]
        lasting = [self._lasting(trouble, time, trouble.kind in at_once) for trouble in troubles]
        return [report for report in (*gone_by, *lasting) if report]

    def close(self, time: float) -> list[FaultReport]:
        """End every fault that was published and lasts: the camera is closed."""
        reports = [
            FaultReport("end", case.id, case.trouble, max(time - case.since, 0.0))
            for case in self._cases.values()
            if case.id
        ]
        self._cases.clear()
        return reports

    def _lasting(self, trouble: CameraFault, time: float, at_once: bool) -> FaultReport | None:
        case = self._cases.setdefault(trouble.kind, _Case(trouble, time, time))
        if not case.id and time - case.seen_at >= CLEAR_S:
            case.since = time
        case.trouble, case.seen_at = trouble, time
        if case.id or time - case.since < (0.0 if at_once else GRACE_S[trouble.kind]):
            return None
        back_soon = case.ended_at is not None and time - case.ended_at <= AGAIN_S
        case.returns = case.returns + 1 if back_soon else 0
        case.id = uuid.uuid4().hex
        return FaultReport("new", case.id, trouble, time - case.since)

    def _gone_by(self, kind: TroubleKind, time: float) -> FaultReport | None:
        case = self._cases[kind]
        clear_s = min(CLEAR_S * 2 ** min(case.returns, MAX_RETURNS), MAX_CLEAR_S)
        if not case.id or time - case.seen_at < clear_s:
            return None
        report = FaultReport("end", case.id, case.trouble, case.seen_at - case.since)
        case.id, case.ended_at = None, time
        return report


def is_night(image: Picture | Luma | NDArray[np.float32]) -> bool:
    """Return True if one picture is infrared or dark: (H, W, 3) BGR, or (h, w) grey, which can only be dark."""
    colour, light = _measured(image)
    return light < NIGHT_BELOW or (colour is not None and colour <= COLOURLESS)


def is_grey(image: Picture) -> bool:
    """Return True if a picture (H, W, 3) BGR has no colour, as infrared has none."""
    colour, _ = _measured(image)
    return colour is not None and colour <= COLOURLESS


class Night:
    """Picture and its time in, night or not out; one for each camera.

    The first picture decides; after that a change must be clear (up to a brightness of 55, or with colours up
    to 7 apart, it is still night) and last for 10 s. After 30 s without one, the next decides again.
    """

    def __init__(self) -> None:
        self.night: bool | None = None  # None: nothing seen yet
        self._infrared = False
        self._looked: float | None = None
        self._since: float | None = None  # when the picture began to look otherwise

    def __call__(self, image: Picture | Luma | NDArray[np.float32], time: float) -> bool:
        """Return True if it is night, with this picture taken at ``time`` seconds: (H, W, 3) BGR or (h, w) grey.

        Grey pictures between coloured ones leave it to those whether it is infrared.
        """
        colour, light = _measured(image)
        if self._looked is not None and time - self._looked > APART_S:
            self.night = self._since = None  # pictures so far apart have nothing to do with one another
        self._looked = time
        night = bool(self.night)
        if colour is not None:
            self._infrared = colour <= (COLOURED if night else COLOURLESS)
        looks = self._infrared or light < (DAY_FROM if night else NIGHT_BELOW)
        if self.night is None:
            self.night = looks
        if looks == self.night:
            self._since = None
        elif self._since is None:
            self._since = time
        if self._since is not None and time - self._since >= LASTS_S:
            self.night, self._since = looks, None
        return self.night


def _measured(image: Picture | Luma | NDArray[np.float32]) -> tuple[float | None, float]:
    """Return what three quarters of the pixels' channels differ by at most (None: grey), and the mean brightness."""
    step = max(1, min(image.shape[:2]) // SAMPLE_PX)
    sample = image[step // 2 :: step, step // 2 :: step]
    if sample.ndim == 2:
        return None, float(np.mean(sample))
    blue, green, red = (sample[..., channel].ravel() for channel in range(3))
    spread = np.maximum(np.maximum(blue, green), red) - np.minimum(np.minimum(blue, green), red)
    most = (3 * len(spread)) // 4
    light = 0.114 * np.mean(blue) + 0.587 * np.mean(green) + 0.299 * np.mean(red)
    return float(np.partition(spread, most)[most]), float(light)
