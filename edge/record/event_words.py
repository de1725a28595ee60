"""Words for people about past events: what, when, whether it goes on, who was notified, what a person saw in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.record.history import Clock, Delivery, EventRow, PastEvent
    from edge.record.review import Review

REVIEWED = "reviewed: "
MARKS: dict[Clock, str] = {"corrected": "~", "doubtful": "?"}
LEGEND = {
    "~": "~ the clock was set only later: the time is corrected by what it had been wrong.",
    "?": "? the clock was not synchronised, so the time may be wrong.",
}
MAX_PLACES = 6  # of a path, in words


def label_of(incident: PastEvent) -> str:
    """Return what an event was: "brown bear 0.98", "camera gone", "health mqtt"."""
    if incident.first.event.kind != "bear":
        return f"{incident.first.event.kind} {(incident.label or '').replace('_', ' ')}".rstrip()
    score = incident.top_score
    return incident.labelled.name_and_note[0] + ("" if score is None else f" {score:.2f}")


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


def moment(row: EventRow) -> str:
    """Return day and time, local, with the distance from UTC, and its mark where the clock was not right."""
    return local(row.at) + MARKS.get(row.clock, "")


def clock(row: EventRow) -> str:
    """Return the time of day, local, with its mark where the clock was not right."""
    return f"{row.at.astimezone():%H:%M:%S}{MARKS.get(row.clock, '')}"


def local(at: datetime) -> str:
    """Return a time (with its zone) as ``2026-11-24 04:12:07+01:00``, in this place's zone."""
    return at.astimezone().isoformat(" ", "seconds")


def review_text(review: Review) -> str:
    """Return a review in short: ``reviewed: no bear``."""
    what = {"confirmed": "a bear", "wrong": "no bear", "unsure": "not clear"}
    label = (review.label or "").replace("_", " ")
    return f"{REVIEWED}{what.get(review.verdict, label)}"


def size(path: Path) -> str:
    """Return how large a file is; "gone" where it went meanwhile."""
    try:
        count = path.stat().st_size
    except OSError:
        return "gone"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(count / 1e3, 0.1):.1f} kB"


def silent(incident: PastEvent) -> bool:
    """Return True if a bear made no noise, as outside the schedule."""
    return incident.first.event.kind == "bear" and not any(row.event.alarms for row in incident.events)


def path_text(path: Sequence[Sequence[float]]) -> str:
    """Return the path of the animal through the picture: the first place, some in between, and the last."""
    from edge.record.explanation import place

    steps = sorted({round(at * (len(path) - 1) / MAX_PLACES) for at in range(MAX_PLACES + 1)})
    places = [place((x, y, w, h)) for x, y, w, h in (path[at][1:5] for at in steps)]
    places = [each for at, each in enumerate(places) if at == 0 or each != places[at - 1]]
    lasted = f"{path[-1][0] - path[0][0]:.0f} s"
    return f"{', then '.join(places)}; {lasted}" if len(places) > 1 else f"{places[0]} all the while; {lasted}"


def reviewed_text(review: Review) -> str:
    """Return a review: ``no bear, by anna, 2026-11-24 08:12:07+01:00: a stump``."""
    who = f", by {review.by}" if review.by else ""
    note = f": {review.note}" if review.note else ""
    return f"{review_text(review).removeprefix(REVIEWED)}{who}, {local_text(review.at)}{note}"


def delivery_text(row: Delivery) -> str:
    """Return how a delivery went: ``delivered 2026-11-24 03:12:08+01:00, 1 attempt``."""
    tried = f"{row.attempts:,} attempt{'s' * (row.attempts != 1)}"
    # The other side's words, without signs that would move the cursor.
    why = f": {''.join(sign for sign in row.error if sign.isprintable())}" if row.error else ""
    if row.state == "done":
        return f"delivered {local_text(row.settled_at)}, {tried}"
    if row.withdrawn:
        return f"withdrawn {local_text(row.settled_at)}, {tried}{why}"
    if row.state == "parked":
        return f"REFUSED {local_text(row.settled_at)}, {tried}, tried no more{why}"
    return f"waiting since {local_text(row.queued_at)}, {tried}{why}"


def local_text(text: str | None) -> str:
    """Return a time of the journal in local time; empty where there is none."""
    return local(datetime.fromisoformat(text)) if text else ""
