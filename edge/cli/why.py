"""``bear-alarm why``: what the alarm saw, thought and did at one moment, also a quiet one."""

from __future__ import annotations

import json
import logging
import math
import shutil
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.cli.options import settings_at_hand
from edge.cli.progress import counted
from edge.decide.alarms import OUTSIDE_ZONES
from edge.decide.evidence import Rule
from edge.errors import OptionError
from edge.local_time import clock
from edge.record.trace import Look, Moment, Peak, Summary, Told, share
from edge.record.trace_query import Gap, Match, TraceRun, nearest_kept
from edge.schema import BoxXYWH, EvidenceState

log = logging.getLogger(__name__)

WIDEST = 100  # characters of a line of prose

WhenArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="EVENT|TIME",
        help="An event's id or its first 6 characters; seconds into a clip (12.5 or 0:12.5); a time of day (03:12, or "
        "2026-11-24T03:12:07Z); last: the last event, a bear before all others; end: the newest moment. "
        "Default: the last event, or without one the moment of most evidence.",
    ),
]


def why(
    when: WhenArgument = None,
    trace: Annotated[
        Path | None, typer.Option(help="The file that `watch --trace FILE` wrote (default: the config's).")
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the time around it, too (.svg or .png).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Explain a moment: what moved, what was looked at, how the evidence stood, and what held the alarm back.

    It answers for alarms and for quiet moments. Of a live camera the trace keeps what lies around events; of the rest
    it keeps a summary each ten minutes.
    """
    from edge.record.trace_query import find, read_trace

    trace = trace or settings_at_hand().trace
    if trace is None:
        raise OptionError("which trace? give --trace FILE, the file that `bear-alarm watch --trace FILE` wrote")
    if plot and plot.suffix.lower() not in {".svg", ".png"}:
        raise OptionError(f"--plot {plot}: can be drawn as .svg or .png; name it {plot.with_suffix('.svg').name}")
    found = find(read_trace(trace), when, camera, now=_now())
    words = explain(found)
    if plot:
        from edge.record.plot import draw

        draw(found, plot)
        log.info("%s written.", plot)
    if as_json:
        print(json.dumps(facts(found, words), indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(folded(paragraph) for paragraph in words))


def _now() -> datetime:
    return datetime.now(UTC)


def facts(found: Match, words: list[str]) -> dict[str, Any]:
    """The answer ready for JSON: the records as the trace has them, and the words."""
    from edge.schema import utc_text

    moment, summary = found.moment, found.summary
    return {
        "schema_version": 1,
        "kind": "why",
        "camera": found.reel.camera,
        "run": found.reel.run,
        "event": found.event,
        "missed": found.missed and [utc_text(found.missed.since), utc_text(found.missed.until)],  # no frame came
        "moment": json.loads(moment.to_json()) if moment else None,
        "summary": json.loads(summary.to_json()) if summary else None,
        "so": conclusion(found),
        "words": words,
    }


def folded(paragraph: str) -> str:
    """A paragraph as wide as the terminal; a table as it is."""
    if "\n" in paragraph:
        return paragraph
    wide = min(shutil.get_terminal_size().columns, WIDEST)
    # A number stays with its unit.
    together = paragraph.replace(" %", "\xa0%")
    return textwrap.fill(together, wide, break_on_hyphens=False, break_long_words=False).replace("\xa0", " ")


# One moment of a trace in words: what moved, what was looked at, how the evidence stood.


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


def _stood(standing: EvidenceState, moment: Moment) -> str:
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


def alone(standing: EvidenceState) -> bool:
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


# What was told in a moment, why just then, and what became of it, in words.


LOOK_S = 60.0  # back to where the evidence began, and on to what became of it

Step = tuple[Moment, EvidenceState]


def telling(reel: TraceRun, moment: Moment, told: Told) -> str:
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


def _reason(reel: TraceRun, moment: Moment, told: Told) -> str:
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


def run_up(reel: TraceRun, moment: Moment, track: int) -> list[Step]:
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


def rest_of(reel: TraceRun, moment: Moment, told: Told) -> list[str]:
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


def open_event(reel: TraceRun, moment: Moment) -> tuple[Moment, Told] | None:
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


# A moment in its time, in words: how the evidence came there, what came of it, and what is known of quiet hours.


AROUND_S = 5.0  # on either side of a quiet moment
MOST_STEPS = 10  # rows of the table
WORTH_A_TABLE = 0.25  # of an alarm's evidence


def explain(found: Match) -> list[str]:
    """Paragraphs for people; one with line breaks is a table, and the last but for hints is what came of it."""
    also = [f"Other cameras have moments then: --camera {' or '.join(found.also)}."] if found.also else []
    also += [f"Of {' and '.join(found.away)} no picture came then."] if found.away else []
    also += [f"The trace ends at {clock(found.ends)}; of what came after nothing is known."] if found.ends else []
    reel, moment = found.reel, found.moment
    if found.missed:
        return [*_missed(found, found.missed), *also]
    if moment is None:
        assert found.summary is not None
        return [*_quiet_stretch(found, found.summary), *also]
    beside = [f"In the time that was asked for, {missing(found.beside)}"] if found.beside else []
    return [*_of(reel, moment), *beside, *also]


def conclusion(found: Match) -> str:
    """What came of it, and what held it back, in a sentence or two."""
    if found.missed and not found.missed.clock_set:
        return "So: no alarm, for there was no picture to raise one."
    if found.moment:
        return _so(found.reel, found.moment)
    assert found.summary is not None
    if found.summary.told:
        return "Events were told in that while; their moments are kept: name one of them or its time."
    return f"{'The evidence never sufficed' if found.summary.share else 'No evidence had gathered'}. So: no alarm."


def _of(reel: TraceRun, moment: Moment) -> list[str]:
    """One moment in its time."""
    words = [f"{at(moment, full=True)}. {seen(moment)}", looked(moment), *stood(moment)]
    return [*words, *_steps(reel, moment), *_around(reel, moment), _so(reel, moment), *_afterwards(reel, moment)]


def _so(reel: TraceRun, moment: Moment) -> str:
    if moment.told:
        return f"So: {'; '.join(telling(reel, moment, told) for told in moment.told)}."
    going_on = open_event(reel, moment)
    if going_on:
        begun, told = going_on
        return f"No new alarm: the one that began at {at(begun)} (event {told.id[:8]}) was still active."
    single = [one for one in moment.standings if one.alone_at is not None and one.bear is not None]
    standing = max(single, key=lambda one: one.bear or 0.0, default=moment.strongest)
    if standing and standing.alone_at is not None and standing.bear is not None and not alone(standing):
        words = f"this picture scored {standing.bear:.2f}, and one alone alarms from {standing.alone_at:.2f} on"
        more = f"; with those before it, it came to {percent(share(standing))} of the evidence that raises one"
        return f"So: no alarm, for {words}{more if standing.sum > 0 else ''}."
    if standing is None or (standing.sum <= 0 and not alone(standing)):
        return "No evidence had gathered. So: no alarm."
    if share(standing) < 1 and not alone(standing):
        return f"So: no alarm, for the evidence had come to {percent(share(standing))} of what raises one."
    held = "; ".join(standing.held) or "this frame's score did not speak for a bear"
    return f"So: no alarm, though there was evidence enough. Held back: {held}."


def _steps(reel: TraceRun, moment: Moment) -> list[str]:
    """The table of how a track's evidence grew, for an alarm or what came near to one."""
    alarm = next((told for told in moment.told if told.type == "new" or told.escalated), None)
    if alarm is None and (moment.told or open_event(reel, moment)):
        return []
    track = alarm.track if alarm else None
    if track is None:
        track = moment.strongest.track if moment.strongest else 0
    steps = run_up(reel, moment, track)[-MOST_STEPS:]
    if len(steps) < 2 or (alarm is None and share(steps[-1][1]) < WORTH_A_TABLE):
        return []
    rows = [(f"track {track}", "bear", "counts from", "logits", "evidence", "", "")]
    for earlier, one in steps:
        evidence = f"{one.sum:.1f} of {one.alarm_at:.1f}"
        bear = "" if one.bear is None else f"{one.bear:.2f}"
        outside = "outside" if OUTSIDE_ZONES in one.held else ""
        counts, said = f"{one.threshold:.2f}", f"{one.said:+.1f}"
        rows.append((at(earlier), bear, counts, said, evidence, percent(share(one)), outside))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)) for row in rows]
    return ["\n".join(f"  {line.rstrip()}" for line in lines)]


def _around(reel: TraceRun, moment: Moment) -> list[str]:
    """What a quiet moment lies in."""
    near = [] if moment.told else reel.between(moment.time - AROUND_S, moment.time + AROUND_S)
    tops = [(look.bear, at(m)) for m in near if (look := m.top)]
    if len(near) < 2 or not tops or near[-1].index - near[0].index >= len(near):  # of a hole nothing can be said
        return []
    bear, when = max(tops, key=lambda pair: pair[0])
    places = counted(sum(len(m.scored) for m in near), "place")
    words = (
        f"In the {AROUND_S:g} s before and after, {places} were looked at; the most bear-like was {bear:.2f} at {when}"
    )
    shares = [(share(standing), at(m)) for m in near if (standing := m.strongest)]
    most, when = max(shares, key=lambda pair: pair[0], default=(0.0, ""))
    return [f"{words}, the most evidence {percent(most)} of an alarm's at {when}." if most > 0 else f"{words}."]


def _afterwards(reel: TraceRun, moment: Moment) -> list[str]:
    """What became of the event, or of the strongest track."""
    if moment.told:
        return [words for told in moment.told for words in rest_of(reel, moment, told)]
    standing = moment.strongest
    if standing is None or standing.sum <= 0 or open_event(reel, moment):
        return []
    later = [m for m in reel.between(moment.time, moment.time + LOOK_S) if m is not moment]
    for m in later:
        told = next((one for one in m.told if one.track == standing.track and one.type != "end"), None)
        if told:
            return [f"It alarmed {m.time - moment.time:.1f} s later (event {told.id[:8]})."]
    words = []
    if standing.said > 0 and standing.sum < standing.alarm_at and standing.alone_at is None:
        most_ever = standing.said * Rule.forget_s  # where what is added is what is forgotten
        if most_ever <= standing.alarm_at:
            words.append("More of the same would never have raised it: it is forgotten as fast as it gathers.")
        else:
            missing_s = Rule.forget_s * math.log((most_ever - standing.sum) / (most_ever - standing.alarm_at))
            words.append(f"{missing_s:.1f} s more of the same would have raised it.")
    shares = [(share(one), at(m)) for m in later for one in m.standings if one.track == standing.track]
    most, when = max(shares, key=lambda pair: pair[0], default=(0.0, ""))
    if shares:
        rose = f"rose to {percent(most)} at {when} and no further" if most > share(standing) else "rose no further"
        words.append(f"Its evidence {rose}.")
    return [" ".join(words)] if words else []


def _missed(found: Match, gap: Gap) -> list[str]:
    """What is known of a time when no picture came: nothing, and why; and only then of the nearest one."""
    asked = f", so nothing is known of {clock(found.asked)}" if found.asked else ""
    words = [f"{found.reel.camera}: {missing(gap, asked)}"]
    if not gap.clock_set:
        words.append(conclusion(found))
    if found.moment is None:
        return words
    near = _of(found.reel, found.moment)
    return [*words, f"The nearest moment that was kept: {near[0]}", *near[1:]]


def _quiet_stretch(found: Match, summary: Summary) -> list[str]:
    """What is known of a while of which no moment was kept."""
    when = f" of {clock(found.asked)}" if found.asked else ""
    since, until = clock(summary.since), clock(summary.until, date=False)
    known = [
        f"{counted(summary.frames, 'frame')}, something moved in {summary.moved:,} of them;",
        f"{counted(summary.crops, 'place')} looked at, {counted(summary.told, 'event')} told.",
    ]
    limit = "" if summary.threshold is None else f" ({summary.threshold:.2f} counts)"
    if summary.bear:
        known.append(f"The most bear-like was {_peak(summary.bear, f'{summary.bear.value:.2f}{limit}')}.")
    if summary.share:
        known.append(f"The most evidence was {_peak(summary.share, f'{percent(summary.share.value)} of an alarm')}.")
    if summary.gap_s > 2.0 and summary.gap_at:
        known.append(f"No frame came for {summary.gap_s:.0f} s after {clock(summary.gap_at, date=False)}.")
    known += [f"The camera was in trouble: {trouble.rstrip('.')}." for trouble in summary.troubles]
    quiet = "" if summary.told else " It was a quiet stretch."
    kept = nearest_kept(found.reel, found.asked) if found.asked else None
    return [
        f"{summary.camera}. No moment was kept{when}: of a live camera only what lies around an event is.{quiet}",
        f"What is known of {since} to {until}: {' '.join(known)}",
        *([f"The nearest moment that was kept: {clock(kept.wall)}."] if kept else []),
        conclusion(found),
    ]


def _peak(peak: Peak, value: str) -> str:
    return f"{value}, {place(peak.box_xywh)}, at {clock(peak.wall, date=False)}, a moment that was kept"
