"""Events in words for people's phones: what, where, how sure and when, by this device's clock and time zone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo

from edge.record.outbox import Message
from edge.schema import Event, readable

LATE_S = 120.0  # later than this is said
LINES = 8  # events named one by one in a digest


def title_and_body(message: Message, now: datetime, zone: tzinfo | None = None) -> tuple[str, str]:
    """A message's title and text; ``now`` is aware, and times are told in ``zone``: left out, this machine's."""
    title, body = _of_many(message.events, now, zone) if message.digest else _of_one(message, now, zone)
    return readable(title), readable(body)


def _of_one(message: Message, now: datetime, zone: tzinfo | None) -> tuple[str, str]:
    event = message.events[0]
    lines = [_sentence(event, now, zone)]
    if event.kind in {"camera", "health", "test"} and event.detail:
        lines.append(event.detail)
    if event.clock_synced is False:
        lines.append("The device's clock was not set, so the time may be wrong.")
    if message.late_s >= LATE_S:
        lines.append(f"Told {_span(message.late_s)} late: it could not be sent before.")
    title = f"Picture: {_title(event)}" if message.part == "picture" else _title(event)
    return title, "\n".join(lines)


def _of_many(events: Sequence[Event], now: datetime, zone: tzinfo | None) -> tuple[str, str]:
    """How many of what, then the alarms line by line, the newest first, then the rest of them."""
    alarms = [event for event in events if event.alarms]
    counts = [_counted(len(alarms), "alarm")]
    counts += [_counted(n, what) for what, n in Counter(_class(e) for e in events if not e.alarms).items()]
    told = [*reversed(alarms), *(event for event in reversed(events) if not event.alarms)]
    lines = [f"{len(events)} events that could not be sent at once: {', '.join(counts)}."]
    lines += [_sentence(event, now, zone) for event in told[:LINES]]
    if len(told) > LINES:
        lines.append(f"and {len(told) - LINES} more, since {_when(events[0], now, zone)}.")
    title = f"{_title(alarms[-1])}, and {len(events) - 1} more" if alarms else f"{len(events)} messages"
    return title, "\n".join(lines)


def _title(event: Event) -> str:
    if event.kind == "bear":
        return f"BEAR at {event.camera}" + (" again" if event.escalated else "")
    if event.kind == "test":
        return "Test of the bear alarm"
    what = f"Camera {event.camera}" if event.kind == "camera" else "The bear alarm"
    return f"{what} is well again" if event.type == "end" else f"{what} has a problem"


def _sentence(event: Event, now: datetime, zone: tzinfo | None) -> str:
    """One line: what, how sure, where, when."""
    when = _when(event, now, zone)
    if event.kind == "bear":
        words = [(event.label or "bear").replace("_", " ").capitalize()]
        words += [f"{event.score:.0%} sure"] if event.score is not None else []
        words += [f"at {event.camera}"]
        words += [f"in {' and '.join(event.zones)}"] if event.zones else []
        words += [f"picture {event.file}"] if event.file else []
        words += [event.escalated] if event.escalated and not event.escalated.startswith("zone ") else []
        return f"{', '.join([*words, when])}."
    if event.kind == "test":
        return f"This is only a test, {when}."
    what = f"{_title(event)}, {when}"
    return f"{what} ({event.label.replace('_', ' ')})." if event.label else f"{what}."


def _class(event: Event) -> str:
    names = {"camera": "message about a camera", "health": "message about the alarm itself"}
    return names.get(event.kind, "message")


def _counted(number: int, what: str) -> str:
    if number == 1:
        return f"1 {what}"
    head, _, tail = what.partition(" ")
    return f"{number} {head}s {tail}".rstrip() if number else f"no {head}s {tail}".rstrip()


def _when(event: Event, now: datetime, zone: tzinfo | None) -> str:
    """14:02:11, with the day when it is not today's."""
    try:
        at = datetime.fromisoformat(event.captured_at).astimezone(zone)
    except ValueError:
        return event.captured_at
    today = now.astimezone(zone).date()
    if at.date() == today:
        return f"{at:%H:%M:%S}"
    day = "yesterday" if at.date() == today - timedelta(days=1) else f"{at:%Y-%m-%d}"
    return f"{day} {at:%H:%M:%S}"


def _span(seconds: float) -> str:
    for unit_s, unit in ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= unit_s:
            number = round(seconds / unit_s)
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{seconds:.0f} seconds"
