"""Words for people about past events: what, when, whether it goes on, who was notified, what a person saw in it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.record.history import Clock, Delivery, EventRow, PastEvent
    from edge.record.review import Review

REVIEWED = "reviewed: "
MARKS: dict[Clock, str] = {"corrected": "~", "doubtful": "?"}


def label_of(incident: PastEvent) -> str:
    """Return what an event was: "brown bear 0.98", "camera gone", "health mqtt"."""
    label = (incident.label or "").replace("_", " ")
    if incident.first.event.kind != "bear":
        return f"{incident.first.event.kind} {label}".rstrip()
    score = incident.top_score
    return (label or "bear") + ("" if score is None else f" {score:.2f}")


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
