"""One moment of a trace in words: what moved, what was looked at, how the evidence stood."""

from __future__ import annotations

from collections.abc import Sequence

from edge.local_time import clock
from edge.record.trace import Look, Moment, share
from edge.record.trace_query import Gap
from edge.schema import BoxXYWH, Standing

MOST_TRACKS = 4  # in words


def at(moment: Moment, *, full: bool = False) -> str:
    """When: ``14.2 s`` into a clip or a time of day; ``full`` names the camera, the date and UTC."""
    if moment.media_time_s is not None:
        when = f"{moment.media_time_s:.1f} s"
    else:
        local = moment.wall.astimezone()
        when = clock(moment.wall) if full else f"{local:%H:%M:%S}.{local.microsecond // 100_000}"
    return f"{moment.camera} at {when}" if full else when


def seen(moment: Moment) -> str:
    """What was wrong with the camera, and what moved."""
    moved = [look for look in moment.scored if look.kind == "motion"]
    trouble = "".join(f"The camera was in trouble: {trouble.rstrip('.')}. " for trouble in moment.troubles)
    if moment.reset:
        return trouble + (
            "The background started anew (a first frame, a jump in the light, or a picture at rest again), "
            "so the whole picture was looked at."
        )
    if moment.moving:
        return trouble + "The picture as a whole moved, so it was looked at as a whole."
    if not moved:
        return trouble + "Nothing moved."
    largest = max(moved, key=lambda look: look.box_xywh[2] * look.box_xywh[3])
    many = "Something moved" if len(moved) == 1 else f"{len(moved)} things moved, the largest"
    return f"{trouble}{many} {place(largest.box_xywh)}, {pixels(largest.box_xywh, moment)} pixels long."


def looked(moment: Moment) -> str:
    """What was looked at, and the most bear-like of it."""
    top = moment.top
    if top is None:
        return (
            "Nothing was looked at in this frame: nothing moved, none was followed, and no look at the whole was due."
        )
    limit = moment.threshold
    against = "" if limit is None else f", {'above' if top.bear >= limit else 'below'} the {limit:.2f} that counts"
    one = f"{top.bear:.2f} ({top.label.replace('_', ' ')}), {place(top.box_xywh)}{against}"
    if len(moment.scored) == 1:
        return f"1 place was looked at ({_kinds(moment.scored)}); it scored {one}."
    return f"{len(moment.scored)} places were looked at ({_kinds(moment.scored)}); the most bear-like was {one}."


def _kinds(looks: Sequence[Look]) -> str:
    """Name the regions that were scored: "2 that moved and 3 in the whole picture"."""
    count = {kind: sum(look.kind == kind for look in looks) for kind in ("motion", "track")}
    whole = len(looks) - sum(count.values())
    words = [f"{count['motion']} that moved"] if count["motion"] else []
    words += [f"{count['track']} followed"] if count["track"] else []
    words += [f"{whole} in the whole picture"] if whole else []
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def stood(moment: Moment) -> list[str]:
    """A sentence or two for each of the tracks of which something is to be said, the strongest first."""
    worth = [one for one in moment.standings if one.sum > 0 or one.bear is not None]
    return [_stood(one, moment) for one in sorted(worth, key=share, reverse=True)[:MOST_TRACKS]]


def _stood(standing: Standing, moment: Moment) -> str:
    words = f"Track {standing.track}, {place(standing.box_xywh)}, {pixels(standing.box_xywh, moment)} pixels long: "
    if standing.alone_at is not None and standing.bear is not None:
        words += f"it scored {standing.bear:.2f}, and one picture alone alarms from {standing.alone_at:.2f} on"
        if alone(standing):
            return f"{words}."
        words += "; "
    elif standing.bear is None:
        words += "nothing was said of it in this frame; "
    else:
        way = "for" if standing.said > 0 else "against" if standing.said < 0 else "neither for nor against"
        words += f"it scored {standing.bear:.2f} where {standing.threshold:.2f} counts, which speaks {way} a bear; "
    if standing.sum > 0:
        words += f"its evidence stood at {standing.sum:.1f} of {standing.alarm_at:.1f} logit-seconds "
        words += f"({percent(share(standing))})."
    else:
        words += "there was no evidence of it."
    told = any(one.track == standing.track and one.type == "new" for one in moment.told)
    # After an alarm its own track is held back by it, which explains nothing of the alarm.
    return words + (f" Of note: {'; '.join(standing.held)}." if standing.held and not told else "")


def alone(standing: Standing) -> bool:
    """Whether its score in this one picture is enough for an alarm, whatever has gathered."""
    enough, bear = standing.alone_at, standing.bear
    return enough is not None and bear is not None and bear >= enough


def missing(gap: Gap, so: str = "") -> str:
    """A while without a picture, and what was wrong; ``so`` is what follows from it."""
    since, until = (
        clock(gap.since),
        clock(gap.until, date=gap.until.astimezone().date() != gap.since.astimezone().date()),
    )
    if gap.clock_set:
        return f"the clock was set from {since} to {until} between two frames{so}."
    wrong = "".join(f" The camera was in trouble: {trouble.rstrip('.')}." for trouble in gap.troubles)
    return f"no picture came from {since} to {until}, {gap.seconds:,.0f} s{so}.{wrong}"


def place(box_xywh: BoxXYWH) -> str:
    """Where in the picture a box lies."""
    x, y, w, h = box_xywh
    if w * h > 0.8:
        return "in the whole picture"
    sideways = "left" if x + w / 2 < 1 / 3 else "right" if x + w / 2 > 2 / 3 else ""
    upright = "top" if y + h / 2 < 1 / 3 else "bottom" if y + h / 2 > 2 / 3 else ""
    if sideways and upright:
        return f"at the {upright} {sideways}"
    if not sideways and not upright:
        return "in the middle"
    touching = {"left": x < 0.01, "right": x + w > 0.99, "top": y < 0.01, "bottom": y + h > 0.99}
    side = sideways or upright
    return f"at the {side} edge" if touching[side] else f"on the {side}" if sideways else f"at the {side}"


def pixels(box_xywh: BoxXYWH, moment: Moment) -> int:
    """The longer side of a box in pixels of the camera's picture."""
    return round(max(box_xywh[2] * moment.size_wh[0], box_xywh[3] * moment.size_wh[1]))


def percent(part: float) -> str:
    """``67 %`` of 0.67."""
    return f"{100 * part:.0f} %"
