"""What happened, one line a happening: the list that ``bear-alarm events`` prints."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.commands.events_review import decided, words_of

if TYPE_CHECKING:
    from edge.commands.events_files import Kept
    from edge.record.history import Clock, Delivery, Happening, Told

ID = 8  # characters of an id that are shown
WIDEST_CAMERA = 16  # characters
MOST_TROUBLE = 48  # characters of what was wrong
LEAST_NOTES = 40  # characters a line must leave for notes that take several lines; else they come below it
MARKS: dict[Clock, str] = {"corrected": "~", "doubtful": "?"}
LEGEND = {
    "~": "~ the clock was set only later: the time is corrected by what it had been wrong.",
    "?": "? the clock was not synchronised, so the time may be wrong.",
}


def listed(found: Sequence[tuple[Happening, list[Kept]]]) -> str:
    """One line a happening below the day it began on, the newest last, as wide as the terminal."""
    wide = max(60, min(120, shutil.get_terminal_size().columns))
    cameras = {happening.first.event.camera for happening, _ in found}
    alone = f", {cameras.pop()}" if len(cameras) == 1 else ""
    heads = [_head(happening, named=not alone) for happening, _ in found]
    widths = [max(map(len, column)) for column in zip(*heads, strict=True)]
    lines: list[str] = []
    day = ""
    for (happening, kept), head in zip(found, heads, strict=True):
        today = f"{happening.first.at.astimezone():%A %Y-%m-%d}"
        if today != day:
            day = today
            lines += [*([""] if lines else []), day + alone]
        cells = [cell.ljust(width) for cell, width in zip(head, widths, strict=True)]
        lines += beside("  " + "  ".join([*cells[:-1], head[-1].rjust(widths[-1])]), _notes(happening, kept), wide)
    return "\n".join([*lines, *legend((happening.first for happening, _ in found), wide)])


def legend(told: Iterable[Told], wide: int) -> list[str]:
    """What the marks behind the times mean, as far as there are any, after an empty line."""
    marks = sorted({MARKS[each.clock] for each in told if each.clock in MARKS})
    lines = [line for mark in marks for line in textwrap.wrap(LEGEND[mark], wide, subsequent_indent="  ")]
    return ["", *lines] if lines else []


def _head(happening: Happening, *, named: bool) -> list[str]:
    """The columns of a line: time, id, camera (where it is to be ``named``), what, how long."""
    camera = happening.first.event.camera
    if len(camera) > WIDEST_CAMERA:
        camera = f"{camera[: WIDEST_CAMERA - 1]}…"
    lasted = "" if happening.lasted_s is None else spell(happening.lasted_s)
    return [clock(happening.first), happening.id[:ID], *([camera] if named else []), what(happening), lasted]


def what(happening: Happening) -> str:
    """What it was: "brown bear 0.98", "camera gone", "health mqtt", "test"."""
    label = (happening.label or "").replace("_", " ")
    if happening.first.event.kind == "test":
        return "test"
    if happening.first.event.kind != "bear":
        return f"{happening.first.event.kind} {label}".rstrip()
    score = happening.top_score
    return (label or "bear") + ("" if score is None else f" {score:.2f}")


def named(happening: Happening) -> str:
    """Which one it is, for whoever did not name it: "3f9c41aa (brown bear 0.98 at yard, 2026-11-24 03:12:07)"."""
    first = happening.first
    mark = MARKS.get(first.clock, "")
    when = f"{first.at.astimezone():%Y-%m-%d %H:%M:%S}{mark}"
    return f"{happening.id[:ID]} ({what(happening)} at {first.event.camera}, {when})"


def _notes(happening: Happening, kept: Sequence[Kept]) -> str:
    """What else there is to say of it on its line."""
    notes = [note for note in (_trouble(happening), unfinished(happening)) if note]
    notes += [f"in {' and '.join(happening.zones)}"] if happening.zones else []
    notes += ["no noise"] if _silent(happening) else []
    if kept:
        closed = any(each.closed for each in kept)
        how = "" if any(each.there for each in kept) else " closed to this user" if closed else " gone"
        notes += [f"pictures{how}"]
        notes += ["locked"] if any(each.locked for each in kept) else []
    if review := decided(happening, kept):
        notes.append(words_of(review))
    by_state = [state for state, _ in deliveries(happening).values()]
    words = (("done", "told"), ("waiting", "waiting"), ("parked", "refused"), ("withdrawn", "withdrawn"))
    notes += [f"{count} {word}" for state, word in words if (count := by_state.count(state))]
    return ", ".join(notes)


def waits(happening: Happening, kept: Sequence[Kept]) -> bool:
    """Return True for a bear event that has evidence and no review yet."""
    there = happening.first.event.kind == "bear" and any(each.there or each.closed for each in kept)
    return there and decided(happening, kept) is None


def unfinished(happening: Happening) -> str:
    """How it stands where it has no end: a trouble lasts after an alarm that ended, a bear is seen no more."""
    trouble = happening.first.event.kind in {"camera", "health"}
    if happening.state == "over":
        return ""
    return "still open at the end" if trouble and happening.state == "cut off" else happening.state


def _trouble(happening: Happening) -> str:
    """What was wrong with a part of the alarm, in a few words; empty for all else."""
    event = happening.first.event
    if event.kind != "health" or not event.detail:
        return ""
    words = event.detail.removeprefix(event.label or "").lstrip(": ")
    return textwrap.shorten(re.split(r" \(|; ", words)[0].rstrip("."), MOST_TROUBLE, placeholder=" …")


def _silent(happening: Happening) -> bool:
    """Whether a bear made no noise, as outside the schedule."""
    return happening.first.event.kind == "bear" and not any(told.event.alarms for told in happening.told)


def deliveries(happening: Happening) -> dict[str, tuple[str, list[Delivery]]]:
    """By channel, each delivery and the worst state of its words: parked, waiting, withdrawn, done.

    A late picture is no worry.
    """
    by_channel: dict[str, list[Delivery]] = {}
    for each in happening.deliveries:
        by_channel.setdefault(each.channel, []).append(each)
    stands = {}
    for channel, rows in by_channel.items():
        words = [each for each in rows if each.part == "word"] or rows
        states = {"withdrawn" if each.withdrawn else each.state for each in words}
        stands[channel] = next((state for state in ("parked", "waiting", "withdrawn") if state in states), "done"), rows
    return stands


def beside(line: str, notes: str, wide: int) -> list[str]:
    """The notes behind the line, or where little room is left below it."""
    line = line.rstrip() if not notes else line
    room = wide - len(line) - 2
    if not notes or len(notes) <= room:
        return [f"{line}  {notes}".rstrip()]
    if room >= LEAST_NOTES:
        first, *rest = textwrap.wrap(notes, room)
        return [f"{line}  {first}", *(" " * (len(line) + 2) + more for more in rest)]
    return [line.rstrip(), *textwrap.wrap(notes, wide, initial_indent=" " * 12, subsequent_indent=" " * 12)]


def clock(told: Told) -> str:
    """The time of day, local, with its mark where the clock was not right."""
    return f"{told.at.astimezone():%H:%M:%S}{MARKS.get(told.clock, '')}"


def moment(told: Told) -> str:
    """Day and time, local, with how far that is from UTC, and its mark where the clock was not right."""
    return local(told.at) + MARKS.get(told.clock, "")


def local(at: datetime) -> str:
    """A time (with its zone) as ``2026-11-24 04:12:07+01:00``: this place's, which leaves no doubt of the day."""
    return at.astimezone().isoformat(" ", "seconds")


def spell(seconds: float) -> str:
    """How long, in the two largest units: "42 s", "12 min", "3 h 05 min", "2 d 4 h"."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes, hours = round(whole / 60), whole // 3600
    if minutes < 100:
        return f"{minutes} min"
    return f"{hours} h {whole % 3600 // 60:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def size(path: Path) -> str:
    """How large a file is; "gone" where it went meanwhile."""
    try:
        count = path.stat().st_size
    except OSError:
        return "gone"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(count / 1e3, 0.1):.1f} kB"
