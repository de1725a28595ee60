"""Count false drifts in simulated years without a change, and the delay with one, beside a plain CUSUM and ADWIN.

    python tests/proofs/prove_drift.py [YEARS]

No real year of a camera was at hand: the days are made by computer. Each camera has its seasons (of any phase, up to
``SEASONS``), weather that lasts (the same for all its figures, and each figure's own), days with too few crops, days
off, storms. The days go through ``edge.detect.drift``, as on the device. ADWIN (Bifet & Gavaldà 2007) needs the
package river, which is no part of this project; without it there is no row of it.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.detect.drift import BUDGET, CLIP, FIGURES, LEAST_LIMIT, REFERENCE, SLACK, Chart, course, limit_of
from edge.drift_watch import FIGURES as OF_THE_ALARM

BEGIN = date(2026, 3, 1)
YEAR, AT, WITHIN = 365, 180, 90  # days after the reference; of them the first with the change; to notice it
NAMES = ("brightness", "sharpness", "busy", "size", "bear", "ood")
LEAST = {name: figure.least for name, figure in OF_THE_ALARM.items()}
# Of one day: weather's scale; and of a year: half of what lies between its lowest and its highest, at most.
DAILY = dict(zip(NAMES, (0.18, 0.08, 0.4, 0.2, 0.4, 0.06), strict=True))
SEASONS = dict(zip(NAMES, (0.30, 0.12, 0.65, 0.2, 0.4, 0.06), strict=True))
BUSY = 4.0  # minutes an hour with something moving, usually
FIRST_SEED = 1000  # cameras 0 to 149 chose the least limit, and these, with which the others keep the budget as well
QUIET_LIMIT, QUIET_DELTA = 270.0, 1e-19
Series = dict[tuple[str, bool], list[tuple[int, float]]]  # by figure and night: day and value


def lasting(rng: np.random.Generator, days: int, share: float = 0.5) -> NDArray[np.float64]:
    """Return weather of scale 1: what lasts from one day to the next, with heavy tails."""
    fresh = rng.standard_t(5, days) / np.sqrt(5 / 3)
    found = np.zeros(days)
    for day in range(1, days):
        found[day] = share * found[day - 1] + np.sqrt(1 - share**2) * fresh[day]
    return found


def camera(rng: np.random.Generator, days: int) -> Series:
    """Return the figures of one camera without any change."""
    found: Series = {}
    off = rng.random(days) < 0.03
    storm = np.where(rng.random(days) < 0.02, rng.choice((-4.0, 4.0), days), 0.0)
    for night in (False, True):
        common = lasting(rng, days)
        for name in NAMES:
            season = rng.uniform(0, SEASONS[name]) * np.sin(2 * np.pi * (np.arange(days) / YEAR + rng.random()))
            own = lasting(rng, days, 0.4)
            week = 0.3 * (np.arange(days) % 7 >= 5) * (name == "busy")
            values = season + week + DAILY[name] * (0.5 * common + 0.87 * own + 0.5 * storm * rng.normal())
            if name == "busy":
                values = np.clip(values, -log_busy(1.0), math.log1p(60.0) - log_busy(1.0))
            few = rng.random(days) < (0.15 if name in {"size", "bear", "ood"} else 0.0)
            found[name, night] = [(day, float(values[day])) for day in range(days) if not (off[day] or few[day])]
    return found


def log_busy(times: float) -> float:
    """Return the figure of so many times the usual minutes with something moving."""
    return math.log1p(BUSY * times)


def changed(series: Series, change: dict[str, float], ramp_days: int) -> Series:
    """Return the figures with a change by day and at night, in full after so many days."""
    begin = REFERENCE + AT
    return {
        (name, night): [
            (day, value + change.get(name, 0.0) * min(max(day - begin + 1, 0) / ramp_days, 1.0)) for day, value in days
        ]
        for (name, night), days in series.items()
    }


Monitor = Callable[[Sequence[tuple[int, float]], float], list[int]]  # days and least scale to the days of alarms


Limit = Callable[[tuple[float, ...], float], float]
limit_once: Limit = cache(limit_of.__wrapped__)  # the same references come back with each change


def ours(days: Sequence[tuple[int, float]], least: float, limit_for: Limit = limit_once) -> list[int]:
    """Return the days on which a drift was found; after each, a person looks, and the reference begins again."""
    found, first = list[int](), 0
    while first + REFERENCE < len(days):
        reference = tuple(value for _, value in days[first : first + REFERENCE])
        chart, limit = Chart.of(np.array(reference)[:, None], least), limit_for(reference, least)
        for n in range(first + REFERENCE, len(days)):
            chart.take(np.array([days[n][1]]), days[n][0] - days[n - 1][0])
            if chart.height[0] > limit:
                break
        else:
            return found
        # The device finds it on this very day.
        dated = [(BEGIN + timedelta(days=day), value) for day, value in days[first : n + 1]]
        drift = course(dated, least, limit_for).drift
        assert drift
        assert drift.found == dated[-1][0]
        found.append(days[n][0])
        first = n + 1
    return found


def limit_of_first(days: Sequence[tuple[int, float]], name: str) -> float:
    """Return the limit of a figure by its first days."""
    return limit_once(tuple(value for _, value in days[:REFERENCE]), LEAST[name])


def plain(days: Sequence[tuple[int, float]], least: float, limit: float = LEAST_LIMIT) -> list[int]:
    """Return the alarms of Page's CUSUM in ten lines, with a reference that stays."""
    found, first = list[int](), 0
    while first + REFERENCE < len(days):
        reference = [value for _, value in days[first : first + REFERENCE]]
        mean, scale = float(np.mean(reference)), max(float(np.std(reference, ddof=1)), least)
        up = down = 0.0
        for n in range(first + REFERENCE, len(days)):
            z = min(max((days[n][1] - mean) / scale, -CLIP), CLIP)
            up, down = max(0.0, up + z - SLACK), max(0.0, down - z - SLACK)
            if max(up, down) > limit:
                found.append(days[n][0])
                break
        else:
            return found
        first = n + 1
    return found


def adwin_of(delta: float) -> Monitor | None:
    """Return ADWIN, looking each day; None where river is not installed."""
    try:
        from river.drift import ADWIN  # type: ignore[import-not-found]
    except ImportError:
        return None

    def adwin(days: Sequence[tuple[int, float]], least: float) -> list[int]:
        detector, found = ADWIN(delta=delta, clock=1), []
        reference = [value for _, value in days[:REFERENCE]]
        scale = max(float(np.std(reference, ddof=1)), least)
        for n, (day, value) in enumerate(days):
            detector.update(value / scale)
            if n >= REFERENCE and detector.drift_detected:
                found.append(day)
        return found

    return adwin


VIEW = {"brightness": 0.3, "sharpness": -0.25, "size": 0.6, "busy": log_busy(0.4) - log_busy(1.0)}
CHANGES: dict[str, tuple[dict[str, float], int]] = {
    "none: brightness and sharpness, by chance": (dict.fromkeys(("brightness", "sharpness"), 0.0), 1),
    "none: minutes with something moving and size, by chance": (dict.fromkeys(("busy", "size"), 0.0), 1),
    **{
        f"dirty lens: brightness and sharpness -{percent} %, {words}": (
            dict.fromkeys(("brightness", "sharpness"), math.log(1 - percent / 100)),
            ramp,
        )
        for percent in (20, 40)
        for words, ramp in (("at once", 1), ("in 60 days", 60))
    },
    "another view that the camera check missed": (VIEW, 1),
    "new animals: three times the minutes with something moving, half as large": (
        {"busy": log_busy(3.0) - log_busy(1.0), "size": math.log(0.5)},
        1,
    ),
    "twice the minutes with something moving, nothing else": ({"busy": log_busy(2.0) - log_busy(1.0)}, 1),
    "scores shifted by one logit, at once": ({"bear": 1.0}, 1),
    "scores shifted by one logit, in 60 days": ({"bear": 1.0}, 60),
}


def main() -> None:
    """Print two tables, in Markdown."""
    years = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    began = time.perf_counter()
    monitors: dict[str, Monitor] = {
        "ours": ours,
        f"ours, {LEAST_LIMIT:g} for all": partial(ours, limit_for=lambda *_: LEAST_LIMIT),
        f"plain CUSUM, {LEAST_LIMIT:g}": plain,
        f"{QUIET_LIMIT:g}": partial(plain, limit=QUIET_LIMIT),
    }
    monitors |= {f"ADWIN, {delta:g}": found for delta in (0.002, QUIET_DELTA) if (found := adwin_of(delta))}
    cameras = [camera(np.random.default_rng(FIRST_SEED + n), REFERENCE + YEAR) for n in range(years)]
    assert all(len(each) == FIGURES for each in cameras)
    print(f"{years} camera-years without a change; budget: {BUDGET:g} false drifts a camera-year\n")
    print("| | false drifts a camera-year | cameras without any |\n|---|---|---|")
    for who, monitor in monitors.items():
        counts = [sum(len(monitor(days, LEAST[name])) for (name, _), days in each.items()) for each in cameras]
        print(f"| {who} | {np.mean(counts):.2f} | {np.mean(np.array(counts) == 0):.0%} |", flush=True)
    limits = np.array([limit_of_first(days, name) for each in cameras for (name, _), days in each.items()])
    print(f"\nlimits that are {LEAST_LIMIT:g}: {np.mean(limits == LEAST_LIMIT):.0%}; the highest: {limits.max():.0f}")
    print(f"\n| change | {' | '.join(monitors)} |\n|---|{'---|' * len(monitors)}")
    for words, (change, ramp) in CHANGES.items():
        cells = []
        for monitor in monitors.values():
            delays = [delay_of(monitor, each, change, ramp) for each in cameras[: years // 2]]
            known = [delay for delay in delays if delay is not None]
            middle = f", {np.median(known):.0f} days [{np.quantile(known, 0.9):.0f}]" if known else ""
            cells.append(f"{len(known) / len(delays):.0%}{middle}")
        print(f"| {words} | {' | '.join(cells)} |", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")


def delay_of(monitor: Monitor, series: Series, change: dict[str, float], ramp: int) -> int | None:
    """Return the days to the first drift of a changed figure after the change; None: none within ``WITHIN`` days."""
    begin = REFERENCE + AT
    found = []
    for (name, _), days in changed(series, change, ramp).items():
        if name in change:
            upto = [each for each in days if each[0] < begin + WITHIN]
            found += [day - begin for day in monitor(upto, LEAST[name]) if day >= begin]
    return min(found, default=None)


if __name__ == "__main__":
    main()
