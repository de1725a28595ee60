"""The benchmark's tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from edge.cli.progress import counted
from edge.detect.card import Card
from train.evaluate.clips import Clips, Outcome
from train.evaluate.far_bears import RATE, TARGETS, Figures
from train.evaluate.held_out import Learned
from train.evaluate.stills import LARGE_PX, SMALL_PX, Mode, Slice, Stills
from train.metrics import AtRate, Auc, Rate

# The figures of ``evaluate`` for a person: tables that fit a terminal.


TITLES: dict[Mode, str] = {
    "still": "Stills: whole pictures, by the frame scan",
    "crop": "Crops: true boxes; pictures without a box whole",
    "shrunk": "Crops seen from afar: shrunk to 20, 36 and 60 px",
}
MOST_LINES = 12  # of one kind of slice; the rest is in --json


def learned_text(known: Learned, pictures: int) -> str:
    """The warning that these figures flatter the model, and a line for each source that its card names."""
    table = " (this is the very table of its training)" if known.table else ""
    share = f"{known.pictures:,} of {counted(pictures, 'picture')}"
    lines = [f"WARNING: the model was made from the sources of {share}{table}: these figures flatter it."]
    lines.append("  Judge other sources, or the part that its run kept back: --split-file RUN/split.csv --split test.")
    for words, sources in (("trained on", known.trained), ("thresholds fitted on", known.tuned)):
        lines += [f"  {words} {source}: {counted(count, 'picture')} here" for source, count in sources.items()]
    return "\n".join(lines)


def stills_text(card: Card, stills: Stills) -> str:
    """Three tables, one a mode. Sizes are the longer box side in source pixels."""
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
    """One line a slice, at most a dozen of one kind."""
    lines, by = [], ""
    count = 0
    for one in slices:
        if one.by != by:
            by, count = one.by, 0
        count += 1
        if count > MOST_LINES:
            if count == MOST_LINES + 1:
                lines.append(f"  {'':<10}… more in --json")
            continue
        name = f"{one.by if count == 1 else '':<10}{one.value if len(one.value) <= 23 else one.value[:22] + '…'}"
        lines.append(f"  {name:<34}{rate(one.recall):<30}{rate(one.false_positive_rate):<30}{area(one.auc)}".rstrip())
    return lines


def rate(found: Rate | None) -> str:
    """``0.950 (19/20) [0.76-0.99]``."""
    if found is None:
        return "-"
    return f"{found.value:.3f} ({found.k}/{found.n}) [{found.low:.2f}-{found.high:.2f}]"


def area(found: Auc | None) -> str:
    """``0.991 [0.984-0.995]``."""
    return "-" if found is None else f"{found.value:.3f} [{found.low:.3f}-{found.high:.3f}]"


def alarmed(clips: Outcome) -> str:
    """``0.950 (19/20) [0.76-0.99], median 1.2 s``."""
    typical = clips.median_seconds_to_alarm
    return rate(clips.alarmed) + (f", median {typical:.1f} s" if typical is not None else "")


def clips_text(clips: Clips) -> str:
    """A line a clip, then what they say together."""
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
    if clips.gate is not None:
        gate = clips.gate
        close = f"median IoU {gate.median_iou or 0:.2f}, IoU >= 0.3 {rate(gate.close)}"
        lines.append(f"  motion gate, {gate.boxes} boxed bears: {close}")
        lines.append(f"    reached {rate(gate.reached)}")
        lines.append(f"    recall {rate(gate.recall)}; on the true boxes {rate(gate.recall_on_boxes)}")
    return "\n".join(lines)


KINDS_SHOWN = 16


def benchmark_text(found: Figures) -> str:
    """Benchmark A by size bin, its false positives by animal, and benchmark B as x of n."""
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
    """``95.1 % [92.0-97.3]``."""
    return "-" if found is None else share(found.recall)


def let_through(found: AtRate | None) -> str:
    """``0.9 % [0.5-1.8]``: what the threshold passes of the others, and the interval of what it passes elsewhere."""
    return "-" if found is None else share(found.false_positives)


def share(found: Rate | None) -> str:
    """``95.1 % [92.0-97.3]``."""
    return "-" if found is None else f"{100 * found.value:.1f} % [{100 * found.low:.1f}-{100 * found.high:.1f}]"


def k_of_n(found: Rate | None) -> str:
    """``4 of 6``."""
    return "-" if found is None else f"{found.k} of {found.n}"
