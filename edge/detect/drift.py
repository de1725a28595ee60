"""Drift of a camera: a daily figure that has left what was usual at its place. Pure: no clock, no disk.

One figure of one camera, by day or at night, is a series of days. Its first ``REFERENCE`` days say what is usual. From
then on a two-sided CUSUM (Page 1954, Biometrika 41) adds up how far each day lies from it:

    z = clip((day - level) / scale, -c, +c)
    up = max(0, up + z - k)        down = max(0, down - z - k)        drift at max(up, down) > limit

Level and scale follow slowly (``FOLLOW_DAYS``), so that a season is no drift. The limit comes from years that are drawn
from the days of the reference in blocks (Künsch 1989, Annals of Statistics 17), with a season added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.detect.card import Spread
from edge.schema import Picture

BINS = 10
DIGITS = 6  # significant ones of a bin's edge: a probability of 1e-7 is not 0

REFERENCE = 21  # days that say what is usual
SLACK = 1.0  # k, of the scale: a day must lie further off to count
CLIP = 3.0  # c, of the scale: no single day is a drift
FOLLOW_DAYS = 28.0  # time constant of the level; that of the scale is three times as long
GAP_DAYS = 30  # without a figure for longer: what was usual is too old, and the reference begins again
BACK_DAYS = 5  # the median of so many days says where a figure is while a drift lasts

BUDGET = 0.5  # false drifts a camera-year, of all figures together
FIGURES = 12  # of a camera: six by day and six at night
LEAST_LIMIT = 9.0  # three weeks are too few to know the worst week of a year
SEASON = 1.5  # amplitude of the season added in the drawn years, of the scale: 3 from its lowest to its highest
BLOCK_DAYS = 5
YEARS = 300  # drawn for a limit
YEAR_DAYS = 365

UNLIKE = 3.0  # times the share of unknown crops that the card promises: the place is unlike the training pictures
ONE_SIDED = 1.645  # 95 %

Values = NDArray[np.float64]


@dataclass(eq=False)
class Chart:
    """Two-sided CUSUM of days, each (N,), against a level and a scale that follow them."""

    level: Values  # (N,)
    scale: Values  # (N,)
    least: float  # of the scale
    follow_days: float = FOLLOW_DAYS
    up: Values = field(default_factory=lambda: np.zeros(1))
    down: Values = field(default_factory=lambda: np.zeros(1))

    @staticmethod
    def of(reference: Values, least: float, follow_days: float = FOLLOW_DAYS) -> Chart:
        """Return the chart that begins after a reference (days, N)."""
        scale = np.maximum(reference.std(axis=0, ddof=1), least)
        return Chart(reference.mean(axis=0), scale, least, follow_days)

    def take(self, day: Values, after_days: float = 1.0) -> None:
        """Add a day (N,), so many days after the one before."""
        z = np.clip((day - self.level) / self.scale, -CLIP, CLIP)
        self.up, self.down = np.maximum(0.0, self.up + z - SLACK), np.maximum(0.0, self.down - z - SLACK)
        share, slow = (-math.expm1(-after_days / days) for days in (self.follow_days, 3.0 * self.follow_days))
        self.level = self.level + share * z * self.scale
        self.scale = np.maximum(self.scale * np.sqrt(1.0 + slow * (z * z - 1.0)), self.least)

    @property
    def height(self) -> Values:
        """Return the larger of the two sums."""
        return np.maximum(self.up, self.down)


@dataclass(frozen=True, slots=True)
class Drift:
    """A figure that has left what was usual."""

    since: date  # from when on the sum that passed the limit never was 0; or the first day of a further change
    found: date
    up: bool
    usual: float  # the level before
    scale: float
    size: float  # how far away it is, two scales at least


@dataclass(frozen=True, slots=True)
class Course:
    """A figure of one camera up to now."""

    days: int  # that count, those of the reference too
    usual: float | None  # None while the reference is too short
    now: float | None  # mean of the last ``BACK_DAYS`` days; None: there are none
    drift: Drift | None  # that lasts

    @property
    def missing(self) -> int:
        """Return how many days the reference still needs."""
        return max(REFERENCE - self.days, 0)


def course(
    days: Sequence[tuple[date, float]],
    least: float,
    limit: Callable[[tuple[float, ...], float], float] | None = None,
    follow_days: float = FOLLOW_DAYS,
) -> Course:
    """Return the course of a figure from its days in their order, the first of which are the reference.

    ``least``: the scale is never below it, in the figure's own unit. ``limit``: of the sums, by the reference and
    ``least``; the default is ``limit_of``. What lies before a gap of more than ``GAP_DAYS`` does not count.
    While a drift lasts, the median of ``BACK_DAYS`` days decides: within one scale of what was usual, it is over;
    twice as far, or as far to the other side, it is another drift.
    """
    gaps = [n for n in range(1, len(days)) if (days[n][0] - days[n - 1][0]).days > GAP_DAYS]
    days = days[gaps[-1] :] if gaps else days
    values = [value for _, value in days]
    now = float(np.mean(values[-BACK_DAYS:])) if values else None
    if len(days) < REFERENCE:
        return Course(len(days), None, now, None)
    reference = tuple(values[:REFERENCE])
    most = (limit or limit_of)(reference, least)
    chart = Chart.of(np.array(reference)[:, None], least, follow_days)
    begins = dict.fromkeys((True, False), (REFERENCE, chart.level, chart.scale))  # of the sums up and down
    drift, back = None, list[float]()
    for n in range(REFERENCE, len(days)):
        day = days[n][0]
        if drift:
            back = [*back, values[n]][-BACK_DAYS:]
            off = float(np.median(back)) - drift.usual
            if len(back) < BACK_DAYS:
                continue
            if abs(off) <= drift.scale:
                chart = Chart(np.array([drift.usual]), np.array([drift.scale]), least, follow_days)
                begins = dict.fromkeys(begins, (n + 1, chart.level, chart.scale))
                drift = None
            elif abs(off) >= drift.size * (2.0 if drift.up == (off > 0.0) else 1.0):
                since = days[n - BACK_DAYS // 2][0]  # most of the days until now are there
                drift, back = replace(drift, since=since, found=day, up=off > 0.0, size=abs(off)), []
            continue
        chart.take(np.array([values[n]]), (day - days[n - 1][0]).days)
        for up, total in ((True, chart.up), (False, chart.down)):
            if total[0] == 0.0:
                begins[up] = n + 1, chart.level, chart.scale
            elif total[0] > most:
                first, level, scale = begins[up]
                usual, width = float(level[0]), float(scale[0])
                size = max(abs(float(np.median(values[n + 1 - BACK_DAYS : n + 1])) - usual), 2.0 * width)
                drift, back = Drift(days[first][0], day, up, usual, width, size), []
    return Course(len(days), drift.usual if drift else float(chart.level[0]), now, drift)


@lru_cache(maxsize=256)  # a limit takes some hundredths of a second, and a day adds none
def limit_of(reference: tuple[float, ...], least: float) -> float:
    """Return the limit that a quiet figure passes in so few years that all of a camera's keep to ``BUDGET``."""
    years = drawn_years(np.array(reference), np.random.default_rng(0))
    chart = Chart.of(years[:REFERENCE], least)
    highest = np.zeros(YEARS)
    for day in years[REFERENCE:]:
        chart.take(day)
        highest = np.maximum(highest, chart.height)
    return max(float(np.quantile(highest, 1.0 - BUDGET / FIGURES)), LEAST_LIMIT)


def drawn_years(reference: Values, rng: np.random.Generator) -> Values:
    """Return years (reference and year, years) of blocks of the reference's days (days,), each with a season."""
    long = REFERENCE + YEAR_DAYS
    starts = rng.integers(0, len(reference), (-(-long // BLOCK_DAYS), 1, YEARS))
    drawn = reference[(starts + np.arange(BLOCK_DAYS)[:, None]) % len(reference)].reshape(-1, YEARS)[:long]
    phase = np.arange(long)[:, None] / YEAR_DAYS + rng.random(YEARS)
    years: Values = drawn + SEASON * reference.std(ddof=1) * np.sin(2.0 * np.pi * phase)
    return years


def unlike(shares: Sequence[float], promised: float) -> bool:
    """Return True if a place is clearly unlike the training pictures.

    ``shares``: of unknown crops in the days of the reference; ``promised``: by the model's card.
    """
    if len(shares) < REFERENCE:
        return False
    first = np.array(shares[:REFERENCE])
    lower = float(first.mean() - ONE_SIDED * first.std(ddof=1) / math.sqrt(REFERENCE))
    return lower > UNLIKE * promised


def spread(values: NDArray[np.floating] | Sequence[float], bins: int = BINS) -> Spread:
    """Values (N,) as at most ``bins`` bins of about equal share, for a card; equal values are never parted.

    Where (nearly) all are the same, the bin of that value is a narrow one, so that a move to either side is seen.
    Raises ValueError without values, or with one that is no number.
    """
    found = np.asarray(values, np.float64).ravel()
    if not len(found) or not np.isfinite(found).all():
        raise ValueError(f"a spread takes one finite number or more, not {len(found)} of which some are none")
    most = float(found.max())
    edges = np.unique([_rounded_up(edge) for edge in np.quantile(found, np.linspace(0, 1, bins + 1)[1:-1])])
    edges = edges[edges < most]
    if not len(edges):
        beside, below = 10.0**-DIGITS * max(1.0, abs(most)), found[found < most]
        edges = np.array([below.max() if len(below) else most - beside, most + beside])
    # Bins are closed above: a value on an edge belongs to the bin below it.
    counts = np.bincount(np.searchsorted(edges, found, side="left"), minlength=len(edges) + 1)
    return Spread(tuple(float(edge) for edge in edges), tuple(float(count) / len(found) for count in counts))


def brightness(crop: Picture) -> float:
    """Return the mean of a crop's pixels, 0 to 1."""
    return float(crop.mean()) / 255


def _rounded_up(edge: float) -> float:
    """Return the edge with ``DIGITS`` significant ones, not below it: the values on it stay in the bin below."""
    short = float(f"{edge:.{DIGITS}g}")
    if short < edge:
        short = float(f"{short + 10.0 ** (math.floor(math.log10(abs(edge))) + 1 - DIGITS):.{DIGITS}g}")
    return short
