"""Tables of ``evaluate`` and ``compare`` for the terminal; the report shows some of them too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from edge.cli.output import counted
from edge.detect.card import Card
from train.evaluate.clips import Clip, Clips, Outcome
from train.evaluate.compare import Comparison, Guard
from train.evaluate.far_bears import RATE, TARGETS, Figures
from train.evaluate.held_out import Learned
from train.evaluate.stills import LARGE_PX, SMALL_PX, Mode, Slice, Stills
from train.evaluate.trail_cameras import RATES, Row, TrailFigures, from_27_px_s
from train.metrics.paired import Difference
from train.metrics.rates import AtRate, Auc, Rate

TITLES: dict[Mode, str] = {
    "still": "Stills: whole pictures, by the frame scan",
    "crop": "Crops: true boxes; pictures without a box whole",
    "shrunk": "Crops seen from afar: shrunk to 20, 36 and 60 px",
}
MAX_LINES = 12  # of one kind of slice; the rest is in --json


def learned_text(known: Learned, pictures: int) -> str:
    """Return a warning that these figures flatter the model, with a line for each source on its card."""
    table = " (this is the very table of its training)" if known.table else ""
    share = f"{known.pictures:,} of {counted(pictures, 'picture')}"
    lines = [f"WARNING: the model was made from the sources of {share}{table}: these figures flatter it."]
    lines.append("  Use other sources, or the test part of its run: --split-file RUN/split.csv --split test.")
    for words, sources in (("trained on", known.trained), ("thresholds fitted on", known.tuned)):
        lines += [f"  {words} {source}: {counted(count, 'picture')} here" for source, count in sources.items()]
    return "\n".join(lines)


def stills_text(card: Card, stills: Stills) -> str:
    """Write three tables, one for each mode. Sizes are the longer box side in source pixels."""
    lines = [f"{stills.pictures} pictures" + (f", {len(stills.unreadable)} unreadable" if stills.unreadable else "")]
    for mode, title in TITLES.items():
        slices = stills.slices(mode)
        if not slices:
            continue
        threshold = card.thresholds["frame" if mode == "still" else "crop"].value
        lines += ["", f"{title} (alarm at {threshold:.3f})"]
        lines.append(f"  {'':<34}{'recall':<30}{'false positives':<30}AUC")
        lines += slice_lines(slices)
    lines += [
        "",
        "In brackets: 95 % intervals that count original pictures, each taken as independent (Wilson; Obuchowski).",
    ]
    sizes = f"below {SMALL_PX}, {SMALL_PX} to {LARGE_PX}, {LARGE_PX} and more"
    lines.append(f"Size: the longer side of the bear's box in pixels of its own picture; measured apart {sizes}.")
    return "\n".join(lines)


def slice_lines(slices: Sequence[Slice]) -> list[str]:
    """Write a line for each slice, at most ``MAX_LINES`` of one kind."""
    lines, by = [], ""
    count = 0
    for one in slices:
        if one.by != by:
            by, count = one.by, 0
        count += 1
        if count > MAX_LINES:
            if count == MAX_LINES + 1:
                lines.append(f"  {'':<10}… more in --json")
            continue
        name = f"{one.by if count == 1 else '':<10}{one.value if len(one.value) <= 23 else one.value[:22] + '…'}"
        lines.append(f"  {name:<34}{rate(one.recall):<30}{rate(one.false_positive_rate):<30}{area(one.auc)}".rstrip())
    return lines


def rate(found: Rate | None) -> str:
    """Write ``0.950 (19/20) [0.76–0.99]``."""
    if found is None:
        return "–"
    return f"{found.value:.3f} ({found.k}/{found.n}) [{found.low:.2f}–{found.high:.2f}]"


def area(found: Auc | None) -> str:
    """Write ``0.991 [0.984–0.995]``."""
    return "–" if found is None else f"{found.value:.3f} [{found.low:.3f}–{found.high:.3f}]"


def alarmed(clips: Outcome) -> str:
    """Write ``0.950 (19/20) [0.76–0.99], median 1.2 s``."""
    typical = clips.median_seconds_to_alarm
    return rate(clips.alarmed) + (f", median {typical:.1f} s" if typical is not None else "")


def clips_text(clips: Clips) -> str:
    """Write a line for each clip, then their figures."""
    lines = ["", "Clips: the whole alarm", f"  {'':<34}{'seconds':>8}  {'to alarm':>9}  alarms at (s)"]
    for one in clips.results:
        late = "-" if one.seconds_to_alarm is None else f"{one.seconds_to_alarm:.1f}"
        if one.has_bear and one.seconds_to_alarm is None:
            late = "missed"
        at = ", ".join(f"{second:g}" for second in one.alarms_s) or "none"
        wrong = f"  ({one.wrong_alarms} WRONG)" if one.wrong_alarms else ""
        lines.append(f"  {one.file[:32]:<34}{one.duration_s:>8.1f}  {late:>9}  {at}{wrong}")
    lines.append(f"  bear clips alarmed: {alarmed(clips)}")
    lines += [
        f"    without the {part}: {alarmed(other)}; bear-free clips: {other.quiet.alarms} alarms"
        for part, other in clips.without.items()
    ]
    still = clips.quiet
    if still.per_day_upper95 is not None:
        lines.append(
            f"  bear-free clips: {still.alarms} {'alarm' if still.alarms == 1 else 'alarms'} in {still.hours:.4f} h, "
            f"at most {still.per_day_upper95:,.0f} a camera-day (95 %{'' if still.alarms else ', 3/T'})"
        )
    return "\n".join(lines)


KINDS_SHOWN = 16


def benchmark_text(found: Figures) -> str:
    """Write benchmark A by size bin, its false positives by animal, and benchmark B as x of n."""
    lines = [
        f"Benchmark A: held-out animals, made far (recall at {RATE:.0%} false positives)",
        f"  {'':<10}{'crops (pictures)':<28}{'of this size':<25}{'of all sizes together':<25}{'AUC':<22}aim",
        f"  {'':<10}{'bears / others':<28}",
    ]
    for one in found.bins:
        crops = f"{one.bears} ({one.bear_pictures}) / {one.others} ({one.other_pictures})"
        aim = f"{100 * TARGETS[one.bin]:.0f} %" if one.bin in TARGETS else ""
        lines.append(
            f"  {one.bin:<10}{crops:<28}{at(one.own):<25}{at(one.together):<25}{area(one.auc):<22}{aim}".rstrip()
        )
    lines += [f"  Note: {words}." for words in found.doubts]
    lines += ["", f"  False positives at the thresholds for {RATE:.0%}, of this size's others"]
    lines.append(f"  {'':<10}{'of this size':<25}of all sizes together")
    lines += [f"  {one.bin:<10}{let_through(one.own):<25}{let_through(one.together)}".rstrip() for one in found.bins]
    lines += ["", f"  At the card's crop threshold ({found.card_threshold:.3f})"]
    lines.append(f"  {'':<10}{'recall':<25}false positives")
    lines += [
        f"  {one.bin:<10}{share(one.alarm_recall):<25}{share(one.alarm_false_positives)}".rstrip() for one in found.bins
    ]
    lines += ["", f"  Taken for a bear at the threshold of all sizes together ({found.threshold:.3f}), % of each kind"]
    names = [one.bin for one in found.bins]
    lines.append(f"  {'':<36}" + "".join(f"{name:>10}" for name in names) + f"{'pictures':>10}")
    worst = sorted(found.kinds.items(), key=lambda kind: -max(rate.value for rate in kind[1].values()))
    for kind, rates in worst[:KINDS_SHOWN]:
        cells = "".join(f"{100 * rates[name].value:>10.1f}" if name in rates else f"{'-':>10}" for name in names)
        lines.append(f"  {kind[:34]:<36}{cells}{found.kind_pictures[kind]:>10}")
    lines += ["", "Benchmark B: real trail-camera bears, at their true boxes (x of n)"]
    lines.append(f"  {'':<10}{'card':<12}{'1 % of this size':<20}1 % of all sizes")
    for box in found.real:
        if box.boxes:
            card, own, together = (k_of_n(rate) for rate in (box.at_card, box.at_own, box.at_together))
            lines.append(f"  {box.bin:<10}{card:<12}{own:<20}{together}")
    if not any(box.boxes for box in found.real):
        lines.append("  none among these pictures")
    lines += ["", "In brackets: 95 % intervals over original pictures (bootstrap of pictures; Obuchowski for AUC)."]
    return "\n".join(lines)


def at(found: AtRate | None) -> str:
    """Write the recall: ``95.1 % [92.0–97.3]``."""
    return share(found.recall if found else None)


def let_through(found: AtRate | None) -> str:
    """Write the false positives: ``0.9 % [0.5–1.8]``."""
    return share(found.false_positives if found else None)


def share(found: Rate | None, *, counts: bool = False) -> str:
    """Write ``95.1 % [92.0–97.3]``, with ``counts`` ``95.1 % (244 of 257) [92.0–97.3]``."""
    if found is None:
        return "–"
    of = f" ({k_of_n(found)})" if counts else ""
    return f"{100 * found.value:.1f} %{of} [{100 * found.low:.1f}–{100 * found.high:.1f}]"


def k_of_n(found: Rate | None) -> str:
    """Write ``4 of 6``."""
    return "–" if found is None else f"{found.k} of {found.n}"


def comparison_text(found: Comparison) -> str:
    """Write the conclusion, then each figure of both models."""
    lines = [f"{found.new} is {found.verdict} than {found.old}."]
    lines += [f"  {found.why}", ""]
    lines.append(
        f"On {counted(found.pictures, 'picture')} of {counted(len(found.sources), 'source')}, {found.checked}:"
    )
    lines += [f"  Note: {words}." for words in found.doubts]
    lines.append(f"  {'':<60}{'old':>7}{'new':>7}  difference")
    lines += [f"  {name:<60}{figure_line(name, one)}" for name, one in found.figures.items()]
    lines += ["", "What a better model may not lose (points at the 95 % interval's worse end, or beyond a limit):"]
    lines += [
        f"  {guard.what:<70}{100 * guard.worst:>+7.1f}  allowed {100 * guard.margin:g}{_not_met(guard)}"
        for guard in found.guards
    ]
    lines += [
        "",
        "In brackets: 95 % intervals, paired, over original pictures; p: two-sided, pictures swapped between them.",
    ]
    return "\n".join(lines)


def _not_met(guard: Guard) -> str:
    if guard.holds:
        return ""
    if guard.broken:
        return "  NOT MET: it is worse"
    return "  not shown: too few pictures to tell" if guard.margin else "  NOT MET: beyond its limit"


def figure_line(name: str, one: Difference) -> str:
    """Write ``  66.3   81.0  +14.7 [+8.1, +21.0]  p 0.001``, in percent, points and pictures; AUC as it is."""
    if name.startswith("AUC"):
        return f"{one.old:>7.3f}{one.new:>7.3f}  {one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]  {_chance(one.p)}"
    old, new, value, low, high = (100 * each for each in (one.old, one.new, one.value, one.low, one.high))
    counts = f"  ({round(one.old * one.n)} and {round(one.new * one.n)} of {one.n})" if one.n < 100 else ""
    return f"{old:>7.1f}{new:>7.1f}  {value:+.1f} [{low:+.1f}, {high:+.1f}]  {_chance(one.p)}{counts}"


def _chance(p: float) -> str:
    return f"p {p:.3f}" if p >= 0.001 else "p < 0.001"


OTHERS_SHOWN = 12  # names of the others that decide; the rest is in --json


def trail_text(found: TrailFigures) -> str:
    """Write the benchmark of trail cameras in Markdown, for a terminal and for a page."""
    lines = [", ".join(found.models), ""]
    lines += ["| false alarms on frames of trail cameras | bears found | false alarms |", "|---|---|---|"]
    lines += [
        f"| {rate} (threshold {one.threshold:.3f}) | {x_of_n(one.recall)} | {x_of_n(one.false_positives)} |"
        for rate, one in found.rates.items()
    ]
    if unsupported := [f"{100 * rate:g} %" for rate in RATES if f"{100 * rate:g} %" not in found.rates]:
        lines += ["", f"Not given: {', '.join(unsupported)}, which would depend on fewer than three false alarms."]
    lines += ["", *trail_table("bears found", found.bears), "", *trail_table("no bear, taken for one", found.others)]
    lines += ["", *trail_table("bears found at the true boxes, at the threshold for crops", found.at_boxes)]
    if found.beside is not None:
        lines += ["", f"Frames with a bear in which something beside it is taken for one: {x_of_n(found.beside)}"]
    if found.far:
        lines += ["", *trail_table("the far camera", found.far)]
    if found.missed:
        missed = (f"{Path(file).name} ({why})" for file, why in found.missed)
        lines += ["", f"Missed where 1 % of all others pass, the best score first: {', '.join(missed)}"]
    if found.decide:
        lines += [
            "",
            f"The others that decide 1 %: {', '.join(Path(file).name for file in found.decide[:OTHERS_SHOWN])}",
        ]
    lines += ["", "In brackets: 95 % intervals over cameras and observations, as far as the table names them."]
    return "\n".join(lines)


def trail_table(what: str, rows: Sequence[Row]) -> Iterable[str]:
    """Yield one table of rows, with the second column if any row has it."""
    both = any(row.at_rate for row in rows)
    yield f"| {what} | at its own threshold |" + (" where 1 % of all others pass |" if both else "")
    yield "|---|---|" + ("---|" if both else "")
    for row in rows:
        yield f"| {row.what} | {x_of_n(row.own)} |" + (f" {x_of_n(row.at_rate)} |" if both else "")


def x_of_n(rate: Rate | None) -> str:
    """Write ``37 of 53, 69.8 % [53.9–82.0]``."""
    return "–" if rate is None else f"{k_of_n(rate)}, {share(rate)}"


def clips_line(model: str, clips: Sequence[Clip], found: Clips) -> str:
    """Write which bears in clips alarmed, how long after they were 27 pixels long, and which other clips were quiet."""
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
