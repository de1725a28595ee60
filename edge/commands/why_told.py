"""What was told in a moment, why just then, and what became of it, in words."""

from __future__ import annotations

from collections.abc import Sequence

from edge.commands.why_words import alone, at, percent
from edge.commands.wording import counted
from edge.decide.alarms import OUTSIDE_ZONES
from edge.local_time import clock
from edge.record.trace import Moment, Told, share
from edge.record.trace_query import Reel
from edge.schema import Standing

LOOK_S = 60.0  # back to where the evidence began, and on to what became of it

Step = tuple[Moment, Standing]


def telling(reel: Reel, moment: Moment, told: Told) -> str:
    """What was told and why, as a clause without its full stop."""
    name = f"event {told.id[:8]}" + (f", told at {clock(told.at, date=False)}" if told.at else "")
    detail = _plain(told.detail)
    if told.kind != "bear":
        what = "this was told of the camera" if told.kind == "camera" else f"a {told.kind} event was told"
        return f"{what}: {detail} ({name})" if detail else f"a {told.kind} event was told ({name})"
    if told.type == "end":
        return f"{name} ended here" + (f" ({detail})" if detail else "")
    if told.quiet:
        return f"an event without noise, held back: {told.quiet} ({name})"
    if told.escalated:
        return f"it ALARMED again, for: {told.escalated} ({name})"
    if told.type == "update":
        return f"no new alarm; {name} was still going on and was updated"
    return f"ALARM, {name}{_reason(reel, moment, told)}"


def _reason(reel: Reel, moment: Moment, told: Told) -> str:
    """Why a bear was told at this moment, and not sooner."""
    standing = next((one for one in moment.standings if one.track == told.track), moment.strongest)
    if standing is None:
        return ""
    if alone(standing):
        rule = f"where pictures arrive one by one, {standing.alone_at:.2f} or more is enough"
        return f", for this one picture scored {standing.bear:.2f}, and {rule}"
    steps = run_up(reel, moment, standing.track)
    if entered := _entered(steps):
        enough, inside = entered
        where = f"zone {' and '.join(told.zones)}" if told.zones else "the zones"
        since = f"there had been evidence enough since {at(enough)}, but outside the zones"
        return f", for track {standing.track} was in {where} from {at(inside)} on; {since}"
    took = f", {moment.time - steps[0][0].time:.1f} s after it began to gather" if len(steps) > 1 else ""
    return f", for the evidence of track {standing.track} reached {percent(share(standing))} of what raises one{took}"


def run_up(reel: Reel, moment: Moment, track: int) -> list[Step]:
    """The moments up to this one in which the track was scored, since its evidence was last nothing."""
    gathered: list[Step] = []
    after = moment
    for earlier in reversed(reel.between(moment.time - LOOK_S, moment.time)):
        if after.index - earlier.index > 1:  # moments between them were not kept
            break
        after = earlier
        standing = next((one for one in earlier.standings if one.track == track), None)
        if standing is None or standing.sum <= 0:
            break
        if standing.bear is not None:
            gathered.append((earlier, standing))
    return gathered[::-1]


def _entered(steps: Sequence[Step]) -> tuple[Moment, Moment] | None:
    """Since when a track had evidence enough, and since when it was in a zone, where the latter came later."""
    outside = [OUTSIDE_ZONES in one.held for _, one in steps]
    enough = next((index for index, (_, one) in enumerate(steps) if share(one) >= 1), len(steps))
    inside = len(outside) - outside[::-1].index(True) if any(outside) else 0  # after the last one outside
    return (steps[enough][0], steps[inside][0]) if enough < inside < len(steps) else None


def rest_of(reel: Reel, moment: Moment, told: Told) -> list[str]:
    """The event from here to its end."""
    if told.type == "end" or told.kind != "bear":
        return []
    rest = [(m, one) for m, one in reel.told() if one.id == told.id and one is not told and m.time >= moment.time]
    # A bear that is lost and found again ends more than once.
    end = rest[-1] if rest and rest[-1][1].type == "end" else None
    lost = sum(one.type == "end" for _, one in rest) - bool(end)
    if end and end[0] is moment:  # said already
        return []
    count = sum(one.type == "update" for _, one in rest)
    words = [counted(count, "update")] if count else []
    words += [f"lost and found again {counted(lost, 'time')}"] if lost else []
    words += [f"at {at(m)} it alarmed again ({one.escalated})" for m, one in rest if one.escalated]
    why = f" ({_plain(end[1].detail)})" if end and end[1].detail else ""
    words.append(f"it ended at {at(end[0])}{why}" if end else "its end is not in the trace")
    return [f"Afterwards: {'; '.join(words)}."]


def open_event(reel: Reel, moment: Moment) -> tuple[Moment, Told] | None:
    """The bear event that was told before this moment and had not ended."""
    going: dict[str, tuple[Moment, Told]] = {}
    for m, told in reel.told():
        if m.time >= moment.time:
            break
        if told.type == "end":
            going.pop(told.id, None)
        elif told.kind == "bear":
            going.setdefault(told.id, (m, told))
    return next(reversed(going.values()), None)


def _plain(detail: str | None) -> str:
    """An event's detail as a part of a sentence."""
    return (detail or "").rstrip(".")
