"""Show events: one line each, all of one in words, and the same as JSON."""

from __future__ import annotations

import json
import logging
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge.cli.output import counted, line_width, wrapped
from edge.local_time import lasting
from edge.record.event_folders import EvidenceFolder, review_of
from edge.record.event_words import (
    LEGEND,
    MARKS,
    clock,
    deliveries,
    delivery_text,
    label_of,
    local_text,
    moment,
    path_text,
    review_text,
    reviewed_text,
    silent,
    size,
    unfinished,
)
from edge.schema import utc_text

if TYPE_CHECKING:
    from edge.record.history import Delivery, EventRow, PastEvent

log = logging.getLogger(__name__)

MAX_COLUMNS = 120
WIDEST_CAMERA = 16  # characters
MAX_TROUBLE = 48  # characters of what was wrong

LABEL = 12  # characters of the name before a row

ID = 8  # characters of an id that are shown
MIN_NOTES = 40  # characters a line must leave for notes that take several lines; else they come below it


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
    notes = [note for note in (_trouble(incident), unfinished(incident)) if note]
    notes += [note] if (note := incident.labelled.name_and_note[1]) else []
    notes += [f"in {' and '.join(incident.zones)}"] if incident.zones else []
    shadow = incident.first.event.stage == "shadow"
    notes += ["in shadow" if shadow else "no noise"] if silent(incident) else []
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


def _trouble(incident: PastEvent) -> str:
    """Return what was wrong with a part of the alarm, in a few words; a notice whole; empty for all else."""
    event = incident.first.event
    if event.kind == "notice":
        return event.detail or ""
    if event.kind != "health" or not event.detail:
        return ""
    words = event.detail.removeprefix(event.label or "").lstrip(": ")
    return textwrap.shorten(re.split(r" \(|; ", words)[0].rstrip("."), MAX_TROUBLE, placeholder=" …")


def details(incident: PastEvent, folders: Sequence[EvidenceFolder]) -> str:
    """Return all that is known of one event."""
    first = incident.first.event
    lines = [f"{incident.id}  {first.kind}, {first.camera}", ""]
    lasted = "" if incident.lasted_s is None else f", lasted {lasting(incident.lasted_s)}"
    ended = f", {words}" if (words := unfinished(incident)) else ""
    lines += _row("when", moment(incident.first) + lasted + ended)
    lines += _row("what", label_of(incident) + (f", by {first.model}" if first.model else ""))
    lines += _row("species", note) if (note := incident.labelled.name_and_note[1]) else []
    lines += _row("zones", ", ".join(incident.zones)) if incident.zones else []
    lines += _row("review", reviewed_text(review)) if (review := review_of(incident, folders)) else []
    for each in folders:
        lines += ["", *_row("evidence", _state(each))]
        lines += [f"{'':{LABEL}}{path.name}, {size(path)}" for path in each.files()]
        lines += _row("path", path_text(each.path())) if each.path() else []
    lines += ["", "Events"]
    for row in incident.events:
        lines += beside(f"  {moment(row)}  {row.event.type:<7}", _event(row), line_width())
    if incident.deliveries:
        lines += ["", "Deliveries"]
    events = {row.event.seq: row for row in incident.events}
    for channel, (_, rows) in deliveries(incident).items():
        at_once = [row for row in rows if row.state == "done" and row.attempts <= 1]
        lines += beside(f"  {channel}", _at_once(at_once), line_width())
        rest = [row for row in rows if row not in at_once]
        lines += [line for row in rest for line in beside(f"    {_of(row, events)}", delivery_text(row), line_width())]
    return "\n".join([*lines, *legend(incident.events, line_width())])


def _state(found: EvidenceFolder) -> str:
    if found.closed:
        return f"cannot be looked at ({found.closed}): {found.folder}"
    if not found.there:
        return f"gone: deleted to make room, or never written ({found.folder})"
    return f"{found.folder}{', locked' if found.locked else ''}"


def _event(row: EventRow) -> str:
    """Return the line of one message: how sure, where in the picture, and its words."""
    event = row.event
    notes = [f"seq {event.seq}"]
    notes += [event.file] if event.file else []
    notes += [f"{event.media_time_s:.1f} s into the clip"] if event.media_time_s is not None and not event.file else []
    notes += [f"score {event.score:.2f}"] if event.score is not None else []
    if event.box_xywh is not None:
        left, top, w, h = (round(100 * side) for side in event.box_xywh)
        notes += [f"box {w} x {h} % at {left}, {top} %"]
    notes += [f"in {name}" for name in event.zones]
    notes += [f"alarms again ({event.escalated})"] if event.escalated else []
    notes += [f"no noise ({event.quiet})"] if event.quiet else []
    notes += ["in shadow: nobody is notified"] if event.stage == "shadow" and event.type == "new" else []
    notes += [event.detail] if event.detail else []
    return ", ".join(notes)


def _at_once(rows: Sequence[Delivery]) -> str:
    """Return what was delivered at the first attempt, and when the last of it was."""
    counts = {part: sum(row.part == part for row in rows) for part in dict.fromkeys(row.part for row in rows)}
    parts = [counted(count, part) for part, count in counts.items()]
    last = max((row.settled_at for row in rows if row.settled_at), default="")
    return f"{' and '.join(parts)} delivered at the first attempt, the last {local_text(last)}" if rows else ""


def _of(row: Delivery, events: dict[int, EventRow]) -> str:
    of = events.get(row.seq)
    return f"{moment(of) if of else ''} {of.event.type if of else '':<6} {row.part:<7}"


def _row(name: str, words: str) -> list[str]:
    return wrapped(words, line_width(), f"{name:<{LABEL}}", " " * LABEL)


def facts(incident: PastEvent, folders: Sequence[EvidenceFolder]) -> dict[str, Any]:
    """Return one event ready for JSON; times are UTC."""
    first, last = incident.first, incident.last
    return {
        "id": incident.id,
        "kind": first.event.kind,
        "camera": first.event.camera,
        "label": incident.label,
        "top_score": incident.top_score,
        "began_at": utc_text(first.at),
        "ended_at": utc_text(last.at) if incident.state == "over" else None,
        "clock": first.clock,
        "lasted_s": incident.lasted_s,
        "state": incident.state,
        "zones": list(incident.zones),
        "review": None if (review := review_of(incident, folders)) is None else asdict(review),
        "evidence": [
            {
                "folder": str(each.folder),
                "there": each.there,
                "closed": each.closed,
                "locked": each.locked,
                "files": [path.name for path in each.files()],
                "path": each.path(),
            }
            for each in folders
        ],
        "deliveries": [asdict(each) for each in incident.deliveries],
        "events": [json.loads(row.line) | {"at": utc_text(row.at)} for row in incident.events],
    }


def named(incident: PastEvent) -> str:
    """Name an event: "3f9c41aa (brown bear 0.98 at yard, 2026-11-24 03:12:07)"."""
    first = incident.first
    mark = MARKS.get(first.clock, "")
    when = f"{first.at.astimezone():%Y-%m-%d %H:%M:%S}{mark}"
    return f"{incident.id[:ID]} ({label_of(incident)} at {first.event.camera}, {when})"


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
