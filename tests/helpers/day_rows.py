"""Days of a camera as the alarm writes them into the journal, with figures of the test's choosing."""

from __future__ import annotations

import math
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

from edge.record import database
from edge.record.database import NAME
from edge.record.days import Day, Key, add_days

LAST = date(2026, 11, 30)  # the last day
MODEL = "tiny@0123456789ab"
MINUTES = 600


def journal(folder: Path) -> Path:
    """A state folder with an empty journal."""
    folder.mkdir(exist_ok=True)
    with closing(database.connect(folder / NAME)) as db:
        database.prepare(db)
    return folder


def day(model: str = MODEL, source: str = "", *, minutes: int = MINUTES, faulty: int = 0, **figures: float) -> Day:
    """A day or night with these means."""
    means = {"bear": -4.0, "ood": 0.8, "size": math.log(90), "unknown": 0.02} | figures
    busy, views = 60, minutes - faulty
    return Day(
        model,
        source,
        watched_s=60.0 * minutes,
        faulty_s=60.0 * faulty,
        busy=busy,
        bear=busy * means["bear"],
        ood=busy * means["ood"],
        size=busy * means["size"],
        unknown=busy * means["unknown"],
        views=views,
        brightness=views * figures.get("brightness", math.log(110)),
        sharp_views=views,
        sharpness=views * math.log(0.5),
    )


def write_days(
    folder: Path, camera: str = "yard", *, days: int = 60, last: date = LAST, dark_days: int = 0, **more: float | str
) -> None:
    """Quiet days and nights up to ``last``; the last ``dark_days`` days are darker by half."""
    rows: dict[Key, Day] = {}
    for ago in range(days - 1, -1, -1):
        for night in (False, True):
            darker = math.log(0.5) if ago < dark_days and not night else 0.0
            figures = {"brightness": math.log(110) + 0.1 * (-1) ** ago + darker} | more
            rows[camera, last - timedelta(days=ago), night] = day(**figures)  # type: ignore[arg-type]
    add_days(folder, rows)
