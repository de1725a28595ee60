"""A moment in its time, in words: how the evidence came there, what came of it, and what is known of quiet hours."""

from __future__ import annotations

import math

from edge.commands.why_told import LOOK_S, open_event, rest_of, run_up, telling
from edge.commands.why_words import alone, at, looked, missing, percent, place, seen, stood
from edge.commands.wording import counted
from edge.decide.alarms import OUTSIDE_ZONES
from edge.decide.evidence import Rule
from edge.local_time import clock
from edge.record.trace import Moment, Peak, Summary, share
from edge.record.trace_query import Found, Gap, Reel, nearest_kept

AROUND_S = 5.0  # on either side of a quiet moment
MOST_STEPS = 10  # rows of the table
WORTH_A_TABLE = 0.25  # of an alarm's evidence


def explain(found: Found) -> list[str]:
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


def conclusion(found: Found) -> str:
    """What came of it, and what held it back, in a sentence or two."""
    if found.missed and not found.missed.clock_set:
        return "So: no alarm, for there was no picture to raise one."
    if found.moment:
        return _so(found.reel, found.moment)
    assert found.summary is not None
    if found.summary.told:
        return "Events were told in that while; their moments are kept: name one of them or its time."
    return f"{'The evidence never sufficed' if found.summary.share else 'No evidence had gathered'}. So: no alarm."


def _of(reel: Reel, moment: Moment) -> list[str]:
    """One moment in its time."""
    words = [f"{at(moment, full=True)}. {seen(moment)}", looked(moment), *stood(moment)]
    return [*words, *_steps(reel, moment), *_around(reel, moment), _so(reel, moment), *_afterwards(reel, moment)]


def _so(reel: Reel, moment: Moment) -> str:
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


def _steps(reel: Reel, moment: Moment) -> list[str]:
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


def _around(reel: Reel, moment: Moment) -> list[str]:
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


def _afterwards(reel: Reel, moment: Moment) -> list[str]:
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


def _missed(found: Found, gap: Gap) -> list[str]:
    """What is known of a time when no picture came: nothing, and why; and only then of the nearest one."""
    asked = f", so nothing is known of {clock(found.asked)}" if found.asked else ""
    words = [f"{found.reel.camera}: {missing(gap, asked)}"]
    if not gap.clock_set:
        words.append(conclusion(found))
    if found.moment is None:
        return words
    near = _of(found.reel, found.moment)
    return [*words, f"The nearest moment that was kept: {near[0]}", *near[1:]]


def _quiet_stretch(found: Found, summary: Summary) -> list[str]:
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
