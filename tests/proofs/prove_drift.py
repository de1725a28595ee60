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
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.detect.drift import BUDGET, CLIP, FIGURES, LEAST_LIMIT, REFERENCE, SLACK, Chart, course, limit_of

BEGIN = date(2026, 3, 1)
YEAR, AT, WITHIN = 365, 180, 90  # days after the reference; of them the first with the change; to notice it
NAMES = ("brightness", "sharpness", "crops", "size", "bear", "ood")
LEAST = dict(zip((*NAMES, "wrong"), (0.03, 0.02, 0.1, 0.03, 0.05, 0.01, 0.05), strict=True))
# Of one day: weather's scale; and of a year: half of what lies between its lowest and its highest, at most.
DAILY = dict(zip(NAMES, (0.18, 0.08, 0.5, 0.2, 0.4, 0.06), strict=True))
SEASONS = dict(zip(NAMES, (0.30, 0.12, 0.8, 0.2, 0.4, 0.06), strict=True))
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
            week = 0.3 * (np.arange(days) % 7 >= 5) * (name == "crops")
            values = season + week + DAILY[name] * (0.5 * common + 0.87 * own + 0.5 * storm * rng.normal())
            few = rng.random(days) < (0.15 if name in {"size", "bear", "ood"} else 0.0)
            found[name, night] = [(day, float(values[day])) for day in range(days) if not (off[day] or few[day])]
    alarms = rng.poisson(3.0, days)
    wrong = rng.binomial(alarms, np.clip(0.3 + 0.1 * lasting(rng, days), 0.0, 1.0))
    found["wrong", False] = [(d, float(wrong[d] / alarms[d])) for d in range(days) if alarms[d] >= 3 and not off[d]]
    return found


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


limit_once = cache(limit_of.__wrapped__)  # the same references come back with each change


def ours(days: Sequence[tuple[int, float]], least: float) -> list[int]:
    """Return the days on which a drift was found; after each, a person looks, and the reference begins again."""
    found, first = list[int](), 0
    while first + REFERENCE < len(days):
        reference = tuple(value for _, value in days[first : first + REFERENCE])
        chart, limit = Chart.of(np.array(reference)[:, None], least), limit_once(reference, least)
        for n in range(first + REFERENCE, len(days)):
            chart.take(np.array([days[n][1]]), days[n][0] - days[n - 1][0])
            if chart.height[0] > limit:
                break
        else:
            return found
        # The device finds it on this very day.
        dated = [(BEGIN + timedelta(days=day), value) for day, value in days[first : n + 1]]
        drift = course(dated, least, limit_once).drift
        assert drift
        assert drift.found == dated[-1][0]
        found.append(days[n][0])
        first = n + 1
    return found


def plain(days: Sequence[tuple[int, float]], least: float) -> list[int]:
    """Return the alarms of Page's CUSUM in ten lines: a reference that stays, and the same least limit."""
    found, first = list[int](), 0
    while first + REFERENCE < len(days):
        reference = [value for _, value in days[first : first + REFERENCE]]
        mean, scale = float(np.mean(reference)), max(float(np.std(reference, ddof=1)), least)
        up = down = 0.0
        for n in range(first + REFERENCE, len(days)):
            z = min(max((days[n][1] - mean) / scale, -CLIP), CLIP)
            up, down = max(0.0, up + z - SLACK), max(0.0, down - z - SLACK)
            if max(up, down) > LEAST_LIMIT:
                found.append(days[n][0])
                break
        else:
            return found
        first = n + 1
    return found


def adwin_of() -> Monitor | None:
    """Return ADWIN with river's own settings; None where river is not installed."""
    try:
        from river.drift import ADWIN  # type: ignore[import-not-found]
    except ImportError:
        return None

    def adwin(days: Sequence[tuple[int, float]], least: float) -> list[int]:
        detector, found = ADWIN(clock=1), []
        reference = [value for _, value in days[:REFERENCE]]
        scale = max(float(np.std(reference, ddof=1)), least)
        for n, (day, value) in enumerate(days):
            detector.update(value / scale)
            if n >= REFERENCE and detector.drift_detected:
                found.append(day)
        return found

    return adwin


VIEW = {"brightness": 0.3, "sharpness": -0.25, "size": 0.6, "crops": -0.7}
CHANGES: dict[str, tuple[dict[str, float], int]] = {
    "none: brightness and sharpness, by chance": (dict.fromkeys(("brightness", "sharpness"), 0.0), 1),
    "none: crops and size, by chance": (dict.fromkeys(("crops", "size"), 0.0), 1),
    **{
        f"dirty lens: brightness and sharpness -{percent} %, {words}": (
            dict.fromkeys(("brightness", "sharpness"), math.log(1 - percent / 100)),
            ramp,
        )
        for percent in (20, 40)
        for words, ramp in (("at once", 1), ("in 60 days", 60))
    },
    "another view that the camera check missed": (VIEW, 1),
    "new animals: three times the crops, half as large": ({"crops": math.log(3), "size": math.log(0.5)}, 1),
    "twice the crops, nothing else": ({"crops": math.log(2)}, 1),
    "scores shifted by one logit, at once": ({"bear": 1.0}, 1),
    "scores shifted by one logit, in 60 days": ({"bear": 1.0}, 60),
}


def main() -> None:
    """Print two tables, in Markdown."""
    years = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    began = time.perf_counter()
    adwin = adwin_of()
    monitors: dict[str, Monitor] = {"ours": ours, "plain CUSUM": plain} | ({"ADWIN": adwin} if adwin else {})
    cameras = [camera(np.random.default_rng(seed), REFERENCE + YEAR) for seed in range(years)]
    assert all(len(each) == FIGURES for each in cameras)
    print(f"{years} camera-years without a change; budget: {BUDGET:g} false drifts a camera-year\n")
    print("| | false drifts a camera-year | cameras without any |\n|---|---|---|")
    for who, monitor in monitors.items():
        counts = [sum(len(monitor(days, LEAST[name])) for (name, _), days in each.items()) for each in cameras]
        print(f"| {who} | {np.mean(counts):.2f} | {np.mean(np.array(counts) == 0):.0%} |", flush=True)
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
