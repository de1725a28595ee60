"""List events, one line each: what ``bear-alarm events`` prints."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.cli.events.evidence import EvidenceFolder
from edge.cli.events.review import review_of, review_text
from edge.cli.events.words import ID, beside, clock, deliveries, label_of, legend, unfinished
from edge.cli.output import line_width
from edge.local_time import lasting

if TYPE_CHECKING:
    from edge.record.history import PastEvent

MAX_COLUMNS = 120
WIDEST_CAMERA = 16  # characters
MAX_TROUBLE = 48  # characters of what was wrong


def listed(found: Sequence[tuple[PastEvent, list[EvidenceFolder]]]) -> str:
    """Return one line for each event below the day it began on, the newest last, as wide as the terminal."""
    wide = line_width(MAX_COLUMNS)
    cameras = {incident.first.event.camera for incident, _ in found}
    alone = f", {cameras.pop()}" if len(cameras) == 1 else ""
    heads = [_head(incident, named=not alone) for incident, _ in found]
    widths = [max(map(len, column)) for column in zip(*heads, strict=True)]
    lines: list[str] = []
    day = ""
    for (incident, folders), head in zip(found, heads, strict=True):
        today = f"{incident.first.at.astimezone():%A %Y-%m-%d}"
        if today != day:
            day = today
            lines += [*([""] if lines else []), day + alone]
        cells = [cell.ljust(width) for cell, width in zip(head, widths, strict=True)]
        lines += beside("  " + "  ".join([*cells[:-1], head[-1].rjust(widths[-1])]), _notes(incident, folders), wide)
    return "\n".join([*lines, *legend((incident.first for incident, _ in found), wide)])


def _head(incident: PastEvent, *, named: bool) -> list[str]:
    """Return the columns of a line: time, id, camera (where it is to be ``named``), what, how long."""
    camera = incident.first.event.camera
    if len(camera) > WIDEST_CAMERA:
        camera = f"{camera[: WIDEST_CAMERA - 1]}…"
    lasted = "" if incident.lasted_s is None else lasting(incident.lasted_s)
    return [clock(incident.first), incident.id[:ID], *([camera] if named else []), label_of(incident), lasted]


def _notes(incident: PastEvent, folders: Sequence[EvidenceFolder]) -> str:
    """Return the notes at the end of an event's line."""
    notes = [note for note in (_trouble(incident), unfinished(incident)) if note]
    notes += [f"in {' and '.join(incident.zones)}"] if incident.zones else []
    notes += ["no noise"] if _silent(incident) else []
    if folders:
        closed = any(each.closed for each in folders)
        how = "" if any(each.there for each in folders) else " closed to this user" if closed else " gone"
        notes += [f"pictures{how}"]
        notes += ["locked"] if any(each.locked for each in folders) else []
    if review := review_of(incident, folders):
        notes.append(review_text(review))
    by_state = [state for state, _ in deliveries(incident).values()]
    words = (("done", "delivered"), ("waiting", "waiting"), ("parked", "refused"))
    notes += [f"{count} {word}" for state, word in words if (count := by_state.count(state))]
    return ", ".join(notes)


def waits(incident: PastEvent, folders: Sequence[EvidenceFolder]) -> bool:
    """Return True for a bear event that has evidence and no review yet."""
    there = incident.first.event.kind == "bear" and any(each.there or each.closed for each in folders)
    return there and review_of(incident, folders) is None


def _trouble(incident: PastEvent) -> str:
    """Return what was wrong with a part of the alarm, in a few words; empty for all else."""
    event = incident.first.event
    if event.kind != "health" or not event.detail:
        return ""
    words = event.detail.removeprefix(event.label or "").lstrip(": ")
    return textwrap.shorten(re.split(r" \(|; ", words)[0].rstrip("."), MAX_TROUBLE, placeholder=" …")


def _silent(incident: PastEvent) -> bool:
    """Return True if a bear made no noise, as outside the schedule."""
    return incident.first.event.kind == "bear" and not any(row.event.alarms for row in incident.events)
