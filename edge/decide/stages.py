"""Stages of a camera's alarm, and what moves it from one to the next. Pure: no clock, no disk.

``shadow``: bears are recorded and shown, and alarm nobody. ``supervised``: people are notified at once; sounds, relays,
the deterrent and commands wait for a yes. ``autonomous``: everything at once. Only a person moves a camera up; the
alarm itself moves it down, from autonomous to supervised and never further.

A stage is earned on reviews since it began, with one model, in one place (``Tally``). Shares have Wilson's 95 %
interval (Wilson 1927, JASA 22).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from statistics import NormalDist
from typing import get_args

from edge.schema import Stage

STAGES: tuple[Stage, ...] = get_args(Stage)
Z95 = NormalDist().inv_cdf(0.975)  # 95 %, two-sided
MAX_MISSED = 0.1  # of random frames without an alarm may show a bear, at the upper bound
REMIND_DAYS = 7  # in shadow: then people are reminded; and again after twice, four times … as long
TESTED_DAYS = 7  # in shadow with a model: then it counts as tested here
CLOCK_AHEAD = timedelta(days=1)  # a stage that began so long after now was written by a wrong clock
MANY = 200  # more good reviews, after bad ones: a new count is sooner there
MOST_NEEDED = 9999
MOVED = "the camera was moved"
ANOTHER_SOURCE = "its source is another one"
NOT_YET = -1  # in place of the newest event's row, until the entry is written

MEANS: dict[Stage, str] = {
    "shadow": "no bear alarm will reach anyone",
    "supervised": "people are notified, and noises wait for a yes",
    "autonomous": "alarms and noises at once",
}


@dataclass(frozen=True, slots=True)
class Goal:
    """Goal that an owner sets: what earns the next stage, and what ends autonomous."""

    precision: float = 0.8  # of its alarms, at the lower bound; and of known bears found, at theirs
    wrong_in_a_row: int = 3


@dataclass(frozen=True, slots=True)
class StageEntry:
    """The beginning of one stage of one camera, as the journal keeps it."""

    camera: str
    stage: Stage
    at: datetime  # UTC, by the device's clock
    after: int  # row of the journal's newest event then: only later ones count; NOT_YET: it is not written
    why: str  # a clause: "the camera was moved"
    by: str  # who moved it: a person, "config" for the file; "": the alarm itself
    model: str
    source: str  # without secrets; by it a camera is known under a name that is new
    configured: str  # its ``stage`` in the config then; "": none


@dataclass(frozen=True, slots=True)
class Tally:
    """Reviews of one camera since its stage began. The last review of an event or frame counts."""

    right: int = 0  # alarms with a bear
    wrong: int = 0
    unsure: int = 0
    unreviewed: int = 0
    wrong_in_a_row: int = 0  # the longest run among the reviewed alarms
    frames: int = 0  # random frames without an alarm, reviewed
    missed: int = 0  # of them with a bear
    reported: int = 0  # bears that people saw and the alarm missed


@dataclass(frozen=True, slots=True)
class Progress:
    """The way of a camera to its next stage."""

    next: Stage | None  # None: there is none
    precision: tuple[float, float]  # Wilson's bounds; 0, 1 while nothing is reviewed
    found: tuple[float, float]  # of known bears
    missed: tuple[float, float]  # of random frames without an alarm
    needs: tuple[str, ...]  # what is still needed, a clause each; empty: it is offered
    reviews: int  # still needed at least, if all of them are good

    @property
    def ready(self) -> bool:
        """Return True if the next stage is offered."""
        return self.next is not None and not self.needs


@dataclass(frozen=True, slots=True)
class Place:
    """One camera as it is watched now."""

    name: str
    source: str  # without secrets
    configured: str = ""  # ``stage`` in the config
    locked: bool = False  # ``stage_lock``
    model: str = ""
    tested: bool = False  # the model was tried here for long, beside the one before


@dataclass(frozen=True, slots=True)
class Move:
    """A new entry to write, and what people are to know of it."""

    entry: StageEntry
    notice: str = ""  # one sentence without a full stop; "": nobody needs to know


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Return the bounds of a share, 0 and 1 of nothing."""
    return score_interval(part / whole, whole) if whole else (0.0, 1.0)


def score_interval(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of ``n`` independent trials; ``n`` need not be whole."""
    spread = Z95 * Z95 / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # Rounding may put a bound on the wrong side of the share.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def progress(stage: Stage, tally: Tally, goal: Goal) -> Progress:
    """Return how far a camera is on its way to the next stage."""
    alarms, bears = tally.right + tally.wrong, tally.right + tally.missed + tally.reported
    precision, found = wilson(tally.right, alarms), wilson(tally.right, bears)
    missed = wilson(tally.missed, tally.frames)
    needs = []
    right = max(_more_right(tally.right, alarms, goal.precision), _more_right(tally.right, bears, goal.precision))
    if right:
        needs.append(f"{_counted(right, 'more alarm')} reviewed as right, if none is wrong and no bear is missed")
    frames = _more_frames(tally.missed, tally.frames)
    if frames:
        needs.append(f"{_counted(frames, 'more random frame')} reviewed, if none shows a bear")
    following: Stage | None = STAGES[STAGES.index(stage) + 1] if stage != STAGES[-1] else None
    if max(right, frames) > MANY and (tally.wrong or tally.missed or tally.reported):
        needs = ["too many wrong alarms or missed bears in this stage; choose by hand, or let a new count begin"]
    if following is None:
        needs, right, frames = [], 0, 0
    return Progress(following, precision, found, missed, tuple(needs), right + frames)


def begin(
    history: Sequence[StageEntry],
    place: Place,
    now: datetime,
    after: int,
    *,
    watched_before: bool = False,
) -> Move | None:
    """Return the entry with which a camera begins to be watched; None where the last one goes on.

    ``history``: its own (``history_of``), the oldest first. ``watched_before``: the journal has events of this camera.
    ``after``: the newest event's row.
    """
    if not history:
        stage = stage_of(place.configured) or "autonomous"
        why = "as its config says" if place.configured else "no stage is written"
        entry = StageEntry(place.name, stage, now, after, why, "", place.model, place.source, place.configured)
        if watched_before and not place.configured:
            words = f"stages are new: camera {place.name} goes on as before ({stage})"
            return Move(replace(entry, why="there were no stages before"), words)
        return Move(entry)
    last = history[-1]
    here = replace(last, camera=place.name, model=place.model, source=place.source, configured=place.configured)
    entry = replace(here, at=now, after=after, by="")
    wanted = stage_of(place.configured)
    if wanted and place.configured != last.configured:
        entry = replace(entry, stage=wanted, why="set in the config", by="config")
        return Move(entry, "" if wanted == last.stage else f"camera {place.name} is {wanted} now: {entry.why}")
    if place.source != last.source:
        return moved_camera(here, now, after, locked=place.locked, why=ANOTHER_SOURCE)
    if place.model != last.model:
        tested = last.stage != "autonomous" or place.tested or _tested(history, place.model, now)
        moved = replace(entry, why=f"the model is another one ({place.model})")
        if tested:
            return Move(moved)
        words = f"the model is another one ({place.model}) and was not in shadow here"
        return _down(last, moved, words, locked=place.locked)
    if last.camera != place.name:
        return Move(
            replace(entry, why=f"it was called {last.camera}"),
            f"camera {place.name} was called {last.camera}, and goes on as {last.stage}",
        )
    return None if here == last else Move(here)


def moved_camera(last: StageEntry, now: datetime, after: int, *, locked: bool, why: str = MOVED) -> Move:
    """Return the move of a camera that shows another view: down from autonomous; else its count begins again."""
    entry = replace(last, at=now, after=after, by="", why=why)
    return _down(last, entry, why, locked=locked) if last.stage == "autonomous" else Move(entry)


def wrong_alarms(last: StageEntry, tally: Tally, goal: Goal, now: datetime, after: int, *, locked: bool) -> Move | None:
    """Return the move down from autonomous after so many wrong alarms in a row; None where nothing changes."""
    if last.stage != "autonomous" or tally.wrong_in_a_row < goal.wrong_in_a_row:
        return None
    why = f"{tally.wrong_in_a_row} reviewed alarms in a row were wrong"
    return _down(last, replace(last, at=now, after=after, by=""), why, locked=locked)


def chosen(last: StageEntry, stage: Stage, by: str, now: datetime, after: int) -> Move:
    """Return the move that a person chose."""
    entry = replace(last, stage=stage, at=now, after=after, why=f"chosen by {by}", by=by)
    return Move(entry, f"camera {last.camera} is {stage} now, chosen by {by}: {MEANS[stage]}")


def clock_ahead(last: StageEntry, now: datetime) -> Move | None:
    """Return the entry again, from now on, if a clock that was far ahead wrote it; call it while the clock is right."""
    return Move(replace(last, at=now)) if last.at > now + CLOCK_AHEAD else None


def history_of(
    place: Place, found: Mapping[str, Sequence[StageEntry]], watched: Collection[str]
) -> Sequence[StageEntry]:
    """Return the entries of a camera: those of its name; without any, those of its source under a former name.

    ``found``: the entries of each name, the name with the newest entry last. ``watched``: all names of now.
    """
    former = (
        history
        for name, history in reversed([*found.items()])
        if name not in watched and history[-1].source == place.source
    )
    return found.get(place.name) or next(former, ())


def at_start(
    place: Place, found: Mapping[str, Sequence[StageEntry]], places: Mapping[str, Place], now: datetime
) -> list[StageEntry]:
    """Return the entries of a camera, with the one that an alarm adds at its start; none where it was never watched.

    It may have had another name, and its stage in the config may be another one. Which model comes is not asked.
    """
    history = history_of(place, found, places)
    if not history:
        return []
    move = begin(history, replace(place, model=history[-1].model), now, NOT_YET)
    return [*history, *([move.entry] if move else [])]


def present(history: Sequence[StageEntry]) -> list[StageEntry]:
    """Return the entries of the present stage, the newest first."""
    return list(takewhile(lambda entry: entry.stage == history[-1].stage, reversed(history)))


def since(history: Sequence[StageEntry]) -> datetime:
    """Return when a camera's present stage began, whatever began again within it; ``history``: the oldest first."""
    return min(entry.at for entry in present(history))


def reminds_at(history: Sequence[StageEntry], now: datetime) -> datetime | None:
    """Return when people are next reminded of a camera in shadow; None in any other stage."""
    if history[-1].stage != "shadow":
        return None
    began = min(since(history), now)
    weeks = (now - began) / timedelta(days=REMIND_DAYS)
    return began + timedelta(days=REMIND_DAYS * 2 ** (int(weeks).bit_length()))


def stage_of(word: str) -> Stage | None:
    """Return the stage of that name, also in capitals; None where there is none."""
    return next((stage for stage in STAGES if stage == word.lower()), None)


def _down(last: StageEntry, entry: StageEntry, why: str, *, locked: bool) -> Move:
    if locked:
        kept = replace(entry, why=f"kept by stage_lock though {why}")
        if last.why == kept.why and entry.at - last.at < timedelta(days=REMIND_DAYS):  # people know
            return Move(kept)
        return Move(kept, f"camera {entry.camera} stays {entry.stage} (stage_lock), though {why}: look at it")
    entry = replace(entry, stage="supervised", why=why)
    return Move(entry, f"camera {entry.camera} is supervised now, because {why}: {MEANS['supervised']}")


def _tested(history: Sequence[StageEntry], model: str, now: datetime) -> bool:
    """Return True if this model was autonomous here, or was in shadow here for long or until a person ended that."""
    ends = [*history[1:], None]
    for entry, after in zip(history, ends, strict=True):
        if entry.model != model:
            continue
        if entry.stage == "autonomous":
            return True
        lasted = (after.at if after else now) - entry.at
        if entry.stage == "shadow" and (lasted >= timedelta(days=TESTED_DAYS) or (after and after.by)):
            return True
    return False


def _more_right(right: int, whole: int, goal: float) -> int:
    """Return how many more must be right, with none wrong, for the lower bound to reach the goal."""
    return bisect_left(range(MOST_NEEDED), goal, key=lambda n: wilson(right + n, whole + n)[0])


def _more_frames(missed: int, whole: int) -> int:
    """Return how many more must show no bear for the upper bound to fall to what may be missed."""
    return bisect_left(range(MOST_NEEDED), -MAX_MISSED, key=lambda n: -wilson(missed, whole + n)[1])


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
