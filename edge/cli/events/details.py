"""Print all that is known of one event, in words: what ``bear-alarm events show`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.events.evidence import EvidenceFolder
from edge.cli.events.review import REVIEWED, review_of, review_text
from edge.cli.events.words import beside, deliveries, label_of, legend, local, moment, unfinished
from edge.cli.output import line_width, wrapped
from edge.cli.progress import counted
from edge.local_time import lasting

if TYPE_CHECKING:
    from edge.record.history import Delivery, EventRow, PastEvent
    from edge.record.review import Review

LABEL = 12  # characters of the name before a row
MAX_PLACES = 6  # of the path, in words


def details(incident: PastEvent, folders: Sequence[EvidenceFolder]) -> str:
    """Return all that is known of one event."""
    first = incident.first.event
    lines = [f"{incident.id}  {first.kind}, {first.camera}", ""]
    lasted = "" if incident.lasted_s is None else f", lasted {lasting(incident.lasted_s)}"
    ended = f", {words}" if (words := unfinished(incident)) else ""
    lines += _row("when", moment(incident.first) + lasted + ended)
    lines += _row("what", label_of(incident) + (f", by {first.model}" if first.model else ""))
    lines += _row("zones", ", ".join(incident.zones)) if incident.zones else []
    lines += _row("review", _review(review)) if (review := review_of(incident, folders)) else []
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
        lines += [line for row in rest for line in beside(f"    {_of(row, events)}", _delivery(row), line_width())]
    return "\n".join([*lines, *legend(incident.events, line_width())])


def path_text(path: Sequence[Sequence[float]]) -> str:
    """Return the path of the animal through the picture: the first place, some in between, and the last."""
    from edge.cli.why import place

    steps = sorted({round(at * (len(path) - 1) / MAX_PLACES) for at in range(MAX_PLACES + 1)})
    places = [place((x, y, w, h)) for x, y, w, h in (path[at][1:5] for at in steps)]
    places = [each for at, each in enumerate(places) if at == 0 or each != places[at - 1]]
    lasted = f"{path[-1][0] - path[0][0]:.0f} s"
    return f"{', then '.join(places)}; {lasted}" if len(places) > 1 else f"{places[0]} all the while; {lasted}"


def _review(review: Review) -> str:
    """Return a review in words: result, person and time."""
    who = f", by {review.by}" if review.by else ""
    note = f": {review.note}" if review.note else ""
    return f"{review_text(review).removeprefix(REVIEWED)}{who}, {_local(review.at)}{note}"


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
    notes += [event.detail] if event.detail else []
    return ", ".join(notes)


def _at_once(rows: Sequence[Delivery]) -> str:
    """Return what was delivered at the first attempt, and when the last of it was."""
    counts = {part: sum(row.part == part for row in rows) for part in dict.fromkeys(row.part for row in rows)}
    parts = [counted(count, part) for part, count in counts.items()]
    last = max((row.settled_at for row in rows if row.settled_at), default="")
    return f"{' and '.join(parts)} delivered at the first attempt, the last {_local(last)}" if rows else ""


def _of(row: Delivery, events: dict[int, EventRow]) -> str:
    """Return which part of which message a delivery is of."""
    of = events.get(row.seq)
    return f"{moment(of) if of else ''} {of.event.type if of else '':<6} {row.part:<7}"


def _delivery(row: Delivery) -> str:
    """Return the state of a delivery."""
    tried = counted(row.attempts, "attempt")
    # The other side's words, without signs that would move the cursor.
    why = f": {''.join(sign for sign in row.error if sign.isprintable())}" if row.error else ""
    if row.state == "done":
        return f"delivered {_local(row.settled_at)}, {tried}"
    if row.withdrawn:
        return f"withdrawn {_local(row.settled_at)}, {tried}{why}"
    if row.state == "parked":
        return f"REFUSED {_local(row.settled_at)}, {tried}, tried no more{why}"
    return f"waiting since {_local(row.queued_at)}, {tried}{why}"


def _local(text: str | None) -> str:
    """Return a time of the journal in local time; unchanged where it is none."""
    try:
        return local(datetime.fromisoformat(text or ""))
    except ValueError:
        return text or ""


def _row(name: str, words: str) -> list[str]:
    return wrapped(words, line_width(), f"{name:<{LABEL}}", " " * LABEL)


def size(path: Path) -> str:
    """Return how large a file is; "gone" where it went meanwhile."""
    try:
        count = path.stat().st_size
    except OSError:
        return "gone"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(count / 1e3, 0.1):.1f} kB"
