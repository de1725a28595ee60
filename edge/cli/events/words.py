"""How an event, its time and its clock are written."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.record.history import Clock, Delivery, EventRow, PastEvent

ID = 8  # characters of an id that are shown
MIN_NOTES = 40  # characters a line must leave for notes that take several lines; else they come below it
MARKS: dict[Clock, str] = {"corrected": "~", "doubtful": "?"}
LEGEND = {
    "~": "~ the clock was set only later: the time is corrected by what it had been wrong.",
    "?": "? the clock was not synchronised, so the time may be wrong.",
}


def label_of(incident: PastEvent) -> str:
    """Return what an event was: "brown bear 0.98", "camera gone", "health mqtt"."""
    label = (incident.label or "").replace("_", " ")
    if incident.first.event.kind != "bear":
        return f"{incident.first.event.kind} {label}".rstrip()
    score = incident.top_score
    return (label or "bear") + ("" if score is None else f" {score:.2f}")


def named(incident: PastEvent) -> str:
    """Name an event: "3f9c41aa (brown bear 0.98 at yard, 2026-11-24 03:12:07)"."""
    first = incident.first
    mark = MARKS.get(first.clock, "")
    when = f"{first.at.astimezone():%Y-%m-%d %H:%M:%S}{mark}"
    return f"{incident.id[:ID]} ({label_of(incident)} at {first.event.camera}, {when})"


def unfinished(incident: PastEvent) -> str:
    """Return the state of an event without an end: a trouble may last after the alarm ended, a bear does not."""
    trouble = incident.first.event.kind in {"camera", "health"}
    if incident.state == "over":
        return ""
    return "still open at the end" if trouble and incident.state == "cut off" else incident.state


def deliveries(incident: PastEvent) -> dict[str, tuple[str, list[Delivery]]]:
    """Return by channel the worst state of its messages (parked, waiting, done), and its deliveries.

    A picture that is late does not count.
    """
    by_channel: dict[str, list[Delivery]] = {}
    for each in incident.deliveries:
        by_channel.setdefault(each.channel, []).append(each)
    found = {}
    for channel, rows in by_channel.items():
        states = {each.state for each in rows if each.part == "word"}
        found[channel] = next((state for state in ("parked", "waiting") if state in states), "done"), rows
    return found


def clock(row: EventRow) -> str:
    """Return the time of day, local, with its mark where the clock was not right."""
    return f"{row.at.astimezone():%H:%M:%S}{MARKS.get(row.clock, '')}"


def moment(row: EventRow) -> str:
    """Return day and time, local, with the distance from UTC, and its mark where the clock was not right."""
    return local(row.at) + MARKS.get(row.clock, "")


def local(at: datetime) -> str:
    """Return a time (with its zone) as ``2026-11-24 04:12:07+01:00``, in this place's zone."""
    return at.astimezone().isoformat(" ", "seconds")


def legend(rows: Iterable[EventRow], wide: int) -> list[str]:
    """Return what the marks behind the times mean, as far as there are any, after an empty line."""
    marks = sorted({MARKS[each.clock] for each in rows if each.clock in MARKS})
    lines = [line for mark in marks for line in textwrap.wrap(LEGEND[mark], wide, subsequent_indent="  ")]
    return ["", *lines] if lines else []


def beside(line: str, notes: str, wide: int) -> list[str]:
    """Return the notes behind the line, or where little room is left below it."""
    line = line.rstrip() if not notes else line
    room = wide - len(line) - 2
    if not notes or len(notes) <= room:
        return [f"{line}  {notes}".rstrip()]
    if room >= MIN_NOTES:
        first, *rest = textwrap.wrap(notes, room)
        return [f"{line}  {first}", *(" " * (len(line) + 2) + more for more in rest)]
    return [line.rstrip(), *textwrap.wrap(notes, wide, initial_indent=" " * 12, subsequent_indent=" " * 12)]
