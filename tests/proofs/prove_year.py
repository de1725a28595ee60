"""A simulated year of three cameras, many times: when each thing is noticed, and what it asks of the person.

    python tests/proofs/prove_year.py [--years 10] [--plot docs/stages-year.svg]

The cameras begin in shadow in March. ``hives`` sees a bear on nine days of ten at the height of the season, ``trail``
on seven, ``gate`` on two. The gate's lens gets dirty (a fifth darker, 40 % less sharp), the trail's camera is turned by
the wind, dogs come by the hives, there is a new model, bears sleep in winter, and snow lies for 50 days. The journal,
the reviews, the stages, the questions and the drift are the alarm's own; days, bears and the person are made up
(``tests/helpers/simulated_year.py``). The first year is drawn.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.decide.stages import STAGES
from edge.schema import Stage
from tests.helpers.simulated_year import Habits, Happening, Simulation, Site, Year

BEGINS = datetime(2025, 3, 1, tzinfo=UTC)
DAYS = 365
SITES = (Site("hives", 0.9, 0.02), Site("trail", 0.7, 0.02), Site("gate", 0.2, 0.04))
DIRT, MOVED, DOGS, MODEL, SNOW = 110, 158, 175, 235, 295
HAPPENINGS = (
    Happening("dirt", DIRT, "gate", 40),
    Happening("moved", MOVED, "trail"),
    Happening("dogs", DOGS, "hives", 4),
    Happening("model", MODEL),
    Happening("snow", SNOW, "", 50),
)
SELDOM = Habits(evenings=0.15)  # about once a week
COLOURS: dict[Stage, str] = {"shadow": "#9aa0a6", "supervised": "#f2b134", "autonomous": "#56b4e9"}


def live(seed: int, habits: Habits) -> Year:
    """Return one year."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        return Simulation(Path(folder), SITES, HAPPENINGS, BEGINS, habits=habits, seed=seed).simulate(DAYS)


def main() -> None:
    """Print the tables, and draw the first year."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        seeds = range(1, options.years + 1)
        years = list(pool.map(partial(live, habits=Habits()), seeds))
        seldom = list(pool.map(partial(live, habits=SELDOM), seeds))
    if options.plot:
        draw(years[0], options.plot)
    print_first(years[0])
    print_noticed(years, seldom)
    print_asked(years, seldom)
    print_alarms(years)


def print_first(year: Year) -> None:
    """Print what was noticed and done in a year; reminders are counted only."""
    for line in year.lines:
        if "is still in" not in line.words:
            print(f"{line.at:%Y-%m-%d}  {line.camera:6}  {line.kind:8}  {line.words}")


def print_noticed(years: Sequence[Year], seldom: Sequence[Year]) -> None:
    """Print of how many cases each thing led to what it should, and after how many days: median and range."""
    print("\n| what, and what follows | most evenings | once a week |\n|---|---|---|")
    rows: list[tuple[str, Callable[[Year], list[float | None]]]] = [
        *((f"{name}: supervised", lambda year, name=name: [_days_to(year, name, "supervised")]) for name in names()),
        *((f"{name}: then autonomous", partial(_rise, camera=name, day=0)) for name in names()),
        ("trail is turned: supervised", partial(_fall, cameras=["trail"], why="was moved", day=MOVED)),
        ("trail: autonomous again", partial(_rise, camera="trail", day=MOVED)),
        ("dogs at the hives: supervised", partial(_fall, cameras=["hives"], why="in a row were wrong", day=DOGS)),
        ("hives: autonomous again", partial(_rise, camera="hives", day=DOGS)),
        ("new model: supervised", partial(_fall, cameras=names(), why="was not in shadow", day=MODEL)),
        ("dirty lens: notice", lambda year: [_line(year, "gate", "less sharp", DIRT)]),
        ("snow: notice", lambda year: [_line(year, name, "or snow", SNOW) for name in names()]),
        ("thaw: notice", lambda year: [_line(year, name, "darker", SNOW + 50) for name in names()]),
    ]
    for name, cases in rows:
        cells = [_spread([case for year in some for case in cases(year)]) for some in (years, seldom)]
        print(f"| {name} | {cells[0]} | {cells[1]} |")


def print_asked(years: Sequence[Year], seldom: Sequence[Year]) -> None:
    """Print what a year asked of the person."""
    print("\n| asked of the person in a year | most evenings | once a week |\n|---|---|---|")
    counts: list[tuple[str, Callable[[Year], float]]] = [
        (what, partial(_count, what=what))
        for what in ("evenings", "alarms reviewed", "frames reviewed", "stages chosen", "asked", "answered", "messages")
    ]
    counts += [
        ("reminders of shadow", lambda year: sum("is still in" in line.words for line in year.lines)),
        ("other notices of stages", lambda year: sum(_other(line.kind, line.words) for line in year.lines)),
        ("notices of drift", partial(_lines, kind="drift")),
        ("visits to a camera", lambda year: _lines(year, "looked") + 1),  # and one to straighten the trail's
    ]
    for what, count in counts:
        print(f"| {what} | {_median(map(count, years))} | {_median(map(count, seldom))} |")
    lived = len(years) * len(SITES) * SNOW / DAYS
    print(f"\nFalse notices of drift: {sum(map(_false_drifts, years))} in {lived:.0f} camera-years")


def print_alarms(years: Sequence[Year]) -> None:
    """Print what each stage made of the alarms."""
    print("\n| stage | camera-days | bears: notified, noise | no bear: notified, noise |\n|---|---|---|---|")
    for stage in STAGES:
        alarms = [each for year in years for some in year.alarms.values() for each in some]
        cells = []
        for bear in (True, False):
            some = [each for each in alarms if each.event.stage == stage and each.bear == bear]
            cells.append(f"{len(some)}: {sum(each.event.alarms for each in some)}, {sum(each.noisy for each in some)}")
        print(f"| {stage} | {sum(_days_in(year, stage) for year in years):.0f} | {cells[0]} | {cells[1]} |")


def names() -> list[str]:
    """Return the cameras."""
    return [site.name for site in SITES]


def _days_to(year: Year, camera: str, stage: Stage, after: float = -1) -> float | None:
    """Return the day on which a camera first came to a stage, later than ``after``."""
    days = [(at - BEGINS) / timedelta(days=1) for at, found in year.stages[camera] if found == stage]
    return next((day for day in days if day > after), None)


def _autonomous(year: Year, camera: str, day: int) -> bool:
    at = BEGINS + timedelta(days=day)
    return [stage for since, stage in year.stages[camera] if since < at][-1:] == ["autonomous"]


def _fall(year: Year, cameras: Sequence[str], why: str, day: int) -> list[float | None]:
    """Return after how many days each camera that was autonomous fell, with this reason."""
    words = f"is supervised now, because .*{why}"
    return [_line(year, name, words, day) for name in cameras if _autonomous(year, name, day)]


def _rise(year: Year, camera: str, day: int) -> list[float | None]:
    """Return after how many days a camera that became supervised then was autonomous; nothing where it did not."""
    fell = _days_to(year, camera, "supervised", day)
    if fell is None or (day and not (_autonomous(year, camera, day) and fell < day + 5)):
        return []
    rose = _days_to(year, camera, "autonomous", fell)
    return [rose and rose - fell]


def _line(year: Year, camera: str, pattern: str, day: int) -> float | None:
    """Return after how many days people got a notice like that."""
    days = [
        (line.at - BEGINS) / timedelta(days=1) - day
        for line in year.lines
        if line.camera == camera and re.search(pattern, line.words)
    ]
    return next((found for found in days if found >= 0), None)


def _false_drifts(year: Year) -> int:
    """Count the notices of a drift while nothing had changed."""
    dirt, snow = BEGINS + timedelta(days=DIRT), BEGINS + timedelta(days=SNOW)
    gate = [line.at for line in year.lines if line.kind == "looked" and line.camera == "gate"]
    wiped = next((at for at in gate if at > dirt), snow)
    return sum(
        line.at < snow and not (line.camera == "gate" and dirt <= line.at <= wiped)
        for line in year.lines
        if line.kind == "drift"
    )


def _count(year: Year, what: str) -> float:
    return sum(counts[what] for counts in year.counts.values())


def _lines(year: Year, kind: str) -> float:
    return sum(line.kind == kind for line in year.lines)


def _other(kind: str, words: str) -> bool:
    return kind == "stage" and "is still in" not in words


def _days_in(year: Year, stage: Stage) -> float:
    ends = BEGINS + timedelta(days=DAYS)
    spans = (zip(changes, [*changes[1:], (ends, stage)], strict=True) for changes in year.stages.values())
    return sum((end - at) / timedelta(days=1) for span in spans for (at, found), (end, _) in span if found == stage)


def _spread(cases: Sequence[float | None]) -> str:
    found = [each for each in cases if each is not None]
    days = f": {statistics.median(found):.0f} ({min(found):.0f} to {max(found):.0f})" if found else ""
    return f"{len(found)} of {len(cases)}{days}" if cases else "-"


def _median(values: Iterable[float]) -> str:
    found = list(values)
    return f"{statistics.median(found):.0f} ({min(found):.0f} to {max(found):.0f})"


def draw(year: Year, path: Path) -> None:
    """Draw the stages and alarms of a year as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import dates
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "year", "font.family": "sans-serif", "font.size": 9})
    figure, axes = plt.subplots(figsize=(9.6, 3.6), layout="constrained")
    ends = BEGINS + timedelta(days=DAYS)
    for row, name in enumerate(reversed(names())):
        for (at, stage), (end, _) in pairwise([*year.stages[name], (ends, "shadow")]):
            axes.barh(row, end - at, left=at, height=0.4, color=COLOURS[stage])  # type: ignore[arg-type]
        for bear, colour in ((True, "#222222"), (False, "#b00020")):
            times = [datetime.fromisoformat(a.event.captured_at) for a in year.alarms[name] if a.bear == bear]
            xs = [x for at in times for x in (at, at, at)]  # one line for all of them keeps the file small
            axes.plot(xs, [row - 0.39, row - 0.25, math.nan] * len(times), color=colour, linewidth=0.8)  # type: ignore[arg-type]
    marks = {
        "hives": [("dogs", DOGS), ("new model", MODEL), ("snow", SNOW), ("thaw", SNOW + 50)],
        "trail": [("turned by the wind", MOVED)],
        "gate": [("dirty lens", DIRT)],
    }
    for name, happened in marks.items():
        for words, day in happened:
            at = BEGINS + timedelta(days=day)
            row = names()[::-1].index(name)
            axes.annotate(words, (at, row + 0.2), (at, row + 0.42), ha="center", arrowprops={"arrowstyle": "-"})  # type: ignore[arg-type]
    for line in (each for each in year.lines if each.kind == "drift"):
        axes.plot([line.at], [names()[::-1].index(line.camera)], "v", color="#222222", markersize=5)  # type: ignore[arg-type]
    axes.set_yticks(range(len(SITES)), names()[::-1])
    axes.set_xlim(BEGINS, ends)  # type: ignore[arg-type]
    axes.set_ylim(-0.55, len(SITES) - 0.3)
    axes.xaxis.set_major_locator(dates.MonthLocator())
    axes.xaxis.set_major_formatter(dates.DateFormatter("%b"))
    signs: list[Any] = [mpl.patches.Patch(color=colour, label=stage) for stage, colour in COLOURS.items()]
    signs += [mpl.patches.Patch(color="#222222", label="bear"), mpl.patches.Patch(color="#b00020", label="false alarm")]
    signs += [mpl.lines.Line2D([], [], marker="v", linestyle="", color="#222222", label="notice of drift")]
    axes.legend(handles=signs, ncols=6, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
