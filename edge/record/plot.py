"""The time around a moment, drawn: each track's evidence against the alarm, and every bear score below it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

from edge.errors import OptionError
from edge.files import replace_whole
from edge.local_time import clock
from edge.record.trace import Moment, share
from edge.record.trace_query import Match, TraceRun

Point = tuple[float, float]  # x, y; units of the SVG, the origin at the top left
Colour = str  # #rrggbb
Anchor = Literal["start", "middle", "end"]

WIDTH, HEIGHT = 960, 560
LEFT, RIGHT = 62.0, 925.0
HEADING = 54.0  # baseline of the upper panel's heading; the events' names lie between it and the panel
EVENT_ROWS = (75.0, 89.0, 103.0)
EVIDENCE = (108.0, 300.0)  # top and bottom of the upper panel
SCORES = (348.0, 488.0)
WHOLE_S = 120.0  # so much is drawn whole
AROUND_S = 30.0  # else this much on either side
MAX_SHARE = 2.0  # evidence beyond twice an alarm's adds nothing

INK, GREY, GRID = "#222222", "#50555a", "#e3e5e8"
ALARM = "#b00020"
TRACKS = ("#0072b2", "#d55e00", "#007f5f", "#a0468c", "#5a4fcf", "#8a6d00")  # each 4.5 to 1 on white or more
KINDS = {"motion": ("what moved", "#0072b2"), "scan": ("whole picture", "#6b6b6b"), "track": ("followed", "#d55e00")}
BANDS = {
    "moving": ("picture moves", "#f2b134", 0.35),
    "reset": ("new background", "#56b4e9", 0.45),
    "trouble": ("camera trouble", "#cc79a7", 0.4),
    "gap": ("not kept", "#9aa0a6", 0.2),
    "dead": ("no picture", "#50555a", 0.5),
}

Drawing = Callable[["SvgCanvas", Point], None]  # a sign of the legend, its middle at the point


def draw(found: Match, path: Path) -> None:
    """Write the plot around a moment as SVG. Raises OptionError where there is nothing to draw."""
    if found.moment is None:
        raise OptionError(
            f"{path}: nothing to draw, for no moment was kept then; ask for an event, or leave --plot out"
        )
    media_s = found.moment.media_time_s
    when = clock(found.moment.wall) if media_s is None else f"{media_s:.1f} s"
    title = f"{found.run.camera} around {when}"
    canvas = SvgCanvas(WIDTH, HEIGHT, title)
    plot(canvas, found.run, found.moment, title)
    replace_whole(path, canvas.finished())


@dataclass(frozen=True)
class _Axis:
    """Seconds (the frame's clock) to x."""

    since_s: float
    until_s: float

    def __call__(self, time_s: float) -> float:
        part = (time_s - self.since_s) / max(self.until_s - self.since_s, 1e-9)
        return LEFT + min(max(part, 0.0), 1.0) * (RIGHT - LEFT)


def plot(canvas: SvgCanvas, run: TraceRun, moment: Moment, title: str) -> None:
    """Draw the time around ``moment``: the whole of a short trace, else half a minute on either side."""
    first, last = run.moments[0].time, run.moments[-1].time
    if last - first > WHOLE_S:
        first, last = max(first, moment.time - AROUND_S), min(last, moment.time + AROUND_S)
    moments = run.between(first, last)
    x = _Axis(moments[0].time, max(moments[-1].time, moments[0].time + 1.0))
    canvas.words((LEFT, 26), title, 16, bold=True)
    bands = _bands(canvas, x, moments)
    _panel(canvas, EVIDENCE, [(0.0, "0"), (0.5, "50 %"), (1.0, "100 %"), (1.5, "150 %"), (2.0, "200 %+")], MAX_SHARE)
    _panel(canvas, SCORES, [(0.0, "0"), (0.25, ""), (0.5, "0.5"), (0.75, ""), (1.0, "1")], 1.0)
    _time_axis(canvas, x, moment)
    _scores(canvas, x, moments)
    lines = _evidence(canvas, x, moments)
    _events(canvas, x, moments)
    _asked(canvas, x, moment)
    canvas.words((LEFT, HEADING), "Evidence of each track, of what raises an alarm", 12, INK, bold=True)
    _legend(canvas, HEADING, lines)
    canvas.words((LEFT, SCORES[0] - 12), "Bear score of each place looked at", 12, INK, bold=True)
    _legend(canvas, SCORES[0] - 12, [(name, _mark(kind, colour)) for kind, (name, colour) in KINDS.items()])
    _legend(canvas, HEIGHT - 14.0, [(BANDS[name][0], _swatch(name)) for name in bands])


def _panel(canvas: SvgCanvas, rows: tuple[float, float], ticks: Sequence[tuple[float, str]], most: float) -> None:
    for value, words in ticks:
        y = _y(rows, value / most)
        canvas.line([(LEFT, y), (RIGHT, y)], GREY if value == 0 else GRID, 1.0)
        canvas.words((LEFT - 8, y + 4), words, 11, GREY, "end")


def _y(rows: tuple[float, float], part: float) -> float:
    return rows[1] - min(max(part, 0.0), 1.0) * (rows[1] - rows[0])


def _time_axis(canvas: SvgCanvas, x: _Axis, moment: Moment) -> None:
    offset = moment.wall.timestamp() - moment.time if moment.media_time_s is None else moment.media_time_s - moment.time
    zone = (moment.wall.astimezone().utcoffset() or timedelta()).total_seconds() if moment.media_time_s is None else 0.0
    span = x.until_s - x.since_s
    step = next((s for s in (0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if span / s <= 10), 3600)
    tick = math.ceil((x.since_s + offset + zone) / step - 1e-6) * step
    while tick - offset - zone <= x.until_s + 1e-6:
        at = x(tick - offset - zone)
        canvas.line([(at, SCORES[1]), (at, SCORES[1] + 5)], GREY)
        words = f"{tick:g} s"
        if moment.media_time_s is None:
            local = datetime.fromtimestamp(tick - zone)
            words = f"{local:%H:%M:%S}" if step >= 1 else f"{local:%H:%M:%S}.{local.microsecond // 100_000}"
        canvas.words((at, SCORES[1] + 24), words, 11, GREY, "middle")
        tick += step


def _bands(canvas: SvgCanvas, x: _Axis, moments: Sequence[Moment]) -> list[str]:
    """Shade what the time was like; the names of what there was."""
    spans = _spans(moments)
    for name, runs in spans.items():
        for since, until in runs:
            left, right = x(since), max(x(until), x(since) + 2.0)
            for top, bottom in (EVIDENCE, SCORES):
                canvas.area([(left, top), (right, top), (right, bottom), (left, bottom)], *BANDS[name][1:])
    return list(spans)


def _spans(moments: Sequence[Moment]) -> dict[str, list[tuple[float, float]]]:
    """From when to when each band reaches, in seconds; what touches is one."""
    spans: dict[str, list[tuple[float, float]]] = {}
    usual = _interval(moments)
    for moment, later in zip(moments, [*moments[1:], None], strict=True):
        until = min(later.time if later else moment.time, moment.time + usual)
        there = {"moving": moment.moving, "reset": moment.reset, "trouble": bool(moment.troubles)}
        found = [(name, moment.time, until) for name in there if there[name]]
        if later and later.time - moment.time > _hole(usual):
            found.append(("gap" if later.index - moment.index > 1 else "dead", until, later.time))
        for name, since, till in found:
            runs = spans.setdefault(name, [])
            touching = runs and since - runs[-1][1] < 0.01
            runs[-1:] = [(runs[-1][0], till)] if touching else [*runs[-1:], (since, till)]
    return spans


def _interval(moments: Sequence[Moment]) -> float:
    steps = sorted(b.time - a.time for a, b in pairwise(moments))
    return steps[len(steps) // 2] if steps else 0.1


def _hole(usual_s: float) -> float:
    """From how many seconds on moments are missing."""
    return max(1.0, 3.0 * usual_s)


def _scores(canvas: SvgCanvas, x: _Axis, moments: Sequence[Moment]) -> None:
    limits = [(moment.time, moment.threshold) for moment in moments if moment.threshold is not None]
    for index, (time_s, limit) in enumerate(limits):
        if index and limit == limits[index - 1][1]:
            continue
        until = next((later for later, other in limits[index:] if other != limit), x.until_s)
        y = _y(SCORES, limit)
        canvas.line([(x(time_s), y), (x(until), y)], ALARM, 1.0, dashed=True)
    if limits:
        canvas.words((RIGHT, _y(SCORES, limits[-1][1]) - 4), "counts", 11, ALARM, "end")
    for moment in moments:
        for region in moment.scored:
            colour = KINDS.get(region.kind, ("", GREY))[1]
            _mark(region.kind, colour)(canvas, (x(moment.time), _y(SCORES, region.bear)))


def _mark(kind: str, colour: Colour) -> Drawing:
    """Return the sign of a kind: its shape means as much as its colour."""

    def mark(canvas: SvgCanvas, at: Point) -> None:
        a, b = at
        if kind == "motion":
            canvas.dot(at, 2.6, colour)
        elif kind == "track":
            canvas.area([(a, b - 3.6), (a + 3.4, b + 2.6), (a - 3.4, b + 2.6)], colour)
        else:
            canvas.area([(a - 2.2, b - 2.2), (a + 2.2, b - 2.2), (a + 2.2, b + 2.2), (a - 2.2, b + 2.2)], colour)

    return mark


def _evidence(canvas: SvgCanvas, x: _Axis, moments: Sequence[Moment]) -> list[tuple[str, Drawing]]:
    """Return a line for each track, the strongest in colour; their legend."""
    alarm = _y(EVIDENCE, 1.0 / MAX_SHARE)
    canvas.line([(LEFT, alarm), (RIGHT, alarm)], ALARM, 1.5, dashed=True)
    canvas.words((RIGHT, alarm - 5), "alarm", 11, ALARM, "end")
    peaks: dict[int, float] = {}
    for moment in moments:
        for state in moment.evidence_states:
            peaks[state.track] = max(peaks.get(state.track, 0.0), share(state))
    ranked = sorted((number for number in peaks if peaks[number] > 0), key=lambda number: (-peaks[number], number))
    colours = {number: TRACKS[i] if i < len(TRACKS) else "#9aa0a6" for i, number in enumerate(ranked)}
    for number in reversed(ranked):
        for piece in _pieces(moments, number):
            points = [(x(time_s), _y(EVIDENCE, part / MAX_SHARE)) for time_s, part in piece]
            canvas.line(points if len(points) > 1 else [points[0], points[0]], colours[number], 2.0)
    return [(f"track {number}", _stroke(colours[number])) for number in sorted(ranked[: len(TRACKS)])]


def _pieces(moments: Sequence[Moment], track: int) -> Iterator[list[tuple[float, float]]]:
    """Yield a track's (time, share) while it lives and moments follow one another."""
    piece: list[tuple[float, float]] = []
    hole = _hole(_interval(moments))
    for moment in moments:
        state = next((one for one in moment.evidence_states if one.track == track), None)
        if piece and (state is None or moment.time - piece[-1][0] > hole):
            yield piece
            piece = []
        if state:
            piece.append((moment.time, share(state)))
    if piece:
        yield piece


def _events(canvas: SvgCanvas, x: _Axis, moments: Sequence[Moment]) -> None:
    """Draw a line for each event, its name in the first free row."""
    free = [0.0] * len(EVENT_ROWS)
    for moment in moments:
        for event in moment.events:
            loud = event.kind == "bear" and event.quiet is None and (event.type == "new" or event.escalated is not None)
            if event.type == "update" and not loud:
                continue
            colour, at = ALARM if loud else GREY, x(moment.time)
            quietly = event.type if event.kind == "bear" else event.kind
            words = f"{'ALARM again' if event.escalated and loud else 'ALARM' if loud else quietly} {event.id[:8]}"
            wide = _width(words, 11)
            side: Anchor = "start" if at + wide <= RIGHT else "end"
            left = at if side == "start" else at - wide
            row = next((row for row, until in enumerate(free) if left >= until), None)
            top = EVIDENCE[0] if row is None else EVENT_ROWS[row] + 3
            for ends in ((top, EVIDENCE[1]), SCORES):
                canvas.line([(at, ends[0]), (at, ends[1])], colour, 1.4 if loud else 1.0, dashed=not loud)
            if row is not None:
                canvas.words((at, EVENT_ROWS[row]), words, 11, colour, side, bold=loud)
                free[row] = left + wide + 8


def _asked(canvas: SvgCanvas, x: _Axis, moment: Moment) -> None:
    """Draw a notch below the moment that is explained."""
    at, bottom = x(moment.time), SCORES[1]
    canvas.area([(at, bottom + 1), (at + 6, bottom + 11), (at - 6, bottom + 11)], INK)
    for top, end in () if moment.events else (EVIDENCE, SCORES):  # an event has a line of its own
        canvas.line([(at, top), (at, end)], INK, 0.8)


def _legend(canvas: SvgCanvas, baseline: float, items: Sequence[tuple[str, Drawing]]) -> None:
    """Signs and their names in one row that ends at the right."""
    left = RIGHT - sum(_width(name, 11) + 34 for name, _ in items) + 14
    for name, drawing in items:
        drawing(canvas, (left + 8, baseline - 4))
        canvas.words((left + 20, baseline), name, 11, GREY)
        left += _width(name, 11) + 34


def _stroke(colour: Colour) -> Drawing:
    return lambda canvas, at: canvas.line([(at[0] - 8, at[1]), (at[0] + 8, at[1])], colour, 2.0)


def _swatch(name: str) -> Drawing:
    def swatch(canvas: SvgCanvas, at: Point) -> None:
        (a, b), (_, colour, opacity) = at, BANDS[name]
        canvas.area([(a - 8, b - 5), (a + 8, b - 5), (a + 8, b + 5), (a - 8, b + 5)], colour, opacity)

    return swatch


class SvgCanvas:
    """Draw into an SVG document that needs nothing beside it; screen readers read ``title``."""

    def __init__(self, width: int, height: int, title: str) -> None:
        size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        fonts = "system-ui, 'DejaVu Sans', Arial, sans-serif"
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{fonts}">',
            f"<title>{_text(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def line(self, points: Sequence[Point], colour: Colour, width: float = 1.0, *, dashed: bool = False) -> None:
        """Draw a line through the points."""
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<polyline points="{_points(points)}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
            f'stroke-linejoin="round"{dashes}/>'
        )

    def area(self, points: Sequence[Point], colour: Colour, opacity: float = 1.0) -> None:
        """Fill a polygon."""
        self._parts.append(f'<polygon points="{_points(points)}" fill="{colour}" fill-opacity="{opacity:g}"/>')

    def dot(self, at: Point, radius: float, colour: Colour) -> None:
        """Fill a circle."""
        self._parts.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:g}" fill="{colour}"/>')

    def words(
        self, at: Point, words: str, size: float = 12.0, colour: Colour = "#222222", anchor: Anchor = "start",
        *, bold: bool = False,
    ) -> None:  # fmt: skip
        """Write one line; ``at`` is on its baseline."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" font-size="{size:g}" fill="{colour}" '
            f'text-anchor="{anchor}"{weight}>{_text(words)}</text>'
        )

    def finished(self) -> bytes:
        """Return the document in UTF-8."""
        return ('<?xml version="1.0" encoding="UTF-8"?>\n' + "\n".join(self._parts) + "\n</svg>\n").encode()


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(words: str) -> str:
    """Escape words for XML: no control characters, no halves of a character."""
    printable = "".join(sign if sign.isprintable() else "?" for sign in words)
    return escape(printable.encode("utf-8", "replace").decode())


def _width(words: str, size: float) -> float:
    """Return about how wide these words come out: fonts differ."""
    return 0.56 * size * len(words)
