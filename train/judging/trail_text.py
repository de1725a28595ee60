"""The trail-camera benchmark for a person: tables in Markdown, which read in a terminal and in a page alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from train.benchmark.trail_cameras import from_27_px_s
from train.benchmark.trail_figures import RATES, Row, TrailFigures
from train.judging.evaluate_clips import Clip, Clips
from train.metrics import Rate

SHOWN = 12  # names of the others that decide; the rest is in --json


def trail_text(found: TrailFigures) -> str:
    """Return the tables, what decides the threshold, and which bears are missed."""
    lines = [", ".join(found.models), ""]
    lines += ["| false alarms on frames of trail cameras | bears found | false alarms |", "|---|---|---|"]
    lines += [
        f"| {rate} (threshold {one.threshold:.3f}) | {x_of_n(one.recall)} | {x_of_n(one.false_positives)} |"
        for rate, one in found.rates.items()
    ]
    if left_out := [f"{100 * rate:g} %" for rate in RATES if f"{100 * rate:g} %" not in found.rates]:
        lines += ["", f"Not given: {', '.join(left_out)}, which would hang on fewer than three false alarms."]
    lines += ["", *table("bears found", found.bears), "", *table("no bear, taken for one", found.others)]
    lines += ["", *table("bears found at the true boxes, at the threshold for crops", found.at_boxes)]
    if found.beside is not None:
        lines += ["", f"Frames with a bear in which something beside it is taken for one: {x_of_n(found.beside)}"]
    if found.far:
        lines += ["", *table("the far camera", found.far)]
    if found.missed:
        missed = (f"{Path(file).name} ({why})" for file, why in found.missed)
        lines += ["", f"Missed where 1 % of all others pass, the best score first: {', '.join(missed)}"]
    if found.decide:
        lines += ["", f"The others that decide 1 %: {', '.join(Path(file).name for file in found.decide[:SHOWN])}"]
    lines += ["", "In brackets: 95 % intervals over cameras and observations, as far as the table names them."]
    return "\n".join(lines)


def table(what: str, rows: Sequence[Row]) -> Iterable[str]:
    """Yield one table of rows; the second column is left out where no row has it."""
    both = any(row.at_rate for row in rows)
    yield f"| {what} | at its own threshold |" + (" where 1 % of all others pass |" if both else "")
    yield "|---|---|" + ("---|" if both else "")
    for row in rows:
        yield f"| {row.what} | {x_of_n(row.own)} |" + (f" {x_of_n(row.at_rate)} |" if both else "")


def x_of_n(rate: Rate | None) -> str:
    """Say ``37 of 53, 69.8 % [53.9–82.0]``."""
    if rate is None:
        return "–"
    low, high = 100 * rate.low, 100 * rate.high
    return f"{rate.k} of {rate.n}, {100 * rate.value:.1f} % [{low:.1f}–{high:.1f}]"


def clips_line(model: str, clips: Sequence[Clip], found: Clips) -> str:
    """Say which bears in clips alarmed, how long after they were 27 pixels long, and which other clips were quiet."""
    begins = {clip.file.name: clip.bear_from_s or 0.0 for clip in clips}
    large = from_27_px_s()
    bears = [one for one in found.results if one.has_bear]
    free = [one for one in found.results if not one.has_bear]
    late = []
    for one in bears:
        if one.seconds_to_alarm is None:
            late.append(f"{one.file} missed")
            continue
        after_s = one.seconds_to_alarm - max(0.0, large.get(one.file, 0.0) - begins[one.file])
        late.append(f"{one.file} {max(0.0, after_s):.1f} s")
    loud = [one.file for one in free if one.wrong_alarms]
    quiet = f"{len(free) - len(loud)} of {len(free)}" + (f" (not {', '.join(loud)})" if loud else "")
    alarmed = sum(one.seconds_to_alarm is not None for one in bears)
    return (
        f"{model}: {alarmed} of {len(bears)} clips with a bear alarmed ({', '.join(late)}), {quiet} without one quiet"
    )
