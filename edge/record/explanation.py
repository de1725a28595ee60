"""Explain a moment of a trace: the numbers against their thresholds, and the gate that held the alarm back.

``explain`` returns paragraphs: a heading, a table (value, threshold, detail), the run-up of the evidence, notes, and at
the end ``conclusion``: the alarm, or the first gate that held it back.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.local_time import clock
from edge.record.trace import Moment, Peak, Summary, TracedEvent, share
from edge.record.trace_query import Gap, Match, TraceRun, nearest_kept
from edge.schema import BoxXYWH, EvidenceState

RUN_UP_S = 60.0  # back to where the evidence began
LATER_S = 60.0  # on to the alarm that the evidence raised
MAX_STEPS = 10  # rows of the run-up
MAX_TRACKS = 4  # rows of evidence
MIN_SHARE = 0.25  # of an alarm's evidence; less has no run-up

Row = tuple[str, str, str, str]  # what, value, threshold, detail


def explain(found: Match) -> list[str]:
    """Return the paragraphs to print, the conclusion last."""
    words = [_gap(found, found.missed)] if found.missed else []
    if found.moment:
        nearest = "Nearest moment that was kept: " if found.missed else ""
        words += [f"{nearest}{_heading(found.moment)}", _table(_moment_rows(found.moment))]
        words += [*_run_up_table(found.run, found.moment), *_later(found.run, found.moment)]
    elif found.summary:
        words += _quiet_stretch(found, found.summary)
    words += [f"Besides, {_gap(found, found.beside)}"] if found.beside else []
    words += [f"Other cameras have moments then: --camera {' or '.join(found.also)}."] if found.also else []
    words += [f"Of {' and '.join(found.away)} no picture came then."] if found.away else []
    words += [f"The trace ends at {clock(found.ends)}; nothing is known after that."] if found.ends else []
    return [*words, conclusion(found)]


def conclusion(found: Match) -> str:
    """Return one sentence: the alarm, or the gate that held it back."""
    if found.missed and not found.missed.clock_set:
        return "No alarm: no picture came."
    if found.moment:
        return _decision(found.run, found.moment)
    assert found.summary is not None
    if found.summary.events:
        return "There were events in that time, and their moments are kept: name one of them or its time."
    return "No alarm: the evidence never sufficed." if found.summary.share else "No alarm: no evidence."


def _decision(run: TraceRun, moment: Moment) -> str:
    """Return the alarm, or the first gate that a moment did not pass."""
    if moment.events:
        return "; ".join(_event(run, moment, event) for event in moment.events) + "."
    if opened := _open_event(run, moment):
        begun, event = opened
        return f"No new alarm: event {event.id[:8]}, since {at(begun)}, is still open."
    single = [one for one in moment.evidence_states if one.alone_at is not None and one.bear is not None]
    one = max(single, key=lambda each: each.bear or 0.0, default=moment.strongest)
    if one and one.alone_at is not None and one.bear is not None and not _alone(one):
        gathered = f", and evidence {_of_h(one)}" if one.sum > 0 else ""
        return f"No alarm: score {one.bear:.2f} < {one.alone_at:.2f}, which one picture alone needs{gathered}."
    if one and (_alone(one) or share(one) >= 1):
        return f"No alarm: evidence enough, but held back by {'; '.join(one.held) or 'a score below the threshold'}."
    if one and one.sum > 0:
        return f"No alarm: evidence {_of_h(one)}."
    top, limit = moment.top, moment.threshold
    if top is None:
        return "No alarm: nothing was scored (no motion, no track, no scan of the whole picture due)."
    if limit is not None and top.bear < limit:
        return f"No alarm: best score {top.bear:.2f} < threshold {limit:.2f}; no evidence."
    return "No alarm: no evidence."


def _event(run: TraceRun, moment: Moment, event: TracedEvent) -> str:
    """Return what an event of this moment was, and the numbers behind an alarm."""
    name = f"event {event.id[:8]}" + (f", at {clock(event.at, date=False)}" if event.at else "")
    name += ", in shadow (nobody was notified)" if event.stage == "shadow" else ""
    detail = (event.detail or "").rstrip(".")
    if event.kind != "bear":
        return f"No alarm, but a {event.kind} event ({name}){f': {detail}' if detail else ''}"
    if event.type == "end":
        return f"No alarm: {name} ended here{f' ({detail})' if detail else ''}"
    if event.quiet:
        return f"{name}, without noise: {event.quiet}"
    if event.escalated:
        return f"ALARM again, {name}: {event.escalated}"
    if event.type == "update":
        return f"No new alarm: update of {name}, which is still open"
    one = next((each for each in moment.evidence_states if each.track == event.track), moment.strongest)
    if one is None:
        return f"ALARM, {name}"
    where = f" in zone {' and '.join(event.zones)}" if event.zones else ""
    if _alone(one):
        return f"ALARM, {name}: score {one.bear:.2f} ≥ {one.alone_at:.2f} in one picture{where}"
    before = [step for _, step in _run_up(run, moment, one.track)][-2:-1]
    held = [reason for step in before if share(step) >= 1 for reason in step.held]
    until = f", until now held back by {'; '.join(held)}" if held else ""
    return f"ALARM, {name}: track {one.track}{where}, evidence {_of_h(one)}{until}"


def _of_h(one: EvidenceState) -> str:
    """``S 0.80 < h 1.80 (44 %)``."""
    sign = "≥" if one.sum >= one.alarm_at else "<"
    return f"S {one.sum:.2f} {sign} h {one.alarm_at:.2f} ({percent(share(one))})"


def _alone(one: EvidenceState) -> bool:
    """Return True if the score of this one picture is enough for an alarm."""
    return one.alone_at is not None and one.bear is not None and one.bear >= one.alone_at


# The tables.


def _moment_rows(moment: Moment) -> list[Row]:
    """Return what moved, the best score and each track's evidence, against their thresholds."""
    moved = [region for region in moment.scored if region.kind == "motion"]
    kinds = {"motion": 0, "track": 0} | {region.kind: 0 for region in moment.scored}
    for region in moment.scored:
        kinds[region.kind] += 1
    motion = ""
    if moment.reset:
        motion = "new background (first frame, jump in the light, at rest again): whole picture scored"
    elif moment.moving:
        motion = "the picture as a whole moved: whole picture scored"
    elif moved:
        largest = max(moved, key=lambda region: region.box_xywh[2] * region.box_xywh[3])
        motion = f"largest {_where(largest.box_xywh, moment)}"
    rows: list[Row] = [
        ("motion regions", str(len(moved)), "", motion),
        ("places scored", str(len(moment.scored)), "", ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)),
    ]
    if top := moment.top:
        limit = "" if moment.threshold is None else f"{moment.threshold:.2f}"
        detail = f"{top.label.replace('_', ' ')}, {_where(top.box_xywh, moment)}"
        rows.append(("best score", f"{top.bear:.2f}", limit, detail))
    worth = [one for one in moment.evidence_states if one.sum > 0 or one.bear is not None]
    for one in sorted(worth, key=share, reverse=True)[:MAX_TRACKS]:
        track = f"track {one.track}, {_where(one.box_xywh, moment)}"
        track += "" if one.bear is None else f", scored {one.bear:.2f} ({one.said:+.1f} logits)"
        if one.alone_at is not None and one.bear is not None:
            rows.append(("one picture", f"{one.bear:.2f}", f"{one.alone_at:.2f}", track))
        if not _alone(one):
            rows.append(("evidence S", f"{one.sum:.2f}", f"{one.alarm_at:.2f}", f"{percent(share(one))}; {track}"))
        alarmed = any(event.track == one.track and event.type == "new" for event in moment.events)
        if one.held and not alarmed:  # by this very alarm
            rows.append(("held back by", "", "", f"{'; '.join(one.held)} (track {one.track})"))
    return [*rows, *(("camera trouble", "", "", trouble) for trouble in moment.troubles)]


def _table(rows: Sequence[Row]) -> str:
    rows = [("", "value", "threshold", ""), *rows]
    wide = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"  {a:<{wide[0]}}  {b:>{wide[1]}}  {c:>{wide[2]}}  {d}" for a, b, c, d in rows]
    return "\n".join(line.rstrip() for line in lines)


def _run_up_table(run: TraceRun, moment: Moment) -> list[str]:
    """Return how a track's evidence grew, for an alarm or what came near to one."""
    alarm = next((event for event in moment.events if event.type == "new" or event.escalated), None)
    if alarm is None and (moment.events or _open_event(run, moment)):
        return []
    track = alarm.track if alarm else None
    if track is None:
        track = moment.strongest.track if moment.strongest else 0
    steps = _run_up(run, moment, track)
    if len(steps) < 2 or (alarm is None and share(steps[-1][1]) < MIN_SHARE):
        return []
    rows = [(f"track {track}", "score", "threshold", "logits", "S", "h", "")]
    for earlier, one in steps[-MAX_STEPS:]:
        score = "" if one.bear is None else f"{one.bear:.2f}"
        held = "" if earlier.events else "; ".join(one.held)
        numbers = (f"{one.threshold:.2f}", f"{one.said:+.1f}", f"{one.sum:.2f}", f"{one.alarm_at:.2f}")
        rows.append((at(earlier), score, *numbers, held))
    wide = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = ["  ".join([*(word.rjust(width) for word, width in zip(row, wide, strict=False)), row[6]]) for row in rows]
    return ["\n".join(f"  {line.rstrip()}" for line in lines)]


def _run_up(run: TraceRun, moment: Moment, track: int) -> list[tuple[Moment, EvidenceState]]:
    """Return the moments up to this one in which the track was scored, since its evidence was last nothing."""
    gathered: list[tuple[Moment, EvidenceState]] = []
    after = moment
    for earlier in reversed(run.between(moment.time - RUN_UP_S, moment.time)):
        one = next((each for each in earlier.evidence_states if each.track == track), None)
        if after.index - earlier.index > 1 or one is None or one.sum <= 0:  # not kept between them, or not yet there
            break
        after = earlier
        if one.bear is not None:
            gathered.append((earlier, one))
    return gathered[::-1]


def _quiet_stretch(found: Match, summary: Summary) -> list[str]:
    when = f" at {clock(found.asked)}" if found.asked else ""
    rows: list[Row] = [
        ("frames", f"{summary.frames:,}", "", f"motion in {summary.moved:,}"),
        ("places scored", f"{summary.crops:,}", "", ""),
    ]
    if summary.bear:
        limit = "" if summary.threshold is None else f"{summary.threshold:.2f}"
        rows.append(("best score", f"{summary.bear.value:.2f}", limit, _peak(summary.bear)))
    if summary.share:
        rows.append(("most evidence", percent(summary.share.value), "100 %", _peak(summary.share)))
    rows.append(("events", f"{summary.events:,}", "", ""))
    if summary.gap_s > 2.0 and summary.gap_at:
        rows.append(("longest gap", f"{summary.gap_s:.0f} s", "", f"after {clock(summary.gap_at, date=False)}"))
    rows += [("camera trouble", "", "", trouble) for trouble in summary.troubles]
    kept = nearest_kept(found.run, found.asked) if found.asked else None
    return [
        f"{summary.camera}{when}. No moment was kept: of a live camera only what lies around an event is.",
        f"Summary of {clock(summary.since)} to {clock(summary.until, date=False)}:\n{_table(rows)}",
        *([f"Nearest moment that was kept: {clock(kept.wall)}."] if kept else []),
    ]


# Notes.


def _gap(found: Match, gap: Gap) -> str:
    """Return when no picture came, and what was wrong with the camera."""
    same_day = gap.until.astimezone().date() == gap.since.astimezone().date()
    span = f"from {clock(gap.since)} to {clock(gap.until, date=not same_day)}"
    asked = f"; nothing is known of {clock(found.asked)}" if found.missed and found.asked else ""
    if gap.clock_set:
        return f"{found.run.camera}: the clock was set {span}{asked}."
    trouble = "".join(f"\n{_table([('camera trouble', '', '', each)])}" for each in gap.troubles)
    return f"{found.run.camera}: no picture came {span}, {gap.seconds:,.0f} s{asked}.{trouble}"


def _later(run: TraceRun, moment: Moment) -> list[str]:
    """Return what became of the event, or whether the strongest track alarmed after this moment."""
    if moment.events:
        return [words for event in moment.events for words in _rest_of(run, moment, event)]
    one = moment.strongest
    if one is None or one.sum <= 0 or _open_event(run, moment):
        return []
    for later in run.between(moment.time, moment.time + LATER_S):
        event = next((each for each in later.events if each.track == one.track and each.type != "end"), None)
        if event and later is not moment:
            return [f"It alarmed {later.time - moment.time:.1f} s later (event {event.id[:8]})."]
    return []


def _rest_of(run: TraceRun, moment: Moment, event: TracedEvent) -> list[str]:
    """Return what came after this event until its end, in a line."""
    if event.type == "end" or event.kind != "bear":
        return []
    rest = [(m, one) for m, one in run.events() if one.id == event.id and one is not event and m.time >= moment.time]
    # A bear that is lost and found again ends more than once.
    end = rest[-1] if rest and rest[-1][1].type == "end" else None
    if end and end[0] is moment:
        return []
    lost = sum(one.type == "end" for _, one in rest) - bool(end)
    count = sum(one.type == "update" for _, one in rest)
    words = [f"{count} update{'s' * (count > 1)}"] if count else []
    words += [f"lost and found again {lost} time{'s' * (lost > 1)}"] if lost else []
    words += [f"alarmed again at {at(m)} ({one.escalated})" for m, one in rest if one.escalated]
    reason = f" ({(end[1].detail or '').rstrip('.')})" if end and end[1].detail else ""
    words.append(f"ended at {at(end[0])}{reason}" if end else "its end is not in the trace")
    return [f"Afterwards: {'; '.join(words)}."]


def _open_event(run: TraceRun, moment: Moment) -> tuple[Moment, TracedEvent] | None:
    """Return the bear event that began before this moment and had not ended."""
    going: dict[str, tuple[Moment, TracedEvent]] = {}
    for m, event in run.events():
        if m.time >= moment.time:
            break
        if event.type == "end":
            going.pop(event.id, None)
        elif event.kind == "bear":
            going.setdefault(event.id, (m, event))
    return next(reversed(going.values()), None)


# Times, places and shares.


def _heading(moment: Moment) -> str:
    when = at(moment) if moment.media_time_s is not None else clock(moment.wall)
    return f"{moment.camera} at {when}"


def at(moment: Moment) -> str:
    """Return when: ``14.2 s`` into a clip, or a time of day."""
    if moment.media_time_s is not None:
        return f"{moment.media_time_s:.1f} s"
    local = moment.wall.astimezone()
    return f"{local:%H:%M:%S}.{local.microsecond // 100_000}"


def _peak(peak: Peak) -> str:
    return f"{place(peak.box_xywh)}, at {clock(peak.wall, date=False)}, a moment that was kept"


def _where(box_xywh: BoxXYWH, moment: Moment) -> str:
    """Return the place of a box and its longer side in pixels of the camera's picture."""
    longer = max(box_xywh[2] * moment.size_wh[0], box_xywh[3] * moment.size_wh[1])
    return f"{place(box_xywh)}, {longer:.0f} px"


def place(box_xywh: BoxXYWH) -> str:
    """Return where in the picture a box lies, in words."""
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


def percent(part: float) -> str:
    """``67 %`` of 0.67."""
    return f"{100 * part:.0f} %"
