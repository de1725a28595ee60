"""All there is to say of one happening, in words and as JSON, and the page that goes with what is exported."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge.commands.events_review import REVIEWED, decided, words_of
from edge.commands.events_words import ID, beside, deliveries, legend, local, moment, size, spell, unfinished, what
from edge.schema import utc_text

if TYPE_CHECKING:
    from edge.commands.events_files import Kept
    from edge.record.history import Delivery, Happening, Told
    from edge.record.review import Review

MOST_PLACES = 6  # of the way, in words


def shown(happening: Happening, kept: Sequence[Kept]) -> str:
    """All there is to say of one happening."""
    first = happening.first.event
    lines = [f"{happening.id}  {first.kind}, {first.camera}", ""]
    lasted = "" if happening.lasted_s is None else f", lasted {spell(happening.lasted_s)}"
    ended = f", {words}" if (words := unfinished(happening)) else ""
    lines += _row("when", moment(happening.first) + lasted + ended)
    lines += _row("what", what(happening) + (f", by {first.model}" if first.model else ""))
    lines += _row("zones", ", ".join(happening.zones)) if happening.zones else []
    lines += _row("review", _review(review)) if (review := decided(happening, kept)) else []
    for each in kept:
        lines += ["", *_row("evidence", _state(each))]
        lines += [f"{'':12}{path.name}, {size(path)}" for path in each.files()]
        lines += _row("way", way(each.path())) if each.path() else []
    lines += ["", "Events"]
    for told in happening.told:
        lines += beside(f"  {moment(told)}  {told.event.type:<7}", _event(told), _wide())
    if happening.deliveries:
        lines += ["", "Deliveries"]
    seen = {told.event.seq: told for told in happening.told}
    for channel, (_, rows) in deliveries(happening).items():
        at_once = [row for row in rows if row.state == "done" and row.attempts <= 1]
        lines += beside(f"  {channel}", _at_once(at_once), _wide())
        rest = [row for row in rows if row not in at_once]
        lines += [line for row in rest for line in beside(f"    {_of(row, seen)}", _delivery(row), _wide())]
    return "\n".join([*lines, *legend(happening.told, _wide())])


def way(path: Sequence[Sequence[float]]) -> str:
    """Where it went: where in the picture it was at the beginning, at some places between, and at the end."""
    from edge.commands.why_words import place

    steps = sorted({round(at * (len(path) - 1) / MOST_PLACES) for at in range(MOST_PLACES + 1)})
    places = [place((x, y, w, h)) for x, y, w, h in (path[at][1:5] for at in steps)]
    places = [each for at, each in enumerate(places) if at == 0 or each != places[at - 1]]
    lasted = f"{path[-1][0] - path[0][0]:.0f} s"
    return f"{', then '.join(places)}; {lasted}" if len(places) > 1 else f"{places[0]} all the while; {lasted}"


def _review(review: Review) -> str:
    """Tell the review in words: verdict, person and time."""
    who = f", by {review.by}" if review.by else ""
    note = f": {review.note}" if review.note else ""
    return f"{words_of(review).removeprefix(REVIEWED)}{who}, {_local(review.at)}{note}"


def _state(kept: Kept) -> str:
    if kept.closed:
        return f"cannot be looked at ({kept.closed}): {kept.folder}"
    if not kept.there:
        return f"gone: cleared away to make room, or never written ({kept.folder})"
    return f"{kept.folder}{', locked' if kept.locked else ''}"


def _event(told: Told) -> str:
    """One event's line: how sure, where in the picture, and what was said."""
    event = told.event
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
    """What was told at the first attempt, and when the last of it was."""
    counts = {part: sum(row.part == part for row in rows) for part in dict.fromkeys(row.part for row in rows)}
    parts = [f"{count} {part}{'s' * (count != 1)}" for part, count in counts.items()]
    last = max((row.settled_at for row in rows if row.settled_at), default="")
    return f"{' and '.join(parts)} told at the first attempt, the last {_local(last)}" if rows else ""


def _of(row: Delivery, seen: dict[int, Told]) -> str:
    """Which part of which event a delivery is of."""
    told = seen.get(row.seq)
    return f"{moment(told) if told else ''} {told.event.type if told else '':<6} {row.part:<7}"


def _delivery(row: Delivery) -> str:
    """How a delivery stands."""
    tried = f"{row.attempts} attempt{'s' * (row.attempts != 1)}"
    # The other side's words: what would move the cursor about is left out.
    why = f": {''.join(sign for sign in row.error if sign.isprintable())}" if row.error else ""
    if row.state == "done":
        return f"told {_local(row.settled_at)}, {tried}"
    if row.withdrawn:
        return f"withdrawn {_local(row.settled_at)}, {tried}{why}"
    if row.state == "parked":
        return f"REFUSED {_local(row.settled_at)}, {tried}, tried no more{why}"
    return f"waiting since {_local(row.queued_at)}, {tried}{why}"


def _local(text: str | None) -> str:
    """A time of the journal in local time; as it stands where it is none."""
    try:
        return local(datetime.fromisoformat(text or ""))
    except ValueError:
        return text or ""


def _row(name: str, words: str) -> list[str]:
    return textwrap.wrap(
        words, _wide(), initial_indent=f"{name:<12}", subsequent_indent=" " * 12, break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def _wide() -> int:
    return max(60, min(100, shutil.get_terminal_size().columns))


def facts(happening: Happening, kept: Sequence[Kept]) -> dict[str, Any]:
    """One happening ready for JSON; times are UTC."""
    first, last = happening.first, happening.last
    return {
        "id": happening.id,
        "kind": first.event.kind,
        "camera": first.event.camera,
        "label": happening.label,
        "top_score": happening.top_score,
        "began_at": utc_text(first.at),
        "ended_at": utc_text(last.at) if happening.state == "over" else None,
        "clock": first.clock,
        "lasted_s": happening.lasted_s,
        "state": happening.state,
        "zones": list(happening.zones),
        "review": None if (review := decided(happening, kept)) is None else asdict(review),
        "evidence": [
            {
                "folder": str(each.folder),
                "there": each.there,
                "closed": each.closed,
                "locked": each.locked,
                "files": [path.name for path in each.files()],
                "path": each.path(),
            }
            for each in kept
        ],
        "deliveries": [asdict(each) for each in happening.deliveries],
        "events": [json.loads(told.line) | {"at": utc_text(told.at)} for told in happening.told],
    }


def readme(found: Sequence[Happening], now: datetime) -> str:
    """What lies in an exported zip, for whoever opens it."""
    lines = [f"{moment(each.first)}  {each.id[:ID]}  {each.first.event.camera}  {what(each)}" for each in found]
    return "\n".join([
        f"Events of a bear alarm, handed out on {now.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}.",
        "",
        *lines,
        "",
        "events.jsonl  each event as it was recorded, one line of JSON each (`bear-alarm schema event` explains it);",
        "              captured_at is UTC by the device's clock of that moment",
        "evidence/     pictures and clips of each happening, as far as they were kept",
        "",
        "It is an aid, not a life-safety device.",
        "",
    ])  # fmt: skip
